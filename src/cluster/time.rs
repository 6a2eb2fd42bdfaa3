//! Times and durations in the server's unit. Pure.

use std::time::Duration;

/// A time of the server, in microseconds since 1970-01-01 UTC.
pub(crate) type Micros = u64;

pub(super) const DAY: Micros = 86_400_000_000;

pub(crate) fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
