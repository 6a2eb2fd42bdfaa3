//! The cache's keys and entries, and when an entry expires.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::Expiry;

use super::policy::CachePolicy;
use crate::{
    failure::Failure,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// The memory for an entry's bookkeeping, in bytes: moka's own, measured at 291 with an expiry and a weigher, and the
/// key.
pub(super) const BOOKKEEPING: usize = 320 + size_of::<CacheKey>();
/// How long an older snapshot is kept after its last slice was served. Every first slice hands out a token, and most tokens are
/// never used.
pub(crate) const PAGED_FOR: Duration = Duration::from_secs(900);

/// One cached result. Cloning it copies a pointer.
#[derive(Clone)]
pub enum Entry {
    Snapshot(Arc<Snapshot>),
    Refusal(Arc<Refusal>),
}

/// A cached failure.
pub struct Refusal {
    pub(crate) failure: Failure,
    pub(crate) at: Instant,
    /// Zoom is not called before then.
    pub(crate) until: Instant,
}

impl Entry {
    pub(super) fn memory_bytes(&self) -> usize {
        BOOKKEEPING
            + match self {
                Self::Snapshot(snapshot) => snapshot.memory_bytes(),
                Self::Refusal(_) => size_of::<Refusal>() + 512,
            }
    }

    pub(super) fn is_paged(&self) -> bool {
        matches!(self, Self::Snapshot(snapshot) if snapshot.is_paged())
    }

    /// Returns the time from which it can no longer be served, not even stale.
    pub(super) fn useful_until(&self, policy: CachePolicy) -> Instant {
        match self {
            Self::Snapshot(snapshot) => snapshot.fetched_instant + policy.useful_for(snapshot),
            Self::Refusal(refusal) => refusal.until,
        }
    }
}

/// The entries that one meeting may have side by side.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CacheKey {
    /// The newest snapshot, or Zoom's response that there is no such meeting.
    Newest(SnapshotKey),
    Older(SnapshotKey, Tag),
    /// Any other failure: see [`super::failures`].
    Failure(SnapshotKey),
}

/// Frees entries that can no longer be served.
pub(super) struct ExpiryPolicy(pub(super) CachePolicy);

impl ExpiryPolicy {
    fn left(&self, key: &CacheKey, entry: &Entry, now: Instant) -> Duration {
        let left = entry.useful_until(self.0).saturating_duration_since(now);
        if matches!(key, CacheKey::Older(..)) { left.min(PAGED_FOR) } else { left }
    }
}

impl Expiry<CacheKey, Entry> for ExpiryPolicy {
    fn expire_after_create(&self, key: &CacheKey, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(self.left(key, entry, now))
    }

    fn expire_after_read(
        &self,
        key: &CacheKey,
        entry: &Entry,
        now: Instant,
        left: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        if matches!(key, CacheKey::Older(..)) { Some(self.left(key, entry, now)) } else { left }
    }

    /// By moka's default, a new entry would keep the deadline of the one that it replaces.
    fn expire_after_update(
        &self,
        key: &CacheKey,
        entry: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.left(key, entry, now))
    }
}
