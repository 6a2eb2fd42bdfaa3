//! Measures how fast the day's calls are spent, by decaying sums over calls and completed refreshes. Pure, in constant
//! memory.
//!
//! Two kinds of spending are measured separately. *Refreshes* replace a snapshot that is no longer fresh. They continue
//! as long as a meeting is polled, and a longer freshness makes them rarer. Ten minutes are enough to measure their
//! rate. *Other* calls (first fetches, past meetings, failures) come in bursts. A burst does not last until midnight,
//! so their rate is the mean of some hours.
//!
//! Each refresh reports by how much stretching postponed it. Its cost without stretching can therefore be computed,
//! however much snapshots are stretched. Example: a snapshot lived for 120 s, and stretching postponed its refresh by
//! 90 s. Without stretching it would have lived for 30 s, so its 20 calls count as 20 × 120 / 30 = 80.

use std::time::{Duration, Instant};

use crate::snapshot::RefreshSample;

/// The cost of refreshes is measured over this time, or over twice the longest stretched freshness if that is longer.
const MIN_MEMORY: Duration = Duration::from_secs(600);
/// The rate of refreshes is computed over at least this time, so that the first refreshes do not look like a high rate.
const MIN_EVIDENCE: Duration = Duration::from_secs(120);
/// The rate of other calls is measured over this time. A burst of 2,000 calls counts as 0.19 calls a second at first,
/// and as less and less after that.
const LONG_MEMORY: Duration = Duration::from_secs(3 * 3600);
/// The number of classes by size: meetings of 1 page, 2 to 3, 4 to 7 and so on. A flight has at most 5,000 pages.
const SIZE_CLASSES: usize = 13;

/// The recent calls, as sums that decay.
pub(super) struct UsageRate {
    memory: Duration,
    all: DecayingSum,
    refreshing: DecayingSum,
    sizes: [SizeClass; SIZE_CLASSES],
    /// The calls of refreshes. The sum decays with `memory`, like `sizes`.
    recent: f64,
    /// The times at which the first and the last refresh of a series completed. If two refreshes are further apart than
    /// `memory`, a new series begins with the second one.
    series: Option<(Instant, Instant)>,
}

/// The cost that refreshes of meetings of similar size would have without stretching.
#[derive(Clone, Copy, Default)]
struct SizeClass {
    calls: f64,
    /// The sum of `calls`, each weighted by the part of its snapshot's life in which the snapshot was fresh. Stretching
    /// lengthens only this part. For the rest of its life, the snapshot waits for the next request and its refresh.
    calls_due_to_freshness: f64,
    /// The sum of `calls`, each divided by the square root of its meeting's pages.
    calls_by_root: f64,
}

impl UsageRate {
    /// Starts with nothing spent. `longest_fresh` is how long a snapshot is fresh at the maximum stretch.
    pub(super) fn new(longest_fresh: Duration) -> Self {
        Self {
            memory: MIN_MEMORY.max(longest_fresh.saturating_mul(2)),
            all: DecayingSum::default(),
            refreshing: DecayingSum::default(),
            sizes: [SizeClass::default(); SIZE_CLASSES],
            recent: 0.0,
            series: None,
        }
    }

    pub(super) fn count_call(&mut self, now: Instant) {
        self.all.add(1.0, now);
    }

    pub(super) fn uncount_call(&mut self, now: Instant) {
        self.all.add(-1.0, now);
    }

    pub(super) fn record_refresh(&mut self, sample: RefreshSample, now: Instant) {
        let pages = sample.pages.max(1);
        let calls = f64::from(pages);
        self.refreshing.add(calls, now);
        self.fade(now);
        let life_unstretched = sample.lived.saturating_sub(sample.postponed).max(Duration::from_millis(1));
        let unstretched = calls * (sample.lived.as_secs_f64() / life_unstretched.as_secs_f64()).max(1.0);
        let class = usize::try_from(pages.ilog2()).unwrap_or(SIZE_CLASSES).min(SIZE_CLASSES - 1);
        if let Some(class) = self.sizes.get_mut(class) {
            let of_freshness = sample.unstretched.as_secs_f64() / life_unstretched.as_secs_f64();
            class.calls += unstretched;
            class.calls_due_to_freshness += unstretched * of_freshness.min(1.0);
            class.calls_by_root += unstretched / calls.sqrt();
        }
        self.recent += calls;
    }

    /// Returns how many calls a second refreshes cost at the current stretch.
    pub(super) fn refreshes(&self, now: Instant) -> f64 {
        self.recent * self.per_second(now)
    }

    /// Returns how many calls a second refreshes would cost if each meeting stayed fresh longer by the factor
    /// `stretch`. This factor is a function of the square root of the meeting's pages.
    pub(super) fn refreshes_if(&self, stretch: impl Fn(f64) -> f64, now: Instant) -> f64 {
        let cost = |class: &SizeClass| {
            let longer = stretch(class.calls / class.calls_by_root) - 1.0;
            class.calls / (1.0 + class.calls_due_to_freshness / class.calls * longer)
        };
        let calls: f64 = self.sizes.iter().filter(|class| class.calls > 0.0).map(cost).sum();
        calls * self.per_second(now)
    }

    /// Returns how many calls a second everything except refreshes costs.
    pub(super) fn others(&self, now: Instant) -> f64 {
        (self.all.at(now) - self.refreshing.at(now)).max(0.0) / LONG_MEMORY.as_secs_f64()
    }

    /// Returns the factor that converts the sums at the time of the last refresh into calls a second now.
    ///
    /// A sum that decays with memory M and grows by r a second approaches r × M. After a time t, it has reached r × M ×
    /// (1 − e^(−t / M)). Dividing it by M × (1 − e^(−t / M)) therefore gives r, even after a short time.
    fn per_second(&self, now: Instant) -> f64 {
        let Some((first, last)) = self.series else { return 0.0 };
        let memory = self.memory.as_secs_f64();
        let evidence = now.saturating_duration_since(first).max(MIN_EVIDENCE).as_secs_f64();
        decay(last, now, self.memory) / memory / (1.0 - (-evidence / memory).exp())
    }

    fn fade(&mut self, now: Instant) {
        let left = match self.series {
            Some((first, last)) if now.saturating_duration_since(last) < self.memory => {
                self.series = Some((first, now.max(last)));
                decay(last, now, self.memory)
            }
            _ => {
                self.series = Some((now, now));
                0.0
            }
        };
        for class in &mut self.sizes {
            class.calls *= left;
            class.calls_due_to_freshness *= left;
            class.calls_by_root *= left;
        }
        self.recent *= left;
    }
}

/// A sum that decays with [`LONG_MEMORY`].
#[derive(Default)]
struct DecayingSum {
    sum: f64,
    last: Option<Instant>,
}

impl DecayingSum {
    fn add(&mut self, calls: f64, now: Instant) {
        self.sum = self.at(now) + calls;
        self.last = self.last.max(Some(now));
    }

    fn at(&self, now: Instant) -> f64 {
        self.last.map_or(0.0, |last| self.sum * decay(last, now, LONG_MEMORY))
    }
}

/// Returns the part of a sum that is left at `now` if the sum was complete at `last`.
fn decay(last: Instant, now: Instant, memory: Duration) -> f64 {
    (-now.saturating_duration_since(last).as_secs_f64() / memory.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the usage after two hours in which one meeting was refreshed as soon as it was stale.
    fn one_meeting(pages: u32, stretch: u32) -> (UsageRate, Instant) {
        let (mut usage, mut now) = (UsageRate::new(300 * SECOND), Instant::now());
        let end = now + 7_200 * SECOND;
        while now < end {
            now += 30 * stretch * SECOND;
            for _ in 0..pages {
                usage.count_call(now);
            }
            let lived = 30 * stretch * SECOND;
            let postponed = 30 * (stretch - 1) * SECOND;
            let sample = RefreshSample { pages, lived, postponed, unstretched: 30 * SECOND };
            usage.record_refresh(sample, now);
        }
        (usage, now)
    }

    fn about(value: f64, expected: f64) -> bool {
        (expected * 0.97..=expected * 1.3).contains(&value)
    }

    #[test]
    fn the_cost_without_stretching_is_observed_at_any_stretch() {
        for stretch in [1, 2, 5, 10] {
            let (usage, now) = one_meeting(20, stretch);
            let unstretched = usage.refreshes_if(|_| 1.0, now);
            assert!(about(unstretched, 20.0 / 30.0), "{stretch}: {unstretched}");
            let as_it_is = usage.refreshes(now);
            assert!(about(as_it_is, 20.0 / 30.0 / f64::from(stretch)), "{stretch}: {as_it_is}");
            let twice = usage.refreshes_if(|_| 2.0, now);
            assert!((twice - unstretched / 2.0).abs() < 1e-9, "{stretch}: {twice}");
            assert!(usage.others(now) < 0.001, "{}", usage.others(now));
        }
    }

    #[test]
    fn a_rarely_polled_meeting_gains_little_from_a_longer_freshness() {
        let (mut usage, now) = (UsageRate::new(300 * SECOND), Instant::now());
        let (lived, unstretched) = (300 * SECOND, 30 * SECOND);
        usage.record_refresh(RefreshSample { pages: 1, lived, postponed: Duration::ZERO, unstretched }, now);
        let ratio = usage.refreshes_if(|_| 2.0, now) / usage.refreshes_if(|_| 1.0, now);
        assert!((ratio - 1.0 / 1.1).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn refreshes_that_stop_fade_within_the_hour_and_other_calls_slowly() {
        let (mut usage, now) = one_meeting(20, 1);
        let later = now + 3_600 * SECOND;
        assert!(usage.refreshes_if(|_| 1.0, later) < 0.002);
        for _ in 0..2_000 {
            usage.count_call(later);
        }
        assert!(about(usage.others(later), 2_000.0 / 10_800.0), "{}", usage.others(later));
        assert!(about(usage.others(later + LONG_MEMORY), 2_000.0 / 10_800.0 / 2.72));
    }

    #[test]
    fn without_calls_and_after_an_uncounted_call_the_rate_is_zero() {
        let (mut usage, now) = (UsageRate::new(SECOND), Instant::now());
        assert!(usage.refreshes_if(|_| 1.0, now) == 0.0 && usage.refreshes(now) == 0.0);
        usage.count_call(now);
        usage.uncount_call(now);
        assert!(usage.others(now).abs() < 1e-9);
    }
}
