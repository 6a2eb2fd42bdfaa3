//! Applies callers' ceilings (`calls_per_minute`, `calls_per_day`) to the calls of all replicas together.
//! `ceilings.lua` decides.

use std::time::Instant;

use redis::Value;

use super::{
    Cluster, Unavailable,
    bounds::{self, Rejected},
    clock::Micros,
    connection::{OpError, Traffic},
    script,
};
use crate::{failure::CallerLimit, metrics::RedisValue};

/// A caller's ceilings. A value of 0 means that the caller does not have that ceiling.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings<'a> {
    /// The caller's name.
    pub caller: &'a str,
    /// The calls permitted in any minute.
    pub per_minute: u32,
    /// The calls permitted in a UTC day.
    pub per_day: u32,
}

/// The decision about the start of a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightStart {
    /// The flight's first call was counted at this time, in microseconds on the server's clock.
    Counted(u64),
    /// The caller has reached this ceiling. Another flight may start from this time.
    OverLimit(CallerLimit, Instant),
}

enum CeilingReply {
    Counted(Micros),
    Over(CallerLimit, Micros),
    Late,
}

impl Cluster {
    /// Counts the first call of a flight, unless the calls of all replicas have reached a ceiling of the caller.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn start_flight(&self, ceilings: Ceilings<'_>) -> Result<FlightStart, Unavailable> {
        match self.run_ceilings("start", ceilings, 0).await? {
            CeilingReply::Counted(at) => Ok(FlightStart::Counted(at)),
            CeilingReply::Over(limit, until) => {
                let until = self.clock().ok_or(Unavailable)?.when(until).map_err(|_| Unavailable)?;
                Ok(FlightStart::OverLimit(limit, until))
            }
            CeilingReply::Late => Err(Unavailable),
        }
    }

    /// Counts another call of a flight that has started, even if the caller has reached a ceiling.
    pub async fn count_caller_call(&self, ceilings: Ceilings<'_>) {
        self.run_ceilings("add", ceilings, 0).await.ok();
    }

    /// Takes back a call that was not made. `counted_at` is from [`FlightStart::Counted`]; 0 for the newest call.
    pub async fn uncount_caller_call(&self, ceilings: Ceilings<'_>, counted_at: u64) {
        self.run_ceilings("take_back", ceilings, counted_at).await.ok();
    }

    async fn run_ceilings(
        &self,
        op: &str,
        ceilings: Ceilings<'_>,
        counted_at: Micros,
    ) -> Result<CeilingReply, Unavailable> {
        self.ensure_usable()?;
        let inner = &self.0;
        let deadline = self.clock().ok_or(Unavailable)?.at(Instant::now() + inner.config.timeout);
        let Ceilings { caller, per_minute, per_day } = ceilings;
        let (minute, day) = inner.keys.ceilings(caller);
        let call = inner.scripts.ceilings.call().key(minute).key(day);
        let call = call.arg(op).arg(per_minute).arg(per_day).arg(deadline);
        let call = call.arg(inner.config.per_day).arg(counted_at);
        let reply = inner.client.run(Traffic::Control, async |to| call.run::<Vec<Value>>(to).await).await;
        let values = reply.inspect_err(|error| self.failed(error)).map_err(|_| Unavailable)?;
        let now = self.clock().ok_or(Unavailable)?.at(Instant::now());
        let reply = inner.rejections.checked(RedisValue::Reply, parse(&values, now));
        let (reply, rejected) = reply.map_err(|_| {
            self.failed(&OpError::Refused("an answer of another script, or out of bounds".to_owned()));
            Unavailable
        })?;
        inner.rejections.count(RedisValue::Quota, rejected);
        Ok(reply)
    }
}

fn parse(values: &[Value], now: Micros) -> Result<(CeilingReply, u64), Rejected> {
    let numbers: Vec<u64> = values.iter().map(script::number).collect::<Result<_, _>>()?;
    let [verdict, at, rejected] = *numbers.as_array::<3>().ok_or(Rejected)?;
    let (at, rejected) = (bounds::fence(at, now)?, bounds::count(rejected)?);
    let reply = match verdict {
        0 => CeilingReply::Counted(at),
        1 => CeilingReply::Over(CallerLimit::PerMinute, at),
        2 => CeilingReply::Over(CallerLimit::PerDay, at),
        3 => CeilingReply::Late,
        _ => return Err(Rejected),
    };
    Ok((reply, rejected))
}
