//! How fast the day is being spent: decaying sums over counted calls and landed refreshes. Pure, in constant memory.
//!
//! Two kinds of spending, because they end differently. *Refreshes* replace a snapshot whose freshness was over: they go
//! on for as long as a meeting is polled, a longer freshness makes them rarer, and ten minutes tell their rate. *Other*
//! calls (first fetches, past meetings, failures) come in bursts: those of a backfill will not go on until midnight, so
//! what is expected of them is the mean of some hours.
//!
//! Of each refresh it is known how much later it came than without stretching. So what refreshes would cost without any
//! is observed, while they are stretched, and does not depend on how much.

use std::time::{Duration, Instant};

use crate::snapshot::RefreshSample;

/// What refreshes cost now is seen in this time, or in two of the longest lives of a stretched snapshot.
const LEAST_MEMORY: Duration = Duration::from_secs(600);
/// From the first refresh on, the rate is what came in the time since, but no less than this.
const LEAST_EVIDENCE: Duration = Duration::from_secs(120);
/// For other calls: a backfill of 2,000 counts as 0.19 calls a second, and less from then on.
const LONG_MEMORY: Duration = Duration::from_secs(3 * 3600);
/// Meetings of 1 page, 2 to 3, 4 to 7 and so on; a flight has 5,000 at most.
const SIZES: usize = 13;

/// Recent spending.
pub struct Pace {
    memory: Duration,
    all: Decaying,
    refreshing: Decaying,
    sizes: [Size; SIZES],
    /// Calls of refreshes, with the short memory.
    recent: f64,
    /// When the first refresh landed, and the last one. What lies far apart is not one series.
    series: Option<(Instant, Instant)>,
}

/// Refreshes of meetings of like size, each as it would be without stretching, in calls.
#[derive(Clone, Copy, Default)]
struct Size {
    calls: f64,
    /// The part of their time in which they are fresh and that stretching lengthens; the rest is waiting for the
    /// next request, and fetching.
    of_freshness: f64,
    /// Calls by the root of the pages.
    by_root: f64,
}

impl Pace {
    /// Nothing spent yet. `longest_fresh`: of a snapshot that is stretched as far as it may be.
    #[must_use]
    pub fn new(longest_fresh: Duration) -> Self {
        Self {
            memory: LEAST_MEMORY.max(longest_fresh.saturating_mul(2)),
            all: Decaying::default(),
            refreshing: Decaying::default(),
            sizes: [Size::default(); SIZES],
            recent: 0.0,
            series: None,
        }
    }

    /// A call was made.
    pub fn count_one(&mut self, now: Instant) {
        self.all.add(1.0, now);
    }

    /// A call was counted and not made.
    pub fn uncount_one(&mut self, now: Instant) {
        self.all.add(-1.0, now);
    }

    /// A refresh landed.
    pub fn refreshed(&mut self, refresh: RefreshSample, now: Instant) {
        let calls = f64::from(refresh.pages.max(1));
        self.refreshing.add(calls, now);
        self.fade(now);
        let in_time = refresh.lived.saturating_sub(refresh.postponed).max(Duration::from_millis(1));
        let unstretched = calls * (refresh.lived.as_secs_f64() / in_time.as_secs_f64()).max(1.0);
        let size = usize::try_from(refresh.pages.max(1).ilog2()).unwrap_or(SIZES).min(SIZES - 1);
        if let Some(size) = self.sizes.get_mut(size) {
            size.calls += unstretched;
            size.of_freshness +=
                unstretched * (refresh.unstretched.as_secs_f64() / in_time.as_secs_f64()).min(1.0);
            size.by_root += unstretched / calls.sqrt();
        }
        self.recent += calls;
    }

    /// Calls a second that refreshes cost, as they are stretched now.
    #[must_use]
    pub fn refreshes(&self, now: Instant) -> f64 {
        self.recent * self.per_second(now)
    }

    /// Calls a second that they would cost if a meeting's freshness were `factor` times as long; that gets the root of
    /// its pages.
    #[must_use]
    pub fn refreshes_if(&self, factor: impl Fn(f64) -> f64, now: Instant) -> f64 {
        let cost = |size: &Size| {
            let longer = factor(size.calls / size.by_root) - 1.0;
            size.calls / (1.0 + size.of_freshness / size.calls * longer)
        };
        let calls: f64 = self.sizes.iter().filter(|size| size.calls > 0.0).map(cost).sum();
        calls * self.per_second(now)
    }

    /// Calls a second for everything else.
    #[must_use]
    pub fn others(&self, now: Instant) -> f64 {
        (self.all.at(now) - self.refreshing.at(now)).max(0.0) / LONG_MEMORY.as_secs_f64()
    }

    /// What makes a rate of the sums as of the last refresh.
    fn per_second(&self, now: Instant) -> f64 {
        let Some((first, last)) = self.series else { return 0.0 };
        let memory = self.memory.as_secs_f64();
        let evidence = now.saturating_duration_since(first).max(LEAST_EVIDENCE).as_secs_f64();
        faded(last, now, self.memory) / memory / (1.0 - (-evidence / memory).exp())
    }

    fn fade(&mut self, now: Instant) {
        let left = match self.series {
            Some((first, last)) if now.saturating_duration_since(last) < self.memory => {
                self.series = Some((first, now.max(last)));
                faded(last, now, self.memory)
            }
            _ => {
                self.series = Some((now, now));
                0.0
            }
        };
        for size in &mut self.sizes {
            size.calls *= left;
            size.of_freshness *= left;
            size.by_root *= left;
        }
        self.recent *= left;
    }
}

/// A sum in which what is long ago counts less, with the long memory.
#[derive(Default)]
struct Decaying {
    sum: f64,
    last: Option<Instant>,
}

impl Decaying {
    fn add(&mut self, calls: f64, now: Instant) {
        self.sum = self.at(now) + calls;
        self.last = self.last.max(Some(now));
    }

    fn at(&self, now: Instant) -> f64 {
        self.last.map_or(0.0, |last| self.sum * faded(last, now, LONG_MEMORY))
    }
}

/// What is left of a sum after a while.
fn faded(last: Instant, now: Instant, memory: Duration) -> f64 {
    (-now.saturating_duration_since(last).as_secs_f64() / memory.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One meeting, asked for so often that it is refreshed as soon as it is not fresh, for two hours.
    fn one_meeting(pages: u32, stretch: u32) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::new(300 * SECOND), Instant::now());
        let end = now + 7_200 * SECOND;
        while now < end {
            now += 30 * stretch * SECOND;
            for _ in 0..pages {
                pace.count_one(now);
            }
            let lived = 30 * stretch * SECOND;
            let postponed = 30 * (stretch - 1) * SECOND;
            let refresh = RefreshSample { pages, lived, postponed, unstretched: 30 * SECOND };
            pace.refreshed(refresh, now);
        }
        (pace, now)
    }

    fn about(value: f64, expected: f64) -> bool {
        (expected * 0.97..=expected * 1.3).contains(&value)
    }

    #[test]
    fn what_refreshes_would_cost_unstretched_is_seen_however_much_they_are_stretched() {
        for stretch in [1, 2, 5, 10] {
            let (pace, now) = one_meeting(20, stretch);
            let unstretched = pace.refreshes_if(|_| 1.0, now);
            assert!(about(unstretched, 20.0 / 30.0), "{stretch}: {unstretched}");
            let as_it_is = pace.refreshes(now);
            assert!(about(as_it_is, 20.0 / 30.0 / f64::from(stretch)), "{stretch}: {as_it_is}");
            let twice = pace.refreshes_if(|_| 2.0, now);
            assert!((twice - unstretched / 2.0).abs() < 1e-9, "{stretch}: {twice}");
            assert!(pace.others(now) < 0.001, "{}", pace.others(now));
        }
    }

    #[test]
    fn a_meeting_that_is_seldom_asked_for_gains_little_by_a_longer_freshness() {
        let (mut pace, now) = (Pace::new(300 * SECOND), Instant::now());
        let (lived, unstretched) = (300 * SECOND, 30 * SECOND);
        pace.refreshed(RefreshSample { pages: 1, lived, postponed: Duration::ZERO, unstretched }, now);
        let ratio = pace.refreshes_if(|_| 2.0, now) / pace.refreshes_if(|_| 1.0, now);
        assert!((ratio - 1.0 / 1.1).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn refreshes_that_stop_are_forgotten_within_the_hour_and_a_burst_of_other_calls_fades_slowly() {
        let (mut pace, now) = one_meeting(20, 1);
        let later = now + 3_600 * SECOND;
        assert!(pace.refreshes_if(|_| 1.0, later) < 0.002);
        for _ in 0..2_000 {
            pace.count_one(later);
        }
        assert!(about(pace.others(later), 2_000.0 / 10_800.0), "{}", pace.others(later));
        assert!(about(pace.others(later + LONG_MEMORY), 2_000.0 / 10_800.0 / 2.72));
    }

    #[test]
    fn nothing_spent_is_no_pace_and_what_was_given_back_neither() {
        let (mut pace, now) = (Pace::new(SECOND), Instant::now());
        assert!(pace.refreshes_if(|_| 1.0, now) == 0.0 && pace.refreshes(now) == 0.0);
        pace.count_one(now);
        pace.uncount_one(now);
        assert!(pace.others(now).abs() < 1e-9);
    }
}
