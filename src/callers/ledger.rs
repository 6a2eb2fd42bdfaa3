//! Counts the calls for one caller in the last 60 seconds and in the UTC day. Pure: the caller passes the time.
//!
//! The limit is checked when a flight starts. A flight that has started may make all its calls.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::failure::CallerLimit;

/// The window of `calls_per_minute` slides. With clock minutes and a limit of 60, a caller could make 60 calls at the
/// end of one minute and 60 at the start of the next: 120 within a second.
const MINUTE: Duration = Duration::from_secs(60);

/// The time in which the replicas normally exchange their counts.
const EXCHANGED_WITHIN: Duration = Duration::from_millis(300);
/// The maximum number of calls of other replicas that one exchange adds or removes. Normally there are far fewer.
const MOST_BY_OTHERS: usize = 10_000;

#[derive(Default)]
pub(super) struct Ledger {
    /// The known calls of all replicas in the last minute, oldest first. The quota bounds the length: it limits the
    /// calls of all callers together.
    calls: VecDeque<Instant>,
    /// The number of flights that have not made a call yet. Each counts as one call. Otherwise any number of flights
    /// could start before the first of them makes a call.
    reserved: usize,
    /// The number of other replicas among which the limit is divided.
    other_replicas: usize,
    /// The calls of this replica, including reserved calls, that the other replicas do not know yet.
    unshared: usize,
    /// The UTC day of `today` and `refused`, in days since 1970.
    day: u64,
    today: u64,
    /// The requests refused on `day`.
    refused: u64,
    /// The daily limit that the caller has reached, and the time until which it applies. The fetcher's thread sets
    /// it.
    pub(super) day_limit: Option<(Instant, CallerLimit)>,
}

impl Ledger {
    /// Returns the time at which to try again for another flight; `None` if `limit` allows one now.
    ///
    /// Example: with a limit of 2 and calls at 0 s, 10 s and 20 s, two calls must leave the window first. The second
    /// of them, at index 3 − 2 = 1, leaves it at 70 s.
    pub(super) fn full_until(&mut self, limit: NonZeroU32, now: Instant) -> Option<Instant> {
        self.drop_expired(now);
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let spent = self.calls.len() + self.reserved;
        // Until the n replicas have exchanged their counts, each may use one n-th of the calls that were left at the
        // last exchange. A replica that has made k calls since then may make another call while k < (limit − spent +
        // k) / n.
        let elsewhere = self.unshared.min(spent).saturating_mul(self.other_replicas);
        if spent < limit && spent.saturating_add(elsewhere) >= limit {
            return Some(now + EXCHANGED_WITHIN);
        }
        let index = spent.checked_sub(limit)?;
        // A reserved call has not been made yet, so it leaves the window after at least a minute.
        Some(self.calls.get(index).map_or(now, |call| *call) + MINUTE)
    }

    /// Returns how many more calls `limit` allows, and when it should allow more; `None` if the window holds no call
    /// and calls are left. A caller above its limit must wait until several calls have left the window.
    pub(super) fn left(&mut self, limit: NonZeroU32, now: Instant) -> (u32, Option<Instant>) {
        self.drop_expired(now);
        let spent = u32::try_from(self.calls.len() + self.reserved).unwrap_or(u32::MAX);
        let left = limit.get().saturating_sub(spent);
        let oldest_leaves = || self.calls.front().map(|call| *call + MINUTE);
        (left, if left == 0 { self.full_until(limit, now) } else { oldest_leaves() })
    }

    pub(super) fn reserve(&mut self) {
        self.reserved += 1;
        self.unshared += 1;
    }

    pub(super) fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    pub(super) fn record_call(&mut self, now: Instant, day: u64) {
        self.drop_expired(now);
        self.calls.push_back(now);
        self.roll_over(day);
        self.today += 1;
    }

    /// Removes a call that was recorded at `called` but not made.
    pub(super) fn refund_call(&mut self, called: Instant, day: u64) {
        // Searches from the end, because the call is among the newest.
        if let Some(index) = self.calls.iter().rposition(|call| *call == called) {
            self.calls.remove(index);
        }
        if self.day == day {
            self.today = self.today.saturating_sub(1);
        }
    }

    pub(super) fn last_minute(&mut self, now: Instant) -> usize {
        self.drop_expired(now);
        self.calls.len()
    }

    /// Returns the calls made and the requests refused on this day.
    pub(super) fn today(&self, day: u64) -> (u64, u64) {
        if self.day == day { (self.today, self.refused) } else { (0, 0) }
    }

    pub(super) fn set_sharing(&mut self, replicas: u32, by_others: i64, unshared: u64, now: Instant) {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        self.other_replicas = size(u64::from(replicas)).saturating_sub(1);
        self.unshared = size(unshared);
        // This maximum is above every practical limit, so more calls would have the same effect.
        let calls = size(by_others.unsigned_abs()).min(MOST_BY_OTHERS);
        if by_others < 0 {
            self.calls.truncate(self.calls.len().saturating_sub(calls));
        } else {
            self.calls.extend(std::iter::repeat_n(now, calls));
        }
    }

    pub(super) fn count_refusal(&mut self, day: u64) {
        self.roll_over(day);
        self.refused += 1;
    }

    fn roll_over(&mut self, day: u64) {
        if self.day != day {
            (self.day, self.today, self.refused) = (day, 0, 0);
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        while self.calls.front().is_some_and(|call| now.saturating_duration_since(*call) >= MINUTE) {
            self.calls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 20_000;
    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn at(seconds: u64) -> Instant {
        use std::sync::LazyLock;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        *START + Duration::from_secs(seconds)
    }

    fn with_calls(seconds: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for second in seconds {
            ledger.record_call(at(*second), DAY);
        }
        ledger
    }

    #[test]
    fn a_full_minute_has_room_once_its_oldest_call_expires() {
        let mut ledger = with_calls(&[0, 10]);
        assert_eq!(ledger.full_until(TWO, at(10)), Some(at(60)));
        assert_eq!(ledger.full_until(TWO, at(59)), Some(at(60)));
        assert_eq!(ledger.full_until(TWO, at(60)), None);
        ledger.record_call(at(60), DAY);
        assert_eq!(ledger.full_until(TWO, at(60)), Some(at(70)), "the minute slides");
    }

    #[test]
    fn below_the_limit_a_flight_may_start() {
        assert_eq!(Ledger::default().full_until(TWO, at(0)), None);
        assert_eq!(with_calls(&[0]).full_until(TWO, at(0)), None);
    }

    #[test]
    fn calls_beyond_the_limit_must_expire_first() {
        let mut ledger = with_calls(&[0, 1, 2, 3, 4]);
        assert_eq!(ledger.full_until(TWO, at(5)), Some(at(63)), "only one call is left in the minute");
        assert_eq!(ledger.full_until(TWO, at(62)), Some(at(63)));
        assert_eq!(ledger.full_until(TWO, at(63)), None);
    }

    #[test]
    fn a_flight_counts_before_its_first_call() {
        let mut ledger = Ledger::default();
        ledger.reserve();
        assert_eq!(ledger.full_until(TWO, at(0)), None);
        ledger.reserve();
        assert_eq!(ledger.full_until(TWO, at(0)), Some(at(60)), "the calls come at 0 s at the earliest");
        ledger.release();
        assert_eq!(ledger.full_until(TWO, at(1)), None, "one flight ended without a call");
        ledger.record_call(at(2), DAY);
        assert_eq!(ledger.full_until(TWO, at(3)), Some(at(62)), "one call made, one reserved");
    }

    #[test]
    fn calls_that_other_replicas_took_back_leave_the_minute() {
        let mut ledger = with_calls(&[0]);
        ledger.set_sharing(1, 2, 0, at(1));
        assert_eq!(ledger.full_until(TWO, at(1)), Some(at(61)));
        ledger.set_sharing(1, -2, 0, at(2));
        assert_eq!((ledger.full_until(TWO, at(2)), ledger.last_minute(at(2))), (None, 1));
        ledger.set_sharing(1, -5, 0, at(3));
        assert_eq!(ledger.last_minute(at(3)), 0);
    }

    #[test]
    fn the_allowance_grows_when_the_oldest_call_expires() {
        assert_eq!(Ledger::default().left(TWO, at(0)), (2, None));
        let mut ledger = with_calls(&[0]);
        assert_eq!(ledger.left(TWO, at(10)), (1, Some(at(60))));
        ledger.reserve();
        assert_eq!(ledger.left(TWO, at(10)), (0, Some(at(60))), "a flight that started will make a call");
        ledger.release();
        for second in [20, 30] {
            ledger.record_call(at(second), DAY);
        }
        assert_eq!(
            ledger.left(TWO, at(40)),
            (0, Some(at(80))),
            "one call beyond the limit must expire first"
        );
    }

    #[test]
    fn a_new_utc_day_starts_from_zero() {
        let mut ledger = with_calls(&[0, 1, 2]);
        assert_eq!((ledger.today(DAY), ledger.today(DAY + 1)), ((3, 0), (0, 0)));
        ledger.record_call(at(3), DAY + 1);
        assert_eq!(ledger.today(DAY + 1), (1, 0));
        assert_eq!(ledger.last_minute(at(3)), 4, "midnight does not reset the minute");
        assert_eq!(ledger.last_minute(at(61)), 2);
    }
}
