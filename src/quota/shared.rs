//! Makes permits from the quota that all replicas share over Redis, reserved ahead of time. While Redis is unavailable,
//! makes them from this process's own share of the limits. Only this part of `quota` uses Redis.
//!
//! A replica reserves *slots* ahead of time for the calls that wait, so that they do not each wait for a round trip to
//! Redis. A slot is a time for one call, which a script in Redis assigns. The slot becomes a permit at its time, and
//! only then does the scheduler decide which call uses it.
//!
//! Example: 36 calls a second are permitted, and 10 calls wait at each of three replicas. The script assigns a slot
//! every 1.04 s / 36 = 29 ms, so each replica has reserved about three slots of the next 250 ms.
//!
//! The day's count already includes reserved slots. A slot that is not used within 30 ms of its time is therefore
//! released, and so are slots beyond the number of waiting calls.

mod reserved_slots;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use self::reserved_slots::ReservedSlots;
use super::{
    daily::DayCount,
    fair_day::{AccountChange, CallerSpending, DayState, Unshared},
    local::LocalQuota,
    permit::{Denied, Limit, Now, Permit, PermitSource},
    rate::RateLimiter,
};
use crate::{
    cluster::{
        Cluster,
        caller_calls::{CallerChange, CallerCount},
        failure_codec,
        quota_reply::Slot,
        standalone::Mode,
    },
    failure::{Failure, LimitKind},
};

/// The maximum difference between two reported ends of the same cool-down.
const SAME_COOLDOWN: Duration = Duration::from_millis(50);

/// This process's part of the quota of all replicas.
pub(crate) struct SharedQuota {
    cluster: Cluster,
    /// Follows the counts of all replicas. Makes the permits while Redis is unavailable.
    pub(super) local: LocalQuota,
    /// The reserved slots. The tasks that request more slots share them.
    slots: Rc<RefCell<ReservedSlots>>,
    /// While Redis is unavailable, a date and the count of that day at which this process must stop.
    standalone_stop: Option<(u64, u64)>,
    /// The earliest time of the next call while Redis is unavailable. It matters only if this process's share is less than
    /// one call a second, which the rate limiter cannot enforce.
    next_standalone: Option<Instant>,
    /// The version of the callers' accounts that `local` last received.
    caller_calls_version: u64,
    /// For each caller, the calls of other replicas that its ledger does not contain yet.
    by_others: HashMap<Box<str>, i64>,
}

impl SharedQuota {
    /// Shares the limits of `local` over Redis. The rate of `local` is replaced by this process's share.
    pub(crate) fn new(cluster: Cluster, mut local: LocalQuota) -> Self {
        local.rate = RateLimiter::new(cluster.local_share().per_second);
        Self {
            cluster,
            local,
            slots: Rc::default(),
            standalone_stop: None,
            next_standalone: None,
            caller_calls_version: 0,
            by_others: HashMap::new(),
        }
    }

    /// Returns the current time. Its wall clock is that of the Redis server, once that is known, so that all replicas
    /// agree on the day.
    pub(super) fn now(&self) -> Now {
        let instant = Instant::now();
        let wall = self.cluster.clock().map_or_else(SystemTime::now, |clock| clock.wall(instant));
        Now { instant, wall }
    }

    /// Updates the local quota to the day's count and the cool-downs of all replicas.
    pub(super) fn sync(&mut self) -> Now {
        let now = self.now();
        for kind in LimitKind::ALL {
            if let Some(until) = self.cluster.cooldown_until(kind)
                && self.local.cooldown_until(kind, now).is_none_or(|known| until > known + SAME_COOLDOWN)
            {
                self.local.cool_down(kind, until);
            }
        }
        self.sync_day(now);
        now
    }

    /// Updates the local quota to the day's count of all replicas. With Redis, the limit is that of all replicas, and
    /// this process plans with its part of the remaining calls. While Redis is unavailable, the limit is the last known
    /// count plus this process's share of the calls that were left.
    ///
    /// Example: 54,000 calls are permitted and 24,000 are used. One of three replicas loses Redis. It may continue up
    /// to a count of 24,000 + 30,000 / 3 = 34,000.
    fn sync_day(&mut self, now: Now) {
        let day = self.cluster.day(now.instant);
        let mut count = DayCount { date: day.date, used: day.used, taken: day.taken };
        if self.cluster.mode(now.instant) == Mode::Shared {
            // The count includes this replica's reserved slots, which can still be used.
            count.used = count.used.saturating_sub(self.slots.borrow().of_day(day.date));
            self.standalone_stop = None;
            let (own, all) =
                (self.local.ttl.refresh_demand(now.instant), self.cluster.replicas().refresh_demand);
            self.local.set_shared_day(count, self.cluster.per_day(), part_of(own, all));
        } else {
            let stop = self.standalone_stop.filter(|(date, _)| *date == day.date);
            let stop = stop.unwrap_or_else(|| (day.date, self.cluster.standalone_stop(day.used)));
            self.standalone_stop = Some(stop);
            self.local.set_shared_day(count, stop.1, 1.0);
        }
    }

    pub(super) fn sync_fair_day(&mut self, now: Now) -> DayState {
        let replicas = self.cluster.dividing_replicas(now.instant);
        // While Redis is available, its script checks each ceiling for all replicas, so they do not divide it.
        let is_shared = self.cluster.mode(now.instant) == Mode::Shared;
        let day = self.local.sync_fair_day(now, (replicas, if is_shared { 1 } else { replicas }));
        let fair_day = &mut self.local.fair_day;
        self.cluster.count_callers(fair_day.has_callers());
        for AccountChange { caller, is_refund, draw, from } in fair_day.take_changes() {
            let sign = if is_refund { -1 } else { 1 };
            let drawn = i64::try_from(draw.0.as_micros()).unwrap_or(0);
            let of_reserve = i64::from(drawn > 0);
            let change = CallerChange { calls: sign, draws: sign * of_reserve, drawn: sign * drawn, from };
            self.cluster.add_caller_calls(&caller, change);
        }
        let version = self.cluster.caller_calls_version();
        if std::mem::replace(&mut self.caller_calls_version, version) != version {
            let (date, callers) = self.cluster.caller_calls();
            // Shortly after 00:00 UTC, the accounts may still be those of the previous day.
            for (name, CallerCount { calls, drawn_until, unshared, by_others }) in callers {
                if by_others != 0 && fair_day.is_caller(&name) {
                    *self.by_others.entry(name.clone()).or_default() += by_others;
                }
                if date == day.date {
                    let unshared = Unshared { calls: unshared.0, draws: unshared.1 };
                    fair_day.set_spending(date, &name, CallerSpending { calls, drawn_until }, unshared);
                }
            }
        }
        day
    }

    /// Returns the calls that other replicas have made for this caller since this was last called, minus those that
    /// they took back.
    pub(super) fn take_calls_by_others(&mut self, caller: &str) -> i64 {
        self.by_others.remove(caller).unwrap_or(0)
    }

    pub(super) fn try_take(&mut self, now: Now) -> Result<Permit, Denied> {
        let too_early = |retry_at| Denied { retry_at, limit: Limit::Rate };
        match self.cluster.mode(now.instant) {
            Mode::Shared => {
                self.local.blocked_until(now).map_or(Ok(()), Err)?;
                let slot = self.slots.borrow_mut().take(now.instant).map_err(too_early)?;
                self.local.ttl.count_call(now.instant);
                Ok(Permit::from_slot(slot))
            }
            Mode::Waiting(until) => Err(too_early(until)),
            Mode::Standalone => {
                if let Some(at) = self.next_standalone.filter(|at| *at > now.instant) {
                    return Err(too_early(at));
                }
                let permit = self.local.try_take(now)?;
                self.cluster.count_standalone_call(now.instant);
                self.next_standalone = Some(now.instant + self.cluster.local_share().apart);
                Ok(permit)
            }
        }
    }

    pub(super) fn estimate(&self, opens: Instant, ahead: usize, waiting: usize) -> Instant {
        let now = Instant::now();
        let from = match self.cluster.mode(now) {
            Mode::Shared => {
                let first = self.slots.borrow().first().unwrap_or(now).max(now);
                return opens.max(first) + self.cluster.estimate_wait(ahead as u64, waiting as u64);
            }
            Mode::Waiting(until) => until,
            Mode::Standalone => now,
        };
        let times = u32::try_from(ahead).unwrap_or(u32::MAX);
        self.local.estimate(opens.max(from), ahead) + self.cluster.local_share().apart.saturating_mul(times)
    }

    /// Sets the number of waiting calls for the next report to Redis, and releases the slots that these calls cannot use.
    pub(super) fn report_demand(&mut self, waiting: usize, now: Now) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "calls an hour, of which a fraction does not matter"
        )]
        let refreshes_an_hour = self.local.ttl.refresh_demand(now.instant) as u64;
        self.cluster.set_demand(waiting as u64, refreshes_an_hour);
        let cools_down =
            LimitKind::ALL.into_iter().any(|kind| self.local.cooldown_until(kind, now).is_some());
        let can_use = !cools_down && self.cluster.mode(now.instant) == Mode::Shared;
        let keep = if can_use { waiting } else { 0 };
        let surplus = self.slots.borrow_mut().release_surplus(keep, now.instant);
        if !surplus.is_empty() {
            let cluster = self.cluster.clone();
            drop(actix_rt::spawn(async move {
                for slot in surplus {
                    cluster.release_slot(slot.day).await;
                }
            }));
        }
    }

    pub(super) fn reserve(&mut self, waiting: usize, now: Instant, wake: &Rc<Notify>) {
        if self.cluster.mode(now) != Mode::Shared {
            return;
        }
        let at_most = self.cluster.may_reserve(waiting as u64).min(waiting as u64);
        for _ in 0..self.slots.borrow_mut().start_reserving(at_most, now) {
            let (cluster, slots) = (self.cluster.clone(), Rc::clone(&self.slots));
            let wake = Rc::clone(wake);
            drop(actix_rt::spawn(async move {
                let reserved = cluster.reserve_slot().await;
                slots.borrow_mut().on_reserved(reserved, Instant::now());
                wake.notify_one();
            }));
        }
    }

    pub(super) fn release(&mut self, permit: Permit, now: Now) {
        match permit.source {
            PermitSource::Local => {
                self.local.release(permit, now);
                self.cluster.uncount_standalone_call();
            }
            PermitSource::Shared => {
                let (cluster, day) = (self.cluster.clone(), permit.day);
                drop(permit);
                self.local.uncount_call(now);
                drop(actix_rt::spawn(async move { cluster.release_slot(day).await }));
            }
        }
    }

    pub(super) fn report_remaining(&self, calls: u64, called: Instant) {
        let cluster = self.cluster.clone();
        drop(actix_rt::spawn(async move { cluster.report_remaining(calls, called).await }));
    }

    pub(super) fn cool_down(&mut self, kind: LimitKind, until: Instant, failure: &Failure) {
        self.local.cool_down(kind, until);
        let cluster = self.cluster.clone();
        let encoded =
            cluster.clock().and_then(|clock| failure_codec::encode(failure, &clock)).unwrap_or_default();
        drop(actix_rt::spawn(async move { cluster.cool_down(kind, until, &encoded).await }));
    }
}

impl Permit {
    /// Consumes a slot of the shared quota.
    fn from_slot(Slot { day, .. }: Slot) -> Self {
        Self { day, source: PermitSource::Shared }
    }
}

/// Returns this process's part of the refresh demand of all replicas, 0 to 1. Returns 1 if this process has no demand yet.
fn part_of(own: f64, all: u64) -> f64 {
    let all = f64::from(u32::try_from(all).unwrap_or(u32::MAX)).max(own);
    if own > 0.0 { own / all } else { 1.0 }
}
