//! The permit for one call, and the reasons why a permit is denied.

use std::time::{Duration, Instant, SystemTime};

use super::{daily::until_midnight, rate::RateSlot};
use crate::failure::LimitKind;

/// The right to make one call to Zoom's API.
///
/// A quota makes a permit by consuming a slot. A permit cannot be copied, and a call consumes it unless its request is
/// not sent.
#[must_use = "a permit is counted as a call whether it is used or not"]
pub struct Permit {
    /// The day on which the call is counted, in days since 1970-01-01 UTC.
    pub(super) day: u64,
    pub(super) source: PermitSource,
}

/// The quota that made a permit. An unused permit is released to the same quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermitSource {
    Local,
    Shared,
}

impl Permit {
    /// Consumes a slot of this process's own rate.
    pub(super) fn from_rate(_: RateSlot, day: u64) -> Self {
        Self { day, source: PermitSource::Local }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied {
    /// The earliest time at which another attempt can succeed.
    pub(crate) retry_at: Instant,
    pub(crate) limit: Limit,
}

/// A limit that denies permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The calls in a second. The next permit comes soon.
    Rate,
    /// All calls pause after a 429 of this kind.
    Cooldown(LimitKind),
    /// The day's calls are spent.
    DaySpent,
}

/// The two clocks, read together: the monotonic clock for waiting, the wall clock for UTC days.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    /// Reads this machine's clocks.
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns the next 00:00 UTC, on the monotonic clock.
    pub(crate) fn midnight(&self) -> Instant {
        self.instant + until_midnight(self.wall)
    }

    /// Returns the time that the wall clock showed at an earlier instant.
    pub(super) fn wall_at(&self, earlier: Instant) -> SystemTime {
        let ago: Duration = self.instant.saturating_duration_since(earlier);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}
