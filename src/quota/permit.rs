//! The permit, and why there may be none yet.

use std::time::{Duration, Instant, SystemTime};

use super::{daily::until_midnight, rate::RateSlot};
use crate::failure::LimitKind;

/// The right to make one call to Zoom's API.
///
/// It exists only because a quota gave up a slot for it, it cannot be copied, and the call consumes it.
#[must_use = "a permit is counted as a call whether it is used or not"]
pub struct Permit {
    /// The day it was counted in, as days since 1970-01-01 UTC.
    pub(super) day: u64,
    pub(super) source: PermitSource,
}

/// The quota that a permit came from, and that takes it back.
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
    /// Calls in a second: the next permit is at most moments away.
    Rate,
    /// Zoom refused a call with a 429 of this kind.
    Cooldown(LimitKind),
    /// The day's calls are spent.
    DaySpent,
}

/// Both clocks, read together: the monotonic one for waiting, the wall clock for UTC days.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    /// Reads the clocks of this machine.
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The next 00:00 UTC on the monotonic clock.
    pub(crate) fn midnight(&self) -> Instant {
        self.instant + until_midnight(self.wall)
    }

    /// The wall clock at an earlier moment of the monotonic clock.
    pub(super) fn wall_at(&self, earlier: Instant) -> SystemTime {
        let ago: Duration = self.instant.saturating_duration_since(earlier);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}
