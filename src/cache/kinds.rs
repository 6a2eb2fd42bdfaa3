//! Remembers which ids belong to webinars, because an id does not show its kind.
//!
//! If a request names no kind, any other id is assumed to be a meeting's: the meeting endpoint is called first, and the
//! webinar endpoint only if the meeting endpoint refuses the id. A remembered id saves the refused call.

use std::time::{Duration, Instant};

use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use crate::{meeting_id::MeetingId, snapshot::MeetingKind};

/// How long an id is remembered after the last response from Zoom that showed its kind.
pub(crate) const KIND_REMEMBERED_FOR: Duration = Duration::from_hours(24);
/// The maximum number of remembered ids, at about 300 bytes each.
const MOST_IDS: u64 = 10_000;

#[derive(Clone, Copy)]
enum Known {
    Webinar,
    /// An operator has purged the id: older records of other replicas do not count.
    PurgedAt(Instant),
}

#[derive(Clone)]
pub(super) struct KnownWebinars(Moka<MeetingId, Known, foldhash::fast::RandomState>);

impl KnownWebinars {
    pub(super) fn new() -> Self {
        let ids = Moka::builder()
            .max_capacity(MOST_IDS)
            .time_to_live(KIND_REMEMBERED_FOR)
            .eviction_policy(EvictionPolicy::lru());
        Self(ids.build_with_hasher(foldhash::fast::RandomState::default()))
    }

    pub(super) fn remember(&self, meeting: MeetingId, kind: MeetingKind) {
        match kind {
            MeetingKind::Webinar => self.0.insert(meeting, Known::Webinar),
            MeetingKind::Meeting => self.0.invalidate(&meeting),
        }
    }

    pub(super) fn purge(&self, meeting: MeetingId, now: Instant) {
        self.0.insert(meeting, Known::PurgedAt(now));
    }

    pub(super) fn purge_all(&self) {
        self.0.invalidate_all();
    }

    pub(super) fn contains(&self, meeting: &MeetingId) -> bool {
        matches!(self.0.get(meeting), Some(Known::Webinar))
    }

    pub(super) fn was_purged_since(&self, meeting: &MeetingId, at: Instant) -> bool {
        matches!(self.0.get(meeting), Some(Known::PurgedAt(purged)) if purged >= at)
    }
}
