//! Computes the seconds in `Retry-After`, and in the `t` of `RateLimit`.

use std::time::{Duration, Instant};

/// Rounds up to whole seconds, and to at least 1, so that a retry at exactly that time is not too early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

pub(super) fn seconds_until(at: Option<Instant>, now: Instant) -> Option<u64> {
    Some(whole_seconds(at?.saturating_duration_since(now)))
}
