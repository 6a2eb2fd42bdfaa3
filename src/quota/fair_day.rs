//! A fair day: which caller may start another fetch, so that no caller spends the calls that the others will need. Pure.
//!
//! A part of the day's calls is *reserved* for the callers by weight. A reserve lapses evenly until 00:00 UTC, and
//! lapsed calls join the *rest*, which is first come, first served. The rest pays for a call while there is any, then
//! the caller's own reserve. So each caller has, at any time, the reserve of the hours that are left, less what it has
//! drawn since the rest ran out.
//!
//! Example: 54,000 calls, half of them reserved, six callers of weight 1. Each has a reserve of 4,500, of which a call lapses every
//! 19.2 s. A caller that starts at 00:00 and never pauses gets the rest of 27,000 and its own 4,500 within 15 minutes, and from
//! then on what lapses of the other five reserves: a call every 3.8 s. At 08:00 each of the others still has 3,000 calls.
//!
//! The state of a reserve is the time of day until which it is drawn, like the theoretical arrival time of GCRA. See
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

/// The share of a caller whose fetches mostly end with a 404 is divided by this number.
const HELD_TO: u32 = 10;
/// The most accounts of a day, those of removed callers included.
const MOST_ACCOUNTS: usize = 2_000;
/// Replicas exchange their counts within this time.
const EXCHANGED_WITHIN: Duration = Duration::from_millis(300);
/// The sums of reserves are rounded, so this much already counts as a whole call.
const A_CALL: f64 = 1.0 - 1e-6;

/// The day's calls, divided among the callers of the callers' file.
pub struct FairDay {
    /// The day that is counted, in days since 1970-01-01 UTC.
    date: u64,
    reserves: Reserves,
    /// The changes since [`Self::take_changes`]; `None` if they are not recorded.
    changes: Option<Vec<AccountChange>>,
}

/// A call that was counted or taken back, for the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountChange {
    pub(crate) caller: Box<str>,
    pub(crate) is_refund: bool,
    pub(crate) draw: Draw,
    /// The time of day from which the reserve was drawn.
    pub(crate) from: Duration,
}

/// A caller of the callers' file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerShare {
    /// Its name.
    pub name: Box<str>,
    /// Its part of the day relative to the others.
    pub weight: u32,
    /// The most calls that may be made for it in a UTC day.
    pub calls_per_day: Option<NonZeroU32>,
}

/// The reason why no fetch may start for a caller, and when another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerDenied {
    /// The time after which another attempt can succeed.
    pub retry_in: Duration,
    /// The reason.
    pub limit: CallerLimit,
}

impl FairDay {
    /// Starts with no callers. `reserve_percent` of `per_day` calls are reserved.
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

    /// Begins a new count if this is another day than the last one.
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

    /// Returns the changes since the last call. Changes are recorded from the first call on.
    pub(crate) fn take_changes(&mut self) -> Vec<AccountChange> {
        self.changes.replace(Vec::new()).unwrap_or_default()
    }

    /// Returns the calls of this caller that the other replicas do not know yet.
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

    /// Takes over what was spent for a caller on this day, and how much of it the other replicas do not know yet.
    pub fn set_spending(&mut self, date: u64, name: &str, spent: CallerSpending, unshared: Unshared) {
        self.roll_over(date);
        // Names that another program writes into Redis must not fill the memory until 00:00 UTC.
        if self.reserves.accounts.len() >= MOST_ACCOUNTS && !self.reserves.accounts.contains_key(name) {
            return;
        }
        let account = self.reserves.accounts.entry(name.into()).or_default();
        (account.spent, account.unshared) = (spent, unshared);
    }

    /// Starts a fetch for this caller, and counts its first call. [`Self::call_made`] or [`Self::cancel`] has to follow.
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
        // At 00:00 UTC, the caller may ask again.
        let held_for = account.next_at.min(DAY).saturating_sub(day.elapsed);
        if account.answers.is_held() && !held_for.is_zero() {
            return Err(denied(held_for, CallerLimit::NotFound));
        }
        // If nothing is left of the day, the scheduler rejects the call for that reason.
        if day.left <= self.reserves.waiting {
            return Ok(());
        }
        self.check_share(account, day)
    }

    /// Denies a call that would exceed this replica's part of the calls that were left at the last exchange of counts.
    /// With n replicas, a replica that has taken k of the L calls that were left takes another while k < L / n. This
    /// process knows L − k, so the condition is (L − k) − k × (n − 1) > 0.
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

    /// Counts a call for this caller, whether or not its share allows it, because a fetch that has started is completed.
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

    /// Records that a fetch made its first call, which [`DayState::left`] does not contain from now on.
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

    /// Records whether the meeting that this caller requested exists. A fetch shows this, and for a held caller also a
    /// cached meeting.
    pub fn record_answer(&mut self, name: &str, exists: bool) {
        if let Some(account) = self.reserves.accounts.get_mut(name) {
            account.answers.record(exists);
        }
    }

    /// Returns what was spent for each caller.
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

    /// Returns the time between two fetches of a caller that is held; `None` if it is not.
    fn held_interval(&self, name: &str, day: &DayState) -> Option<Duration> {
        let account = self.reserves.accounts.get(name).filter(|account| account.answers.is_held())?;
        let in_a_day = self.reserves.share(account) / f64::from(HELD_TO);
        Some(DAY.div_f64(in_a_day.max(1.0)).saturating_mul(day.replicas))
    }
}

/// A caller's account as operators see it, in calls.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallerDay {
    /// The calls made for it today.
    pub used: u64,
    /// The calls that are reserved for it now.
    pub reserved: f64,
    /// The caller's part of the whole day's calls, by weight.
    pub share: f64,
    /// Whether it is held to a tenth of its share.
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
