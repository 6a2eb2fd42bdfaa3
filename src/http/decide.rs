//! From the cache, or from Zoom? Pure: the snapshot's times, the caller's directives, the rules, and the time now.

use std::time::{Duration, Instant};

use super::cache_control::Directives;
use crate::{cache::StaleConfig, fetcher::Wanted, snapshot::Snapshot};

/// What to do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The snapshot as it is: fresh, or stale to a caller who wants nothing fetched.
    Hit,
    /// The stale snapshot at once, and a refresh in the background.
    HitAndRefresh,
    /// A fetch, and why.
    Fetch(Why),
    /// Nothing of use is kept, and the caller wants nothing fetched.
    NotCached,
}

/// Why Zoom is asked, in the words of RFC 9211.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing is kept.
    UriMiss,
    /// What is kept is stale.
    Stale,
    /// What is kept is fresh, and the caller wants it newer.
    Request,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

pub(super) fn decide(
    kept: Option<&Snapshot>,
    asked: Directives,
    rules: StaleConfig,
    now: Instant,
) -> Decision {
    let Some(kept) = kept else { return fetch(Why::UriMiss, asked) };
    let age = kept.age(now);
    let young_enough = !asked.no_cache && asked.max_age.is_none_or(|most| age.as_secs() <= most);
    if let Some(left) = kept.fresh_left(now) {
        let fresh_enough = asked.min_fresh.is_none_or(|least| left.as_secs() >= least);
        // Below the floor a caller gets what is there, whatever it asks for; also when the last try failed.
        if (young_enough && fresh_enough) || kept.since_last_try(now) < rules.refresh_floor {
            return Decision::Hit;
        }
        return fetch(Why::Request, asked);
    }
    let in_time = kept.stale_for(now) <= rules.while_revalidate && !rules.while_revalidate.is_zero();
    match (in_time && young_enough && asked.min_fresh.is_none(), asked.only_if_cached) {
        (true, true) => Decision::Hit,
        (true, false) => Decision::HitAndRefresh,
        (false, _) => fetch(Why::Stale, asked),
    }
}

fn fetch(why: Why, asked: Directives) -> Decision {
    if asked.only_if_cached { Decision::NotCached } else { Decision::Fetch(why) }
}

/// Nothing is fresh for so many seconds.
const FOREVER: u64 = 1 << 32;

/// What a flight has to bring for a request, or what may have landed before it.
pub(super) fn wanted(asked: Directives, rules: StaleConfig, now: Instant, has_fallback: bool) -> Wanted {
    // An age is told in whole seconds. What lies before all time is no bound.
    let aged = |age: Duration| now.checked_sub(age.saturating_add(Duration::from_secs(1)));
    let by_age = asked.max_age.and_then(|most| aged(Duration::from_secs(most)));
    Wanted {
        asked: now,
        landed_after: if asked.no_cache { Some(now) } else { by_age },
        fresh_at: now + Duration::from_secs(asked.min_fresh.unwrap_or_default().min(FOREVER)),
        enough_after: now.checked_sub(rules.refresh_floor).unwrap_or(now),
        has_fallback,
    }
}

/// Whether a stale snapshot still serves where Zoom fails.
pub(super) fn serves_on_error(kept: &Snapshot, rules: StaleConfig, now: Instant) -> bool {
    kept.fresh_left(now).is_some()
        || (kept.stale_for(now) <= rules.if_error && rules.if_error > Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{Draft, FreshnessConfig, MeetingType, SnapshotKey},
    };

    const SECOND: Duration = Duration::from_secs(1);
    const RULES: StaleConfig = StaleConfig {
        while_revalidate: Duration::from_secs(30),
        if_error: Duration::from_secs(3600),
        refresh_floor: Duration::from_secs(5),
    };

    /// Fresh for 60 s.
    fn snapshot(landed: Instant) -> Snapshot {
        let meeting = MeetingId::parse("85746065432").unwrap();
        let minute = 60 * SECOND;
        let fresh = FreshnessConfig::always(minute);
        let key = SnapshotKey { meeting, meeting_type: MeetingType::Live };
        Draft::default().seal(key, &fresh, landed, SystemTime::UNIX_EPOCH, 1.0, 0).unwrap()
    }

    fn at_age(seconds: u32, asked: Directives) -> Decision {
        let landed = Instant::now();
        decide(Some(&snapshot(landed)), asked, RULES, landed + seconds * SECOND)
    }

    const NOTHING: Directives =
        Directives { no_cache: false, only_if_cached: false, max_age: None, min_fresh: None };
    const ONLY_IF_CACHED: Directives = Directives { only_if_cached: true, ..NOTHING };
    const NO_CACHE: Directives = Directives { no_cache: true, ..NOTHING };

    #[test]
    fn a_snapshot_is_a_hit_then_refreshed_in_the_background_then_waited_for() {
        assert_eq!(at_age(59, NOTHING), Decision::Hit);
        assert_eq!(at_age(60, NOTHING), Decision::HitAndRefresh);
        assert_eq!(at_age(90, NOTHING), Decision::HitAndRefresh);
        assert_eq!(at_age(91, NOTHING), Decision::Fetch(Why::Stale));
        assert_eq!(decide(None, NOTHING, RULES, Instant::now()), Decision::Fetch(Why::UriMiss));
    }

    #[test]
    fn only_if_cached_starts_nothing() {
        assert_eq!(at_age(59, ONLY_IF_CACHED), Decision::Hit);
        assert_eq!(at_age(90, ONLY_IF_CACHED), Decision::Hit);
        assert_eq!(at_age(91, ONLY_IF_CACHED), Decision::NotCached);
        assert_eq!(at_age(20, Directives { max_age: Some(10), ..ONLY_IF_CACHED }), Decision::NotCached);
        assert_eq!(decide(None, ONLY_IF_CACHED, RULES, Instant::now()), Decision::NotCached);
    }

    #[test]
    fn a_caller_gets_it_newer_but_not_more_often_than_the_floor_allows() {
        assert_eq!(at_age(4, NO_CACHE), Decision::Hit);
        assert_eq!(at_age(5, NO_CACHE), Decision::Fetch(Why::Request));
        assert_eq!(at_age(10, Directives { max_age: Some(10), ..NOTHING }), Decision::Hit);
        assert_eq!(at_age(11, Directives { max_age: Some(10), ..NOTHING }), Decision::Fetch(Why::Request));
        assert_eq!(at_age(30, Directives { min_fresh: Some(30), ..NOTHING }), Decision::Hit);
        assert_eq!(at_age(31, Directives { min_fresh: Some(30), ..NOTHING }), Decision::Fetch(Why::Request));
        assert_eq!(at_age(70, NO_CACHE), Decision::Fetch(Why::Stale));
        assert_eq!(at_age(70, Directives { max_age: Some(100), ..NOTHING }), Decision::HitAndRefresh);
        assert_eq!(at_age(70, Directives { min_fresh: Some(0), ..NOTHING }), Decision::Fetch(Why::Stale));
    }

    /// What another replica fetched serves as if it had been fetched here.
    #[test]
    fn what_landed_elsewhere_serves_those_who_would_take_it_from_the_cache() {
        let landed = Instant::now() + 3600 * SECOND;
        let snapshot = snapshot(landed);
        let asked = [
            NOTHING,
            NO_CACHE,
            Directives { max_age: Some(10), ..NOTHING },
            Directives { min_fresh: Some(30), ..NOTHING },
            Directives { min_fresh: Some(u64::MAX), max_age: Some(u64::MAX), ..NOTHING },
        ];
        for asked in asked {
            for age in 0..=70 {
                let now = landed + age * SECOND;
                let hit = decide(Some(&snapshot), asked, RULES, now) == Decision::Hit;
                // Where the edges meet, an instant more or less is no matter.
                if ![5, 30].contains(&age) {
                    assert_eq!(
                        wanted(asked, RULES, now, false).takes(&snapshot, now),
                        hit,
                        "{asked:?} at {age} s"
                    );
                }
            }
        }
    }

    #[test]
    fn a_try_that_failed_counts_for_the_floor() {
        let landed = Instant::now();
        let kept = snapshot(landed);
        kept.note_try(landed + 20 * SECOND);
        let at = |seconds: u32| decide(Some(&kept), NO_CACHE, RULES, landed + seconds * SECOND);
        assert_eq!((at(24), at(25)), (Decision::Hit, Decision::Fetch(Why::Request)));
    }

    #[test]
    fn a_stale_snapshot_serves_on_error_until_its_time_is_over_and_never_if_that_is_zero() {
        let landed = Instant::now();
        let kept = snapshot(landed);
        assert!(serves_on_error(&kept, RULES, landed + 3660 * SECOND));
        assert!(!serves_on_error(&kept, RULES, landed + 3661 * SECOND));
        let never = StaleConfig { while_revalidate: Duration::ZERO, if_error: Duration::ZERO, ..RULES };
        assert!(!serves_on_error(&kept, never, landed + 60 * SECOND));
        assert_eq!(decide(Some(&kept), NOTHING, never, landed + 60 * SECOND), Decision::Fetch(Why::Stale));
    }
}
