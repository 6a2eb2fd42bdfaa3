//! Negative caching: decides which failures are cached, each as a [`Refusal`], and for how long.
//!
//! "No such meeting" replaces the snapshot, because the two contradict each other. Any other failure that is cached is
//! stored beside the snapshot, which can still be served stale. A cached failure keeps callers that retry in a loop from
//! spending the day's calls on a meeting that Zoom does not return. A failure that a retry would not fix is cached for
//! `cache.refusal`. A failure that a retry may fix is cached for [`FAILURE_PAUSE`], or until its `Retry-After`, but for
//! at most a minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Cache,
    entry::{CacheKey, Entry, Refusal},
    policy::ends_snapshot,
};
use crate::{
    failure::{Failure, Reason},
    snapshot::{MeetingType, Snapshot, SnapshotKey},
};

/// The minimum time for which a [`Reason::ZoomFailed`] or [`Reason::ZoomTimedOut`] is cached, even if `cache.refusal`
/// is shorter.
pub(crate) const FAILURE_PAUSE: Duration = Duration::from_secs(2);
/// The longest time for which a `Retry-After` is honored.
const LONGEST_FAILURE_PAUSE: Duration = Duration::from_secs(60);

impl Cache {
    pub(crate) fn insert_failure(&self, key: SnapshotKey, failure: &Failure, until: Instant) {
        let at = Instant::now();
        if failure.reason == Reason::NotAMeeting {
            self.remember_other_kind(key, at);
        }
        let key = if ends_snapshot(failure.reason) { CacheKey::Newest(key) } else { CacheKey::Failure(key) };
        let refusal = Entry::Refusal(Arc::new(Refusal { failure: failure.clone(), at, until }));
        self.eviction.make_room(refusal.memory_bytes(), None);
        self.entries.insert(key, refusal);
        self.entries.run_pending_tasks();
    }

    /// Returns the cached failure that keeps this meeting from being fetched now.
    pub(crate) fn failure(&self, key: &SnapshotKey, now: Instant) -> Option<Failure> {
        match self.entry(CacheKey::Failure(*key), now)? {
            Entry::Refusal(refusal) => Some(refusal.failure.clone()),
            Entry::Snapshot(_) => None,
        }
    }

    /// Forgets the failure if it came before this snapshot was fetched: Zoom has returned the meeting since.
    pub(super) fn end_failure(&self, snapshot: &Snapshot) {
        let key = CacheKey::Failure(snapshot.key);
        if let Some(Entry::Refusal(refusal)) = self.entries.get(&key)
            && refusal.at <= snapshot.fetched_instant
        {
            self.entries.invalidate(&key);
        }
    }

    /// How long to cache a failure; `None` if it is not about the meeting, such as a rate limit. Zero means that the failure
    /// removes the snapshot but is not cached itself.
    pub(crate) fn failure_ttl(&self, key: SnapshotKey, failure: &Failure, now: Instant) -> Option<Duration> {
        match (failure.reason, key.meeting_type) {
            // Zoom may not know a live meeting in its first two minutes, so this is short.
            (Reason::MeetingNotFound, MeetingType::Live) => Some(self.config.not_found_live),
            (Reason::MeetingNotFound, MeetingType::Past) => Some(self.config.not_found_past),
            (Reason::NotAMeeting | Reason::MeetingTooOld, _) => Some(self.config.refusal),
            (Reason::ZoomFailed, _) if failure.lasting.is_some() => {
                Some(self.config.refusal.max(FAILURE_PAUSE))
            }
            (Reason::ZoomFailed | Reason::ZoomTimedOut, _) => {
                let retry_after = failure.retry_at.map(|at| at.saturating_duration_since(now));
                Some(retry_after.unwrap_or_default().clamp(FAILURE_PAUSE, LONGEST_FAILURE_PAUSE))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::tests::{SECOND, cache, key, snapshot_of},
        failure::Lasting,
    };

    #[test]
    fn a_missing_meeting_is_cached_and_a_rate_limit_is_not() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        let missing = Failure::new(Reason::MeetingNotFound);
        assert_eq!(cache.failure_ttl(key(1), &missing, now), Some(10 * SECOND));
        cache.insert_failure(key(1), &missing, now + 10 * SECOND);
        assert!(matches!(cache.get(&key(1), now + 9 * SECOND), Some(Entry::Refusal(_))));
        assert!(cache.get(&key(1), now + 10 * SECOND).is_none());
        for reason in [Reason::NotAMeeting, Reason::MeetingTooOld] {
            assert_eq!(cache.failure_ttl(key(1), &Failure::new(reason), now), Some(30 * SECOND));
        }
        for lasting in Lasting::ALL {
            assert_eq!(cache.failure_ttl(key(1), &Failure::lasting(lasting), now), Some(30 * SECOND));
        }
        for reason in [Reason::ZoomFailed, Reason::ZoomTimedOut] {
            assert_eq!(cache.failure_ttl(key(1), &Failure::new(reason), now), Some(FAILURE_PAUSE));
        }
        for reason in [Reason::ZoomRateLimited, Reason::ZoomRejectedCredentials, Reason::StillFetching] {
            assert_eq!(cache.failure_ttl(key(1), &Failure::new(reason), now), None);
        }
    }

    #[test]
    fn a_failure_is_cached_until_its_retry_after_within_bounds() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        for (retry_after, kept) in [(0, 2), (1, 2), (2, 2), (30, 30), (60, 60), (3_600, 60)] {
            let failure = Failure::new(Reason::ZoomFailed).retry_at(now + retry_after * SECOND);
            assert_eq!(cache.failure_ttl(key(1), &failure, now), Some(kept * SECOND), "{retry_after}");
        }
    }

    #[test]
    fn a_snapshot_ends_a_failure_that_came_before_its_fetch() {
        let cache = cache(1 << 20);
        let before = snapshot_of(key(1), 10, 30 * SECOND);
        let until = Instant::now() + 60 * SECOND;
        cache.insert_failure(key(1), &Failure::new(Reason::ZoomFailed), until);
        assert!(cache.insert(before).1);
        assert!(cache.failure(&key(1), Instant::now()).is_some(), "the failure is newer");
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        assert!(cache.failure(&key(1), Instant::now()).is_none());
    }

    #[test]
    fn a_failure_leaves_the_snapshot_in_place_until_a_purge_forgets_both() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        cache.insert_failure(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(_))));
        assert!(cache.failure(&key(1), now).is_some());
        assert!(cache.failure(&key(1), now + SECOND).is_none());
        assert_eq!(cache.purge(&[key(1)]), 1);
        assert!(cache.get(&key(1), now).is_none() && cache.failure(&key(1), now).is_none());
        cache.insert_failure(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        assert_eq!(cache.purge(&[key(1)]), 1, "a failure alone counts as something that was there");
        cache.insert_failure(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        cache.purge_all();
        assert!(cache.failure(&key(1), now).is_none());
    }
}
