//! Computes how many calls are reserved for each caller at a given time, and how many are not reserved.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;

use super::account::{Account, DAY};

/// How many of the day's calls are left at a given time, and how many replicas share them.
#[derive(Debug, Clone, Copy)]
pub struct DayState {
    /// Days since 1970-01-01 UTC.
    pub date: u64,
    /// The time since 00:00 UTC.
    pub elapsed: Duration,
    /// The calls that are left to all replicas together.
    pub left: u64,
    /// The number of replicas that may spend these calls at the same time.
    pub replicas: u32,
    /// The number of replicas that divide each caller's ceiling; 1 while Redis decides for all replicas whether a fetch
    /// may start.
    pub ceiling_replicas: u32,
}

pub(super) struct Reserves {
    per_day: u64,
    /// The part of `per_day` that is reserved, 0 to 1.
    part: f64,
    pub(super) accounts: HashMap<Box<str>, Account, RandomState>,
    /// The sum of all weights.
    pub(super) weights: u64,
    /// The number of fetches that have made no call yet. Each counts as one call.
    pub(super) waiting: u64,
}

impl Reserves {
    pub(super) fn new(per_day: u64, part: f64) -> Self {
        Self { per_day, part, accounts: HashMap::default(), weights: 0, waiting: 0 }
    }

    /// Returns a caller's part of the whole day's calls, by weight.
    pub(super) fn share(&self, account: &Account) -> f64 {
        let part = f64::from(account.weight) / float(self.weights.max(1));
        float(self.per_day) * part
    }

    /// Returns the number of calls that are reserved for a caller at the start of the day.
    pub(super) fn at_midnight(&self, account: &Account) -> f64 {
        self.share(account) * self.part
    }

    /// Returns the calls that are reserved for a caller now.
    pub(super) fn of(&self, account: &Account, day: &DayState) -> f64 {
        self.promised(account, day.elapsed) * self.covered(day)
    }

    fn promised(&self, account: &Account, elapsed: Duration) -> f64 {
        self.at_midnight(account) * account.part_left(elapsed)
    }

    fn sum(&self, elapsed: Duration) -> f64 {
        self.accounts.values().map(|account| self.promised(account, elapsed)).sum()
    }

    fn left(&self, day: &DayState) -> f64 {
        float(day.left.saturating_sub(self.waiting))
    }

    /// Returns the number of calls that are not reserved; negative while fewer calls are left than are reserved.
    pub(super) fn rest(&self, day: &DayState) -> f64 {
        self.left(day) - self.sum(day.elapsed).floor()
    }

    /// Returns the part of all reserves that the remaining calls cover, 0 to 1. It is below 1 if fewer calls are left
    /// than are reserved, for example because other apps of the account have used more than the headroom.
    pub(super) fn covered(&self, day: &DayState) -> f64 {
        let (left, reserves) = (self.left(day), self.sum(day.elapsed));
        if reserves > left { left / reserves } else { 1.0 }
    }

    /// Returns how long it takes until this many calls lapse. While no reserve lapses, because all are drawn ahead,
    /// returns the time until one lapses again. Never returns more than the time until 00:00 UTC.
    pub(super) fn rest_grows_by(&self, calls: f64, elapsed: Duration) -> Duration {
        let midnight = DAY.saturating_sub(elapsed);
        let present = || self.accounts.values().filter(|account| account.weight > 0);
        let lapsing = present().filter(|account| account.spent.drawn_until <= elapsed);
        let in_a_day: f64 = lapsing.map(|account| self.at_midnight(account)).sum();
        let ahead = present().map(|account| account.spent.drawn_until.saturating_sub(elapsed));
        let wait = if in_a_day > 0.0 {
            Duration::try_from_secs_f64(DAY.as_secs_f64() * calls / in_a_day).ok()
        } else {
            ahead.min()
        };
        wait.map_or(midnight, |wait| wait.min(midnight))
    }
}

pub(super) fn float(calls: u64) -> f64 {
    f64::from(u32::try_from(calls).unwrap_or(u32::MAX))
}
