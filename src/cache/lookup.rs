//! Finds the cache entry for a request that may not say whether its id is a meeting's or a webinar's.

use std::time::Instant;

use super::{Cache, entry::Entry, kinds::KIND_REMEMBERED_FOR};
use crate::{
    failure::Reason,
    meeting_id::MeetingId,
    snapshot::{MeetingKind, RequestedKey, SnapshotKey},
};

impl Cache {
    /// Returns the key of the snapshot to serve, and the newest entry under it if that can be served at `now`.
    ///
    /// If the request names no kind, a meeting's snapshot is looked up first, so that its hits need only one look-up.
    pub(crate) fn find(&self, requested: RequestedKey, now: Instant) -> (SnapshotKey, Option<Entry>) {
        let key = requested.of_kind(requested.kind.unwrap_or(MeetingKind::Meeting));
        let entry = self.get(&key, now);
        let is_webinar = requested.kind.is_none()
            && !matches!(entry, Some(Entry::Snapshot(_)))
            && (is_refused_kind(entry.as_ref()) || self.webinars.contains(&key.meeting));
        if !is_webinar {
            return (key, entry);
        }
        let webinar = requested.of_kind(MeetingKind::Webinar);
        (webinar, self.get(&webinar, now))
    }

    /// Returns whether a refusal that another replica recorded at `at` may still tell us the id's kind: it is less than
    /// 24 hours old, and the id has not been purged since.
    pub(crate) fn accepts_kind_of(&self, at: Instant, meeting: &MeetingId) -> bool {
        at.elapsed() < KIND_REMEMBERED_FOR && !self.webinars.was_purged_since(meeting, at)
    }

    /// Records that Zoom's endpoint for this kind refuses the id. The id is then assumed to be of the other kind,
    /// unless the other endpoint has also just refused it.
    pub(super) fn remember_other_kind(&self, key: SnapshotKey, now: Instant) {
        let other = SnapshotKey { kind: key.kind.other(), ..key };
        if is_refused_kind(self.get(&other, now).as_ref()) {
            self.webinars.remember(key.meeting, MeetingKind::Meeting);
        } else {
            self.webinars.remember(key.meeting, other.kind);
        }
    }
}

/// Returns whether the entry says that Zoom's endpoint for the entry's kind has just refused the id.
fn is_refused_kind(entry: Option<&Entry>) -> bool {
    matches!(entry, Some(Entry::Refusal(refusal)) if refusal.failure.reason == Reason::NotAMeeting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::tests::{SECOND, cache, key, snapshot_of},
        failure::Failure,
    };

    fn webinar(number: u64) -> SnapshotKey {
        SnapshotKey { kind: MeetingKind::Webinar, ..key(number) }
    }

    /// Returns the kind under which a request for this id is looked up.
    fn kind_of(cache: &Cache, number: u64, now: Instant) -> MeetingKind {
        let SnapshotKey { meeting, meeting_type, .. } = key(number);
        cache.find(RequestedKey { meeting, kind: None, meeting_type }, now).0.kind
    }

    fn refuse(cache: &Cache, key: SnapshotKey) {
        cache.insert_failure(key, &Failure::new(Reason::NotAMeeting), Instant::now() + 30 * SECOND);
    }

    #[test]
    fn an_id_that_the_meeting_endpoint_refuses_is_a_webinars() {
        let cache = cache(1 << 20);
        assert_eq!(kind_of(&cache, 1, Instant::now()), MeetingKind::Meeting);
        refuse(&cache, key(1));
        for later in [0, 29, 31, 3_600] {
            assert_eq!(kind_of(&cache, 1, Instant::now() + later * SECOND), MeetingKind::Webinar, "{later}");
        }
        assert_eq!(kind_of(&cache, 2, Instant::now()), MeetingKind::Meeting);
        refuse(&cache, webinar(1));
        assert_eq!(kind_of(&cache, 1, Instant::now()), MeetingKind::Webinar, "just refused as a meeting");
        let later = Instant::now() + 31 * SECOND;
        assert_eq!(kind_of(&cache, 1, later), MeetingKind::Meeting, "the memory is dropped");
    }

    #[test]
    fn an_id_that_both_endpoints_refuse_is_remembered_as_neither() {
        let cache = cache(1 << 20);
        refuse(&cache, webinar(1));
        refuse(&cache, key(1));
        assert_eq!(kind_of(&cache, 1, Instant::now() + 31 * SECOND), MeetingKind::Meeting);
    }

    #[test]
    fn a_cached_snapshot_shows_the_kind_and_a_purge_forgets_it() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(webinar(1), 10, SECOND)).1);
        let later = Instant::now() + 3_600 * SECOND;
        assert_eq!(kind_of(&cache, 1, later), MeetingKind::Webinar, "also when the snapshot is gone");
        assert!(cache.insert(snapshot_of(key(1), 10, SECOND)).1);
        assert_eq!(kind_of(&cache, 1, Instant::now()), MeetingKind::Meeting, "a meeting's comes first");
        assert_eq!(kind_of(&cache, 1, later), MeetingKind::Meeting, "and is the last word");
        for purges_all in [false, true] {
            assert!(cache.insert(snapshot_of(webinar(1), 10, SECOND)).1);
            if purges_all {
                cache.purge_all();
            } else {
                assert_eq!(cache.purge(&[webinar(1)]), 1);
            }
            assert_eq!(kind_of(&cache, 1, Instant::now()), MeetingKind::Meeting);
        }
    }

    #[test]
    fn a_named_kind_is_the_only_one_looked_up() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(webinar(1), 10, SECOND)).1);
        let SnapshotKey { meeting, meeting_type, .. } = key(1);
        for kind in MeetingKind::ALL {
            let (found, entry) =
                cache.find(RequestedKey { meeting, kind: Some(kind), meeting_type }, Instant::now());
            assert_eq!((found.kind, entry.is_some()), (kind, kind == MeetingKind::Webinar));
        }
    }
}
