//! The shared budget: one request, one step of `quota.lua`, for a permit and for everything that is said about the budget.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::{
    Away, Owed, Shared,
    bounds::{self, Rejected},
    clock::{Micros, micros},
    link::{Lane, Trouble},
    quota_view::{self, Draw, Reply, Verdict},
    script,
    standalone::{End, SPREAD},
};
use crate::{failure::LimitKind, metrics::RedisValue};

/// What is asked or said, with what it needs.
enum Op<'a> {
    /// Whether scripts run at all.
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
    fn asks(&self) -> bool {
        matches!(self, Self::Beat | Self::Permit)
    }
}

impl Shared {
    /// One permit of all replicas' budget, or when to ask again.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn permit(&self) -> Result<Draw, Away> {
        self.may_ask()?;
        let drawn = self.ask(Op::Permit).await.inspect_err(|trouble| self.failed(trouble));
        let reply = drawn.map_err(|_| Away)?;
        let clock = self.clock().ok_or(Away)?;
        reply.draw(&clock).ok_or(Away)
    }

    /// How many permits this process may ask for ahead of their time while so many calls wait.
    #[must_use]
    pub fn may_reserve(&self, waiting: u64) -> u64 {
        self.0.pool.borrow().may_reserve(waiting)
    }

    /// How many calls wait here, by which permits are divided, and what this process's refreshes would cost in an hour.
    pub fn has_waiting(&self, calls: u64, refreshes_an_hour: u64) {
        let mut pool = self.0.pool.borrow_mut();
        (pool.demand, pool.wish) = (calls, refreshes_an_hour);
    }

    /// Takes back a permit of that day that was not used.
    pub async fn give_back(&self, day: u64) {
        self.say(Op::GiveBack { day }).await;
    }

    /// Zoom says that so many of the day's calls are left to the account, in answer to a call made at `called`.
    pub async fn account_has_left(&self, calls: u64, called: Instant) {
        self.say(Op::Left { calls, called: called.elapsed() }).await;
    }

    /// Zoom refused a call: everybody pauses until then. `words` as [`super::words`] writes them. While Redis is away it is
    /// said later, if it is still worth it.
    pub async fn cool_down(&self, kind: LimitKind, until: Instant, words: &str) {
        if let Some(clock) = self.clock() {
            self.0.pool.borrow_mut().cool_down(kind, clock.at(until));
        }
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() && self.say(Op::Cool { kind, left, words }).await.is_none() {
            self.0.owed.borrow_mut().push(Owed::CoolDown { kind, until, words: words.to_owned() });
        }
    }

    /// This process makes no more calls: its share is the others' at once. From then on the handle is of no use.
    pub async fn leave(&self) {
        if self.may_ask().is_ok() {
            // What it called alone is not to be forgotten; and no heartbeat may come after the goodbye.
            let told = self.ask(Op::Beat).await;
            self.0.gone.set(true);
            if told.is_ok() {
                self.ask(Op::Leave).await.ok();
            }
        }
        self.0.gone.set(true);
        self.0.recovered.notify_waiters();
    }

    /// Until when a 429 of this kind stops all replicas, as far as this one has heard.
    #[must_use]
    pub fn cooled_until(&self, kind: LimitKind) -> Option<Instant> {
        let until = self.0.pool.borrow().cooled_until(kind);
        let (clock, now) = (self.clock()?, Instant::now());
        // A clock that went back makes what was heard before it too long.
        let until = bounds::cool_down(kind, until, clock.at(now)).ok()?;
        clock.when(until).ok().filter(|until| *until > now)
    }

    /// A call was made within this process's own share. Told to the others as soon as there is Redis again.
    pub fn called_alone(&self, now: Instant) {
        self.0.contact.borrow_mut().called_alone(now);
        self.0.pool.borrow_mut().called_alone(self.micros(now));
    }

    /// By the server's clock; before that is known by this machine's, and only for the day.
    fn micros(&self, now: Instant) -> Micros {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or_default();
        self.clock().map_or_else(wall, |clock| clock.at(now))
    }

    /// And was not made after all.
    pub fn did_not_call_alone(&self) {
        self.0.pool.borrow_mut().did_not_call_alone();
    }

    /// Days since 1970-01-01 UTC, the calls of all replicas in that day as far as this one has heard, and how many of them
    /// other apps made.
    #[must_use]
    pub fn day(&self, now: Instant) -> (u64, u64, u64) {
        self.0.pool.borrow().day(self.micros(now))
    }

    /// How long after now a call here has its permit that so many others of the `waiting` here go before, if all replicas
    /// have as much waiting as they last said.
    #[must_use]
    pub fn turn(&self, ahead: u64, waiting: u64) -> Duration {
        let others = self.0.pool.borrow().others_before(ahead, waiting);
        let calls = u32::try_from(ahead.saturating_add(others)).unwrap_or(u32::MAX);
        SPREAD.saturating_mul(calls) / self.0.config.per_second.get()
    }

    /// Replicas that there are, and what the refreshes of all of them would cost in an hour.
    #[must_use]
    pub fn replicas(&self) -> (u64, u64) {
        self.0.pool.borrow().last().map_or((0, 0), |last| (last.live, last.wishes))
    }

    /// Whether scripts run. A beat that breaks off may have told the others that this replica lives, and puts off
    /// the time from which it may call alone: where each one did, it would never come.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        self.ask(Op::Probe).await.map(drop)
    }

    /// Gives the number of the last purge.
    pub(super) async fn beat(&self) -> Result<u64, Trouble> {
        Ok(self.ask(Op::Beat).await?.purge)
    }

    async fn say(&self, op: Op<'_>) -> Option<Reply> {
        self.may_ask().ok()?;
        self.ask(op).await.inspect_err(|trouble| self.failed(trouble)).ok()
    }

    /// Asks; once more, if the server found that too much time had passed, which its clock says.
    async fn ask(&self, op: Op<'_>) -> Result<Reply, Trouble> {
        let reply = self.ask_once(&op).await?;
        let reply = if reply.verdict == Verdict::Late { self.ask_once(&op).await? } else { reply };
        if reply.verdict == Verdict::Late { Err(Trouble::TimedOut) } else { Ok(reply) }
    }

    async fn ask_once(&self, op: &Op<'_>) -> Result<Reply, Trouble> {
        let inner = &self.0;
        let (Some(clock), Some(run)) = (inner.clock.get(), inner.link.run()) else {
            return Err(Trouble::Broken);
        };
        let sent = Instant::now();
        let deadline = sent + inner.link.timeout();
        let (told, demand, wish) = {
            let mut pool = inner.pool.borrow_mut();
            (pool.tell(), pool.demand, pool.wish)
        };
        let mut call = inner.budget.call();
        call.key(&*inner.keys.budget).key(&*inner.keys.members);
        call.arg(op.name()).arg(&inner.replica).arg(&run).arg(clock.at(deadline));
        call.arg(inner.config.per_second.get()).arg(inner.config.replicas.get()).arg(inner.config.per_day);
        call.arg(demand).arg(wish).arg(told.day).arg(told.used).arg(told.alone).arg(told.report);
        call.arg(micros(inner.contact.borrow().share_in_use_for(sent))).arg(&told.heard_of);
        match op {
            Op::Probe | Op::Beat | Op::Leave => {}
            Op::Permit => {
                call.arg(micros(quota_view::lead(inner.round_trip.get())));
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
        if op.asks() {
            inner.contact.borrow_mut().asks(deadline);
        }
        let answer: Result<Vec<Value>, Trouble> = inner.link.script(Lane::Control, &call).await;
        let answer = answer.and_then(|values| {
            let numbers: Result<Vec<i64>, Rejected> = values.iter().map(script::number).collect();
            let reply = numbers.and_then(|numbers| Reply::of(&numbers, inner.config.per_day));
            let reply = inner.rejections.noted(RedisValue::Reply, reply);
            reply.map_err(|_| Trouble::Refused("an answer of another script, or out of bounds".to_owned()))
        });
        let end = match &answer {
            Ok(Reply { verdict: Verdict::Late, .. }) | Err(Trouble::Refused(_)) => End::Refused,
            Ok(_) => End::Done,
            Err(Trouble::TimedOut | Trouble::Broken) => End::Unknown,
        };
        if op.asks() {
            inner.contact.borrow_mut().ended(end, Instant::now(), deadline);
        }
        let reply = answer?;
        inner.rejections.note(RedisValue::Budget, reply.refused);
        inner.round_trip.set(sent.elapsed());
        self.learn_clock(sent, reply.now);
        if reply.verdict != Verdict::Late && op.asks() {
            inner.pool.borrow_mut().heard(reply, &told, run);
        }
        Ok(reply)
    }
}
