//! Applies the callers' parts of the day: decides whether a fetch may start for a caller, and counts the caller's
//! calls. The rule is in [`crate::quota::fair_day`].

use std::{cell::Cell, time::Instant};

use super::Scheduler;
use crate::{
    failure::CallerLimit,
    quota::fair_day::{CallerDay, CallerDenied, CallerShare, DayState, Draw, FairDay},
};

/// A fetch for one caller. The first call counts from the start of the fetch, and the others count when they are made.
/// Dropping this value before the first call is made takes that call back.
pub(crate) struct FetchShare {
    scheduler: Scheduler,
    caller: Box<str>,
    /// The reserved first call; `None` once it is made.
    first: Cell<Option<Draw>>,
}

/// How a caller's calls are divided among the replicas.
pub(crate) struct CallerSharing {
    /// The number of replicas among which the caller's ceilings are divided.
    pub(crate) replicas: u32,
    /// The calls that other replicas have made for the caller since the last [`Scheduler::take_sharing`], minus those
    /// that they took back.
    pub(crate) by_others: i64,
    /// The calls of this replica for the caller that the other replicas do not know about yet.
    pub(crate) unshared: u64,
}

impl Scheduler {
    pub(crate) fn set_callers(&self, callers: &[CallerShare]) {
        self.fair_day(|day, _| day.set_callers(callers));
    }

    /// Starts a fetch for this caller.
    ///
    /// # Errors
    /// The caller has reached a limit of the day. The error has the time of the next attempt, and that limit.
    pub(crate) fn start_fetch(&self, caller: &str) -> Result<FetchShare, (Instant, CallerLimit)> {
        let started = self.fair_day(|day, state| day.start(caller, state));
        let draw = started.map_err(until)?;
        Ok(FetchShare { scheduler: self.clone(), caller: caller.into(), first: Cell::new(Some(draw)) })
    }

    /// Returns the limit of the day that this caller has reached, and when to try again; `None` if a fetch may start
    /// for the caller.
    pub(crate) fn caller_denied(&self, caller: &str) -> Option<(Instant, CallerLimit)> {
        self.fair_day(|day, state| day.check(caller, state)).err().map(until)
    }

    /// Records whether the meeting that this caller requested exists.
    pub(crate) fn record_answer(&self, caller: &str, exists: bool) {
        self.fair_day(|day, _| day.record_answer(caller, exists));
    }

    /// Returns whether this caller is held because its requests are mostly for meetings that do not exist.
    pub(crate) fn is_held(&self, caller: &str) -> bool {
        self.fair_day(|day, _| day.is_held(caller))
    }

    /// Returns the account of a caller of the callers' file.
    pub(crate) fn caller_day(&self, caller: &str) -> Option<CallerDay> {
        self.fair_day(|day, state| day.status(caller, state))
    }

    /// Returns how the replicas divide the calls of this caller, for its ledger. Each call of another replica is
    /// returned once.
    pub(crate) fn take_sharing(&self, caller: &str) -> CallerSharing {
        let quota = &mut self.0.dispatcher.borrow_mut().quota;
        let replicas = quota.sync_fair_day().ceiling_replicas;
        let by_others = quota.take_calls_by_others(caller);
        CallerSharing { replicas, by_others, unshared: quota.local().fair_day.unshared(caller) }
    }

    fn fair_day<T>(&self, run: impl FnOnce(&mut FairDay, &DayState) -> T) -> T {
        let quota = &mut self.0.dispatcher.borrow_mut().quota;
        let state = quota.sync_fair_day();
        run(&mut quota.local_mut().fair_day, &state)
    }
}

impl FetchShare {
    /// Counts a call, and returns what [`Self::refund_call`] needs.
    pub(crate) fn record_call(&self) -> Draw {
        self.scheduler.fair_day(|day, state| match self.first.take() {
            Some(draw) => {
                day.call_made();
                draw
            }
            None => day.charge(&self.caller, state),
        })
    }

    /// Takes back a call that was counted but not sent.
    pub(crate) fn refund_call(&self, draw: Draw) {
        self.scheduler.fair_day(|day, _| day.refund(&self.caller, draw));
    }
}

impl Drop for FetchShare {
    fn drop(&mut self) {
        if let Some(draw) = self.first.take() {
            self.scheduler.fair_day(|day, _| day.cancel(&self.caller, draw));
        }
    }
}

fn until(CallerDenied { retry_in, limit }: CallerDenied) -> (Instant, CallerLimit) {
    (Instant::now() + retry_in, limit)
}
