//! The stretch: by how much live snapshots stay fresh longer, so that a day's calls last until 00:00 UTC. Pure.
//!
//! What refreshes would cost unstretched ([`Pace`]), and what is left of the day for the time that is left of it, give
//! the *level*; a meeting of p pages is fresh level × √p times as long, but never less than once and never more than
//! the configured number of times. With enough left the level is 0, and nothing is stretched. Why the root: it makes
//! the mean age of all meetings least for a given number of calls; docs/adr/0010-the-day-lasts-all-day.md.
//!
//! There is no loop to swing: the stretch does not change what is seen of the unstretched pace, and what was spent too
//! fast or too slowly is made up for by what is left.

use std::time::{Duration, Instant};

use super::usage::Pace;
use crate::snapshot::RefreshSample;

/// A stretched day is aimed to end with a little left: estimates err.
const AIM: f64 = 0.97;
/// Halvings of the range of levels: 1000 / 2^30 is finer than anything seen.
const HALVINGS: u32 = 30;

/// Recent spending, and the rule.
pub struct Stretch {
    most: f64,
    pace: Pace,
}

/// What is left of a day.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// Calls.
    pub calls: u64,
    /// Which part of them is there for this process's meetings, 0 to 1.
    pub part: f64,
    /// Time until 00:00 UTC.
    pub time: Duration,
}

/// How the day goes on.
#[derive(Debug, Clone, Copy)]
pub struct Outlook {
    /// Calls a second, as they are spent now.
    pub calls_per_second: f64,
    /// Calls until 00:00 UTC at this pace.
    pub calls_to_come: f64,
    /// After what time nothing is left, if that is before 00:00 UTC.
    pub spent_in: Option<Duration>,
    /// How many times as long live snapshots stay fresh: the mean by their calls.
    pub stretch: f64,
}

impl Stretch {
    /// Nothing is stretched more than `most` times; `live_fresh` is what is stretched.
    #[must_use]
    pub fn new(most: u32, live_fresh: Duration) -> Self {
        Self { most: f64::from(most.max(1)), pace: Pace::new(live_fresh.saturating_mul(most)) }
    }

    /// A call was made.
    pub fn count_one(&mut self, now: Instant) {
        self.pace.count_one(now);
    }

    /// A call was counted and not made.
    pub fn uncount_one(&mut self, now: Instant) {
        self.pace.uncount_one(now);
    }

    /// A refresh landed.
    pub fn refreshed(&mut self, refresh: RefreshSample, now: Instant) {
        self.pace.refreshed(refresh, now);
    }

    /// What refreshes would cost in an hour, unstretched.
    #[must_use]
    pub fn wish(&self, now: Instant) -> f64 {
        self.pace.refreshes_if(|_| 1.0, now) * 3_600.0
    }

    /// How many times as long a live snapshot of so many pages is to be fresh.
    #[must_use]
    pub fn factor(&self, pages: u32, left: Left, now: Instant) -> f64 {
        self.at_level(self.level(left, now))(f64::from(pages.max(1)).sqrt())
    }

    /// How the day goes on.
    #[must_use]
    pub fn outlook(&self, left: Left, now: Instant) -> Outlook {
        let calls_per_second = self.pace.refreshes(now) + self.pace.others(now);
        let calls_to_come = calls_per_second * left.time.as_secs_f64();
        let spent_in = if left.calls == 0 {
            Some(Duration::ZERO)
        } else {
            (calls_to_come > calls(left)).then(|| left.time.mul_f64(calls(left) / calls_to_come))
        };
        let unstretched = self.pace.refreshes_if(|_| 1.0, now);
        let stretched = self.pace.refreshes_if(self.at_level(self.level(left, now)), now);
        let stretch = if stretched > 0.0 { unstretched / stretched } else { 1.0 };
        Outlook { calls_per_second, calls_to_come, spent_in, stretch }
    }

    fn at_level(&self, level: f64) -> impl Fn(f64) -> f64 {
        let most = self.most;
        move |root| (level * root).clamp(1.0, most)
    }

    /// The lowest at which the day lasts; 0 when it does so by itself, the highest when it does at none.
    fn level(&self, left: Left, now: Instant) -> f64 {
        let affordable = calls(left) / left.time.as_secs_f64().max(1.0);
        let others = self.pace.others(now);
        let unstretched = self.pace.refreshes_if(|_| 1.0, now);
        // Where nothing was refreshed yet there is nothing to be made rarer.
        if unstretched <= 0.0 || unstretched + others <= affordable {
            return 0.0;
        }
        let aim = AIM * affordable - others;
        let lasts = |level: f64| self.pace.refreshes_if(self.at_level(level), now) <= aim;
        // At `most` every meeting is stretched as far as it may be: no root is below 1.
        let (mut low, mut high) = (0.0, self.most);
        for _ in 0..HALVINGS {
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

fn calls(left: Left) -> f64 {
    f64::from(u32::try_from(left.calls).unwrap_or(u32::MAX)) * left.part
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is held within bounds is the bound, exactly")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// As if meetings of these sizes had been polled for an hour, unstretched: 30 s fresh and at once fetched anew.
    fn polled(most: u32, sizes: &[u32]) -> (Stretch, Instant) {
        let (mut stretch, mut now) = (Stretch::new(most, 30 * SECOND), Instant::now());
        for _ in 0..120 {
            now += 30 * SECOND;
            for pages in sizes {
                for _ in 0..*pages {
                    stretch.count_one(now);
                }
                let [lived, unstretched] = [30 * SECOND; 2];
                let postponed = Duration::ZERO;
                stretch.refreshed(RefreshSample { pages: *pages, lived, postponed, unstretched }, now);
            }
        }
        (stretch, now)
    }

    fn left(calls: u64) -> Left {
        Left { calls, part: 1.0, time: 10_000 * SECOND }
    }

    #[test]
    fn with_enough_left_nothing_is_stretched_and_with_less_by_just_so_much() {
        // 3 calls every 30 s: a thousand in the time that is left.
        let (stretch, now) = polled(10, &[1, 1, 1]);
        assert_eq!(stretch.factor(1, left(1_050), now), 1.0);
        assert_eq!(stretch.factor(100, left(1_050), now), 1.0);
        assert_eq!(stretch.outlook(left(1_050), now).spent_in, None);
        let factor = stretch.factor(1, left(500), now);
        assert!((2.0..=2.2).contains(&factor), "{factor}");
        assert_eq!(stretch.factor(1, left(10), now), 10.0);
        assert_eq!(stretch.factor(1, left(0), now), 10.0);
    }

    #[test]
    fn a_larger_meeting_is_stretched_by_the_root_of_its_pages_and_the_largest_first() {
        let (stretch, now) = polled(10, &[1, 1, 1, 1, 16, 25]);
        let factors = |left| [1, 4, 16, 25].map(|pages| stretch.factor(pages, left, now));
        let [one, four, sixteen, twenty_five] = factors(left(2_500));
        assert!(one > 1.0 && twenty_five < 10.0, "{one} {twenty_five}");
        for (larger, times) in [(four, 2.0), (sixteen, 4.0), (twenty_five, 5.0)] {
            assert!((larger - times * one).abs() < 1e-6, "{larger} {one}");
        }
        let [one, .., twenty_five] = factors(left(14_000));
        assert!(one == 1.0 && twenty_five > 1.0, "a little is taken from the largest alone");
        assert_eq!(factors(left(100)), [10.0; 4], "nothing goes beyond the most");
    }

    #[test]
    fn the_level_found_is_the_one_that_lasts() {
        let (stretch, now) = polled(100, &[1, 1, 2, 5, 9, 30, 60]);
        for calls_left in [30_000, 10_000, 3_000, 1_000] {
            let left = left(calls_left);
            let spends = stretch.pace.refreshes_if(stretch.at_level(stretch.level(left, now)), now)
                * left.time.as_secs_f64();
            let aim = AIM * calls(left);
            assert!((aim * 0.96..=aim * 1.001).contains(&spends), "{calls_left}: {spends}");
        }
    }

    #[test]
    fn a_most_of_1_never_stretches_and_the_outlook_says_when_the_day_ends() {
        let (stretch, now) = polled(1, &[1, 1, 1]);
        assert_eq!(stretch.factor(60, left(10), now), 1.0);
        let outlook = stretch.outlook(left(500), now);
        let spent_in = outlook.spent_in.unwrap().as_secs();
        assert!((4_700..=5_000).contains(&spent_in), "{spent_in}");
        assert_eq!(outlook.stretch, 1.0);
        assert_eq!(stretch.outlook(left(0), now).spent_in, Some(Duration::ZERO));
    }
}
