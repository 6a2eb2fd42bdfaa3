//! The operations on the shared quota: slots, reports, and the last known state of all replicas.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{
    Cluster, Mode, OutboxItem, Unavailable, bounds,
    caller_calls::{CallerChange, CallerCount},
    clock::{Micros, micros},
    quota_reply::{QuotaReply, Replicas, SharedDay, SlotReply, lead},
    script::ScriptCall,
    standalone::{LocalShare, SPREAD},
};
use crate::failure::LimitKind;

impl Cluster {
    /// Reserves a slot in the quota of all replicas.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn reserve_slot(&self) -> Result<SlotReply, Unavailable> {
        let reply = self.try_request("permit", |call| call.arg(micros(lead(self.0.round_trip.get())))).await;
        let reply = reply.ok_or(Unavailable)?;
        reply.slot_reply(&self.clock().ok_or(Unavailable)?).ok_or(Unavailable)
    }

    /// Returns how many slots this process may hold while `waiting` calls wait here.
    pub fn may_reserve(&self, waiting: u64) -> u64 {
        self.0.quota_view.borrow().may_reserve(waiting)
    }

    /// Sets two numbers for the next report. `calls` is how many calls wait here; slots are divided among the replicas
    /// in proportion to it. `refreshes_an_hour` is how many calls an hour this process's refreshes would cost without
    /// stretching.
    pub fn set_demand(&self, calls: u64, refreshes_an_hour: u64) {
        let mut view = self.0.quota_view.borrow_mut();
        (view.demand, view.refresh_demand) = (calls, refreshes_an_hour);
    }

    /// Releases a slot whose call was not made, so that it does not count towards this day.
    pub async fn release_slot(&self, day: u64) {
        self.try_request("give_back", |call| call.arg(day)).await;
    }

    /// Reports how many calls the account has left today, according to Zoom's response to a call made at `called`.
    pub async fn report_remaining(&self, calls: u64, called: Instant) {
        self.try_request("left", |call| call.arg(calls).arg(micros(called.elapsed()))).await;
    }

    /// Pauses the calls of all replicas until this time, because Zoom responded with a 429. If Redis is unavailable,
    /// the pause is announced when Redis is available again, unless it is over by then.
    pub async fn cool_down(&self, kind: LimitKind, until: Instant, encoded_failure: &str) {
        if let Some(clock) = self.clock() {
            self.0.quota_view.borrow_mut().extend_cooldown(kind, clock.at(until));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let (word, events) =
            (if kind == LimitKind::PerSecond { "second" } else { "day" }, &*self.0.keys.events);
        let cooled = self
            .try_request("cool", |call| call.arg(word).arg(micros(left)).arg(events).arg(encoded_failure))
            .await;
        if cooled.is_none() {
            let encoded_failure = encoded_failure.to_owned();
            self.0.outbox.borrow_mut().push(OutboxItem::CoolDown { kind, until, encoded_failure });
        }
    }

    /// Leaves the cluster. This process makes no more calls. If Redis is available, the other replicas get its share
    /// immediately. All later operations fail.
    pub async fn leave(&self) {
        if self.ensure_usable().is_ok() {
            // The first request reports the standalone calls. No heartbeat may follow the second request, because that
            // would make this process a member again.
            let reported = self.request("beat", |call| call).await;
            self.0.has_left.set(true);
            if reported.is_ok() {
                self.request("leave", |call| call).await.ok();
            }
        }
        self.0.has_left.set(true);
        self.0.recovered.notify_waiters();
    }

    /// Returns the end of the pause after a 429 of this kind, as far as this process knows; `None` if there is no
    /// pause.
    pub fn cooldown_until(&self, kind: LimitKind) -> Option<Instant> {
        let until = self.0.quota_view.borrow().cooldown_end(kind);
        let (clock, now) = (self.clock()?, Instant::now());
        // If the server's clock went back, an end that was within bounds before may now be too far ahead.
        let until = bounds::cool_down(kind, until, clock.at(now)).ok()?;
        clock.when(until).ok().filter(|until| *until > now)
    }

    /// Records a change of a caller's account, for the next report to the server.
    pub fn add_caller_calls(&self, caller: &str, change: CallerChange) {
        self.0.quota_view.borrow_mut().callers.add(caller, change);
    }

    /// Sets whether this process has callers to count. If not, requests neither report nor list the calls of callers.
    pub fn count_callers(&self, has_callers: bool) {
        self.0.quota_view.borrow_mut().callers.is_used = has_callers;
    }

    /// Returns a number that changes whenever a reply may have changed the callers' accounts.
    pub fn caller_calls_version(&self) -> u64 {
        self.0.caller_calls_version.get()
    }

    /// Returns a date, in days since 1970-01-01 UTC, and each caller's account on that date, as far as this process
    /// knows. Resets [`CallerCount::by_others`].
    pub fn caller_calls(&self) -> (u64, Vec<(Box<str>, CallerCount)>) {
        let mut view = self.0.quota_view.borrow_mut();
        let date = view.date();
        (date, view.callers.counts())
    }

    /// Returns the number of replicas that divide a caller's calls until the next exchange of counts. These are the
    /// replicas that are present or, while Redis is unavailable, the configured number.
    pub fn dividing_replicas(&self, now: Instant) -> u32 {
        match self.mode(now) {
            Mode::Shared => u32::try_from(self.replicas().live.max(1)).unwrap_or(u32::MAX),
            Mode::Waiting(_) | Mode::Standalone => self.0.config.replicas.get(),
        }
    }

    /// Counts a call that this process made within its own share, for the next report to the server.
    pub fn count_standalone_call(&self, now: Instant) {
        self.0.presence.borrow_mut().count_standalone_call(now);
        self.0.quota_view.borrow_mut().count_standalone_call(self.micros(now));
    }

    pub(crate) fn uncount_standalone_call(&self) {
        self.0.quota_view.borrow_mut().uncount_standalone_call();
    }

    /// Returns the time of the server's clock. Before that is known, returns this machine's time, which is good enough
    /// for the date.
    fn micros(&self, now: Instant) -> Micros {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or_default();
        self.clock().map_or_else(wall, |clock| clock.at(now))
    }

    /// Returns the day's calls of all replicas, as far as this process knows.
    pub fn day(&self, now: Instant) -> SharedDay {
        self.0.quota_view.borrow().day(self.micros(now))
    }

    /// Estimates how long a call waits for a slot if `waiting` calls wait here and `ahead` of them are served before
    /// it. For the other replicas, uses the numbers of waiting calls that they last reported.
    pub(crate) fn estimate_wait(&self, ahead: u64, waiting: u64) -> Duration {
        let others = self.0.quota_view.borrow().others_before(ahead, waiting);
        let calls = u32::try_from(ahead.saturating_add(others)).unwrap_or(u32::MAX);
        SPREAD.saturating_mul(calls) / self.0.config.per_second.get()
    }

    pub(crate) fn replicas(&self) -> Replicas {
        self.0.quota_view.borrow().replicas()
    }

    pub(crate) fn local_share(&self) -> LocalShare {
        LocalShare::of(self.0.config.per_second, self.0.config.replicas)
    }

    /// Returns the count of the day at which this process must stop calling without Redis, if `used` calls are counted
    /// now.
    pub(crate) fn standalone_stop(&self, used: u64) -> u64 {
        used + LocalShare::of_day(self.0.config.per_day, used, self.0.config.replicas)
    }

    pub(crate) fn per_day(&self) -> u64 {
        self.0.config.per_day
    }

    async fn try_request(
        &self,
        op: &str,
        add_arguments: impl Fn(ScriptCall<'_>) -> ScriptCall<'_>,
    ) -> Option<QuotaReply> {
        self.ensure_usable().ok()?;
        self.request(op, add_arguments).await.inspect_err(|error| self.failed(error)).ok()
    }
}
