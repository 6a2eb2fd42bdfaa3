//! The cache's settings.

use std::time::Duration;

use crate::snapshot::Snapshot;

/// Bodies made on demand get a sixteenth of the memory.
const BODIES_SHARE: u64 = 16;

/// How much is cached, and how long failures are.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is cached.
    pub not_found_live: Duration,
    /// How long "no such past meeting" is cached.
    pub not_found_past: Duration,
    /// How long any other error of Zoom's is cached that a retry would not change.
    pub refusal: Duration,
    /// When a stale snapshot is served.
    pub stale: StaleConfig,
}

impl CacheConfig {
    pub(super) fn max_bodies(&self) -> u64 {
        self.max_bytes / BODIES_SHARE
    }

    pub(super) fn max_entries(&self) -> u64 {
        self.max_bytes - self.max_bodies()
    }
}

/// When a stale snapshot is served, and when a fresh one although the caller wants a newer one.
#[derive(Debug, Clone, Copy)]
pub struct StaleConfig {
    /// For this long after its freshness, a snapshot is served at once and refreshed in the background.
    pub while_revalidate: Duration,
    /// For this long after its freshness, a snapshot is served if Zoom fails, refuses, or may not be called.
    pub if_error: Duration,
    /// A caller cannot force a fetch sooner than this after the last one.
    pub refresh_floor: Duration,
}

impl StaleConfig {
    pub(super) fn useful_for(&self, snapshot: &Snapshot) -> Duration {
        snapshot.fresh_for + self.while_revalidate.max(self.if_error)
    }
}
