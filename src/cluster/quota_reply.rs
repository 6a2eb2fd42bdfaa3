//! Parses and checks the replies of `quota.lua`. Pure.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    bounds::{self, Rejected},
    clock::{Micros, ServerClock},
    script,
};
use crate::failure::LimitKind;

/// How long after the start of its slot a call may be made. The script spreads N calls over 1.04 s, which leaves 40 ms
/// of slack: 30 ms for late calls, and 10 ms for the network.
const MAX_LATE: Duration = Duration::from_millis(30);

/// Returns how long after its request a slot should begin at the earliest, given the last round trip. A slot that is
/// over before the reply arrives would be lost. With a short round trip this is zero, because the reply arrives before
/// the slot is over.
pub(super) fn lead(round_trip: Duration) -> Duration {
    if round_trip * 2 <= MAX_LATE { Duration::ZERO } else { round_trip }
}

/// A time for one call, reserved among the calls of all replicas. The day's count already includes the call.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::manual_non_exhaustive, reason = "non_exhaustive would let this crate make slots")]
pub struct Slot {
    /// The earliest time of the call.
    pub from: Instant,
    /// The latest time of the call.
    pub until: Instant,
    /// The UTC day on which the call is counted, in days since 1970-01-01.
    pub day: u64,
    /// Keeps other modules from making slots.
    reserved: (),
}

/// The reason why a replica gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// No slot can be dealt now. The next slot is too far ahead, or replicas that lost Redis may use all calls.
    Rate,
    /// All calls pause after a 429 of this kind.
    Cooldown(LimitKind),
    /// The day's calls are spent.
    DaySpent,
}

/// The reply to a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum SlotReply {
    /// A slot for one call.
    Slot(Slot),
    /// There is no slot now.
    RetryAt {
        /// The earliest time at which another request can succeed.
        at: Instant,
        /// The reason.
        blocker: Blocker,
    },
}

/// The day's calls of all replicas, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedDay {
    /// Days since 1970-01-01 UTC.
    pub date: u64,
    /// The counted calls, including `taken`.
    pub used: u64,
    /// The calls among `used` that other apps of the account made beyond the headroom.
    pub taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replicas {
    /// The number of replicas that are present, including this one.
    pub(crate) live: u64,
    /// How many calls an hour the refreshes of all replicas would cost without stretching.
    pub(crate) refresh_demand: u64,
}

/// The numbers in a reply of `quota.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QuotaReply {
    pub(super) verdict: Verdict,
    pub(super) now: Micros,
    pub(super) at: Micros,
    pub(super) blocker: Option<Blocker>,
    pub(super) day: SharedDay,
    /// The ends of the cool-downs of the second and of the day.
    pub(super) cooldowns: [Micros; 2],
    pub(super) demand: u64,
    pub(super) replicas: Replicas,
    pub(super) free: u64,
    pub(super) purge: u64,
    /// The number of values in Redis that the script rejected.
    pub(super) rejected: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Permit,
    NotBefore,
    Late,
}

impl QuotaReply {
    /// Parses and checks the numbers of a reply, because a faulty server or another script may have sent any numbers.
    pub(super) fn parse(values: &[Value], per_day: u64) -> Result<Self, Rejected> {
        let numbers: Vec<u64> = values.iter().map(script::number).collect::<Result<_, _>>()?;
        #[rustfmt::skip]
        let [verdict, now, at, blocker, date, used, taken, second, daily, demand, live, free, refresh_demand, purge, rejected] =
            *numbers.as_array::<15>().ok_or(Rejected)?;
        let verdict = match verdict {
            0 => Verdict::Ok,
            1 => Verdict::Permit,
            2 => Verdict::NotBefore,
            3 => Verdict::Late,
            _ => return Err(Rejected),
        };
        let blocker = match blocker {
            0 => None,
            1 => Some(Blocker::Rate),
            2 => Some(Blocker::Cooldown(LimitKind::PerSecond)),
            3 => Some(Blocker::Cooldown(LimitKind::PerDay)),
            4 => Some(Blocker::DaySpent),
            _ => return Err(Rejected),
        };
        bounds::clock_shows(now)?;
        bounds::day(date, now)?;
        for calls in [demand, live, free, refresh_demand, rejected] {
            bounds::count(calls)?;
        }
        for calls in [used, taken] {
            bounds::within(calls, bounds::calls_of_day(per_day))?;
        }
        let cooldowns = [
            bounds::cool_down(LimitKind::PerSecond, second, now)?,
            bounds::cool_down(LimitKind::PerDay, daily, now)?,
        ];
        let (at, purge) = (bounds::fence(at, now)?, bounds::fence(purge, now)?);
        let (day, replicas) = (SharedDay { date, used, taken }, Replicas { live, refresh_demand });
        Ok(Self { verdict, now, at, blocker, day, cooldowns, demand, replicas, free, purge, rejected })
    }

    /// Returns the result of a request for a slot; `None` if the reply contains no valid one.
    pub(super) fn slot_reply(&self, clock: &ServerClock) -> Option<SlotReply> {
        let at = clock.when(self.at).ok()?;
        match (self.verdict, self.blocker) {
            (Verdict::Permit, _) => {
                let slot = Slot { from: at, until: at + MAX_LATE, day: self.day.date, reserved: () };
                Some(SlotReply::Slot(slot))
            }
            (Verdict::NotBefore, Some(blocker)) => Some(SlotReply::RetryAt { at, blocker }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::clock::DAY, *};

    const NOON: Micros = 20_000 * DAY + DAY / 2;

    #[test]
    fn a_reply_of_another_script_is_rejected() {
        let with = |at: usize, number: i64| {
            let mut numbers = [0; 15];
            (numbers[1], numbers[at]) = (NOON.cast_signed(), number);
            QuotaReply::parse(&numbers.map(Value::Int), 30_000)
        };
        assert_eq!(with(0, 0).map(|reply| reply.verdict), Ok(Verdict::Ok));
        assert_eq!(QuotaReply::parse(&[0; 14].map(Value::Int), 30_000), Err(Rejected));
        assert_eq!(with(0, 9), Err(Rejected));
        for at in 0..15 {
            for number in [-1, i64::MIN, i64::MAX] {
                assert_eq!(with(at, number), Err(Rejected), "{number} at {at}");
            }
        }
    }
}
