//! The cache's settings.

use std::time::Duration;

use super::policy::CachePolicy;

/// The fraction of the memory for bodies made on demand: a sixteenth.
const BODIES_SHARE: u64 = 16;
/// The fraction of the memory for views: a thirty-second.
const VIEWS_SHARE: u64 = 32;

/// The bound on the memory, and how long failures are cached.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is cached.
    pub not_found_live: Duration,
    /// How long "no such past meeting" is cached.
    pub not_found_past: Duration,
    /// How long any other error from Zoom is cached if a retry would not change it.
    pub refusal: Duration,
    /// Decides whether a snapshot is served, refreshed or fetched.
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
