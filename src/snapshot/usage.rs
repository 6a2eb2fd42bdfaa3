//! How a snapshot has been used since its fetch. Any thread may update it, without a lock.

use std::{
    sync::atomic::{AtomicBool, AtomicU64},
    time::Duration,
};

/// One refresh of a snapshot whose freshness may be stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshSample {
    /// The Zoom calls that the newer snapshot took.
    pub pages: u32,
    /// The time from the older snapshot's fetch to the newer one's.
    pub lived: Duration,
    /// The part of `lived` by which stretching delayed the refresh: a caller made a request earlier, and got the older snapshot.
    pub postponed: Duration,
    /// How long the older snapshot would have been fresh without stretching.
    pub unstretched: Duration,
}

/// The use of one snapshot. All times are ages of the snapshot.
#[derive(Default)]
pub(super) struct SnapshotUsage {
    /// The last attempt to fetch a newer one, in milliseconds; 0 if there was none.
    pub(super) attempted_ms: AtomicU64,
    /// The first request that would have caused a refresh without stretching, in milliseconds; 0 if there was none.
    pub(super) demanded_ms: AtomicU64,
    pub(super) paged: AtomicBool,
    /// The time of the next publication, in milliseconds.
    pub(super) publish_at_ms: AtomicU64,
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
