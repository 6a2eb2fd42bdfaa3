//! Spaces this process's calls so that no second contains more calls than permitted, with some slack for the network.
//! At saturation, at least 95 % of the permitted calls are used.
//!
//! A token bucket of burst *b* and period *T* admits at most *b* + ⌈1 s / *T*⌉ − 1 calls in any second. For N permitted calls:
//!
//! - *T* = 1.01 s / (N − *b* + 1). The additional 10 ms are slack for calls that reach Zoom closer together than they were sent.
//!   This happens, for example, if the first call had to open a connection and the second did not.
//! - *b* makes up for timers that fire a millisecond or two late: *b* = 2 for N = 40. After a pause, the tokens are not
//!   spent as a burst, because the first call takes all of them.
//! - Below N = 29, *b* = 1, because a second token would cost more throughput (1 / N) than late timers do.
//!
//! Example: N = 40 gives b = 2 and T = 1.01 s / 39 = 25.9 ms, that is 38.6 calls a second, or 96.5 %. The worst second contains
//! 2 + ⌈1 s / 25.9 ms⌉ − 1 = 40 calls.

use std::{
    cell::Cell,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

/// The time over which N calls are spread, in nanoseconds.
const SECOND_WITH_SLACK: u64 = 1_010_000_000;
/// The lowest rate, in calls a second, at which an additional token makes up for late timers.
const SPARE_TOKEN_FROM: u32 = 29;

/// A governor bucket with the parameters above.
pub(super) struct RateLimiter<C: Clock<Instant = Instant> = MonotonicClock> {
    bucket: governor::RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<Instant>>,
    capacity: NonZeroU32,
    period: Duration,
    last_taken: Cell<Option<Instant>>,
}

/// A slot of the rate for one call, which only [`super::permit::Permit::from_rate`] consumes.
#[derive(Debug)]
pub(super) struct RateSlot(());

impl RateLimiter {
    pub(super) fn new(calls_per_second: NonZeroU32) -> Self {
        Self::with_clock(calls_per_second, MonotonicClock)
    }
}

impl<C: Clock<Instant = Instant>> RateLimiter<C> {
    fn with_clock(calls_per_second: NonZeroU32, clock: C) -> Self {
        let (capacity, period) = bucket_for(calls_per_second);
        let quota = governor::Quota::with_period(period).map_or_else(
            || governor::Quota::per_second(NonZeroU32::MIN),
            |quota| quota.allow_burst(capacity),
        );
        let bucket = governor::RateLimiter::direct_with_clock(quota, clock);
        Self { bucket, capacity, period, last_taken: Cell::default() }
    }

    /// Takes a slot, or fails with the earliest time at which another attempt can succeed.
    pub(super) fn try_take(&self) -> Result<RateSlot, Instant> {
        // Only a full bucket has `capacity` tokens. The first call after a pause takes all of them, so that no burst
        // follows.
        if !matches!(self.bucket.check_n(self.capacity), Ok(Ok(()))) {
            self.bucket.check().map_err(|not_until| not_until.earliest_possible())?;
        }
        self.last_taken.set(Some(self.bucket.clock().now()));
        Ok(RateSlot(()))
    }

    /// Estimates when the next slot can be taken. If a timer fired late, the slot can be taken a little sooner than
    /// estimated.
    pub(super) fn next_at(&self) -> Instant {
        let now = self.bucket.clock().now();
        self.last_taken.get().map_or(now, |last| now.max(last + self.period))
    }

    /// Returns the mean time between two calls at saturation.
    pub(super) fn period(&self) -> Duration {
        self.period
    }
}

fn bucket_for(calls_per_second: NonZeroU32) -> (NonZeroU32, Duration) {
    let calls = calls_per_second.get();
    // Timers fire up to 2 ms late. At 1,000 calls a second, two more calls become due in that time.
    let burst = if calls < SPARE_TOKEN_FROM { 1 } else { 2 + calls / 500 };
    let spaced = u64::from(calls.saturating_sub(burst - 1).max(1));
    let period = Duration::from_nanos(SECOND_WITH_SLACK.div_ceil(spaced));
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

    /// Saturates the limiter for a minute: the n-th timer fires `late(n)` late, and a pause follows every `pause_every`-th call.
    /// Returns the maximum number of calls in any second, and the part of the permitted calls that was used.
    fn saturate(permitted: u32, late: impl Fn(u32) -> Duration, pause_every: Option<u32>) -> (usize, f64) {
        let start = Instant::now();
        let clock = TestClock(Rc::new(Cell::new(start)));
        let rate = RateLimiter::with_clock(NonZeroU32::new(permitted).unwrap(), clock.clone());
        let (mut in_a_second, mut most, mut granted) = (VecDeque::new(), 0, 0_u32);
        while clock.now() < start + Duration::from_secs(60) {
            match rate.try_take() {
                Ok(RateSlot(())) => {
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
                |late: u64, pauses| saturate(permitted, |_| Duration::from_millis(late), pauses).0;
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
            let (_, used) = saturate(permitted, |n| Duration::from_micros(u64::from(n % 3) * 600), None);
            assert!(used >= 0.95, "{permitted}: {used}");
        }
    }
}
