//! One caller: its name, its weight, its limits, and the calls made for it.

use std::{
    cell::Cell,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime},
};

use super::{key, ledger::Ledger};
use crate::{failure::CallerLimit, hiding::HiddenFields};

/// A caller's name. Its characters are restricted because it is a metric label and a log field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallerName(Arc<str>);

impl CallerName {
    /// The caller's name while no callers are configured, and the name in the log for a request that needs no caller.
    pub(crate) const ANONYMOUS: &str = "anonymous";
    /// The name in the log for a request without a valid credential. A configured caller may have the same name, but its
    /// requests never have the codes `unknown_caller`, `issuer_unavailable` or `invalid_client`.
    pub(crate) const UNKNOWN: &str = "unknown";

    const MAX_LENGTH: usize = 64;

    /// Parses a name. An error does not repeat the text, which may be a key in the wrong place.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let is_valid = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        match text {
            _ if !is_valid => Err("must be 1 to 64 characters of A-Za-z0-9._-"),
            Self::ANONYMOUS => {
                Err("anonymous is reserved for requests without a caller; choose another name")
            }
            text => Ok(Self(text.into())),
        }
    }

    /// Parses the name of a new caller. Rejects a caller key, which somebody may have pasted instead of a name.
    pub(crate) fn parse_new(text: &str) -> Result<Self, &'static str> {
        let name = Self::parse(text)?;
        if name.looks_like_key() { Err("this is a caller key, not a name") } else { Ok(name) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is probably a caller key in the wrong place.
    pub(super) fn looks_like_key(&self) -> bool {
        key::is_caller_key(&self.0)
    }
}

impl fmt::Display for CallerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An internal application, with its current settings from the callers' file.
pub(crate) struct Caller {
    /// A number that does not change while the process runs, even if the entry is removed and added again.
    pub(crate) id: u32,
    pub(crate) name: CallerName,
    /// The caller's share of the permits, relative to the other waiting callers; at least 1.
    pub(crate) weight: u32,
    /// The number of calls in the last 60 seconds at which no new flight starts for this caller.
    pub(crate) calls_per_minute: Option<NonZeroU32>,
    /// The number of calls in a UTC day at which no new flight starts for this caller.
    pub(crate) calls_per_day: Option<NonZeroU32>,
    /// The groups of fields that are hidden from this caller.
    pub(crate) hide: HiddenFields,
    /// The calls of this caller, which are kept when the entry changes.
    pub(super) ledger: SharedLedger,
}

/// A ledger that all versions of a caller share. A fresh hit never takes its lock, unless the caller is held for its
/// 404s.
pub(super) type SharedLedger = Arc<CallerLedger>;

#[derive(Default)]
pub(super) struct CallerLedger {
    calls: Mutex<Ledger>,
    /// Whether the caller is held because its requests are mostly for meetings that do not exist. The fetcher's
    /// thread updates it; a worker clears it when the caller gets a cached meeting.
    is_held: AtomicBool,
    /// Whether a held caller has been served a meeting since the fetcher's thread last looked.
    has_found: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallUsage {
    /// This process's calls since 00:00 UTC, or since its start if that is later.
    pub(crate) today: u64,
    pub(crate) last_minute: usize,
    /// The requests refused because of a limit of this caller, over the same period as `today`.
    pub(crate) refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallAllowance {
    pub(crate) limit: NonZeroU32,
    pub(crate) left: u32,
    /// The expected time at which `left` increases; `None` if the window holds no call and `left` is not 0.
    pub(crate) more_at: Option<Instant>,
}

impl Caller {
    pub(crate) fn is_anonymous(&self) -> bool {
        self.id == 0
    }

    /// Returns the caller of every request while no callers are configured.
    pub(crate) fn anonymous() -> Self {
        Self {
            id: 0,
            name: CallerName(CallerName::ANONYMOUS.into()),
            weight: 1,
            calls_per_minute: None,
            calls_per_day: None,
            hide: HiddenFields::default(),
            ledger: SharedLedger::default(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No method of the ledger can panic halfway through a change.
        self.ledger.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the limit that holds this caller back, and the time at which to try again; `None` if a flight may start
    /// for it now. The state of the day's limits may be a second old.
    pub(crate) fn over_limit(&self, now: Instant) -> Option<(Instant, CallerLimit)> {
        if self.is_anonymous() {
            return None;
        }
        let mut ledger = self.ledger();
        let minute = self.calls_per_minute.and_then(|limit| ledger.full_until(limit, now));
        let day = ledger.day_limit.filter(|(until, _)| *until > now);
        minute.map(|until| (until, CallerLimit::PerMinute)).or(day)
    }

    /// Sets the daily limit that this caller has reached, and the time until which it applies.
    pub(crate) fn set_day_limit(&self, limit: Option<(Instant, CallerLimit)>) {
        if !self.is_anonymous() {
            self.ledger().day_limit = limit;
        }
    }

    /// Sets whether the caller is held because its requests are mostly for meetings that do not exist.
    pub(crate) fn set_held(&self, is_held: bool) {
        self.ledger.is_held.store(is_held, Ordering::Relaxed);
    }

    /// Records that the caller requested a meeting that exists. If the caller is held, this ends the hold: here
    /// immediately, and on the fetcher's thread when that calls [`Self::take_found`].
    #[inline]
    pub(crate) fn record_found(&self) {
        if self.ledger.is_held.load(Ordering::Relaxed) {
            self.ledger.is_held.store(false, Ordering::Relaxed);
            self.ledger().day_limit.take_if(|(_, limit)| *limit == CallerLimit::NotFound);
            self.ledger.has_found.store(true, Ordering::Release);
        }
    }

    /// Returns whether the caller has found a meeting, while it was held, since the last call.
    pub(crate) fn take_found(&self) -> bool {
        self.ledger.has_found.swap(false, Ordering::Acquire)
    }

    /// Sets how many replicas divide this caller's limit of the minute, and how many calls of this replica the
    /// others do not know yet. Adds the calls that the others have made, or removes those that they took back.
    pub(crate) fn set_sharing(&self, replicas: u32, by_others: i64, unshared: u64, now: Instant) {
        if !self.is_anonymous() {
            self.ledger().set_sharing(replicas, by_others, unshared, now);
        }
    }

    /// Counts a request that was refused because of one of this caller's limits.
    pub(crate) fn count_refusal(&self) {
        self.ledger().count_refusal(today());
    }

    /// Returns the remaining calls of the minute; `None` if the caller has no `calls_per_minute`.
    pub(crate) fn allowance(&self, now: Instant) -> Option<CallAllowance> {
        let limit = self.calls_per_minute?;
        let (left, more_at) = self.ledger().left(limit, now);
        Some(CallAllowance { limit, left, more_at })
    }

    /// Reserves a call for a new flight. If the caller is over its limit of the minute, returns when it may try again.
    pub(crate) fn reserve(self: &Arc<Self>, now: Instant) -> Result<LedgerEntry, Instant> {
        let mut ledger = self.ledger();
        let full_until = self.calls_per_minute.and_then(|limit| ledger.full_until(limit, now));
        full_until.map_or(Ok(()), Err)?;
        ledger.reserve();
        drop(ledger);
        Ok(LedgerEntry { caller: Arc::clone(self), is_unused: Cell::new(true) })
    }

    pub(crate) fn usage(&self, now: Instant) -> CallUsage {
        let mut ledger = self.ledger();
        let (today, refused) = ledger.today(today());
        CallUsage { today, last_minute: ledger.last_minute(now), refused }
    }
}

/// A flight's entry in its caller's ledger. The first call counts from the start of the flight, and the others when
/// they are made. Dropping the entry before the first call gives the reserved call back.
pub(crate) struct LedgerEntry {
    caller: Arc<Caller>,
    is_unused: Cell<bool>,
}

impl LedgerEntry {
    pub(crate) fn record_call(&self, now: Instant) {
        let mut ledger = self.caller.ledger();
        if self.is_unused.replace(false) {
            ledger.release();
        }
        ledger.record_call(now, today());
    }

    /// Removes a call that was recorded at `called` but not sent. The entry stays used, because the flight then either ends
    /// or tries again, which records another call.
    pub(crate) fn refund_call(&self, called: Instant) {
        self.caller.ledger().refund_call(called, today());
    }
}

impl Drop for LedgerEntry {
    fn drop(&mut self) {
        if self.is_unused.get() {
            self.caller.ledger().release();
        }
    }
}

/// Returns the number of days since 1970-01-01 UTC.
fn today() -> u64 {
    const DAY_SECONDS: u64 = 86_400;
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_limit(calls_per_minute: u32) -> Arc<Caller> {
        Arc::new(Caller { id: 1, calls_per_minute: NonZeroU32::new(calls_per_minute), ..Caller::anonymous() })
    }

    #[test]
    fn a_flight_that_makes_no_call_spends_nothing() {
        let (caller, now) = (with_limit(1), Instant::now());
        let entry = caller.reserve(now).ok().unwrap();
        assert!(caller.reserve(now).is_err() && caller.over_limit(now).is_some());
        drop(entry);
        assert!(caller.over_limit(now).is_none());
        assert_eq!(caller.usage(now), CallUsage { today: 0, last_minute: 0, refused: 0 });
    }

    #[test]
    fn a_flight_may_exceed_the_limit_and_all_its_calls_count() {
        let (caller, now) = (with_limit(2), Instant::now());
        let entry = caller.reserve(now).ok().unwrap();
        for _ in 0..3 {
            entry.record_call(now);
        }
        drop(entry);
        assert_eq!(caller.usage(now), CallUsage { today: 3, last_minute: 3, refused: 0 });
        assert_eq!(caller.reserve(now).err(), Some(now + Duration::from_secs(60)));
    }

    #[test]
    fn a_call_that_was_not_sent_is_refunded() {
        let (caller, now) = (with_limit(1), Instant::now());
        let entry = caller.reserve(now).ok().unwrap();
        entry.record_call(now);
        assert!(caller.over_limit(now).is_some());
        entry.refund_call(now);
        assert_eq!(caller.usage(now), CallUsage { today: 0, last_minute: 0, refused: 0 });
        drop(entry);
        assert!(caller.over_limit(now).is_none());
    }

    #[test]
    fn without_a_limit_any_number_of_flights_may_start() {
        let (caller, now) = (Arc::new(Caller::anonymous()), Instant::now());
        let all: Vec<_> = (0..1_000).map(|_| caller.reserve(now)).collect();
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn a_name_is_short_plain_and_not_reserved() {
        let longest = "x".repeat(64);
        for good in
            ["support-tools", "a", "7", "-", "Grafana_10.2", "Anonymous", "unknown", "zqp_x", &longest]
        {
            assert_eq!(CallerName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a:b", "a/b", "é", "a\n", "a\"", "anonymous", &"x".repeat(65)] {
            assert!(CallerName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
