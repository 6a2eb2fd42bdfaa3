//! Decides whether a flight may start for a caller. The caller's ledger counts its calls of the last minute, and the
//! scheduler counts its calls of the day. This module also keeps the scheduler's list of callers up to date, and tells
//! the HTTP workers which callers must wait.

use std::{
    cell::Cell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::ceilings::SharedCeilings;
use crate::{
    callers::{Caller, Callers, LedgerEntry},
    cluster::Cluster,
    failure::{CallerLimit, Failure},
    quota::fair_day::{CallerDay, CallerShare, Draw},
    scheduler::{CallerSharing, FetchShare, Scheduler},
};

/// How often the workers are told which callers must wait. The interval is short because a wait can also end without a
/// call: the calls reserved for callers become available to all as the day passes (`quota::fair_day`).
const TELL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct CallerAccounts {
    callers: Callers,
    scheduler: Scheduler,
    cluster: Option<Cluster>,
    /// The version of the list of callers that the scheduler last received.
    version: Cell<Option<u64>>,
}

/// Counts the calls of one flight in its caller's accounts. The first call counts from the start of the flight.
/// Dropping this value before that call is made takes it back.
pub(super) struct FlightCalls {
    /// Counts towards `calls_per_minute`. Learns of other replicas' calls with a delay.
    minute: LedgerEntry,
    /// Counts towards the caller's part of the day and `calls_per_day`. Learns of other replicas' calls with a delay.
    day: FetchShare,
    /// Counts towards both ceilings in Redis, for all replicas together. Does nothing while Redis is unavailable.
    shared: SharedCeilings,
}

impl CallerAccounts {
    pub(super) fn new(callers: Callers, scheduler: Scheduler, cluster: Option<Cluster>) -> Self {
        Self { callers, scheduler, cluster, version: Cell::default() }
    }

    /// Counts the first call of a flight before it is made. Otherwise a caller could start any number of flights before
    /// the first of their calls counts.
    ///
    /// # Errors
    /// The caller has reached one of its limits.
    pub(super) fn reserve_first_call(
        &self,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<FlightCalls, Failure> {
        self.update_callers();
        self.update_ledger(caller, now);
        let per_minute = |until| Failure::caller_over_limit(CallerLimit::PerMinute, until);
        let minute = caller.reserve(now).map_err(per_minute)?;
        let started = self.scheduler.start_fetch(caller.name.as_str());
        self.publish_limits(caller);
        let day = started.map_err(|(until, limit)| Failure::caller_over_limit(limit, until))?;
        let shared = SharedCeilings::new(self.cluster.clone(), caller);
        Ok(FlightCalls { minute, day, shared })
    }

    /// Returns the current caller with this id; `None` if it has been removed from the callers' file.
    pub(super) fn caller(&self, id: u32) -> Option<Arc<Caller>> {
        self.callers.all().into_iter().find(|caller| caller.id == id)
    }

    /// Tells the HTTP workers which callers must wait. Runs as long as the service.
    pub(super) async fn tell_workers(self: Rc<Self>) {
        let mut interval = tokio::time::interval(TELL_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.update_callers();
            for caller in self.callers.all() {
                self.update_ledger(&caller, Instant::now());
                self.publish_limits(&caller);
            }
        }
    }

    /// Returns the day's account of each caller in the callers' file, by the caller's id.
    pub(super) fn caller_days(&self) -> HashMap<u32, CallerDay> {
        let day = |caller: Arc<Caller>| Some((caller.id, self.scheduler.caller_day(caller.name.as_str())?));
        self.callers.all().into_iter().filter_map(day).collect()
    }

    /// Tells the workers which limit of the day the caller has reached, and whether it is held. A caller that mostly
    /// requests meetings that do not exist is held to a tenth of its share.
    fn publish_limits(&self, caller: &Caller) {
        let name = caller.name.as_str();
        caller.set_day_limit(self.scheduler.caller_denied(name));
        caller.set_held(self.scheduler.is_held(name));
    }

    /// Adds the other replicas' calls to the caller's ledger, because the limit applies to all replicas together. If
    /// the caller is held and a worker has served it a meeting from the cache, tells the scheduler, which then stops
    /// holding it.
    fn update_ledger(&self, caller: &Caller, now: Instant) {
        if caller.take_found() {
            self.scheduler.record_answer(caller.name.as_str(), true);
        }
        let CallerSharing { replicas, by_others, unshared } =
            self.scheduler.take_sharing(caller.name.as_str());
        caller.set_sharing(replicas, by_others, unshared, now);
    }

    fn update_callers(&self) {
        let version = self.callers.version();
        if self.version.replace(Some(version)) == Some(version) || !self.callers.need_keys() {
            return;
        }
        let share = |caller: Arc<Caller>| CallerShare {
            name: caller.name.as_str().into(),
            weight: caller.weight,
            calls_per_day: caller.calls_per_day,
        };
        self.scheduler.set_callers(&self.callers.all().into_iter().map(share).collect::<Vec<_>>());
    }
}

impl FlightCalls {
    /// Asks Redis whether the caller's ceilings (`calls_per_minute` and `calls_per_day`) permit the flight's first
    /// call.
    ///
    /// # Errors
    /// The calls of all replicas together have reached a ceiling of the caller.
    pub(super) async fn confirm(&self) -> Result<(), Failure> {
        self.shared.start().await
    }

    /// Counts a call, and returns what [`Self::refund_call`] needs.
    pub(super) fn record_call(&self, now: Instant) -> Draw {
        self.minute.record_call(now);
        self.shared.record_call();
        self.day.record_call()
    }

    /// Takes back a call that was counted at `called` but not sent.
    pub(super) fn refund_call(&self, called: Instant, draw: Draw) {
        self.minute.refund_call(called);
        self.shared.refund_call();
        self.day.refund_call(draw);
    }
}
