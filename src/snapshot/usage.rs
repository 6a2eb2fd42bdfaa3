//! Records how a snapshot is used after its fetch. Any thread may do so, without a lock.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
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
    attempted_ms: AtomicU64,
    /// The first request that would have caused a refresh without stretching, in milliseconds; 0 if there was none.
    demanded_ms: AtomicU64,
    paged: AtomicBool,
    /// When it is to be published, in milliseconds.
    publish_at_ms: AtomicU64,
}

impl SnapshotUsage {
    pub(super) fn record_attempt(&self, age: Duration) {
        self.attempted_ms.store(millis(age).max(1), Ordering::Relaxed);
    }

    /// Returns the age at the last attempt; zero if there was none.
    pub(super) fn last_attempt(&self) -> Duration {
        Duration::from_millis(self.attempted_ms.load(Ordering::Relaxed))
    }

    /// Records the first demand, and ignores later ones.
    pub(super) fn record_demand(&self, age: Duration) {
        if self.demanded_ms.load(Ordering::Relaxed) == 0 {
            // If two threads get here at the same time, either value is good enough.
            self.demanded_ms.store(millis(age).max(1), Ordering::Relaxed);
        }
    }

    /// Returns by how much stretching delayed the last attempt. For example, a snapshot that would have been fresh for
    /// 30 s was stretched to 120 s, first demanded at 40 s and refreshed at 125 s: 85 s.
    pub(super) fn postponed(&self) -> Duration {
        let attempted = self.last_attempt();
        let demanded = match self.demanded_ms.load(Ordering::Relaxed) {
            0 => attempted,
            demanded => Duration::from_millis(demanded),
        };
        attempted.saturating_sub(demanded)
    }

    pub(super) fn mark_paged(&self) {
        self.paged.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_paged(&self) -> bool {
        self.paged.load(Ordering::Relaxed)
    }

    /// Whether it is to be published now. Then it need not be again for `every`.
    pub(super) fn claim_publication(&self, age: Duration, every: Duration) -> bool {
        let (due, next) = (self.publish_at_ms.load(Ordering::Relaxed), millis(age + every));
        let exchange =
            || self.publish_at_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        millis(age) >= due && exchange().is_ok()
    }

    pub(super) fn publish_again_at(&self, age: Duration) {
        self.publish_at_ms.store(millis(age), Ordering::Relaxed);
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
