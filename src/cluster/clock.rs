//! The server's clock as this replica knows it: by its own monotonic clock, and by what answers of the server say.
//!
//! Nothing here reads the wall clock of this machine, so that it may be minutes off. Pure.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::bounds::{self, Rejected};

/// A time of the server, in microseconds since 1970-01-01 UTC.
pub type Micros = u64;

pub(super) const DAY: Micros = 86_400_000_000;

/// An estimate gets worse by this much of its age: quartz is better than a ten-thousandth.
const DRIFT: u32 = 10_000;

/// One server's clock.
#[derive(Debug, Clone, Copy)]
pub struct ServerClock {
    /// A moment here, and what the server's clock showed then.
    here: Instant,
    there: Micros,
    /// The estimate is at most this far off, either way.
    error: Duration,
}

impl ServerClock {
    /// What an answer says that showed `there` at some moment between `sent` and `received`.
    ///
    /// # Errors
    /// When no clock shows that.
    pub fn heard(sent: Instant, received: Instant, there: Micros) -> Result<Self, Rejected> {
        let error = received.saturating_duration_since(sent) / 2;
        Ok(Self { here: sent + error, there: bounds::clock_shows(there)?, error })
    }

    /// The better one of two estimates; the newer one where they contradict each other, as after a step of the clock.
    #[must_use]
    pub fn or(self, newer: Self) -> Self {
        let aged = self.error + newer.here.saturating_duration_since(self.here) / DRIFT;
        let (expected, seen) = (self.at(newer.here), newer.there);
        let apart = Duration::from_micros(expected.abs_diff(seen));
        if apart > aged + newer.error || newer.error <= aged { newer } else { self }
    }

    /// What the server's clock shows at a moment here.
    #[must_use]
    pub fn at(&self, here: Instant) -> Micros {
        match here.checked_duration_since(self.here) {
            Some(later) => self.there.saturating_add(micros(later)),
            None => self.there.saturating_sub(micros(self.here.duration_since(here))),
        }
    }

    /// When the server's clock shows that time. What lies far back is as long ago as this clock can tell.
    ///
    /// # Errors
    /// When it lies further ahead than any time of ours.
    pub fn when(&self, there: Micros) -> Result<Instant, Rejected> {
        if let Some(ahead) = there.checked_sub(self.there) {
            let ahead = Duration::from_micros(ahead);
            return if ahead <= bounds::AHEAD_AT_MOST { Ok(self.here + ahead) } else { Err(Rejected) };
        }
        let ago = Duration::from_micros(self.there - there);
        Ok(self.here.checked_sub(ago).unwrap_or(self.here))
    }

    /// The server's wall clock.
    #[must_use]
    pub fn wall(&self, here: Instant) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.at(here))
    }
}

/// A duration in the server's unit.
#[must_use]
pub fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Micros = 1_800_000_000_000_000;
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn server_time_and_local_time_convert_into_each_other() {
        let sent = Instant::now() + 3_600_000 * MS;
        let clock = ServerClock::heard(sent, sent + 10 * MS, NOON).unwrap();
        assert_eq!(clock.at(sent + 5 * MS), NOON);
        assert_eq!(clock.when(NOON + 20_000), Ok(sent + 25 * MS));
        assert_eq!(clock.when(NOON - 5_000), Ok(sent));
        assert_eq!(clock.at(clock.when(NOON + 77).unwrap()), NOON + 77);
    }

    #[test]
    fn a_slow_answer_does_not_spoil_a_good_estimate() {
        let sent = Instant::now();
        let good = ServerClock::heard(sent, sent + MS, NOON).unwrap();
        let slow = ServerClock::heard(sent + 100 * MS, sent + 300 * MS, NOON + 290_000).unwrap();
        assert_eq!(good.or(slow).error, good.error);
        let as_good = ServerClock::heard(sent + 100 * MS, sent + 101 * MS, NOON + 100_200).unwrap();
        assert_eq!(good.or(as_good).there, NOON + 100_200);
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once() {
        let sent = Instant::now();
        let before = ServerClock::heard(sent, sent + MS, NOON).unwrap();
        for set_to in [NOON - 600_000_000, NOON + 600_000_000] {
            let after = ServerClock::heard(sent + 100 * MS, sent + 150 * MS, set_to).unwrap();
            assert_eq!(before.or(after).there, set_to);
        }
    }

    proptest! {
        #[test]
        fn no_time_is_more_than_48_h_ahead(shows: u64, there: u64) {
            let now = Instant::now();
            if let Ok(clock) = ServerClock::heard(now, now, shows)
                && let Ok(at) = clock.when(there)
            {
                prop_assert!(at <= now + bounds::AHEAD_AT_MOST);
            }
        }
    }
}
