//! The limits and how much of them is used, as a plain value for other threads.

use std::time::{Duration, SystemTime};

use super::daily::until_midnight;

/// The limits and how much of them is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaStatus {
    /// Zoom calls permitted in any second. How many of them are left is outdated before anybody reads it.
    pub(crate) per_second: u32,
    /// Zoom calls permitted in a UTC day.
    pub(crate) per_day: u64,
    /// Calls counted since 00:00 UTC.
    pub(crate) day_used: u64,
    /// Those of `day_used` that other apps of the account made out of the calls permitted here.
    pub(crate) day_taken_by_others: u64,
}

impl QuotaStatus {
    /// Calls left of this UTC day.
    pub(crate) fn day_left(&self) -> u64 {
        self.per_day.saturating_sub(self.day_used)
    }

    /// Time until 00:00 UTC, when the day's calls are available again.
    pub(crate) fn day_resets_in(now: SystemTime) -> Duration {
        until_midnight(now)
    }
}
