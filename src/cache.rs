//! What is remembered.

use std::time::Duration;

/// How much is remembered, and for how long Zoom's refusals are.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is remembered.
    pub not_found_live: Duration,
    /// How long "no such past meeting" is remembered.
    pub not_found_past: Duration,
}
