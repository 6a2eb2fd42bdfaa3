//! The bounds of values from Redis: any program with access to it can have written anything. Pure.
//!
//! Each kind of value has its bounds here, and one function that checks them. The scripts check what they read themselves
//! (`checks.lua`, `quota.lua`), before it can harm another replica; this is for their answers, for events and for records. A time
//! becomes an [`std::time::Instant`] only in [`super::clock::ServerClock::when`].

use std::{ops::RangeInclusive, time::Duration};

use super::time::{DAY, Micros, micros};
use crate::failure::LimitKind;

/// No time of ours is further ahead.
pub(crate) const AHEAD_AT_MOST: Duration = Duration::from_hours(48);
/// Larger records are neither written nor read: that would take longer than an operation may.
pub(crate) const LARGEST_RECORD: usize = 16 << 20;
/// An encoded failure: its message has 300 characters, of which JSON makes at most six bytes each.
pub(crate) const LONGEST_FAILURE: usize = 4 << 10;
/// An event: a name, a number and an encoded failure.
pub(crate) const LONGEST_EVENT: usize = LONGEST_FAILURE + 256;
/// A record's name is shorter: a meeting's id, its view, a tag.
pub(crate) const LONGEST_NAME: usize = 128;
/// Texts of the server that are passed on: a run id has 40 characters, a host name at most 253.
const LONGEST_TEXT: usize = 253;
/// The largest number that is passed on (`MOST` of `quota.lua`).
pub(crate) const MOST_CALLS: u64 = u32::MAX as u64;
/// The scripts count in doubles, which are exact until the year 2255.
const LATEST: Micros = 1 << 53;
/// The longest cool-down of the second, and how far one of the day may go into the next day (`PAUSE` of `quota.lua`).
const PAUSE: Duration = Duration::from_secs(60);
/// Another server's clock may begin the next day this long before 00:00 UTC (`DAY_HAS_TURNED` of `quota.lua`).
const DAY_HAS_TURNED: Duration = Duration::from_secs(300);
/// The smallest bound on a day's count, however few calls are permitted.
const LEAST_OF_DAY: u64 = 100_000;
/// Two readings of one clock may differ by this much (`STEP` of `quota.lua`).
const STEP: Duration = Duration::from_secs(1);

/// The value is out of bounds and counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value from Redis is out of bounds")]
pub struct Rejected;

/// A time that a server's clock can show.
pub(super) fn server_time(seconds: u64, rest: u64) -> Result<Micros, Rejected> {
    let micros = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(rest));
    micros.ok_or(Rejected).and_then(clock_shows)
}

pub(super) fn clock_shows(micros: Micros) -> Result<Micros, Rejected> {
    within(micros, LATEST)
}

/// The number of a claim, a record or a purge: a time of the server, or a little more. Gives it back if it is in bounds.
pub(super) fn fence(number: u64, now: Micros) -> Result<u64, Rejected> {
    within(number, now.saturating_add(micros(AHEAD_AT_MOST)))
}

/// The end of a cool-down: within a minute, or for the day at most a minute after the next 00:00 UTC.
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

/// The highest count of a day with this limit (`most_calls` of `quota.lua`). It can exceed the limit after the limit was lowered,
/// and after replicas were on their own.
pub(super) fn calls_of_day(per_day: u64) -> u64 {
    per_day.saturating_mul(10).clamp(LEAST_OF_DAY, MOST_CALLS)
}

/// A day, counted since 1970: at most today's, or minutes before 00:00 UTC the next.
pub(super) fn day(day: u64, now: Micros) -> Result<u64, Rejected> {
    within(day, now.saturating_add(micros(DAY_HAS_TURNED)) / DAY)
}

/// A name: printable and short.
pub(super) fn name(text: &str) -> Result<&str, Rejected> {
    made_of(text, 1..=LONGEST_NAME, |byte| byte.is_ascii_graphic())
}

/// A run id. It is empty in some services that imitate Redis.
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
