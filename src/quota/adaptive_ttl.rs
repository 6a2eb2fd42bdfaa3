//! The adaptive TTL: *stretches* the freshness of live snapshots, so that the day's calls last until 00:00 UTC. Pure.
//!
//! The *pressure* is computed from the cost that refreshes would have without stretching ([`UsageRate`]), and from the
//! calls and the time that the day has left. The freshness of a meeting of p pages is multiplied by pressure × √p, but
//! at least by 1 and at most by the configured maximum. If enough calls are left, the pressure is 0 and nothing is
//! stretched. The root minimises the mean age of all meetings for a given number of calls; see
//! docs/adr/0010-adaptive-freshness.md.
//!
//! Example: 1,000 calls are left for 10,000 s. Refreshes without stretching would cost 0.3 calls a second, all for
//! meetings of one page. The remaining calls allow 0.1 calls a second, of which 97 % are planned. The pressure is 0.3 /
//! 0.097 = 3.1, so a snapshot that would be fresh for 30 s is fresh for 93 s.
//!
//! The stretch cannot oscillate, because it does not affect the cost from which the pressure is computed. If the calls
//! are spent faster or more slowly than planned, the number of remaining calls corrects the pressure.

use std::time::{Duration, Instant};

use super::usage::UsageRate;
use crate::snapshot::RefreshSample;

/// The part of the remaining calls that is planned. The other 3 % allow for errors of the estimate.
const PLANNED: f64 = 0.97;
/// The number of bisections of the range of pressures. A range of 1000 divided by 2^30 is finer than any visible
/// difference.
const BISECTIONS: u32 = 30;

/// The recent calls, and the rule that derives the stretch from them.
pub struct AdaptiveTtl {
    max_stretch: f64,
    pub(super) usage: UsageRate,
}

/// The calls and the time that are left in the day.
#[derive(Debug, Clone, Copy)]
pub struct Remaining {
    /// The remaining calls.
    pub calls: u64,
    /// The part of `calls` that this process may use for its plan, 0 to 1.
    pub part: f64,
    /// The time until 00:00 UTC.
    pub time: Duration,
}

/// Whether the day's calls will last at the current rate.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// The current rate of calls.
    pub calls_per_second: f64,
    /// The number of calls until 00:00 UTC at this rate.
    pub calls_to_come: f64,
    /// The time until no call is left, if that is before 00:00 UTC.
    pub spent_in: Option<Duration>,
    /// The mean factor by which live snapshots stay fresh longer, weighted by calls.
    pub stretch: f64,
}

impl AdaptiveTtl {
    /// `max_stretch` is the maximum factor by which `live_fresh` is stretched.
    pub fn new(max_stretch: u32, live_fresh: Duration) -> Self {
        let usage = UsageRate::new(live_fresh.saturating_mul(max_stretch));
        Self { max_stretch: f64::from(max_stretch.max(1)), usage }
    }

    /// Counts a call.
    pub fn count_call(&mut self, now: Instant) {
        self.usage.count_call(now);
    }

    /// Records a completed refresh.
    pub fn record_refresh(&mut self, sample: RefreshSample, now: Instant) {
        self.usage.record_refresh(sample, now);
    }

    /// Returns how many calls an hour refreshes would cost without stretching.
    pub(super) fn refresh_demand(&self, now: Instant) -> f64 {
        self.usage.refreshes_if(|_| 1.0, now) * 3_600.0
    }

    /// Returns the factor by which a live snapshot of `pages` pages stays fresh longer.
    pub fn factor(&self, pages: u32, remaining: Remaining, now: Instant) -> f64 {
        self.stretch_at(self.pressure(remaining, now))(f64::from(pages.max(1)).sqrt())
    }

    /// Predicts how the rest of the day's calls will be spent.
    pub fn forecast(&self, remaining: Remaining, now: Instant) -> Forecast {
        let calls_per_second = self.usage.refreshes(now) + self.usage.others(now);
        let calls_to_come = calls_per_second * remaining.time.as_secs_f64();
        let calls = remaining.planned_calls();
        let spent_in = if remaining.calls == 0 {
            Some(Duration::ZERO)
        } else {
            (calls_to_come > calls).then(|| remaining.time.mul_f64(calls / calls_to_come))
        };
        let unstretched = self.usage.refreshes_if(|_| 1.0, now);
        let stretched = self.usage.refreshes_if(self.stretch_at(self.pressure(remaining, now)), now);
        let stretch = if stretched > 0.0 { unstretched / stretched } else { 1.0 };
        Forecast { calls_per_second, calls_to_come, spent_in, stretch }
    }

    fn stretch_at(&self, pressure: f64) -> impl Fn(f64) -> f64 {
        let max_stretch = self.max_stretch;
        move |root| (pressure * root).clamp(1.0, max_stretch)
    }

    /// Returns the lowest pressure at which the day's calls last: 0 if they last without stretching or nothing is
    /// refreshed, `max_stretch` if they last at no pressure.
    fn pressure(&self, remaining: Remaining, now: Instant) -> f64 {
        let affordable = remaining.planned_calls() / remaining.time.as_secs_f64().max(1.0);
        let others = self.usage.others(now);
        let unstretched = self.usage.refreshes_if(|_| 1.0, now);
        // Without refreshes, stretching saves nothing.
        if unstretched <= 0.0 || unstretched + others <= affordable {
            return 0.0;
        }
        let planned = PLANNED * affordable - others;
        let lasts = |pressure: f64| self.usage.refreshes_if(self.stretch_at(pressure), now) <= planned;
        // A pressure above `max_stretch` has no further effect. No root is below 1, so at `max_stretch` every meeting
        // is already stretched by the maximum.
        let (mut low, mut high) = (0.0, self.max_stretch);
        for _ in 0..BISECTIONS {
            let middle = f64::midpoint(low, high);
            if lasts(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }
}

impl Remaining {
    fn planned_calls(self) -> f64 {
        f64::from(u32::try_from(self.calls).unwrap_or(u32::MAX)) * self.part
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "a value clamped to a bound is that bound, exactly")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the usage after an hour in which meetings of these sizes were refreshed every 30 s, as soon as they were
    /// stale.
    fn polled(most: u32, sizes: &[u32]) -> (AdaptiveTtl, Instant) {
        let (mut ttl, mut now) = (AdaptiveTtl::new(most, 30 * SECOND), Instant::now());
        for _ in 0..120 {
            now += 30 * SECOND;
            for pages in sizes {
                for _ in 0..*pages {
                    ttl.count_call(now);
                }
                let [lived, unstretched] = [30 * SECOND; 2];
                let postponed = Duration::ZERO;
                ttl.record_refresh(RefreshSample { pages: *pages, lived, postponed, unstretched }, now);
            }
        }
        (ttl, now)
    }

    fn left(calls: u64) -> Remaining {
        Remaining { calls, part: 1.0, time: 10_000 * SECOND }
    }

    #[test]
    fn nothing_is_stretched_with_enough_left_and_just_enough_with_less() {
        // 3 calls every 30 s are 1,000 calls in the remaining 10,000 s.
        let (ttl, now) = polled(10, &[1, 1, 1]);
        assert_eq!(ttl.factor(1, left(1_050), now), 1.0);
        assert_eq!(ttl.factor(100, left(1_050), now), 1.0);
        assert_eq!(ttl.forecast(left(1_050), now).spent_in, None);
        let factor = ttl.factor(1, left(500), now);
        assert!((2.0..=2.2).contains(&factor), "{factor}");
        assert_eq!(ttl.factor(1, left(10), now), 10.0);
        assert_eq!(ttl.factor(1, left(0), now), 10.0);
    }

    #[test]
    fn meetings_are_stretched_by_the_root_of_their_pages_the_largest_first() {
        let (ttl, now) = polled(10, &[1, 1, 1, 1, 16, 25]);
        let factors = |left| [1, 4, 16, 25].map(|pages| ttl.factor(pages, left, now));
        let [one, four, sixteen, twenty_five] = factors(left(2_500));
        assert!(one > 1.0 && twenty_five < 10.0, "{one} {twenty_five}");
        for (larger, times) in [(four, 2.0), (sixteen, 4.0), (twenty_five, 5.0)] {
            assert!((larger - times * one).abs() < 1e-6, "{larger} {one}");
        }
        let [one, .., twenty_five] = factors(left(14_000));
        assert!(one == 1.0 && twenty_five > 1.0, "only the largest meeting is stretched");
        assert_eq!(factors(left(100)), [10.0; 4], "no factor exceeds the maximum");
    }

    #[test]
    fn at_the_pressure_found_the_day_lasts() {
        let (ttl, now) = polled(100, &[1, 1, 2, 5, 9, 30, 60]);
        for calls_left in [30_000, 10_000, 3_000, 1_000] {
            let left = left(calls_left);
            let spends = ttl.usage.refreshes_if(ttl.stretch_at(ttl.pressure(left, now)), now)
                * left.time.as_secs_f64();
            let aim = PLANNED * left.planned_calls();
            assert!((aim * 0.96..=aim * 1.001).contains(&spends), "{calls_left}: {spends}");
        }
    }

    #[test]
    fn a_maximum_of_1_never_stretches_and_the_forecast_names_the_end() {
        let (ttl, now) = polled(1, &[1, 1, 1]);
        assert_eq!(ttl.factor(60, left(10), now), 1.0);
        let forecast = ttl.forecast(left(500), now);
        let spent_in = forecast.spent_in.unwrap().as_secs();
        assert!((4_700..=5_000).contains(&spent_in), "{spent_in}");
        assert_eq!(forecast.stretch, 1.0);
        assert_eq!(ttl.forecast(left(0), now).spent_in, Some(Duration::ZERO));
    }
}
