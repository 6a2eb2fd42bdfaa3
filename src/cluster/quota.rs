//! The shared quota: one request, one run of `quota.lua`, for a slot and for every report about the quota.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::{
    Away, Owed, Shared,
    bounds::{self, Rejected},
    clock::{Micros, micros},
    link::{Lane, Trouble},
    quota_reply::{QuotaReply, Reservation, Verdict, lead},
    quota_view::{Replicas, Report, SharedDay},
    script::{self, ScriptCall},
    standalone::{LocalShare, RequestEffect, SPREAD},
};
use crate::{failure::LimitKind, metrics::RedisValue};

/// What a request is for, with its own arguments.
enum Op<'a> {
    /// Finds out whether scripts run at all.
    Probe,
    Beat,
    Permit,
    GiveBack {
        day: u64,
    },
    Left {
        calls: u64,
        called: Duration,
    },
    Cool {
        kind: LimitKind,
        left: Duration,
        words: &'a str,
    },
    Leave,
}

impl Op<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Beat => "beat",
            Self::Permit => "permit",
            Self::GiveBack { .. } => "give_back",
            Self::Left { .. } => "left",
            Self::Cool { .. } => "cool",
            Self::Leave => "leave",
        }
    }

    /// Whether the server counts on this replica afterwards.
    fn is_sign_of_life(&self) -> bool {
        matches!(self, Self::Beat | Self::Permit)
    }
}

impl Shared {
    /// Reserves a slot in the quota of all replicas.
    ///
    /// # Errors
    /// When Redis is unavailable.
    pub async fn reserve_slot(&self) -> Result<Reservation, Away> {
        self.may_ask()?;
        let reply = self.request(Op::Permit).await.inspect_err(|trouble| self.failed(trouble));
        let reply = reply.map_err(|_| Away)?;
        let clock = self.clock().ok_or(Away)?;
        reply.reservation(&clock).ok_or(Away)
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

    /// Zoom answered with a 429: stops the calls of all replicas until then. `words` as [`super::words`] writes them. While
    /// Redis is unavailable the report is kept, and sent later if it is still of use.
    pub async fn cool_down(&self, kind: LimitKind, until: Instant, words: &str) {
        if let Some(clock) = self.clock() {
            self.0.quota_view.borrow_mut().extend_cooldown(kind, clock.at(until));
        }
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() && self.report(Op::Cool { kind, left, words }).await.is_none() {
            self.0.owed.borrow_mut().push(Owed::CoolDown { kind, until, words: words.to_owned() });
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
    pub fn uncount_standalone_call(&self) {
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
    #[must_use]
    pub fn estimate_wait(&self, ahead: u64, waiting: u64) -> Duration {
        let others = self.0.quota_view.borrow().others_before(ahead, waiting);
        let calls = u32::try_from(ahead.saturating_add(others)).unwrap_or(u32::MAX);
        SPREAD.saturating_mul(calls) / self.0.config.per_second.get()
    }

    /// The replicas, as of the last answer.
    #[must_use]
    pub fn replicas(&self) -> Replicas {
        self.0.quota_view.borrow().replicas()
    }

    /// What this process keeps to without Redis.
    #[must_use]
    pub fn local_share(&self) -> LocalShare {
        LocalShare::of(self.0.config.per_second, self.0.config.replicas)
    }

    /// Up to which count of the day this process may go without Redis, if `used` calls are counted now.
    #[must_use]
    pub fn standalone_ceiling(&self, used: u64) -> u64 {
        used + LocalShare::of_day(self.0.config.per_day, used, self.0.config.replicas)
    }

    /// Calls permitted in a UTC day, to all replicas.
    #[must_use]
    pub fn per_day(&self) -> u64 {
        self.0.config.per_day
    }

    /// Finds out whether scripts run, without a trace on the server. A heartbeat whose answer is lost may have told the server
    /// that this replica is there, and postpones the time from which it may call on its own; repeated again and again, that
    /// time would never come.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        self.request(Op::Probe).await.map(drop)
    }

    /// Returns the number of the last purge.
    pub(super) async fn beat(&self) -> Result<u64, Trouble> {
        Ok(self.request(Op::Beat).await?.purge)
    }

    async fn report(&self, op: Op<'_>) -> Option<QuotaReply> {
        self.may_ask().ok()?;
        self.request(op).await.inspect_err(|trouble| self.failed(trouble)).ok()
    }

    /// Sends a request; once more if it reached the server after its deadline: the answer has the server's clock, so the second
    /// deadline is right even where the first one was computed from a wrong estimate.
    async fn request(&self, op: Op<'_>) -> Result<QuotaReply, Trouble> {
        let reply = self.request_once(&op).await?;
        let reply = if reply.verdict == Verdict::Late { self.request_once(&op).await? } else { reply };
        if reply.verdict == Verdict::Late { Err(Trouble::TimedOut) } else { Ok(reply) }
    }

    async fn request_once(&self, op: &Op<'_>) -> Result<QuotaReply, Trouble> {
        let inner = &self.0;
        let (Some(clock), Some(run_id)) = (inner.clock.get(), inner.link.run()) else {
            return Err(Trouble::Broken);
        };
        let sent = Instant::now();
        let deadline = sent + inner.link.timeout();
        let report = inner.quota_view.borrow_mut().next_report();
        let call = self.script_call(op, &run_id, clock.at(deadline), &report, sent);
        if op.is_sign_of_life() {
            inner.presence.borrow_mut().on_request(deadline);
        }
        let answer: Result<Vec<Value>, Trouble> = inner.link.script(Lane::Control, &call).await;
        let answer = answer.and_then(|values| self.parse(&values));
        if op.is_sign_of_life() {
            inner.presence.borrow_mut().on_end(effect_of(&answer), Instant::now(), deadline);
        }
        let reply = answer?;
        inner.rejections.note(RedisValue::Budget, reply.rejected);
        inner.round_trip.set(sent.elapsed());
        self.learn_clock(sent, reply.now);
        if reply.verdict != Verdict::Late && op.is_sign_of_life() {
            inner.quota_view.borrow_mut().on_reply(reply, &report, run_id);
        }
        Ok(reply)
    }

    /// The arguments in the order of `quota.lua`.
    fn script_call(
        &self,
        op: &Op<'_>,
        run_id: &str,
        deadline: Micros,
        report: &Report,
        now: Instant,
    ) -> ScriptCall<'_> {
        let inner = &self.0;
        let (demand, refresh_demand) = {
            let view = inner.quota_view.borrow();
            (view.demand, view.refresh_demand)
        };
        let mut call = inner.quota_script.call();
        call.key(&*inner.keys.budget).key(&*inner.keys.members);
        call.arg(op.name()).arg(&inner.replica).arg(run_id).arg(deadline);
        call.arg(inner.config.per_second.get()).arg(inner.config.replicas.get()).arg(inner.config.per_day);
        call.arg(demand).arg(refresh_demand);
        call.arg(report.day).arg(report.used).arg(report.standalone).arg(report.number);
        call.arg(micros(inner.presence.borrow().share_in_use_for(now))).arg(&report.run_id);
        match op {
            Op::Probe | Op::Beat | Op::Leave => {}
            Op::Permit => {
                call.arg(micros(lead(inner.round_trip.get())));
            }
            Op::GiveBack { day } => {
                call.arg(*day);
            }
            Op::Left { calls, called } => {
                call.arg(*calls).arg(micros(*called));
            }
            Op::Cool { kind, left, words } => {
                let kind = if *kind == LimitKind::PerSecond { "second" } else { "day" };
                call.arg(kind).arg(micros(*left)).arg(&*inner.keys.events).arg(*words);
            }
        }
        call
    }

    fn parse(&self, values: &[Value]) -> Result<QuotaReply, Trouble> {
        let numbers: Result<Vec<i64>, Rejected> = values.iter().map(script::number).collect();
        let reply = numbers.and_then(|numbers| QuotaReply::parse(&numbers, self.0.config.per_day));
        let reply = self.0.rejections.noted(RedisValue::Reply, reply);
        reply.map_err(|_| Trouble::Refused("an answer of another script, or out of bounds".to_owned()))
    }
}

fn effect_of(answer: &Result<QuotaReply, Trouble>) -> RequestEffect {
    match answer {
        Ok(QuotaReply { verdict: Verdict::Late, .. }) | Err(Trouble::Refused(_)) => RequestEffect::Rejected,
        Ok(_) => RequestEffect::Applied,
        Err(Trouble::TimedOut | Trouble::Broken) => RequestEffect::Unknown,
    }
}
