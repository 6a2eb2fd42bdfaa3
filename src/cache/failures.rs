//! Negative caching: failures that are remembered, and for how long.
//!
//! "There is no such meeting" takes the place of the snapshot, because it is news about the meeting. Every other failure
//! is kept beside the snapshot, which still serves while it is stale. It keeps callers who ask in a loop from spending the
//! day's calls on a meeting that Zoom does not give: a refusal that another call would only repeat counts for
//! `cache.refusal`, trouble that may pass for [`FAILURE_PAUSE`], or until Zoom says to come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Cache, Entry, Place, Refusal, Slot, policy::ends_snapshot};
use crate::{
    failure::{Failure, Reason},
    snapshot::{MeetingType, SnapshotKey},
};

/// The least time between two flights to a meeting that fail, whatever `cache.refusal` says.
pub const FAILURE_PAUSE: Duration = Duration::from_secs(2);
/// The most of it: a `Retry-After` that says more is not believed.
const LONGEST_FAILURE_PAUSE: Duration = Duration::from_secs(60);

impl Cache {
    /// Remembers a failure until then.
    pub fn remember(&self, key: SnapshotKey, failure: &Failure, until: Instant) {
        let slot = if ends_snapshot(failure) { Slot::Newest } else { Slot::Failure };
        let refusal = Refusal { failure: failure.clone(), until };
        self.entries.insert(Place { key, slot }, Entry::Refusal(Arc::new(refusal)));
    }

    /// The failure for which Zoom is not asked about this meeting now, if there is one.
    #[must_use]
    pub fn failure(&self, key: &SnapshotKey, now: Instant) -> Option<Failure> {
        match self.entry(Place { key: *key, slot: Slot::Failure }, now)? {
            Entry::Refusal(refusal) => Some(refusal.failure.clone()),
            Entry::Snapshot(_) => None,
        }
    }

    /// How long a failure is remembered; `None` for one that is not about the meeting, such as a rate limit. 0 for one that
    /// is not remembered, but ends the snapshot.
    #[must_use]
    pub fn remembers_for(&self, key: SnapshotKey, failure: &Failure, now: Instant) -> Option<Duration> {
        match (failure.reason, key.meeting_type) {
            // Seen for live meetings in their first two minutes: asked again soon.
            (Reason::MeetingNotFound, MeetingType::Live) => Some(self.config.not_found_live),
            (Reason::MeetingNotFound, MeetingType::Past) => Some(self.config.not_found_past),
            (Reason::NotAMeeting | Reason::MeetingTooOld, _) => Some(self.config.refusal),
            (Reason::ZoomFailed, _) if failure.lasting.is_some() => {
                Some(self.config.refusal.max(FAILURE_PAUSE))
            }
            (Reason::ZoomFailed | Reason::ZoomTimedOut, _) => {
                let said = failure.retry_at.map(|at| at.saturating_duration_since(now));
                Some(said.unwrap_or_default().clamp(FAILURE_PAUSE, LONGEST_FAILURE_PAUSE))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::tests::{SECOND, cache, key, sealed},
        failure::Lasting,
    };

    #[test]
    fn a_missing_meeting_is_remembered_for_its_time_and_a_rate_limit_is_not() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        let missing = Failure::new(Reason::MeetingNotFound);
        assert_eq!(cache.remembers_for(key(1), &missing, now), Some(10 * SECOND));
        cache.remember(key(1), &missing, now + 10 * SECOND);
        assert!(matches!(cache.get(&key(1), now + 9 * SECOND), Some(Entry::Refusal(_))));
        assert!(cache.get(&key(1), now + 10 * SECOND).is_none());
        for reason in [Reason::NotAMeeting, Reason::MeetingTooOld] {
            assert_eq!(cache.remembers_for(key(1), &Failure::new(reason), now), Some(30 * SECOND));
        }
        for lasting in Lasting::ALL {
            assert_eq!(cache.remembers_for(key(1), &Failure::lasting(lasting), now), Some(30 * SECOND));
        }
        for reason in [Reason::ZoomFailed, Reason::ZoomTimedOut] {
            assert_eq!(cache.remembers_for(key(1), &Failure::new(reason), now), Some(FAILURE_PAUSE));
        }
        for reason in [Reason::ZoomRateLimited, Reason::ZoomRejectedCredentials, Reason::StillFetching] {
            assert_eq!(cache.remembers_for(key(1), &Failure::new(reason), now), None);
        }
    }

    #[test]
    fn a_failure_is_remembered_until_zoom_says_to_come_back_but_2_to_60_s() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        for (said, kept) in [(0, 2), (1, 2), (2, 2), (30, 30), (60, 60), (3_600, 60)] {
            let failure = Failure::new(Reason::ZoomFailed).retry_at(now + said * SECOND);
            assert_eq!(cache.remembers_for(key(1), &failure, now), Some(kept * SECOND), "{said}");
        }
    }

    #[test]
    fn a_failure_leaves_the_snapshot_in_place_until_a_purge_forgets_both() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
        cache.remember(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(_))));
        assert!(cache.failure(&key(1), now).is_some());
        assert!(cache.failure(&key(1), now + SECOND).is_none());
        assert!(cache.purge(&key(1)));
        assert!(cache.get(&key(1), now).is_none() && cache.failure(&key(1), now).is_none());
        cache.remember(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        assert!(cache.purge(&key(1)), "a failure alone counts as something that was there");
        cache.remember(key(1), &Failure::lasting(Lasting::Refused), now + SECOND);
        cache.purge_all();
        assert!(cache.failure(&key(1), now).is_none());
    }
}
