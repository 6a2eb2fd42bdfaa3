//! Sends requests about the shared quota. Each request runs `quota.lua`, and contains a report of this replica.

use std::time::Instant;

use redis::Value;

use super::{
    Cluster,
    bounds::Rejected,
    caller_calls::{self, CallersReply},
    clock::{Micros, micros},
    connection::{OpError, Traffic},
    quota_reply::{QuotaReply, Verdict},
    quota_view::ReplicaReport,
    script::ScriptCall,
};
use crate::metrics::RedisValue;

impl Cluster {
    /// Runs an operation of `quota.lua`. `add_arguments` adds the operation's own arguments.
    ///
    /// If the request reaches the server after its deadline, it is sent once more. The reply to the first request
    /// contains the server's time, so the second deadline is right even if this replica's estimate of the server's
    /// clock was wrong.
    pub(super) async fn request(
        &self,
        op: &str,
        add_arguments: impl Fn(ScriptCall<'_>) -> ScriptCall<'_>,
    ) -> Result<QuotaReply, OpError> {
        let reply = self.request_once(op, &add_arguments).await?;
        let reply =
            if reply.verdict == Verdict::Late { self.request_once(op, &add_arguments).await? } else { reply };
        if reply.verdict == Verdict::Late { Err(OpError::TimedOut) } else { Ok(reply) }
    }

    async fn request_once(
        &self,
        op: &str,
        add_arguments: &impl Fn(ScriptCall<'_>) -> ScriptCall<'_>,
    ) -> Result<QuotaReply, OpError> {
        let inner = &self.0;
        let (Some(clock), Some(run_id)) = (inner.clock.get(), inner.client.run_id()) else {
            return Err(OpError::Broken);
        };
        // After these operations, the server counts this replica as present.
        let is_sign_of_life = matches!(op, "beat" | "permit");
        let sent = Instant::now();
        let deadline = sent + inner.config.timeout;
        let report = inner.quota_view.borrow_mut().next_report();
        let call = add_arguments(self.quota_call(op, &run_id, clock.at(deadline), &report, sent));
        if is_sign_of_life {
            inner.presence.borrow_mut().on_request(deadline);
        }
        let answer = inner.client.run(Traffic::Control, async |to| call.run::<Vec<Value>>(to).await).await;
        let answer = answer.and_then(|values| self.parse(&values));
        let (answer, callers) = match answer {
            Ok((reply, callers)) => (Ok(reply), callers),
            Err(error) => (Err(error), CallersReply::Nothing),
        };
        if is_sign_of_life {
            inner.presence.borrow_mut().on_end(in_effect_until(&answer, deadline));
        }
        let reply = answer?;
        inner.rejections.count(RedisValue::Quota, reply.rejected);
        inner.round_trip.set(sent.elapsed());
        self.learn_clock(sent, reply.now);
        if reply.verdict != Verdict::Late && is_sign_of_life {
            let mut view = inner.quota_view.borrow_mut();
            view.on_reply(reply, &report, run_id);
            match callers {
                CallersReply::Nothing => {}
                CallersReply::Asks => view.callers.on_request(),
                CallersReply::List(callers) => view.callers.on_list(callers),
            }
            self.0.caller_calls_version.set(self.0.caller_calls_version.get() + 1);
        }
        Ok(reply)
    }

    /// Returns a call with the arguments that all operations have, in the order of `quota.lua`.
    fn quota_call(
        &self,
        op: &str,
        run_id: &str,
        deadline: Micros,
        report: &ReplicaReport,
        now: Instant,
    ) -> ScriptCall<'_> {
        let inner = &self.0;
        let (config, view) = (&inner.config, inner.quota_view.borrow());
        let call = inner
            .scripts
            .quota
            .call()
            .key(&*inner.keys.quota)
            .key(&*inner.keys.members)
            .key(&*inner.keys.callers);
        let call = call.arg(op).arg(&inner.replica).arg(run_id).arg(deadline);
        let call = call.arg(config.per_second.get()).arg(config.replicas.get()).arg(config.per_day);
        let call = call.arg(view.demand).arg(view.refresh_demand);
        let call = call.arg(report.day).arg(report.used).arg(report.standalone).arg(report.number);
        let call = call.arg(micros(inner.presence.borrow().share_in_use_for(now))).arg(&report.run_id);
        call.arg(&report.callers)
    }

    fn parse(&self, values: &[Value]) -> Result<(QuotaReply, CallersReply), OpError> {
        let per_day = self.0.config.per_day;
        let reply = values.split_last().ok_or(Rejected).and_then(|(callers, numbers)| {
            Ok((QuotaReply::parse(numbers, per_day)?, caller_calls::parse(callers, per_day)?))
        });
        let reply = self.0.rejections.checked(RedisValue::Reply, reply);
        reply.map_err(|_| OpError::Refused("an answer of another script, or out of bounds".to_owned()))
    }
}

/// Returns the latest time at which a finished request can have taken effect on the server; `None` if it had no effect.
fn in_effect_until(answer: &Result<QuotaReply, OpError>, deadline: Instant) -> Option<Instant> {
    match answer {
        Ok(QuotaReply { verdict: Verdict::Late, .. }) | Err(OpError::Refused(_)) => None,
        Ok(_) => Some(Instant::now()),
        // The reply was lost, so the request may take effect until its deadline.
        Err(OpError::TimedOut | OpError::Broken) => Some(deadline),
    }
}
