//! What this replica knows of the shared budget: what the server last said, and what it has to be told. Pure.

use std::time::{Duration, Instant};

use super::{
    bounds::{self, Rejected},
    clock::{DAY, Micros, ServerClock},
};
use crate::failure::LimitKind;

/// Later than this after its time a call is not made: what calls are spread over (`SECOND` of `quota.lua`) has 40 ms of
/// slack, and some of that is the network's.
const LATE_AT_MOST: Duration = Duration::from_millis(30);
/// All replicas together hold reservations for about so much of a second.
const RESERVED_MS: u64 = 250;

/// How long an answer may be under way that took so long the last time. One that is quick is in time for a slot of now.
pub(super) fn lead(round_trip: Duration) -> Duration {
    if round_trip * 2 <= LATE_AT_MOST { Duration::ZERO } else { round_trip }
}

/// A reserved place among the calls of all replicas, already counted in the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Not to be used before.
    pub from: Instant,
    /// Nor after: then it is lost.
    pub until: Instant,
    /// In which day it was counted, as days since 1970-01-01 UTC.
    pub day: u64,
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The pace of all replicas together.
    Pace,
    /// A 429 of this kind.
    CoolDown(LimitKind),
    /// The day's calls are spent.
    DaySpent,
}

/// What came of asking for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// One call at that time.
    Slot(Slot),
    /// None before that.
    NotBefore {
        /// The earliest time at which asking again can help.
        at: Instant,
        /// Why.
        why: Why,
    },
}

/// What `quota.lua` gives, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) verdict: Verdict,
    pub(super) now: Micros,
    pub(super) at: Micros,
    pub(super) why: Option<Why>,
    pub(super) day: u64,
    pub(super) used: u64,
    pub(super) taken: u64,
    pub(super) cool: [Micros; 2],
    pub(super) demand: u64,
    pub(super) live: u64,
    pub(super) free: u64,
    pub(super) wishes: u64,
    pub(super) purge: u64,
    /// How many values it refused that it had read.
    pub(super) refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Permit,
    NotBefore,
    Late,
}

impl Reply {
    /// Of what a script gave that may not be ours, over a server that may be anything.
    pub(super) fn of(numbers: &[i64], per_day: u64) -> Result<Self, Rejected> {
        let numbers = numbers.iter().map(|number| u64::try_from(*number).map_err(|_| Rejected));
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
        let [
            verdict,
            now,
            at,
            why,
            day,
            used,
            taken,
            second,
            daily,
            demand,
            live,
            free,
            wishes,
            purge,
            refused,
        ] = *numbers.as_array::<15>().ok_or(Rejected)?;
        let verdict = match verdict {
            0 => Verdict::Ok,
            1 => Verdict::Permit,
            2 => Verdict::NotBefore,
            3 => Verdict::Late,
            _ => return Err(Rejected),
        };
        let why = match why {
            0 => None,
            1 => Some(Why::Pace),
            2 => Some(Why::CoolDown(LimitKind::PerSecond)),
            3 => Some(Why::CoolDown(LimitKind::PerDay)),
            4 => Some(Why::DaySpent),
            _ => return Err(Rejected),
        };
        bounds::clock_shows(now)?;
        bounds::day(day, now)?;
        for calls in [demand, live, free, wishes, refused] {
            bounds::count(calls)?;
        }
        for calls in [used, taken] {
            bounds::within(calls, bounds::calls_of_day(per_day))?;
        }
        let cool = [
            bounds::cool_down(LimitKind::PerSecond, second, now)?,
            bounds::cool_down(LimitKind::PerDay, daily, now)?,
        ];
        let (at, purge) = (bounds::fence(at, now)?, bounds::fence(purge, now)?);
        Ok(Self { verdict, now, at, why, day, used, taken, cool, demand, live, free, wishes, purge, refused })
    }

    pub(super) fn draw(&self, clock: &ServerClock) -> Option<Draw> {
        let at = clock.when(self.at).ok()?;
        match (self.verdict, self.why) {
            (Verdict::Permit, _) => {
                Some(Draw::Slot(Slot { from: at, until: at + LATE_AT_MOST, day: self.day }))
            }
            (Verdict::NotBefore, Some(why)) => Some(Draw::NotBefore { at, why }),
            _ => None,
        }
    }
}

/// What is known, and what is to be told.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) demand: u64,
    pub(super) wish: u64,
    last: Option<Reply>,
    /// Day and count: what the server is reminded of, should it forget.
    known: (u64, u64),
    /// Which server said that.
    run: String,
    taken: u64,
    cool: [Micros; 2],
    /// Calls made alone that no report has yet, and the report under way.
    unreported: u64,
    report: (u64, u64),
    reported: bool,
}

/// What goes along with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) day: u64,
    pub(super) used: u64,
    /// Calls made alone, and the number of this report: the server counts each report once.
    pub(super) alone: u64,
    pub(super) report: u64,
    /// The run id of the server that day and count were heard of.
    pub(super) heard_of: String,
}

impl Pool {
    /// What the next request says.
    pub(super) fn tell(&mut self) -> Told {
        if self.reported && self.unreported > 0 {
            self.report = (self.report.0 + 1, std::mem::take(&mut self.unreported));
            self.reported = false;
        }
        let (report, calls) = self.report;
        let alone = if self.reported { 0 } else { calls };
        Told { day: self.known.0, used: self.known.1, alone, report, heard_of: self.run.clone() }
    }

    /// The server answered a request that told this.
    pub(super) fn heard(&mut self, reply: Reply, told: &Told, run: String) {
        self.run = run;
        if told.report == self.report.0 {
            self.reported = true;
        }
        // A day that was heard of and is no more believed is not told any more.
        if reply.day > self.known.0 || bounds::day(self.known.0, reply.now).is_err() {
            self.known = (reply.day, 0);
        }
        self.known.1 = reply.used;
        self.taken = reply.taken;
        for (known, said) in self.cool.iter_mut().zip(reply.cool) {
            *known = (*known).max(said);
        }
        self.last = Some(reply);
    }

    /// A call was made that the server does not know of.
    pub(super) fn called_alone(&mut self, now: Micros) {
        let today = now / DAY;
        if today > self.known.0 {
            (self.known, self.unreported) = ((today, 0), 0);
            // What was not told of the day before is told in vain: it is another day's.
            self.reported = true;
        }
        self.unreported += 1;
    }

    /// And was not made after all.
    pub(super) fn did_not_call_alone(&mut self) {
        self.unreported = self.unreported.saturating_sub(1);
    }

    pub(super) fn cool_down(&mut self, kind: LimitKind, until: Micros) {
        let [second, day] = &mut self.cool;
        let slot = if kind == LimitKind::PerSecond { second } else { day };
        *slot = (*slot).max(until);
    }

    pub(super) fn cooled_until(&self, kind: LimitKind) -> Micros {
        let [second, day] = self.cool;
        if kind == LimitKind::PerSecond { second } else { day }
    }

    /// Day and calls of all replicas in it, as far as this one knows, and those that other apps took.
    pub(super) fn day(&self, now: Micros) -> (u64, u64, u64) {
        let today = now / DAY;
        if today > self.known.0 {
            return (today, 0, 0);
        }
        let unsaid = self.unreported + if self.reported { 0 } else { self.report.1 };
        (self.known.0, self.known.1 + unsaid, self.taken)
    }

    pub(super) fn last(&self) -> Option<&Reply> {
        self.last.as_ref()
    }

    /// How many calls of other replicas have their turn before one of these, as what is dealt goes by what waits.
    pub(super) fn others_before(&self, ahead: u64, waiting: u64) -> u64 {
        let others = self.last.as_ref().map_or(0, |last| last.demand.saturating_sub(self.demand));
        others.saturating_mul(ahead) / waiting.max(ahead).max(1)
    }

    /// How many reservations this replica may hold at once, so that all hold a quarter of a second of them, each by
    /// what it has waiting. What a replica holds is what it gets: reservations are served in turn.
    pub(super) fn may_reserve(&self, waiting: u64) -> u64 {
        let Some(last) = &self.last else { return waiting.min(1) };
        let all = (last.free * RESERVED_MS).div_ceil(1_000).max(last.live);
        let others = last.demand.saturating_sub(self.demand);
        let demand = others.saturating_add(waiting).max(1);
        let share = (all * waiting + demand / 2) / demand;
        share.clamp(1, waiting.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Micros = 20_000 * DAY + DAY / 2;

    fn reply(used: u64, demand: u64, live: u64) -> Reply {
        Reply {
            verdict: Verdict::Ok,
            now: NOON,
            at: 0,
            why: None,
            day: 20_000,
            used,
            taken: 0,
            cool: [0, 0],
            demand,
            live,
            free: 36,
            wishes: 0,
            purge: 0,
            refused: 0,
        }
    }

    #[test]
    fn a_reply_of_another_script_is_not_believed() {
        let with = |at: usize, number: i64| {
            let mut numbers = [0; 15];
            (numbers[1], numbers[at]) = (NOON.cast_signed(), number);
            Reply::of(&numbers, 30_000)
        };
        assert_eq!(with(0, 0).map(|reply| reply.verdict), Ok(Verdict::Ok));
        assert_eq!(Reply::of(&[0; 14], 30_000), Err(Rejected));
        assert_eq!(with(0, 9), Err(Rejected));
        for at in 0..15 {
            for number in [-1, i64::MIN, i64::MAX] {
                assert_eq!(with(at, number), Err(Rejected), "{number} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics_or_gives_a_time_more_than_48_h_ahead(
            numbers in prop::collection::vec(
                prop_oneof![any::<i64>(), 0..5_i64, NOON.cast_signed() - 10..NOON.cast_signed() + 200_000_000_000],
                15,
            ),
            verdict in 0..4_i64,
            why in 0..5_i64,
        ) {
            let mut numbers = numbers;
            (numbers[0], numbers[3]) = (verdict, why);
            let Ok(reply) = Reply::of(&numbers, 30_000) else { return Ok(()) };
            let now = Instant::now();
            let clock = ServerClock::heard(now, now, reply.now).unwrap();
            let latest = now + bounds::AHEAD_AT_MOST;
            match reply.draw(&clock) {
                Some(Draw::Slot(Slot { from: at, .. }) | Draw::NotBefore { at, .. }) => prop_assert!(at <= latest),
                None => {}
            }
            let mut pool = Pool::default();
            let told = pool.tell();
            pool.heard(reply, &told, String::new());
            for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
                prop_assert!(clock.when(pool.cooled_until(kind)).unwrap() <= latest);
            }
            prop_assert!(pool.may_reserve(u64::from(u32::MAX)) >= 1);
            pool.called_alone(reply.now);
            pool.day(reply.now);
            pool.others_before(7, 9);
        }
    }

    #[test]
    fn calls_made_alone_are_told_until_they_are_heard_and_then_no_more() {
        let mut pool = Pool::default();
        let first = pool.tell();
        pool.heard(reply(100, 0, 1), &first, String::new());
        for _ in 0..7 {
            pool.called_alone(NOON);
        }
        assert_eq!(pool.day(NOON), (20_000, 107, 0));
        let told = pool.tell();
        assert_eq!((told.used, told.alone), (100, 7));
        assert_eq!(pool.tell(), told, "the same report, under the same number");
        pool.called_alone(NOON);
        assert_eq!(pool.day(NOON).1, 108);
        pool.heard(reply(107, 0, 1), &told, String::new());
        assert_eq!(pool.day(NOON).1, 108);
        let next = pool.tell();
        assert_eq!((next.alone, next.report), (1, told.report + 1));
        pool.heard(reply(108, 0, 1), &next, String::new());
        assert_eq!(pool.tell().alone, 0);
        assert_eq!(pool.day(NOON + DAY), (20_001, 0, 0), "a new day");
    }

    #[test]
    fn reservations_are_held_by_what_waits_and_everybody_has_one() {
        let mut pool = Pool { demand: 30, ..Pool::default() };
        let told = pool.tell();
        pool.heard(reply(0, 40, 3), &told, String::new());
        assert_eq!(pool.may_reserve(30), 7, "three quarters of nine");
        assert_eq!(pool.may_reserve(1), 1);
        pool.demand = 1;
        pool.heard(reply(0, 1_000, 3), &told, String::new());
        assert_eq!(pool.may_reserve(1), 1, "next to nothing, but not nothing");
        pool.demand = 5;
        pool.heard(reply(0, 5, 1), &told, String::new());
        assert_eq!(pool.may_reserve(5), 5, "no more than wait");
        assert_eq!(pool.may_reserve(500), 9, "alone with all");
    }

    #[test]
    fn a_cool_down_is_only_ever_extended() {
        let mut pool = Pool::default();
        pool.cool_down(LimitKind::PerSecond, 7);
        pool.cool_down(LimitKind::PerSecond, 5);
        let told = pool.tell();
        pool.heard(reply(0, 0, 1), &told, String::new());
        assert_eq!((pool.cooled_until(LimitKind::PerSecond), pool.cooled_until(LimitKind::PerDay)), (7, 0));
    }
}
