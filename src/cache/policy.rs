//! Decides whether a snapshot may be served, must be refreshed or fetched, and may stand in for a failure. Pure: the
//! inputs are the snapshot's times, the caller's directives, the configured limits, and the present time.
//!
//! With the defaults (`live_fresh` 30 s, `stale_while_revalidate` 30 s, `stale_if_error` 1 h) a request without
//! directives gets, by the age of the snapshot:
//!
//! | age | result |
//! |---|---|
//! | below 30 s | the snapshot |
//! | 30 s to 60 s | the snapshot, and a refresh starts |
//! | above 60 s | a fetch; if that fails, the snapshot |
//! | above 1 h 30 s | a fetch; the cache has dropped the snapshot |

use std::time::{Duration, Instant};

use crate::{failure::Reason, snapshot::Snapshot};

/// The `Cache-Control` directives of a request (RFC 9111, 5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Directives {
    /// Whether the caller asks for a snapshot that is fetched after its request.
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    /// The maximum age, in seconds.
    pub(crate) max_age: Option<u64>,
    /// How long the snapshot must stay fresh, in seconds.
    pub(crate) min_fresh: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Serve the snapshot: it is fresh, or stale and the caller wants nothing fetched.
    Serve,
    /// Serve the stale snapshot, and refresh it in the background.
    ServeAndRefresh,
    Fetch(FetchReason),
    /// Nothing usable is cached, and the caller wants nothing fetched.
    NotCached,
}

vocabulary! {
    /// The reason why the cache cannot serve a request: the value of `fwd` in `Cache-Status` (RFC 9211).
    pub(crate) enum FetchReason {
        UriMiss = "uri-miss",
        Stale = "stale",
        /// The snapshot is fresh, and the caller wants a newer one.
        Request = "request",
    }
}

/// The conditions under which a caller that waits for a fetch accepts a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchRequirement {
    pub(crate) directives: Directives,
    pub(crate) requested_at: Instant,
    /// Whether the caller has a cached snapshot to fall back on, and so need not wait while Zoom may not be called.
    pub(crate) has_fallback: bool,
}

impl FetchRequirement {
    /// Returns the requirement of a background refresh, which no caller waits for: any fresh snapshot meets it.
    pub(crate) fn any_fresh(now: Instant) -> Self {
        Self { directives: Directives::default(), requested_at: now, has_fallback: true }
    }
}

/// How long snapshots are used past their freshness, and how often callers can force a fetch.
#[derive(Debug, Clone, Copy)]
pub struct CachePolicy {
    /// How long a stale snapshot is served without waiting while it is refreshed in the background.
    pub while_revalidate: Duration,
    /// How long a stale snapshot is served if Zoom fails, refuses or may not be called.
    pub if_error: Duration,
    /// The minimum time between two fetches of a fresh meeting, whatever callers ask for.
    pub refresh_floor: Duration,
}

impl CachePolicy {
    pub(crate) fn decide(&self, cached: Option<&Snapshot>, directives: Directives, now: Instant) -> Decision {
        let fetch = |reason| {
            if directives.only_if_cached { Decision::NotCached } else { Decision::Fetch(reason) }
        };
        let Some(snapshot) = cached else { return fetch(FetchReason::UriMiss) };
        if snapshot.fresh_left(now).is_some() {
            // Failed attempts also count. Otherwise a caller with `no-cache` could cause a call with every request.
            let since_last_attempt = || snapshot.since_last_attempt(now);
            let is_enough = self.is_new_enough(snapshot, directives, now, since_last_attempt);
            return if is_enough { Decision::Serve } else { fetch(FetchReason::Request) };
        }
        let in_time = within(snapshot.stale_for(now), self.while_revalidate);
        if in_time && is_young_enough(snapshot, directives, now) && directives.min_fresh.is_none() {
            if directives.only_if_cached { Decision::Serve } else { Decision::ServeAndRefresh }
        } else {
            fetch(FetchReason::Stale)
        }
    }

    /// Returns whether a waiting caller accepts a snapshot that another request or another replica fetched.
    ///
    /// A snapshot that was fetched after the request arrived is always accepted. An older one is accepted if
    /// [`Self::decide`] would have served it when the request arrived, and if it is still fresh. Failed attempts do not
    /// count here: the fetch that the caller waits for is the attempt.
    pub(crate) fn accepts(&self, snapshot: &Snapshot, requirement: FetchRequirement, now: Instant) -> bool {
        let FetchRequirement { directives, requested_at, .. } = requirement;
        snapshot.fetched_instant > requested_at
            || (snapshot.fresh_left(now).is_some()
                && self.is_new_enough(snapshot, directives, requested_at, || snapshot.age(requested_at)))
    }

    /// Returns whether a snapshot may be served instead of a failure that [`is_covered_by_stale`].
    pub(crate) fn may_stand_in(&self, snapshot: &Snapshot, now: Instant) -> bool {
        snapshot.fresh_left(now).is_some() || within(snapshot.stale_for(now), self.if_error)
    }

    /// Returns how long after its fetch a snapshot can be served at all. The cache drops it then.
    pub(crate) fn useful_for(&self, snapshot: &Snapshot) -> Duration {
        snapshot.fresh_for + self.while_revalidate.max(self.if_error)
    }

    /// Returns whether a fresh snapshot satisfies the directives, or has to do because the last fetch was less than
    /// `refresh_floor` ago.
    fn is_new_enough(
        &self,
        snapshot: &Snapshot,
        directives: Directives,
        now: Instant,
        since_last_fetch: impl FnOnce() -> Duration,
    ) -> bool {
        let stays_fresh = |seconds| snapshot.fresh_left(now).is_some_and(|left| left.as_secs() >= seconds);
        let is_satisfied =
            is_young_enough(snapshot, directives, now) && directives.min_fresh.is_none_or(stays_fresh);
        is_satisfied || since_last_fetch() < self.refresh_floor
    }
}

/// Ages are compared in whole seconds: `max-age=10` accepts 10.9 s.
fn is_young_enough(snapshot: &Snapshot, directives: Directives, now: Instant) -> bool {
    !directives.no_cache && directives.max_age.is_none_or(|most| snapshot.age(now).as_secs() <= most)
}

/// A limit of 0 switches a rule off.
fn within(time: Duration, limit: Duration) -> bool {
    time <= limit && !limit.is_zero()
}

/// Returns whether a stale snapshot is served instead of this failure. That includes a caller over its limit, because
/// the snapshot costs no Zoom call.
///
/// Returns `false` for a failure that [`ends_snapshot`], while this process shuts down (another replica may have a
/// fresh snapshot), and if the caller excludes a fetch.
pub(crate) fn is_covered_by_stale(reason: Reason) -> bool {
    !ends_snapshot(reason) && !matches!(reason, Reason::ShuttingDown | Reason::NotCached)
}

/// Returns whether this failure is Zoom's response that the meeting does not exist, is of the other kind or is too old.
/// Such a failure replaces the snapshot in the cache.
pub(crate) fn ends_snapshot(reason: Reason) -> bool {
    matches!(reason, Reason::MeetingNotFound | Reason::NotAMeeting | Reason::MeetingTooOld)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{SnapshotBuilder, tests::finish};

    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);
    const POLICY: CachePolicy = CachePolicy {
        while_revalidate: Duration::from_secs(30),
        if_error: Duration::from_secs(3600),
        refresh_floor: Duration::from_secs(5),
    };

    const NOTHING: Directives =
        Directives { no_cache: false, only_if_cached: false, max_age: None, min_fresh: None };
    const ONLY_IF_CACHED: Directives = Directives { only_if_cached: true, ..NOTHING };
    const NO_CACHE: Directives = Directives { no_cache: true, ..NOTHING };

    fn max_age(seconds: u64) -> Directives {
        Directives { max_age: Some(seconds), ..NOTHING }
    }

    fn min_fresh(seconds: u64) -> Directives {
        Directives { min_fresh: Some(seconds), ..NOTHING }
    }

    fn requirement(directives: Directives, requested_at: Instant) -> FetchRequirement {
        FetchRequirement { directives, requested_at, has_fallback: false }
    }

    /// Returns a snapshot that is fresh for 60 s.
    fn snapshot(landed: Instant) -> Snapshot {
        let mut snapshot = finish(SnapshotBuilder::default(), 60 * SECOND);
        snapshot.fetched_instant = landed;
        snapshot
    }

    fn at_age(seconds: u32, directives: Directives) -> Decision {
        let landed = Instant::now();
        POLICY.decide(Some(&snapshot(landed)), directives, landed + seconds * SECOND)
    }

    #[test]
    fn a_snapshot_is_served_then_refreshed_in_the_background_then_fetched() {
        assert_eq!(at_age(59, NOTHING), Decision::Serve);
        assert_eq!(at_age(60, NOTHING), Decision::ServeAndRefresh);
        assert_eq!(at_age(90, NOTHING), Decision::ServeAndRefresh);
        assert_eq!(at_age(91, NOTHING), Decision::Fetch(FetchReason::Stale));
        assert_eq!(POLICY.decide(None, NOTHING, Instant::now()), Decision::Fetch(FetchReason::UriMiss));
    }

    #[test]
    fn only_if_cached_fetches_nothing() {
        assert_eq!(at_age(59, ONLY_IF_CACHED), Decision::Serve);
        assert_eq!(at_age(90, ONLY_IF_CACHED), Decision::Serve);
        assert_eq!(at_age(91, ONLY_IF_CACHED), Decision::NotCached);
        assert_eq!(at_age(20, Directives { max_age: Some(10), ..ONLY_IF_CACHED }), Decision::NotCached);
        assert_eq!(POLICY.decide(None, ONLY_IF_CACHED, Instant::now()), Decision::NotCached);
    }

    #[test]
    fn a_caller_can_force_a_fetch_as_often_as_the_floor_allows() {
        assert_eq!(at_age(4, NO_CACHE), Decision::Serve);
        assert_eq!(at_age(5, NO_CACHE), Decision::Fetch(FetchReason::Request));
        assert_eq!(at_age(10, max_age(10)), Decision::Serve);
        assert_eq!(at_age(11, max_age(10)), Decision::Fetch(FetchReason::Request));
        assert_eq!(at_age(30, min_fresh(30)), Decision::Serve);
        assert_eq!(at_age(31, min_fresh(30)), Decision::Fetch(FetchReason::Request));
        assert_eq!(at_age(70, NO_CACHE), Decision::Fetch(FetchReason::Stale));
        assert_eq!(at_age(70, max_age(100)), Decision::ServeAndRefresh);
        assert_eq!(at_age(70, min_fresh(0)), Decision::Fetch(FetchReason::Stale));
    }

    #[test]
    fn a_failed_attempt_counts_for_the_floor() {
        let landed = Instant::now();
        let cached = snapshot(landed);
        cached.record_refresh_attempt(landed + 20 * SECOND);
        let at = |seconds: u32| POLICY.decide(Some(&cached), NO_CACHE, landed + seconds * SECOND);
        assert_eq!((at(24), at(25)), (Decision::Serve, Decision::Fetch(FetchReason::Request)));
    }

    #[test]
    fn another_replicas_snapshot_is_accepted_exactly_when_the_cache_would_serve_it() {
        let landed = Instant::now() + 3600 * SECOND;
        let snapshot = snapshot(landed);
        let all = [NOTHING, NO_CACHE, max_age(10), min_fresh(30), min_fresh(u64::MAX), max_age(u64::MAX)];
        for directives in all {
            for age in 0..=70 {
                for now in [landed + age * SECOND, landed + age * SECOND + MILLISECOND] {
                    let is_served = POLICY.decide(Some(&snapshot), directives, now) == Decision::Serve;
                    let is_accepted = POLICY.accepts(&snapshot, requirement(directives, now), now);
                    assert_eq!(is_accepted, is_served, "{directives:?} at {age} s");
                }
            }
        }
    }

    #[test]
    fn a_waiting_caller_accepts_what_decide_would_have_served_at_its_request() {
        let landed = Instant::now() + 3600 * SECOND;
        let snapshot = snapshot(landed);
        // Both times are in milliseconds after the fetch of the snapshot.
        let accepts = |directives, requested: u64, now: u64| {
            let requested_at = landed + Duration::from_millis(requested);
            POLICY.accepts(
                &snapshot,
                requirement(directives, requested_at),
                landed + Duration::from_millis(now),
            )
        };
        // The floor is 5 s.
        assert!(accepts(NO_CACHE, 4_999, 5_000));
        assert!(!accepts(NO_CACHE, 5_000, 5_000));
        // Ages are in whole seconds.
        assert!(accepts(max_age(10), 10_999, 20_000));
        assert!(!accepts(max_age(10), 11_000, 11_000));
        // At 30 s, exactly 30 s of freshness are left.
        assert!(accepts(min_fresh(30), 30_000, 30_000));
        assert!(!accepts(min_fresh(30), 30_001, 31_000));
        // The snapshot must still be fresh when it is served.
        assert!(accepts(NOTHING, 59_000, 59_999));
        assert!(!accepts(NOTHING, 59_000, 60_000));
    }

    #[test]
    fn a_snapshot_fetched_after_the_request_is_always_accepted() {
        let requested_at = Instant::now();
        let snapshot = snapshot(requested_at + MILLISECOND);
        for directives in [NO_CACHE, max_age(0), min_fresh(u64::MAX)] {
            let requirement = requirement(directives, requested_at);
            assert!(POLICY.accepts(&snapshot, requirement, requested_at + 3600 * SECOND), "{directives:?}");
        }
    }

    #[test]
    fn a_running_attempt_does_not_make_an_old_snapshot_acceptable() {
        let landed = Instant::now() + 3600 * SECOND;
        let snapshot = snapshot(landed);
        let now = landed + 20 * SECOND;
        snapshot.record_refresh_attempt(now);
        assert!(!POLICY.accepts(&snapshot, requirement(NO_CACHE, now), now));
    }

    #[test]
    fn a_refresh_accepts_every_fresh_snapshot() {
        let landed = Instant::now() + 3600 * SECOND;
        let snapshot = snapshot(landed);
        let accepts = |now| POLICY.accepts(&snapshot, FetchRequirement::any_fresh(now), now);
        assert!(accepts(landed + 59 * SECOND));
        assert!(!accepts(landed + 60 * SECOND));
    }

    #[test]
    fn a_stale_snapshot_stands_in_for_failures_up_to_its_limit() {
        let landed = Instant::now();
        let cached = snapshot(landed);
        assert!(POLICY.may_stand_in(&cached, landed));
        assert!(POLICY.may_stand_in(&cached, landed + 3660 * SECOND));
        assert!(!POLICY.may_stand_in(&cached, landed + 3660 * SECOND + MILLISECOND));
        let never = CachePolicy { while_revalidate: Duration::ZERO, if_error: Duration::ZERO, ..POLICY };
        assert!(!never.may_stand_in(&cached, landed + 60 * SECOND));
        assert_eq!(
            never.decide(Some(&cached), NOTHING, landed + 60 * SECOND),
            Decision::Fetch(FetchReason::Stale)
        );
    }

    #[test]
    fn a_snapshot_is_useful_until_neither_rule_can_serve_it() {
        let landed = Instant::now();
        let cached = snapshot(landed);
        assert_eq!(POLICY.useful_for(&cached), 3660 * SECOND);
        let revalidates_longer = CachePolicy { while_revalidate: 2 * 3600 * SECOND, ..POLICY };
        assert_eq!(revalidates_longer.useful_for(&cached), 7260 * SECOND);
    }
}
