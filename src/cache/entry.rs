//! The cache's keys and entries, and when an entry expires.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, sync::Cache as Moka};

use super::policy::CachePolicy;
use crate::{
    failure::Failure,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// The memory that an entry takes besides its value, in bytes. Measured: 291 for moka, with an expiry and a weigher, and 41
/// for the place in the order of eviction. The constant adds the key, and 36 bytes for what the measurements miss.
pub(super) const BOOKKEEPING: usize = 368 + size_of::<CacheKey>();
/// How long an older snapshot is kept after its last slice was served, unless it is evicted. The first slice of a larger
/// meeting hands out a token, and most tokens are never used.
pub(crate) const PAGED_FOR: Duration = Duration::from_secs(900);

/// The cached results.
pub(super) type Entries = Moka<CacheKey, Entry, foldhash::fast::RandomState>;

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
    /// Until then, the failure keeps the meeting from being fetched.
    pub(crate) until: Instant,
}

impl Entry {
    pub(super) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Snapshot(snapshot) => snapshot_bytes(snapshot),
            Self::Refusal(_) => entry_bytes(size_of::<Refusal>() + 512),
        }
    }

    /// Returns the time from which it can no longer be served, not even stale.
    pub(super) fn useful_until(&self, policy: CachePolicy) -> Instant {
        match self {
            Self::Snapshot(snapshot) => snapshot.fetched_instant + policy.useful_for(snapshot),
            Self::Refusal(refusal) => refusal.until,
        }
    }
}

pub(super) fn snapshot_bytes(snapshot: &Snapshot) -> u64 {
    entry_bytes(snapshot.memory_bytes())
}

fn entry_bytes(value: usize) -> u64 {
    u64::try_from(BOOKKEEPING + value).unwrap_or(u64::MAX)
}

/// The key of an entry. A meeting can have entries of all three kinds at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CacheKey {
    /// The newest snapshot, or Zoom's response that the meeting does not exist, is of the other kind or is too old.
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
