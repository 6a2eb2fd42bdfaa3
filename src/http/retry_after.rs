//! The seconds in `Retry-After` and in the `t` of `RateLimit`.

use std::time::Instant;

/// Whole seconds until `at`, rounded up and at least 1, so that a retry exactly then is not too early.
pub(super) fn seconds_until(at: Option<Instant>, now: Instant) -> Option<u64> {
    let wait = at?.saturating_duration_since(now);
    Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
}
