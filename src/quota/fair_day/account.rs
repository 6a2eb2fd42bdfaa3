//! One caller's account of the day.

use std::{num::NonZeroU32, time::Duration};

use super::answers::AnswerWindow;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The spending of one caller on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallerSpending {
    /// The calls made for the caller.
    pub calls: u64,
    /// The time of day until which the caller's reserve is drawn. If that time has passed, the reserve between it and
    /// now has lapsed.
    pub drawn_until: Duration,
}

/// Spending that the other replicas do not know about yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unshared {
    /// The number of calls.
    pub calls: u64,
    /// The number of these calls that were drawn from the caller's reserve.
    pub draws: u64,
}

/// The time by which one call advances [`CallerSpending::drawn_until`]; zero if the call was not drawn from the
/// reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draw(pub Duration);

#[derive(Default)]
pub(super) struct Account {
    /// 0 for a caller that is not in the callers' file now.
    pub(super) weight: u32,
    pub(super) calls_per_day: Option<NonZeroU32>,
    pub(super) spent: CallerSpending,
    pub(super) unshared: Unshared,
    pub(super) answers: AnswerWindow,
    /// While the caller is held, the earliest time of day of its next fetch.
    pub(super) next_at: Duration,
}

impl Account {
    /// Returns the part of the reserve that is left, 0 to 1.
    pub(super) fn part_left(&self, elapsed: Duration) -> f64 {
        DAY.saturating_sub(self.spent.drawn_until.max(elapsed)).div_duration_f64(DAY)
    }

    /// Counts a call. `step` is the time by which a call that is drawn from the reserve advances `drawn_until`; `None`
    /// if the call is not drawn from the reserve. The last call of a reserve draws what is left, even if that is less
    /// than `step`.
    pub(super) fn charge(&mut self, step: Option<Duration>, elapsed: Duration) -> Draw {
        let from = self.spent.drawn_until.max(elapsed);
        let draw = step.map_or(Duration::ZERO, |step| step.min(DAY.saturating_sub(from)));
        self.spent.calls += 1;
        self.unshared.calls += 1;
        if !draw.is_zero() {
            self.spent.drawn_until = from + draw;
            self.unshared.draws += 1;
        }
        Draw(draw)
    }

    pub(super) fn refund(&mut self, draw: Draw) {
        self.spent.calls = self.spent.calls.saturating_sub(1);
        self.spent.drawn_until = self.spent.drawn_until.saturating_sub(draw.0);
        self.unshared.calls = self.unshared.calls.saturating_sub(1);
        self.unshared.draws = self.unshared.draws.saturating_sub(u64::from(!draw.0.is_zero()));
    }
}
