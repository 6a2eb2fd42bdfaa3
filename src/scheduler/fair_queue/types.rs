//! The types of the queue's interface.

use std::{num::NonZeroU32, time::Instant};

/// The number of a flight. Flights are numbered in the order in which they started.
pub(crate) type FlightNumber = u64;

/// A caller and its weight in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerWeight {
    /// Identifies the caller's flow.
    pub caller: u32,
    /// The caller's share of the permits: while both have calls waiting, a caller with twice the weight gets twice the
    /// permits.
    pub weight: NonZeroU32,
}

impl CallerWeight {
    /// The caller of every flight if no callers are configured.
    pub(crate) const ANONYMOUS: Self = Self { caller: 0, weight: NonZeroU32::MIN };
}

vocabulary! {
    /// Whether callers wait for a flight. Foreground calls are served first, but waiting refreshes get one permit in
    /// twenty.
    pub enum Priority {
        /// At least one caller waits, or has waited, for the flight.
        Foreground = "foreground",
        /// The flight refreshes a stale snapshot.
        Background = "background",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QueueDepth {
    /// The number of calls that wait, foreground and background.
    pub(crate) waiting: usize,
    /// The time at which the oldest of these calls began to wait.
    pub(crate) oldest: Option<Instant>,
}
