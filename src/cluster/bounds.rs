//! The bounds of values from Redis, because any program with access to Redis can write anything there. Pure.
//!
//! This module has the bounds of most values in scripts' replies, events and records, and a function for each kind of
//! value that checks them. The scripts themselves check the values that they read (`checks.lua`, `quota.lua`), before
//! those can harm another replica. A time becomes an [`std::time::Instant`] only in
//! [`super::clock::ServerClock::when`].

use std::{ops::RangeInclusive, time::Duration};

use crate::failure::LimitKind;

/// A time of the server, in microseconds since 1970-01-01 UTC.
pub(crate) type Micros = u64;
pub(super) const DAY: Micros = 86_400_000_000;

/// A time that is further ahead of the server's clock than this is rejected.
pub(crate) const AHEAD_AT_MOST: Duration = Duration::from_hours(48);
/// The maximum size of a record, in bytes. The transfer of a larger record could take longer than an operation may.
pub(crate) const LARGEST_RECORD: usize = 16 << 20;
/// The maximum length of an encoded failure, in bytes. Zoom's message and tracking id have at most 300 characters each, and
/// JSON takes at most six bytes for a character.
pub(crate) const LONGEST_FAILURE: usize = 4 << 10;
/// The maximum length of an event, in bytes: a name, a number and an encoded failure.
pub(crate) const LONGEST_EVENT: usize = LONGEST_FAILURE + 256;
/// The maximum length of a record's name, in bytes. The names that this service writes are shorter: they have a
/// meeting's id, its type and kind, and a tag.
pub(crate) const LONGEST_NAME: usize = 128;
/// The maximum length of a run id or a host name, in bytes. A run id has 40 characters, and a host name has at most
/// 253.
const LONGEST_TEXT: usize = 253;
/// The largest count that is accepted (`MOST` of `quota.lua`).
pub(crate) const MOST_CALLS: u64 = u32::MAX as u64;
/// The latest time that is accepted. The scripts compute with microseconds in doubles, which are exact until the year
/// 2255.
const LATEST: Micros = 1 << 53;
/// The longest cool-down of the per-second limit. A cool-down of the daily limit ends at most this long after 00:00 UTC
/// (`PAUSE` of `quota.lua`).
const PAUSE: Duration = Duration::from_secs(60);
/// Before a failover, the clock of the other server may have been ahead. Its next day may have begun up to this long
/// before 00:00 UTC (`DAY_HAS_TURNED` of `quota.lua`).
const DAY_HAS_TURNED: Duration = Duration::from_secs(300);
/// The bound on a day's count is never lower than this, even if few calls are permitted.
const LEAST_OF_DAY: u64 = 100_000;
/// The tolerance for a clock that was set back a little (`STEP` of `quota.lua`).
const STEP: Duration = Duration::from_secs(1);

pub(crate) fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The value is out of bounds, and is treated as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value from Redis is out of bounds")]
pub struct Rejected;

/// Converts the seconds and microseconds of Redis's `TIME`, unless they are later than [`LATEST`].
pub(super) fn server_time(seconds: u64, rest: u64) -> Result<Micros, Rejected> {
    let micros = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(rest));
    micros.ok_or(Rejected).and_then(clock_shows)
}

pub(super) fn clock_shows(micros: Micros) -> Result<Micros, Rejected> {
    within(micros, LATEST)
}

/// Accepts the fencing number of a claim, a record or a purge unless it is more than 48 h ahead. It is usually a time
/// of the server, or slightly larger.
pub(super) fn fence(number: u64, now: Micros) -> Result<u64, Rejected> {
    within(number, now.saturating_add(micros(AHEAD_AT_MOST)))
}

/// Accepts the end of a cool-down, with a tolerance of a second. For the per-second limit, it must be within a minute.
/// For the daily limit, it must be at most a minute after the next 00:00 UTC.
pub(super) fn cool_down(kind: LimitKind, until: Micros, now: Micros) -> Result<Micros, Rejected> {
    let from = match kind {
        LimitKind::PerSecond => now,
        LimitKind::PerDay => (now / DAY + 1).saturating_mul(DAY),
    };
    within(until, from.saturating_add(micros(PAUSE + STEP)))
}

pub(super) fn count(number: u64) -> Result<u64, Rejected> {
    within(number, MOST_CALLS)
}

/// Returns the highest count that is accepted for a day with this limit (`most_calls` of `quota.lua`). A count can
/// exceed the limit if the limit was lowered, or if replicas called without Redis.
pub(super) fn calls_of_day(per_day: u64) -> u64 {
    per_day.saturating_mul(10).clamp(LEAST_OF_DAY, MOST_CALLS)
}

/// Accepts a day, in days since 1970-01-01 UTC, if it is not later than today. In the last five minutes before 00:00
/// UTC, tomorrow is also accepted.
pub(super) fn day(day: u64, now: Micros) -> Result<u64, Rejected> {
    within(day, now.saturating_add(micros(DAY_HAS_TURNED)) / DAY)
}

/// Accepts a record's name if it is printable and short.
pub(super) fn name(text: &str) -> Result<&str, Rejected> {
    made_of(text, 1..=LONGEST_NAME, |byte| byte.is_ascii_graphic())
}

/// Accepts a server's run id. It may be empty, as it is in some services that are compatible with Redis.
pub(super) fn run_id(text: &str) -> Result<&str, Rejected> {
    made_of(text, 0..=LONGEST_TEXT, |byte| byte.is_ascii_alphanumeric())
}

pub(super) fn host(text: &str) -> Result<&str, Rejected> {
    made_of(text, 1..=LONGEST_TEXT, |byte| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte))
}

fn made_of(text: &str, lengths: RangeInclusive<usize>, bytes: fn(u8) -> bool) -> Result<&str, Rejected> {
    if lengths.contains(&text.len()) && text.bytes().all(bytes) { Ok(text) } else { Err(Rejected) }
}

pub(super) fn within(number: u64, most: u64) -> Result<u64, Rejected> {
    if number <= most { Ok(number) } else { Err(Rejected) }
}
