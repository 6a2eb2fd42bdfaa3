//! The pace: no sliding second, as Zoom sees it, holds more than the permitted calls, and saturation uses 95 % of them.
//!
//! A bucket of burst *b* and period *T* admits at most *b* + ⌈1 s / *T*⌉ − 1 calls in any second. With N permitted calls:
//!
//! - *T* = 1.01 s / (N − b + 1). The hundredth more than a second is slack for calls that reach Zoom closer together
//!   than they left: a first call that still had to connect, and a later one that found the connection open.
//! - *b* only makes up for timers that fire late (a millisecond or two): b = 2 for N = 40. It is never spent as a
//!   burst, because a call after a pause takes the whole bucket; so a saturated second holds about N − b + 1 calls.
//! - For N below 29 b = 1: a second cell would cost more use (1 / N) than late timers do.
//!
//! N = 40: b = 2, T = 25.9 ms, 38.6 calls a second: 96.5 %.

use std::{
    cell::Cell,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

/// The second that the pace is laid out for, in nanoseconds.
const SECOND_WITH_SLACK: u64 = 1_010_000_000;
/// From this many calls a second on, a cell is spent on late timers.
const ENOUGH_FOR_A_SPARE_CELL: u32 = 29;

/// A governor bucket, set up by the law above.
pub struct Second<C: Clock<Instant = Instant> = MonotonicClock> {
    bucket: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<Instant>>,
    whole_bucket: NonZeroU32,
    period: Duration,
    /// When a call was last taken.
    last: Cell<Option<Instant>>,
}

impl Second {
    /// A pace for so many calls a second.
    #[must_use]
    pub fn new(permitted: NonZeroU32) -> Self {
        Self::with_clock(permitted, MonotonicClock)
    }
}

impl<C: Clock<Instant = Instant>> Second<C> {
    fn with_clock(permitted: NonZeroU32, clock: C) -> Self {
        let (burst, period) = shape(permitted);
        let quota = Quota::with_period(period)
            .map_or_else(|| Quota::per_second(NonZeroU32::MIN), |quota| quota.allow_burst(burst));
        let bucket = RateLimiter::direct_with_clock(quota, clock);
        Self { bucket, whole_bucket: burst, period, last: Cell::default() }
    }

    /// Takes one call, or says when the next can be taken.
    ///
    /// # Errors
    /// The earliest time at which asking again can succeed.
    pub fn take(&self) -> Result<(), Instant> {
        // Only a full bucket has this many: the first call after a pause takes them all, so no burst follows it.
        if !matches!(self.bucket.check_n(self.whole_bucket), Ok(Ok(()))) {
            self.bucket.check().map_err(|not_until| not_until.earliest_possible())?;
        }
        self.last.set(Some(self.bucket.clock().now()));
        Ok(())
    }

    /// When the next call can be taken, if timers are not late: then it can be a little sooner.
    #[must_use]
    pub fn next(&self) -> Instant {
        let now = self.bucket.clock().now();
        self.last.get().map_or(now, |last| now.max(last + self.period))
    }

    /// Mean time between two calls when calls are always waiting.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

fn shape(permitted: NonZeroU32) -> (NonZeroU32, Duration) {
    let calls = permitted.get();
    // Timers are late by up to 2 ms; at a thousand calls a second that is two calls more.
    let burst = if calls < ENOUGH_FOR_A_SPARE_CELL { 1 } else { 2 + calls / 500 };
    let paced = u64::from(calls.saturating_sub(burst - 1).max(1));
    let period = Duration::from_nanos(SECOND_WITH_SLACK.div_ceil(paced));
    (NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN), period)
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, rc::Rc};

    use super::*;

    #[derive(Clone)]
    struct TestClock(Rc<Cell<Instant>>);

    impl Clock for TestClock {
        type Instant = Instant;
        fn now(&self) -> Instant {
            self.0.get()
        }
    }

    /// Runs a saturated pace for a minute; `late` says how late the n-th timer fires, `idle` inserts pauses.
    fn run(permitted: u32, late: impl Fn(u32) -> Duration, pause_every: Option<u32>) -> (usize, f64) {
        let start = Instant::now();
        let clock = TestClock(Rc::new(Cell::new(start)));
        let second = Second::with_clock(NonZeroU32::new(permitted).unwrap(), clock.clone());
        let (mut in_a_second, mut most, mut granted) = (VecDeque::new(), 0, 0_u32);
        while clock.now() < start + Duration::from_secs(60) {
            match second.take() {
                Ok(()) => {
                    granted += 1;
                    in_a_second.push_back(clock.now());
                    while in_a_second.front().is_some_and(|at| clock.now() - *at >= Duration::from_secs(1)) {
                        in_a_second.pop_front();
                    }
                    most = most.max(in_a_second.len());
                    if pause_every.is_some_and(|every| granted.is_multiple_of(every)) {
                        clock.0.set(clock.now() + Duration::from_millis(700));
                    }
                }
                Err(at) => clock.0.set(at + late(granted)),
            }
        }
        (most, f64::from(granted) / 60.0 / f64::from(permitted))
    }

    const PERMITTED: [u32; 14] = [1, 2, 5, 9, 10, 20, 27, 28, 29, 36, 40, 100, 400, 1000];

    #[test]
    fn no_second_ever_holds_more_than_the_permitted_calls() {
        for permitted in PERMITTED {
            let most_in_a_second =
                |late: u64, pauses| run(permitted, |_| Duration::from_millis(late), pauses).0;
            for late in [0, 1, 3, 30, 400] {
                for pauses in [None, Some(1), Some(7), Some(permitted)] {
                    let most = most_in_a_second(late, pauses);
                    assert!(most <= permitted as usize, "{permitted}: {most} at {late} ms late, {pauses:?}");
                }
            }
        }
    }

    #[test]
    fn saturation_uses_at_least_95_percent_with_timers_a_millisecond_late() {
        for permitted in PERMITTED {
            let (_, used) = run(permitted, |n| Duration::from_micros(u64::from(n % 3) * 600), None);
            assert!(used >= 0.95, "{permitted}: {used}");
        }
    }
}
