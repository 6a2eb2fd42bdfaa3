//! One caller: its name, its share, its ceiling, and what was spent for it.

use std::{
    cell::Cell,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use super::ledger::Ledger;

/// A caller's name: a metric label and a field of the log, so it is of a narrow form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Who everybody is while no callers are configured.
    pub const ANONYMOUS: &str = "anonymous";
    /// Who a request is from that has no key of a caller.
    pub const UNKNOWN: &str = "unknown";

    const LONGEST: usize = 64;

    /// Reads a name of an entry.
    ///
    /// # Errors
    /// What is wrong, without the text itself: it may be a key that was put into the wrong place.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        match text {
            _ if !fits => Err("a name is 1 to 64 of a-z, 0-9 and -"),
            Self::ANONYMOUS | Self::UNKNOWN => Err(
                "anonymous and unknown mean nobody in particular in metrics and logs; choose another name",
            ),
            text => Ok(Self(text.into())),
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An internal application, as the callers' file describes it now.
pub struct Caller {
    /// The same for as long as the process runs, whatever becomes of the entry.
    pub id: u32,
    /// Unique.
    pub name: Name,
    /// The share of permits relative to the others who wait; at least 1.
    pub weight: u32,
    /// Calls that may be made for it in any minute.
    pub calls_per_minute: Option<NonZeroU32>,
    /// Outlives changes of the entry.
    pub(super) ledger: SharedLedger,
}

/// Shared by all versions of a caller. Locked on the fetcher's thread, for status, and for a stale hit of a caller that
/// has a ceiling; a fresh hit does not come here.
#[derive(Clone, Default)]
pub(super) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing in there is half done when a thread panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was spent for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Calls since 00:00 UTC, or since this process started.
    pub today: u64,
    /// Calls of the last minute.
    pub last_minute: usize,
}

/// What a ceiling leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// `calls_per_minute`.
    pub ceiling: NonZeroU32,
    /// Calls that may be made now.
    pub left: u32,
    /// When it will be more; `None` when nothing is spent.
    pub more_at: Option<Instant>,
}

impl Caller {
    /// Everybody, where no callers are configured.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            id: 0,
            name: Name(Name::ANONYMOUS.into()),
            weight: 1,
            calls_per_minute: None,
            ledger: SharedLedger::default(),
        }
    }

    /// Until when no flight takes off for it; `None` when one may now.
    #[must_use]
    pub fn over_limit_until(&self, now: Instant) -> Option<Instant> {
        self.ledger.lock().full_until(self.calls_per_minute?, now)
    }

    /// What its ceiling leaves, if it has one.
    #[must_use]
    pub fn room(&self, now: Instant) -> Option<Room> {
        let ceiling = self.calls_per_minute?;
        let (left, more_at) = self.ledger.lock().room(ceiling, now);
        Some(Room { ceiling, left, more_at })
    }

    /// For a flight that takes off, if one may.
    ///
    /// # Errors
    /// When one may.
    pub fn book(self: &Arc<Self>, now: Instant) -> Result<Booking, Instant> {
        let mut ledger = self.ledger.lock();
        let full_until = self.calls_per_minute.and_then(|ceiling| ledger.full_until(ceiling, now));
        full_until.map_or(Ok(()), Err)?;
        ledger.book();
        drop(ledger);
        Ok(Booking { caller: Arc::clone(self), open: Cell::new(true) })
    }

    /// What was spent for it.
    #[must_use]
    pub fn spent(&self, now: Instant) -> Spent {
        let mut ledger = self.ledger.lock();
        Spent { today: ledger.today(today()), last_minute: ledger.last_minute(now) }
    }
}

/// A flight's place in its caller's ledger: its first call counts from take-off on, the others as they are made.
pub struct Booking {
    caller: Arc<Caller>,
    /// No call was made yet.
    open: Cell<bool>,
}

impl Booking {
    /// A call is made.
    pub fn call(&self, now: Instant) {
        let mut ledger = self.caller.ledger.lock();
        if self.open.replace(false) {
            ledger.give_back();
        }
        ledger.call(now, today());
    }

    /// The call of that time was not made after all. The booking stays used: there will be another try, or none.
    pub fn uncall(&self, called: Instant) {
        self.caller.ledger.lock().uncall(called, today());
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if self.open.get() {
            self.caller.ledger.lock().give_back();
        }
    }
}

/// Days since 1970, UTC.
fn today() -> u64 {
    const DAY_SECONDS: u64 = 86_400;
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_ceiling(calls_per_minute: u32) -> Arc<Caller> {
        Arc::new(Caller { calls_per_minute: NonZeroU32::new(calls_per_minute), ..Caller::anonymous() })
    }

    #[test]
    fn a_flight_that_ends_without_a_call_leaves_nothing_behind() {
        let (caller, now) = (with_ceiling(1), Instant::now());
        let booking = caller.book(now).ok().unwrap();
        assert!(caller.book(now).is_err() && caller.over_limit_until(now).is_some());
        drop(booking);
        assert!(caller.over_limit_until(now).is_none());
        assert_eq!(caller.spent(now), Spent { today: 0, last_minute: 0 });
    }

    #[test]
    fn a_flight_that_began_is_finished_and_all_its_calls_count() {
        let (caller, now) = (with_ceiling(2), Instant::now());
        let booking = caller.book(now).ok().unwrap();
        for _ in 0..3 {
            booking.call(now);
        }
        drop(booking);
        assert_eq!(caller.spent(now), Spent { today: 3, last_minute: 3 });
        assert_eq!(caller.book(now).err(), Some(now + Duration::from_secs(60)));
    }

    #[test]
    fn a_call_that_never_left_is_given_back() {
        let (caller, now) = (with_ceiling(1), Instant::now());
        let booking = caller.book(now).ok().unwrap();
        booking.call(now);
        assert!(caller.over_limit_until(now).is_some());
        booking.uncall(now);
        assert_eq!(caller.spent(now), Spent { today: 0, last_minute: 0 });
        drop(booking);
        assert!(caller.over_limit_until(now).is_none());
    }

    #[test]
    fn without_a_ceiling_any_number_of_flights_takes_off() {
        let (caller, now) = (Arc::new(Caller::anonymous()), Instant::now());
        let all: Vec<_> = (0..1_000).map(|_| caller.book(now)).collect();
        assert!(all.iter().all(Result::is_ok));
    }

    #[test]
    fn a_name_is_short_and_plain_and_means_somebody() {
        for good in ["support-tools", "a", "7", &"x".repeat(64)] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "Support", "a b", "a_b", "é", "a\n", "a\"", "anonymous", "unknown", &"x".repeat(65)]
        {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }
}
