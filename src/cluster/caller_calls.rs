//! Counts each caller's calls of the day. Tracks the calls of all replicas, as far as this process knows them, and the
//! calls of this process that the other replicas do not know about yet. Pure.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use foldhash::fast::RandomState;
use redis::Value;

use super::{
    bounds::{self, Rejected},
    clock::{DAY, Micros, micros},
    script,
};

type ByName<T> = HashMap<Box<str>, T, RandomState>;

/// A change of one caller's account. The numbers are negative if calls are taken back.
///
/// A caller's reserve is spread evenly over the day, and each call that is drawn from it uses up a piece of the day.
/// All these pieces are the *drawn part*. Example: with a reserve of 4,500 calls a day, a piece is 19.2 s. If the first
/// two calls are drawn at 08:00:00, the reserve is drawn until 08:00:38.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallerChange {
    /// The number of calls.
    pub calls: i64,
    /// The number of calls that were drawn from the caller's reserve.
    pub draws: i64,
    /// The time by which these calls advanced the end of the drawn part, in microseconds.
    pub drawn: i64,
    /// The time of day at which the draw from the reserve begins.
    pub from: Duration,
}

/// The account of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallerCount {
    /// The calls of all replicas.
    pub calls: u64,
    /// The time of day until which the caller's reserve is drawn.
    pub drawn_until: Duration,
    /// The number of calls that the other replicas do not know about yet, and how many of them were drawn from the reserve.
    pub unshared: (u64, u64),
    /// The calls that other replicas have made since this count was last read, minus those that they took back.
    pub by_others: i64,
}

#[derive(Default)]
pub(super) struct CallerCalls {
    /// Whether this process has callers to count.
    pub(super) is_used: bool,
    /// Each caller's calls at all replicas, and the time of day until which its reserve is drawn, in microseconds. It
    /// is the server's last list, plus the changes that the server has acknowledged since.
    known: ByName<(u64, Micros)>,
    has_list: bool,
    unreported: ByName<CallerChange>,
    /// The changes in the current report, until a server acknowledges it.
    reported: ByName<CallerChange>,
    /// The changes that the server has acknowledged since its last list. This process does not know yet what the other
    /// replicas did in that time, so these changes still count as unshared.
    unconfirmed: ByName<CallerChange>,
    by_others: ByName<i64>,
    /// Whether the server has forgotten calls that this process knows.
    is_lost: bool,
}

impl CallerCalls {
    pub(super) fn add(&mut self, name: &str, change: CallerChange) {
        let known = self.unreported.entry(name.into()).or_default();
        known.add(change);
    }

    pub(super) fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// Puts all changes into the next report.
    pub(super) fn begin_report(&mut self) {
        self.reported = std::mem::take(&mut self.unreported);
    }

    /// Returns the text of the report for `quota.lua`. It contains `+ NAME CALLS DRAWN FROM` for each change that is
    /// not acknowledged. If the server has forgotten calls, it also contains `= NAME CALLS UNTIL 0` for each caller. It
    /// is `-` if there are no callers to count.
    pub(super) fn report(&self, is_acknowledged: bool) -> String {
        if !self.is_used {
            return "-".to_owned();
        }
        let mut text = String::new();
        if self.is_lost {
            for (name, (calls, until)) in &self.known {
                write!(text, "= {name} {calls} {until} 0 ").ok();
            }
        }
        for (name, change) in self.reported.iter().filter(|_| !is_acknowledged) {
            let CallerChange { calls, drawn, from, .. } = change;
            write!(text, "+ {name} {calls} {drawn} {} ", micros(*from)).ok();
        }
        text
    }

    pub(super) fn on_acknowledged(&mut self) {
        for (name, change) in std::mem::take(&mut self.reported) {
            self.unconfirmed.entry(name.clone()).or_default().add(change);
            let (calls, until) = self.known.entry(name).or_default();
            *calls = calls.saturating_add_signed(change.calls);
            *until = change.advance(*until);
        }
    }

    /// Handles the server's request for the calls that this process knows, because the server may have forgotten them.
    pub(super) fn on_request(&mut self) {
        self.is_lost = !self.known.is_empty();
    }

    /// Replaces the counts with the server's list. Call this after [`Self::on_acknowledged`], so that any difference is
    /// due to other replicas.
    pub(super) fn on_list(&mut self, list: Vec<(Box<str>, u64, Micros)>) {
        self.unconfirmed.clear();
        let before = std::mem::take(&mut self.known);
        for (name, calls, until) in list {
            let known = before.get(&name).map_or(0, |(calls, _)| *calls);
            if self.has_list && calls != known {
                *self.by_others.entry(name.clone()).or_default() += calls.cast_signed() - known.cast_signed();
            }
            self.known.insert(name, (calls, until));
        }
        // A count may also decrease because other replicas take back calls, dozens at a time. They take back the calls
        // of flights that were denied, or that found the meeting at another replica. Only a larger decrease counts as a
        // loss.
        let is_forgotten = |name: &str, calls: u64| match self.known.get(name) {
            Some((left, _)) => calls > 100 && *left < calls / 2,
            None => calls > 0,
        };
        self.is_lost = self.has_list && before.iter().any(|(name, (calls, _))| is_forgotten(name, *calls));
        if self.is_lost {
            for (name, (calls, until)) in before {
                let known = self.known.entry(name).or_default();
                *known = (known.0.max(calls), known.1.max(until));
            }
        }
        self.has_list = true;
    }

    /// Resets all counts at the beginning of a day.
    pub(super) fn roll_over(&mut self) {
        let is_used = self.is_used;
        *self = Self { is_used, has_list: self.has_list, ..Self::default() };
    }

    pub(super) fn counts(&mut self) -> Vec<(Box<str>, CallerCount)> {
        let names: Vec<_> = self.known.keys().cloned().collect();
        names.into_iter().map(|name| (name.clone(), self.count(&name))).collect()
    }

    fn count(&mut self, name: &str) -> CallerCount {
        let (calls, until) = self.known.get(name).copied().unwrap_or_default();
        let mut own = self.reported.get(name).copied().unwrap_or_default();
        if let Some(unreported) = self.unreported.get(name) {
            own.add(*unreported);
        }
        let unconfirmed = self.unconfirmed.get(name).copied().unwrap_or_default();
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        let drawn_until = own.advance(until).min(DAY);
        CallerCount {
            calls: calls.saturating_add_signed(own.calls),
            drawn_until: Duration::from_micros(drawn_until),
            unshared: (positive(own.calls + unconfirmed.calls), positive(own.draws + unconfirmed.draws)),
            by_others: self.by_others.remove(name).unwrap_or(0),
        }
    }
}

impl CallerChange {
    /// Returns the end of the drawn part after this change. It stays the same if no call was drawn from the reserve, as
    /// in `quota.lua`.
    fn advance(&self, until: Micros) -> Micros {
        if self.drawn == 0 { until } else { until.max(micros(self.from)).saturating_add_signed(self.drawn) }
    }

    fn add(&mut self, other: Self) {
        let Self { calls, draws, drawn, from } = other;
        // The first draw determines the time at which the draws begin.
        let from = if self.drawn == 0 { from } else { self.from };
        *self =
            Self { calls: self.calls + calls, draws: self.draws + draws, drawn: self.drawn + drawn, from };
    }
}

/// The part of a reply that is about the callers' accounts.
pub(super) enum CallersReply {
    Nothing,
    /// The server may have forgotten accounts, and asks this process for those that it knows.
    Asks,
    /// The name, the calls and the end of the drawn part of each caller.
    List(Vec<(Box<str>, u64, Micros)>),
}

pub(super) fn parse(reply: &Value, per_day: u64) -> Result<CallersReply, Rejected> {
    let values = match reply {
        Value::Int(0) => return Ok(CallersReply::Nothing),
        Value::Int(-1) => return Ok(CallersReply::Asks),
        Value::Array(values) => values,
        _ => return Err(Rejected),
    };
    let (callers, rest) = values.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(Rejected);
    }
    let caller = |[name, calls, until]: &[Value; 3]| {
        let Value::BulkString(name) = name else { return Err(Rejected) };
        let name = bounds::name(std::str::from_utf8(name).map_err(|_| Rejected)?)?;
        let calls = bounds::within(script::number(calls)?, bounds::calls_of_day(per_day))?;
        Ok((name.into(), calls, bounds::within(script::number(until)?, DAY)?))
    };
    callers.iter().map(caller).collect::<Result<_, _>>().map(CallersReply::List)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_CALL: CallerChange = CallerChange { calls: 1, draws: 0, drawn: 0, from: Duration::ZERO };

    fn list(calls: u64) -> Vec<(Box<str>, u64, Micros)> {
        vec![("a".into(), calls, 0)]
    }

    #[test]
    fn calls_are_counted_once_whether_reported_or_not() {
        let mut calls = CallerCalls { is_used: true, ..CallerCalls::default() };
        calls.on_list(list(5));
        calls.add("a", A_CALL);
        assert_eq!((calls.count("a").calls, calls.count("a").unshared), (6, (1, 0)));
        calls.begin_report();
        calls.add("a", A_CALL);
        assert_eq!(calls.report(false), "+ a 1 0 0 ");
        assert_eq!((calls.count("a").calls, calls.count("a").unshared), (7, (2, 0)));
        calls.on_acknowledged();
        assert_eq!((calls.count("a").calls, calls.count("a").unshared), (7, (2, 0)), "no list yet");
        calls.on_list(list(9));
        let count = calls.count("a");
        assert_eq!((count.calls, count.unshared, count.by_others), (10, (1, 0), 3));
        assert_eq!(calls.count("a").by_others, 0, "each call is returned once");
    }

    #[test]
    fn calls_that_other_replicas_took_back_are_neither_lost_nor_theirs() {
        let mut calls = CallerCalls { is_used: true, ..CallerCalls::default() };
        calls.on_list(list(0));
        calls.on_list(list(20));
        calls.on_list(list(12));
        assert_eq!((calls.report(true), calls.count("a").by_others), (String::new(), 12));
        calls.on_list(list(10));
        assert_eq!(calls.count("a").by_others, -2);
    }

    #[test]
    fn calls_that_the_server_forgot_are_reported_again() {
        let mut calls = CallerCalls { is_used: true, ..CallerCalls::default() };
        calls.on_list(list(500));
        calls.on_list(list(3));
        assert_eq!(calls.report(true), "= a 500 0 0 ");
        assert_eq!(calls.count("a").calls, 500);
        calls.on_list(list(503));
        assert_eq!((calls.report(true), calls.count("a").calls), (String::new(), 503));
        calls.on_list(Vec::new());
        assert_eq!(calls.report(true), "= a 503 0 0 ", "a caller is not lost, even with few calls");
        calls.on_list(list(1));
        assert_eq!(calls.count("a").calls, 503);
        calls.on_list(list(503));
        calls.on_request();
        assert_eq!(calls.report(true), "= a 503 0 0 ");
    }
}
