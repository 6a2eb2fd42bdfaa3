//! The words of the queue.

use std::{num::NonZeroU32, time::Instant};

/// Numbers flights in the order in which they started.
pub(crate) type FlightNumber = u64;

/// A caller, and its part of the permits relative to the other callers who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerWeight {
    /// Identifies the caller's flow.
    pub caller: u32,
    /// Twice the weight, twice the permits.
    pub weight: NonZeroU32,
}

impl CallerWeight {
    /// Callers without a name.
    pub(crate) const ANONYMOUS: Self = Self { caller: 0, weight: NonZeroU32::MIN };
}

/// Whether callers wait for a flight. The order is that of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Callers wait.
    Foreground,
    /// A stale snapshot is refreshed.
    Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QueueDepth {
    /// Calls that wait, foreground and background.
    pub(crate) waiting: usize,
    /// Since when the oldest of them waits.
    pub(crate) oldest: Option<Instant>,
}
