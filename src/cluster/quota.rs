//! The shared quota, as the fetcher's thread uses it: slots, reports, and what is known of the other replicas.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{
    Cluster, Unavailable, bounds,
    clock::{Micros, micros},
    connection::OpError,
    outbox::OutboxItem,
    quota_reply::{QuotaReply, Reservation},
    quota_request::Op,
    quota_view::{Replicas, SharedDay},
    standalone::{LocalShare, SPREAD},
};
use crate::failure::LimitKind;

impl Cluster {
    /// Reserves a slot in the quota of all replicas.
    ///
    /// # Errors
    /// When Redis is unavailable.
    pub async fn reserve_slot(&self) -> Result<Reservation, Unavailable> {
        self.may_ask()?;
        let reply = self.request(Op::Permit).await.inspect_err(|trouble| self.failed(trouble));
        let reply = reply.map_err(|_| Unavailable)?;
        let clock = self.clock().ok_or(Unavailable)?;
        reply.reservation(&clock).ok_or(Unavailable)
    }

    /// How many slots this process may hold while `waiting` calls wait here.
    #[must_use]
    pub fn may_reserve(&self, waiting: u64) -> u64 {
        self.0.quota_view.borrow().may_reserve(waiting)
    }

    /// Sets what the next request reports: how many calls wait here, by which slots are divided, and what this process's
    /// refreshes would cost in an hour.
    pub fn set_demand(&self, calls: u64, refreshes_an_hour: u64) {
        let mut view = self.0.quota_view.borrow_mut();
        (view.demand, view.refresh_demand) = (calls, refreshes_an_hour);
    }

    /// Takes back a slot of that day whose call was not made.
    pub async fn release_slot(&self, day: u64) {
        self.report(Op::GiveBack { day }).await;
    }

    /// Zoom reported how many of the day's calls are left to the account, in answer to a call made at `called`.
    pub async fn report_remaining(&self, calls: u64, called: Instant) {
        self.report(Op::Left { calls, called: called.elapsed() }).await;
    }

    /// Zoom answered with a 429: stops the calls of all replicas until then. `words` as [`super::failure_codec`] writes them. While
    /// Redis is unavailable the report is kept, and sent later if it is still of use.
    pub async fn cool_down(&self, kind: LimitKind, until: Instant, words: &str) {
        if let Some(clock) = self.clock() {
            self.0.quota_view.borrow_mut().extend_cooldown(kind, clock.at(until));
        }
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() && self.report(Op::Cool { kind, left, words }).await.is_none() {
            self.0.outbox.borrow_mut().push(OutboxItem::CoolDown {
                kind,
                until,
                encoded_failure: words.to_owned(),
            });
        }
    }

    /// This process makes no more calls: the others get its share at once. The handle is of no use from then on.
    pub async fn leave(&self) {
        if self.may_ask().is_ok() {
            // The first request reports standalone calls. No heartbeat may follow the second, or this process would be back.
            let beaten = self.request(Op::Beat).await;
            self.0.gone.set(true);
            if beaten.is_ok() {
                self.request(Op::Leave).await.ok();
            }
        }
        self.0.gone.set(true);
        self.0.recovered.notify_waiters();
    }

    /// Until when a 429 of this kind stops all replicas, as far as this one knows.
    #[must_use]
    pub fn cooldown_until(&self, kind: LimitKind) -> Option<Instant> {
        let until = self.0.quota_view.borrow().cooldown_end(kind);
        let (clock, now) = (self.clock()?, Instant::now());
        // By a clock that went back, an end that was in bounds before may be too far ahead.
        let until = bounds::cool_down(kind, until, clock.at(now)).ok()?;
        clock.when(until).ok().filter(|until| *until > now)
    }

    /// A call was made within this process's own share. The next request reports it.
    pub fn count_standalone_call(&self, now: Instant) {
        self.0.presence.borrow_mut().count_standalone_call(now);
        self.0.quota_view.borrow_mut().count_standalone_call(self.micros(now));
    }

    /// A standalone call was counted and not made.
    pub(crate) fn uncount_standalone_call(&self) {
        self.0.quota_view.borrow_mut().uncount_standalone_call();
    }

    /// By the server's clock; before that is known by this machine's, which decides the day only.
    fn micros(&self, now: Instant) -> Micros {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or_default();
        self.clock().map_or_else(wall, |clock| clock.at(now))
    }

    /// The day's calls of all replicas, as far as this one knows.
    #[must_use]
    pub fn day(&self, now: Instant) -> SharedDay {
        self.0.quota_view.borrow().day(self.micros(now))
    }

    /// How long it takes until a call here has a slot that has `ahead` of the `waiting` calls before it, if all replicas have
    /// as many calls waiting as they last reported.
    pub(crate) fn estimate_wait(&self, ahead: u64, waiting: u64) -> Duration {
        let others = self.0.quota_view.borrow().others_before(ahead, waiting);
        let calls = u32::try_from(ahead.saturating_add(others)).unwrap_or(u32::MAX);
        SPREAD.saturating_mul(calls) / self.0.config.per_second.get()
    }

    /// The replicas, as of the last answer.
    pub(crate) fn replicas(&self) -> Replicas {
        self.0.quota_view.borrow().replicas()
    }

    /// The limits of this process without Redis.
    pub(crate) fn local_share(&self) -> LocalShare {
        LocalShare::of(self.0.config.per_second, self.0.config.replicas)
    }

    /// Up to which count of the day this process may go without Redis, if `used` calls are counted now.
    pub(crate) fn standalone_ceiling(&self, used: u64) -> u64 {
        used + LocalShare::of_day(self.0.config.per_day, used, self.0.config.replicas)
    }

    /// Calls permitted in a UTC day, to all replicas.
    pub(crate) fn per_day(&self) -> u64 {
        self.0.config.per_day
    }

    /// Finds out whether scripts run, without a trace on the server. A heartbeat whose answer is lost may have told the server
    /// that this replica is there, and postpones the time from which it may call on its own; repeated again and again, that
    /// time would never come.
    pub(super) async fn probe(&self) -> Result<(), OpError> {
        self.request(Op::Probe).await.map(drop)
    }

    /// Returns the number of the last purge.
    pub(super) async fn beat(&self) -> Result<u64, OpError> {
        Ok(self.request(Op::Beat).await?.purge)
    }

    async fn report(&self, op: Op<'_>) -> Option<QuotaReply> {
        self.may_ask().ok()?;
        self.request(op).await.inspect_err(|trouble| self.failed(trouble)).ok()
    }
}
