//! The one thread that talks to Zoom.

use std::time::Duration;

/// How long callers wait, and how many calls may queue.
pub struct FetcherConfig {
    /// The longest that a caller is kept waiting for a snapshot.
    pub wait: Duration,
    /// Zoom calls waiting for a permit; more are refused.
    pub max_queued: usize,
}
