//! Tracks what this replica knows of the shared quota, and makes its reports to the server. Pure.

use super::{
    bounds,
    caller_calls::CallerCalls,
    clock::{DAY, Micros},
    quota_reply::{QuotaReply, Replicas, SharedDay},
};
use crate::failure::LimitKind;

/// All replicas together may hold about the slots of this time, in milliseconds, but at least one slot each. At 36 calls
/// a second, these are 9 slots.
const RESERVED_MS: u64 = 250;

/// The last reply, and the standalone calls that are not reported yet.
#[derive(Default)]
pub(super) struct QuotaView {
    /// The number of calls that wait in this process.
    pub(super) demand: u64,
    /// How many calls an hour the refreshes of this process would cost without stretching.
    pub(super) refresh_demand: u64,
    last: Option<QuotaReply>,
    /// The last known count. Each request repeats it, in case the server has lost it.
    known: SharedDay,
    /// The run id of the server that sent `known`.
    run_id: String,
    cooldowns: [Micros; 2],
    /// The standalone calls that no report contains yet.
    unreported: u64,
    pub(super) callers: CallerCalls,
    /// The number of the last report, and the number of standalone calls in it.
    report: (u64, u64),
    is_acknowledged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplicaReport {
    pub(super) day: u64,
    pub(super) used: u64,
    /// The number of standalone calls in this report; 0 if it was acknowledged.
    pub(super) standalone: u64,
    /// The number of the report. The server counts reports with the same number only once.
    pub(super) number: u64,
    /// The run id of the server that sent `day` and `used`.
    pub(super) run_id: String,
    /// The changes of the callers' accounts, in the form that the script reads.
    pub(super) callers: String,
}

impl QuotaView {
    /// Returns the report for the next request.
    ///
    /// A report keeps its number and its calls until a server acknowledges it. Calls that are made before then go into
    /// the next report. A report whose reply was lost can therefore be repeated, and is counted once. Example: report 4
    /// has 7 calls, and its reply is lost. Then an eighth call is made. The next request repeats report 4 with 7 calls.
    /// After the reply to it, report 5 has 1 call.
    pub(super) fn next_report(&mut self) -> ReplicaReport {
        if self.is_acknowledged && (self.unreported > 0 || self.callers.has_unreported()) {
            self.callers.begin_report();
            self.report = (self.report.0 + 1, std::mem::take(&mut self.unreported));
            self.is_acknowledged = false;
        }
        let (number, calls) = self.report;
        let standalone = if self.is_acknowledged { 0 } else { calls };
        let SharedDay { date, used, .. } = self.known;
        let callers = self.callers.report(self.is_acknowledged);
        ReplicaReport { day: date, used, standalone, number, run_id: self.run_id.clone(), callers }
    }

    /// Handles the reply to a request with this report.
    pub(super) fn on_reply(&mut self, reply: QuotaReply, report: &ReplicaReport, run_id: String) {
        self.run_id = run_id;
        if report.number == self.report.0 {
            self.is_acknowledged = true;
            self.callers.on_acknowledged();
        }
        if reply.day.date > self.known.date {
            self.callers.roll_over();
        }
        // If this server's clock has not reached the known date, that date is given up, because the server would reject
        // it.
        if reply.day.date > self.known.date || bounds::day(self.known.date, reply.now).is_err() {
            self.known.date = reply.day.date;
        }
        (self.known.used, self.known.taken) = (reply.day.used, reply.day.taken);
        for (known, end) in self.cooldowns.iter_mut().zip(reply.cooldowns) {
            *known = (*known).max(end);
        }
        self.last = Some(reply);
    }

    /// Counts a call that was made while Redis was unavailable.
    pub(super) fn count_standalone_call(&mut self, now: Micros) {
        let today = now / DAY;
        if today > self.known.date {
            // Calls of the previous day need not be reported, because that day's quota no longer matters.
            (self.known.date, self.known.used, self.unreported) = (today, 0, 0);
            self.callers.roll_over();
            self.is_acknowledged = true;
        }
        self.unreported += 1;
    }

    pub(super) fn uncount_standalone_call(&mut self) {
        self.unreported = self.unreported.saturating_sub(1);
    }

    pub(super) fn extend_cooldown(&mut self, kind: LimitKind, until: Micros) {
        let [second, day] = &mut self.cooldowns;
        let end = if kind == LimitKind::PerSecond { second } else { day };
        *end = (*end).max(until);
    }

    pub(super) fn cooldown_end(&self, kind: LimitKind) -> Micros {
        let [second, day] = self.cooldowns;
        if kind == LimitKind::PerSecond { second } else { day }
    }

    pub(super) fn day(&self, now: Micros) -> SharedDay {
        let today = now / DAY;
        if today > self.known.date {
            return SharedDay { date: today, used: 0, taken: 0 };
        }
        let unknown_to_server = self.unreported + if self.is_acknowledged { 0 } else { self.report.1 };
        SharedDay { used: self.known.used + unknown_to_server, ..self.known }
    }

    /// Returns the date of the last known count.
    pub(super) fn date(&self) -> u64 {
        self.known.date
    }

    pub(super) fn replicas(&self) -> Replicas {
        self.last.map(|last| last.replicas).unwrap_or_default()
    }

    /// Returns how many calls of other replicas are served before a call here, if `ahead` of the `waiting` calls here
    /// are served before it. The replicas get slots in proportion to their waiting calls. Example: 10 calls wait here,
    /// and 30 wait at other replicas. Five calls of this replica and 15 of the others are served before the sixth call
    /// here.
    pub(super) fn others_before(&self, ahead: u64, waiting: u64) -> u64 {
        let others = self.last.as_ref().map_or(0, |last| last.demand.saturating_sub(self.demand));
        others.saturating_mul(ahead) / waiting.max(ahead).max(1)
    }

    /// Returns how many slots this replica may hold at the same time. All replicas together hold about the slots of 250
    /// ms. The number of slots that a replica holds decides its part of the calls, so it is proportional to the
    /// replica's waiting calls.
    ///
    /// Example: at 36 calls a second, all replicas together hold 9 slots. If 30 of the 40 waiting calls are here, this
    /// replica may hold 7 slots.
    pub(super) fn may_reserve(&self, waiting: u64) -> u64 {
        let Some(last) = &self.last else { return waiting.min(1) };
        let all = (last.free * RESERVED_MS).div_ceil(1_000).max(last.replicas.live);
        let others = last.demand.saturating_sub(self.demand);
        let demand = others.saturating_add(waiting).max(1);
        let slots = (all * waiting + demand / 2) / demand;
        slots.clamp(1, waiting.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::{
        super::{
            clock::ServerClock,
            quota_reply::{Slot, SlotReply, Verdict},
        },
        *,
    };

    const NOON: Micros = 20_000 * DAY + DAY / 2;

    fn reply(used: u64, demand: u64, live: u64) -> QuotaReply {
        let day = SharedDay { date: 20_000, used, taken: 0 };
        let (verdict, blocker, cooldowns) = (Verdict::Ok, None, [0, 0]);
        let (now, at, free, purge, rejected) = (NOON, 0, 36, 0, 0);
        let replicas = Replicas { live, refresh_demand: 0 };
        QuotaReply { verdict, now, at, blocker, day, cooldowns, demand, replicas, free, purge, rejected }
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
            let values: Vec<_> = numbers.into_iter().map(redis::Value::Int).collect();
            let Ok(reply) = QuotaReply::parse(&values, 30_000) else { return Ok(()) };
            let now = Instant::now();
            let clock = ServerClock::observe(now, now, reply.now).unwrap();
            let latest = now + bounds::AHEAD_AT_MOST;
            match reply.slot_reply(&clock) {
                Some(SlotReply::Slot(Slot { from: at, .. }) | SlotReply::RetryAt { at, .. }) => {
                    prop_assert!(at <= latest);
                },
                None => {}
            }
            let mut view = QuotaView::default();
            let report = view.next_report();
            view.on_reply(reply, &report, String::new());
            for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
                prop_assert!(clock.when(view.cooldown_end(kind)).unwrap() <= latest);
            }
            prop_assert!(view.may_reserve(u64::from(u32::MAX)) >= 1);
            view.count_standalone_call(reply.now);
            view.day(reply.now);
            view.others_before(7, 9);
        }
    }

    #[test]
    fn standalone_calls_are_reported_until_acknowledged_and_then_no_more() {
        let mut view = QuotaView::default();
        let first = view.next_report();
        view.on_reply(reply(100, 0, 1), &first, String::new());
        for _ in 0..7 {
            view.count_standalone_call(NOON);
        }
        assert_eq!(view.day(NOON), SharedDay { date: 20_000, used: 107, taken: 0 });
        let report = view.next_report();
        assert_eq!((report.used, report.standalone), (100, 7));
        assert_eq!(view.next_report(), report, "the same report, under the same number");
        view.count_standalone_call(NOON);
        assert_eq!(view.day(NOON).used, 108);
        view.on_reply(reply(107, 0, 1), &report, String::new());
        assert_eq!(view.day(NOON).used, 108);
        let next = view.next_report();
        assert_eq!((next.standalone, next.number), (1, report.number + 1));
        view.on_reply(reply(108, 0, 1), &next, String::new());
        assert_eq!(view.next_report().standalone, 0);
        assert_eq!(view.day(NOON + DAY), SharedDay { date: 20_001, used: 0, taken: 0 }, "a new day");
    }

    #[test]
    fn slots_are_held_in_proportion_to_what_waits_and_at_least_one() {
        let mut view = QuotaView { demand: 30, ..QuotaView::default() };
        let report = view.next_report();
        view.on_reply(reply(0, 40, 3), &report, String::new());
        assert_eq!(view.may_reserve(30), 7, "three quarters of nine");
        assert_eq!(view.may_reserve(1), 1);
        view.demand = 1;
        view.on_reply(reply(0, 1_000, 3), &report, String::new());
        assert_eq!(view.may_reserve(1), 1, "at least one slot");
        view.demand = 5;
        view.on_reply(reply(0, 5, 1), &report, String::new());
        assert_eq!(view.may_reserve(5), 5, "no more than the calls that wait");
        assert_eq!(view.may_reserve(500), 9, "one replica holds all slots");
    }

    #[test]
    fn a_cool_down_is_never_shortened() {
        let mut view = QuotaView::default();
        view.extend_cooldown(LimitKind::PerSecond, 7);
        view.extend_cooldown(LimitKind::PerSecond, 5);
        let report = view.next_report();
        view.on_reply(reply(0, 0, 1), &report, String::new());
        assert_eq!((view.cooldown_end(LimitKind::PerSecond), view.cooldown_end(LimitKind::PerDay)), (7, 0));
    }
}
