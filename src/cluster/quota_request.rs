//! Requests about the shared quota: each is one run of `quota.lua`, and carries a report of this replica.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    Cluster,
    bounds::Rejected,
    clock::{Micros, micros},
    connection::{OpError, Traffic},
    quota_reply::{QuotaReply, Verdict, lead},
    quota_view::ReplicaReport,
    script::{self, ScriptCall},
    standalone::RequestEffect,
};
use crate::{failure::LimitKind, metrics::RedisValue};

/// The purpose of a request, with its own arguments.
pub(super) enum Op<'a> {
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

impl Cluster {
    /// Sends a request; once more if it reached the server after its deadline: the answer has the server's clock, so the second
    /// deadline is right even where the first one was computed from a wrong estimate.
    pub(super) async fn request(&self, op: Op<'_>) -> Result<QuotaReply, OpError> {
        let reply = self.request_once(&op).await?;
        let reply = if reply.verdict == Verdict::Late { self.request_once(&op).await? } else { reply };
        if reply.verdict == Verdict::Late { Err(OpError::TimedOut) } else { Ok(reply) }
    }

    async fn request_once(&self, op: &Op<'_>) -> Result<QuotaReply, OpError> {
        let inner = &self.0;
        let (Some(clock), Some(run_id)) = (inner.clock.get(), inner.client.run_id()) else {
            return Err(OpError::Broken);
        };
        let sent = Instant::now();
        let deadline = sent + inner.client.timeout();
        let report = inner.quota_view.borrow_mut().next_report();
        let call = self.script_call(op, &run_id, clock.at(deadline), &report, sent);
        if op.is_sign_of_life() {
            inner.presence.borrow_mut().on_request(deadline);
        }
        let answer: Result<Vec<Value>, OpError> = inner.client.script(Traffic::Control, &call).await;
        let answer = answer.and_then(|values| self.parse(&values));
        if op.is_sign_of_life() {
            inner.presence.borrow_mut().on_end(effect_of(&answer), Instant::now(), deadline);
        }
        let reply = answer?;
        inner.rejections.count(RedisValue::Budget, reply.rejected);
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
        report: &ReplicaReport,
        now: Instant,
    ) -> ScriptCall<'_> {
        let inner = &self.0;
        let (demand, refresh_demand) = {
            let view = inner.quota_view.borrow();
            (view.demand, view.refresh_demand)
        };
        let mut call = inner.scripts.quota.call();
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

    fn parse(&self, values: &[Value]) -> Result<QuotaReply, OpError> {
        let numbers: Result<Vec<i64>, Rejected> = values.iter().map(script::number).collect();
        let reply = numbers.and_then(|numbers| QuotaReply::parse(&numbers, self.0.config.per_day));
        let reply = self.0.rejections.checked(RedisValue::Reply, reply);
        reply.map_err(|_| OpError::Refused("an answer of another script, or out of bounds".to_owned()))
    }
}

fn effect_of(answer: &Result<QuotaReply, OpError>) -> RequestEffect {
    match answer {
        Ok(QuotaReply { verdict: Verdict::Late, .. }) | Err(OpError::Refused(_)) => RequestEffect::Rejected,
        Ok(_) => RequestEffect::Applied,
        Err(OpError::TimedOut | OpError::Broken) => RequestEffect::Unknown,
    }
}
