//! A fair day: decides which caller may start another fetch, so that no caller spends the calls that the others will
//! need. Pure.
//!
//! A part of the day's calls is *reserved* for the callers, by weight. Each reserve *lapses* evenly until 00:00 UTC.
//! Lapsed calls join the *rest*, the calls that are not reserved, which are first come, first served. A call is paid
//! from the rest or, if the rest is spent, drawn from the caller's own reserve. So at any time, a caller has its
//! reserve for the remaining hours, minus the calls drawn from it.
//!
//! Example: the day has 54,000 calls, half of them reserved, and six callers of weight 1. Each reserve has 4,500 calls,
//! and one call lapses every 19.2 s. One caller starts at 00:00 and never pauses. At 36 calls a second, it spends the
//! rest of 27,000 calls and its own 4,500 within 15 minutes. After that, it gets only what lapses from the other five
//! reserves: one call every 3.8 s. At 08:00, each of the other callers still has 3,000 calls.
//!
//! A reserve is stored as the time of day until which it is drawn, like the theoretical arrival time of GCRA. See
//! docs/adr/0035-a-fair-day.md.

mod account;
mod answers;
mod reserves;

use std::{num::NonZeroU32, time::Duration};

use self::{
    account::{Account, DAY},
    reserves::{Reserves, float},
};
pub use self::{
    account::{CallerSpending, Draw, Unshared},
    reserves::DayState,
};
use crate::failure::CallerLimit;

/// A caller whose fetches mostly end with a 404 is *held*: its share of the day is divided by this number.
const HELD_TO: u32 = 10;
/// If there are this many accounts, [`FairDay::set_spending`] adds no more.
const MOST_ACCOUNTS: usize = 2_000;
/// The usual time between two exchanges of counts among the replicas.
const EXCHANGED_WITHIN: Duration = Duration::from_millis(300);
/// The least amount that counts as a whole call, because sums of reserves have rounding errors.
const A_CALL: f64 = 1.0 - 1e-6;

/// The day's calls, divided among the callers of the callers' file.
pub struct FairDay {
    /// The day that is counted, in days since 1970-01-01 UTC.
    date: u64,
    reserves: Reserves,
    /// The changes since the last [`Self::take_changes`]; `None` if changes are not recorded.
    changes: Option<Vec<AccountChange>>,
}

/// A call that was counted or taken back, to be reported to the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountChange {
    pub(crate) caller: Box<str>,
    pub(crate) is_refund: bool,
    pub(crate) draw: Draw,
    /// The time of day at which the draw from the reserve begins; for a refund, the end of the draws that remain.
    pub(crate) from: Duration,
}

/// A caller of the callers' file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerShare {
    /// The caller's name.
    pub name: Box<str>,
    /// The caller's part of the day, relative to the other callers.
    pub weight: u32,
    /// The maximum number of calls for the caller in a UTC day.
    pub calls_per_day: Option<NonZeroU32>,
}

/// Why no fetch may start for a caller, and when another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerDenied {
    /// The time after which another attempt can succeed.
    pub retry_in: Duration,
    /// The limit that the caller has reached.
    pub limit: CallerLimit,
}

impl FairDay {
    /// Starts with no callers. `reserve_percent` percent of the day's `per_day` calls are reserved.
    pub fn new(per_day: u64, reserve_percent: u32) -> Self {
        let part = f64::from(reserve_percent.min(100)) / 100.0;
        Self { date: 0, reserves: Reserves::new(per_day, part), changes: None }
    }

    /// Replaces the list of callers. The spending of a caller that is removed stays.
    pub fn set_callers(&mut self, callers: &[CallerShare]) {
        for account in self.reserves.accounts.values_mut() {
            (account.weight, account.calls_per_day) = (0, None);
        }
        for CallerShare { name, weight, calls_per_day } in callers {
            let account = self.reserves.accounts.entry(name.clone()).or_default();
            (account.weight, account.calls_per_day) = (*weight, *calls_per_day);
        }
        self.reserves.weights = callers.iter().map(|caller| u64::from(caller.weight)).sum();
    }

    /// Resets the accounts if `date` is not the day that is counted, and drops those of removed callers.
    pub fn roll_over(&mut self, date: u64) {
        if date == self.date {
            return;
        }
        self.date = date;
        self.reserves.accounts.retain(|_, account| account.weight > 0);
        for account in self.reserves.accounts.values_mut() {
            (account.spent, account.unshared, account.next_at) = Default::default();
        }
    }

    /// Returns the changes since this was last called. The first call returns nothing, and starts the recording.
    pub(crate) fn take_changes(&mut self) -> Vec<AccountChange> {
        self.changes.replace(Vec::new()).unwrap_or_default()
    }

    /// Returns the number of this caller's calls here that the other replicas do not know about yet.
    pub(crate) fn unshared(&self, name: &str) -> u64 {
        self.reserves.accounts.get(name).map_or(0, |account| account.unshared.calls)
    }

    /// Returns whether this caller is in the callers' file now.
    pub(crate) fn is_caller(&self, name: &str) -> bool {
        self.reserves.accounts.get(name).is_some_and(|account| account.weight > 0)
    }

    pub(crate) fn is_held(&self, name: &str) -> bool {
        self.reserves.accounts.get(name).is_some_and(|account| account.answers.is_held())
    }

    pub(crate) fn has_callers(&self) -> bool {
        self.reserves.weights > 0
    }

    /// Sets a caller's spending on this day, and how much of it the other replicas do not know about yet.
    pub fn set_spending(&mut self, date: u64, name: &str, spent: CallerSpending, unshared: Unshared) {
        self.roll_over(date);
        // Names come from Redis, where another program could write any number of them. They must not fill the memory.
        if self.reserves.accounts.len() >= MOST_ACCOUNTS && !self.reserves.accounts.contains_key(name) {
            return;
        }
        let account = self.reserves.accounts.entry(name.into()).or_default();
        (account.spent, account.unshared) = (spent, unshared);
    }

    /// Starts a fetch for this caller, and counts its first call. [`Self::call_made`] or [`Self::cancel`] must follow.
    ///
    /// # Errors
    /// The caller has reached one of its limits of the day.
    pub fn start(&mut self, name: &str, day: &DayState) -> Result<Draw, CallerDenied> {
        self.roll_over(day.date);
        self.check(name, day)?;
        let draw = self.charge(name, day);
        self.reserves.waiting += 1;
        if let Some(interval) = self.held_interval(name, day)
            && let Some(account) = self.reserves.accounts.get_mut(name)
        {
            account.next_at = day.elapsed + interval;
        }
        Ok(draw)
    }

    /// Decides whether a fetch may start for this caller now.
    ///
    /// # Errors
    /// The caller has reached one of its limits of the day.
    pub fn check(&self, name: &str, day: &DayState) -> Result<(), CallerDenied> {
        let Some(account) = self.reserves.accounts.get(name).filter(|account| account.weight > 0) else {
            return Ok(());
        };
        check_ceiling(account, day)?;
        // At 00:00 UTC, a fetch may start again.
        let held_for = account.next_at.min(DAY).saturating_sub(day.elapsed);
        if account.answers.is_held() && !held_for.is_zero() {
            return Err(denied(held_for, CallerLimit::NotFound));
        }
        // If no calls are left today, the scheduler rejects the call, with that reason.
        if day.left <= self.reserves.waiting {
            return Ok(());
        }
        self.check_share(account, day)
    }

    /// Denies a call that would exceed this replica's part of the calls that were left at the last exchange of counts.
    /// If L calls were left for n replicas, each replica may take L / n of them before the next exchange. A replica
    /// that has taken k of them may therefore take another one while k < L / n. It knows L − k, so it checks (L − k) −
    /// k × (n − 1) > 0.
    fn check_share(&self, account: &Account, day: &DayState) -> Result<(), CallerDenied> {
        let other_replicas = f64::from(day.replicas.saturating_sub(1));
        let rest = self.reserves.rest(day);
        let unshared: u64 = self.reserves.accounts.values().map(|account| account.unshared.calls).sum();
        if rest - float(unshared) * other_replicas >= A_CALL {
            return Ok(());
        }
        let own = self.reserves.of(account, day);
        if own - float(account.unshared.draws) * other_replicas >= A_CALL {
            return Ok(());
        }
        let is_soon = rest >= A_CALL || own >= A_CALL;
        let retry_in =
            if is_soon { EXCHANGED_WITHIN } else { self.reserves.rest_grows_by(1.0 - rest, day.elapsed) };
        Err(denied(retry_in, CallerLimit::Share))
    }

    /// Counts a call for this caller, even if its share is spent, because a fetch that has started is completed.
    pub fn charge(&mut self, name: &str, day: &DayState) -> Draw {
        self.roll_over(day.date);
        let is_rest_spent = self.reserves.rest(day) < A_CALL;
        let covered = self.reserves.covered(day);
        let of_day =
            self.reserves.accounts.get(name).map_or(0.0, |account| self.reserves.at_midnight(account));
        let step = (is_rest_spent && of_day > 0.0).then(|| DAY.div_f64((of_day * covered).max(1.0)));
        let Some(account) = self.reserves.accounts.get_mut(name) else { return Draw::default() };
        let from = account.spent.drawn_until.max(day.elapsed);
        let draw = account.charge(step, day.elapsed);
        self.record_change(name, false, draw, from);
        draw
    }

    /// Records that a fetch made its first call. The call no longer counts as waiting, because [`DayState::left`] is
    /// reduced by it.
    pub fn call_made(&mut self) {
        self.reserves.waiting = self.reserves.waiting.saturating_sub(1);
    }

    /// Takes back the start of a fetch that made no call.
    pub fn cancel(&mut self, name: &str, draw: Draw) {
        self.call_made();
        self.refund(name, draw);
    }

    /// Takes back a call that was counted but not made.
    pub fn refund(&mut self, name: &str, draw: Draw) {
        if let Some(account) = self.reserves.accounts.get_mut(name) {
            account.refund(draw);
            let from = account.spent.drawn_until;
            self.record_change(name, true, draw, from);
        }
    }

    /// Records whether the meeting that this caller requested exists. This is known after a fetch. For a held caller,
    /// it is also recorded if the meeting was cached.
    pub fn record_answer(&mut self, name: &str, exists: bool) {
        if let Some(account) = self.reserves.accounts.get_mut(name) {
            account.answers.record(exists);
        }
    }

    /// Returns each caller's spending.
    pub fn spending(&self) -> impl Iterator<Item = (&str, CallerSpending)> {
        self.reserves.accounts.iter().map(|(name, account)| (&**name, account.spent))
    }

    /// Returns the account of a caller of the callers' file, for operators.
    pub fn status(&self, name: &str, day: &DayState) -> Option<CallerDay> {
        let account = self.reserves.accounts.get(name).filter(|account| account.weight > 0)?;
        Some(CallerDay {
            used: account.spent.calls,
            reserved: self.reserves.of(account, day),
            share: self.reserves.share(account),
            is_held: account.answers.is_held(),
        })
    }

    fn record_change(&mut self, caller: &str, is_refund: bool, draw: Draw, from: Duration) {
        if let Some(changes) = &mut self.changes {
            changes.push(AccountChange { caller: caller.into(), is_refund, draw, from });
        }
    }

    /// Returns the minimum time between two fetches of this caller on this replica if it is held; `None` if it is not held.
    fn held_interval(&self, name: &str, day: &DayState) -> Option<Duration> {
        let account = self.reserves.accounts.get(name).filter(|account| account.answers.is_held())?;
        let in_a_day = self.reserves.share(account) / f64::from(HELD_TO);
        Some(DAY.div_f64(in_a_day.max(1.0)).saturating_mul(day.replicas))
    }
}

/// A caller's account as operators see it, in calls.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallerDay {
    /// The calls made for the caller today.
    pub used: u64,
    /// The calls that are reserved for the caller now.
    pub reserved: f64,
    /// The caller's part of the whole day's calls, by weight.
    pub share: f64,
    /// Whether the caller is held to a tenth of its share, because its fetches mostly end with a 404.
    pub is_held: bool,
}

fn check_ceiling(account: &Account, day: &DayState) -> Result<(), CallerDenied> {
    let Some(limit) = account.calls_per_day.map(|limit| u64::from(limit.get())) else { return Ok(()) };
    let used = account.spent.calls;
    if used >= limit {
        return Err(denied(DAY.saturating_sub(day.elapsed), CallerLimit::PerDay));
    }
    if used + account.unshared.calls * u64::from(day.ceiling_replicas.saturating_sub(1)) >= limit {
        return Err(denied(EXCHANGED_WITHIN, CallerLimit::PerDay));
    }
    Ok(())
}

fn denied(retry_in: Duration, limit: CallerLimit) -> CallerDenied {
    CallerDenied { retry_in, limit }
}
