//! How a snapshot has been used since its fetch. Any thread may update it, without a lock.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

/// One refresh of a snapshot whose freshness may be stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshSample {
    /// The pages of the newer snapshot, each of which took a Zoom call.
    pub pages: u32,
    /// The time between the fetches of the older and the newer snapshot.
    pub lived: Duration,
    /// The part of `lived` by which stretching delayed the refresh: a caller made a request earlier, and got the
    /// older snapshot.
    pub postponed: Duration,
    /// How long the older snapshot would have been fresh without stretching.
    pub unstretched: Duration,
}

/// The use of one snapshot. All times are ages of the snapshot.
#[derive(Default)]
pub(super) struct SnapshotUsage {
    /// The last attempt to fetch a newer snapshot, in milliseconds; 0 if there was none.
    pub(super) attempted_ms: AtomicU64,
    /// The first request that would have caused a refresh without stretching, in milliseconds; 0 if there was none.
    pub(super) demanded_ms: AtomicU64,
    pub(super) paged: AtomicBool,
    /// The time of the next publication, in milliseconds.
    pub(super) publish_at_ms: AtomicU64,
}

/// The requests for a meeting that its snapshots have served, for the choice of the snapshots to evict.
///
/// Counts to [`RequestCount::MAX`] and no further, so that the hits of a popular meeting do not write to memory that
/// all workers read. Two workers that count at the same moment may count only one request.
#[derive(Default)]
pub(crate) struct RequestCount {
    /// The requests since the last [`RequestCount::add_up`].
    recent: AtomicU8,
    /// The requests before the last [`RequestCount::add_up`].
    earlier: AtomicU8,
}

impl RequestCount {
    const MAX: u8 = 15;

    pub(crate) fn record(&self) {
        let recent = self.recent.load(Ordering::Relaxed);
        if recent < Self::MAX {
            self.recent.store(recent + 1, Ordering::Relaxed);
        }
    }

    /// Returns whether a request was recorded since the last [`RequestCount::add_up`].
    pub(crate) fn is_recent(&self) -> bool {
        self.recent.load(Ordering::Relaxed) > 0
    }

    /// Adds the recent requests to the earlier requests, and returns the sum.
    pub(crate) fn add_up(&self) -> u8 {
        let recent = self.recent.swap(0, Ordering::Relaxed);
        let sum = (self.earlier.load(Ordering::Relaxed) + recent).min(Self::MAX);
        self.earlier.store(sum, Ordering::Relaxed);
        sum
    }

    /// Begins with half of the requests for the snapshot that this one replaces. Halved, so that the count of a meeting
    /// that is refreshed again and again reflects its latest requests.
    pub(crate) fn begin(&self, replaced: Option<&Self>) {
        self.recent.store(0, Ordering::Relaxed);
        self.earlier.store(replaced.map_or(0, |replaced| replaced.add_up() / 2), Ordering::Relaxed);
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
