//! Estimates the server's clock from the times in its replies and this machine's monotonic clock. Pure.
//!
//! This machine's wall clock is not used, so it may be wrong by minutes.
//!
//! Example: a request is sent at 10.000 s, and the reply arrives at 10.004 s and shows noon. The server read its clock
//! in between, so noon is 10.002 s here, with an error of at most 2 ms. A second reply that takes 200 ms gives a worse
//! estimate and is ignored.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) use super::bounds::DAY;
use super::bounds::{self, Rejected};
pub(crate) use super::bounds::{Micros, micros};

/// The error of an estimate grows by 1/`DRIFT` of the time since the estimate: 0.1 ms a second. Quartz clocks drift
/// less.
const DRIFT: u32 = 10_000;

/// An estimate of one server's clock.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    here: Instant,
    /// The time that the server's clock showed at `here`.
    there: Micros,
    /// When it was made, the estimate was too early or too late by at most this time.
    error: Duration,
}

impl ServerClock {
    /// Estimates the clock from the time `there`, which the server read between `sent` and `received`.
    pub(crate) fn observe(sent: Instant, received: Instant, there: Micros) -> Result<Self, Rejected> {
        let error = received.saturating_duration_since(sent) / 2;
        Ok(Self { here: sent + error, there: bounds::clock_shows(there)?, error })
    }

    /// Returns the better of two estimates. If they contradict each other, the server's clock was set, and the newer
    /// estimate is right.
    pub(crate) fn or(self, newer: Self) -> Self {
        let aged = self.error + newer.here.saturating_duration_since(self.here) / DRIFT;
        let (expected, seen) = (self.at(newer.here), newer.there);
        let apart = Duration::from_micros(expected.abs_diff(seen));
        if apart > aged + newer.error || newer.error <= aged { newer } else { self }
    }

    /// Returns the time that the server's clock shows at the local time `here`.
    pub fn at(&self, here: Instant) -> Micros {
        match here.checked_duration_since(self.here) {
            Some(later) => self.there.saturating_add(micros(later)),
            None => self.there.saturating_sub(micros(self.here.duration_since(here))),
        }
    }

    /// Returns the local time at which the server's clock shows `there`. A time that an [`Instant`] cannot represent,
    /// because it is too long ago, becomes the time of the estimate.
    ///
    /// # Errors
    /// The time is more than 48 h after the estimate.
    pub fn when(&self, there: Micros) -> Result<Instant, Rejected> {
        if let Some(ahead) = there.checked_sub(self.there) {
            let ahead = Duration::from_micros(ahead);
            return if ahead <= bounds::AHEAD_AT_MOST { Ok(self.here + ahead) } else { Err(Rejected) };
        }
        let ago = Duration::from_micros(self.there - there);
        Ok(self.here.checked_sub(ago).unwrap_or(self.here))
    }

    /// Accepts a fencing number unless it is more than 48 h ahead of `now`.
    pub(super) fn fence(&self, number: u64, now: Instant) -> Result<u64, Rejected> {
        bounds::fence(number, self.at(now))
    }

    /// Returns the time that the server's clock shows at the local time `here`, as a [`SystemTime`].
    pub fn wall(&self, here: Instant) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.at(here))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Micros = 1_800_000_000_000_000;
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn server_times_and_local_times_convert_both_ways() {
        let sent = Instant::now() + 3_600_000 * MS;
        let clock = ServerClock::observe(sent, sent + 10 * MS, NOON).unwrap();
        assert_eq!(clock.at(sent + 5 * MS), NOON);
        assert_eq!(clock.when(NOON + 20_000), Ok(sent + 25 * MS));
        assert_eq!(clock.when(NOON - 5_000), Ok(sent));
        assert_eq!(clock.at(clock.when(NOON + 77).unwrap()), NOON + 77);
    }

    #[test]
    fn a_slow_reply_does_not_replace_a_good_estimate() {
        let sent = Instant::now();
        let good = ServerClock::observe(sent, sent + MS, NOON).unwrap();
        let slow = ServerClock::observe(sent + 100 * MS, sent + 300 * MS, NOON + 290_000).unwrap();
        assert_eq!(good.or(slow).error, good.error);
        let as_good = ServerClock::observe(sent + 100 * MS, sent + 101 * MS, NOON + 100_200).unwrap();
        assert_eq!(good.or(as_good).there, NOON + 100_200);
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once() {
        let sent = Instant::now();
        let before = ServerClock::observe(sent, sent + MS, NOON).unwrap();
        for set_to in [NOON - 600_000_000, NOON + 600_000_000] {
            let after = ServerClock::observe(sent + 100 * MS, sent + 150 * MS, set_to).unwrap();
            assert_eq!(before.or(after).there, set_to);
        }
    }

    proptest! {
        #[test]
        fn no_time_is_more_than_48_h_ahead(shows: u64, there: u64) {
            let now = Instant::now();
            if let Ok(clock) = ServerClock::observe(now, now, shows)
                && let Ok(at) = clock.when(there)
            {
                prop_assert!(at <= now + bounds::AHEAD_AT_MOST);
            }
        }
    }
}
