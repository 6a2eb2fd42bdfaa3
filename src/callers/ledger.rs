//! What was spent for one caller: calls of the last minute, and of the UTC day. Pure: who asks says what time it is.
//!
//! Counts and does not stop anybody: a flight that has begun is finished. Only who wants to take off asks first.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// `calls_per_minute` is about any minute, not one of the clock's: 60 calls at its end and 60 at the next one's begin
/// would be 120 within a second.
const MINUTE: Duration = Duration::from_secs(60);

/// What was spent for one caller.
#[derive(Default)]
pub(super) struct Ledger {
    /// The last minute's calls, oldest first. All callers' together are no more than the budget lets through.
    calls: VecDeque<Instant>,
    /// Flights that took off and made no call yet. Their first call counts from then on, or any number of flights could
    /// take off together before the first of them makes a call.
    booked: usize,
    /// Which UTC day is counted, and its calls.
    day: u64,
    today: u64,
}

impl Ledger {
    /// When `ceiling` leaves room for another flight; `None` when it does now.
    pub(super) fn full_until(&mut self, ceiling: NonZeroU32, now: Instant) -> Option<Instant> {
        self.forget_before(now);
        let ceiling = usize::try_from(ceiling.get()).unwrap_or(usize::MAX);
        let too_many = (self.calls.len() + self.booked).checked_sub(ceiling)?;
        // So many have to leave the minute, and one more. Those that are only booked will be in it for all of it.
        Some(self.calls.get(too_many).map_or(now, |call| *call) + MINUTE)
    }

    /// How many more calls `ceiling` leaves room for, and when it will be more: when the oldest call leaves the minute.
    pub(super) fn room(&mut self, ceiling: NonZeroU32, now: Instant) -> (u32, Option<Instant>) {
        self.forget_before(now);
        let spent = u32::try_from(self.calls.len() + self.booked).unwrap_or(u32::MAX);
        let left = ceiling.get().saturating_sub(spent);
        let oldest_leaves = || self.calls.front().map(|call| *call + MINUTE);
        (left, if left == 0 { self.full_until(ceiling, now) } else { oldest_leaves() })
    }

    /// A flight takes off.
    pub(super) fn book(&mut self) {
        self.booked += 1;
    }

    /// It ended without a call.
    pub(super) fn give_back(&mut self) {
        self.booked = self.booked.saturating_sub(1);
    }

    /// A call is made.
    pub(super) fn call(&mut self, now: Instant, day: u64) {
        self.forget_before(now);
        self.calls.push_back(now);
        if self.day != day {
            (self.day, self.today) = (day, 0);
        }
        self.today += 1;
    }

    /// The call that was counted at that time was not made.
    pub(super) fn uncall(&mut self, called: Instant, day: u64) {
        // Among the youngest.
        if let Some(place) = self.calls.iter().rposition(|call| *call == called) {
            self.calls.remove(place);
        }
        if self.day == day {
            self.today = self.today.saturating_sub(1);
        }
    }

    /// Calls of the last minute.
    pub(super) fn last_minute(&mut self, now: Instant) -> usize {
        self.forget_before(now);
        self.calls.len()
    }

    /// Calls of this UTC day.
    pub(super) fn today(&self, day: u64) -> u64 {
        if self.day == day { self.today } else { 0 }
    }

    fn forget_before(&mut self, now: Instant) {
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
            ledger.call(at(*second), DAY);
        }
        ledger
    }

    #[test]
    fn there_is_room_again_when_the_oldest_call_is_a_minute_old_and_not_before() {
        let mut ledger = with_calls(&[0, 10]);
        assert_eq!(ledger.full_until(TWO, at(10)), Some(at(60)));
        assert_eq!(ledger.full_until(TWO, at(59)), Some(at(60)));
        assert_eq!(ledger.full_until(TWO, at(60)), None);
        ledger.call(at(60), DAY);
        assert_eq!(ledger.full_until(TWO, at(60)), Some(at(70)), "a minute slides");
    }

    #[test]
    fn below_the_ceiling_there_is_room() {
        assert_eq!(Ledger::default().full_until(TWO, at(0)), None);
        assert_eq!(with_calls(&[0]).full_until(TWO, at(0)), None);
    }

    #[test]
    fn a_flight_that_made_more_calls_than_the_ceiling_is_waited_for() {
        let mut ledger = with_calls(&[0, 1, 2, 3, 4]);
        assert_eq!(ledger.full_until(TWO, at(5)), Some(at(63)), "when one call is left in the minute");
        assert_eq!(ledger.full_until(TWO, at(62)), Some(at(63)));
        assert_eq!(ledger.full_until(TWO, at(63)), None);
    }

    #[test]
    fn flights_that_take_off_together_count_before_their_first_calls() {
        let mut ledger = Ledger::default();
        ledger.book();
        assert_eq!(ledger.full_until(TWO, at(0)), None);
        ledger.book();
        assert_eq!(ledger.full_until(TWO, at(0)), Some(at(60)), "they will call, at the earliest now");
        ledger.give_back();
        assert_eq!(ledger.full_until(TWO, at(1)), None, "one ended without a call");
        ledger.call(at(2), DAY);
        assert_eq!(ledger.full_until(TWO, at(3)), Some(at(62)), "one called, one is still booked");
    }

    #[test]
    fn room_is_what_the_ceiling_leaves_and_grows_when_the_oldest_call_leaves_the_minute() {
        assert_eq!(Ledger::default().room(TWO, at(0)), (2, None));
        let mut ledger = with_calls(&[0]);
        assert_eq!(ledger.room(TWO, at(10)), (1, Some(at(60))));
        ledger.book();
        assert_eq!(ledger.room(TWO, at(10)), (0, Some(at(60))), "a flight that took off will call");
        ledger.give_back();
        for second in [20, 30] {
            ledger.call(at(second), DAY);
        }
        assert_eq!(ledger.room(TWO, at(40)), (0, Some(at(80))), "one beyond the ceiling is waited for");
    }

    #[test]
    fn the_day_is_counted_from_midnight() {
        let mut ledger = with_calls(&[0, 1, 2]);
        assert_eq!((ledger.today(DAY), ledger.today(DAY + 1)), (3, 0));
        ledger.call(at(3), DAY + 1);
        assert_eq!(ledger.today(DAY + 1), 1);
        assert_eq!(ledger.last_minute(at(3)), 4, "midnight does not end a minute");
        assert_eq!(ledger.last_minute(at(61)), 2);
    }
}
