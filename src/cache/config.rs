//! The cache's settings.

use std::time::Duration;

use super::policy::CachePolicy;

/// Bodies made on demand get a sixteenth of the memory.
const BODIES_SHARE: u64 = 16;
/// Views get half as much.
const VIEWS_SHARE: u64 = 32;

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
    /// When a snapshot is served, refreshed or fetched.
    pub policy: CachePolicy,
}

impl CacheConfig {
    pub(super) fn max_bodies(&self) -> u64 {
        self.max_bytes / BODIES_SHARE
    }

    pub(super) fn max_views(&self) -> u64 {
        self.max_bytes / VIEWS_SHARE
    }

    pub(super) fn max_entries(&self) -> u64 {
        self.max_bytes - self.max_bodies() - self.max_views()
    }
}
