//! What Redis may say: whoever can write into it can have written anything. Pure.
//!
//! Each kind of value has its bounds here, and is turned into what the rest uses by one function that can refuse it. What
//! the scripts read is judged by `checks.lua` and `quota.lua`, before it can harm another replica; this is for their
//! answers, for events and for what a record holds. A time becomes an [`std::time::Instant`] by [`ServerClock::when`] only.

use std::time::Duration;

use super::clock::{DAY, Micros, ServerClock, micros};
use crate::failure::LimitKind;

/// No time of ours is further ahead.
pub const AHEAD_AT_MOST: Duration = Duration::from_hours(48);
/// Larger records are neither written nor read: they would take longer than an operation may.
pub const LARGEST_RECORD: usize = 16 << 20;
/// Zoom's words are 300 characters, and JSON makes six bytes of one at most.
pub const LONGEST_WORDS: usize = 4 << 10;
/// An event: what it is of, a number, and words.
pub const LONGEST_EVENT: usize = LONGEST_WORDS + 256;
/// What a record is of is shorter: a meeting's id, its view, a tag.
pub const LONGEST_NAME: usize = 128;
/// Texts of the server that are passed on: a run id has 40 characters, a host's name at most 253.
const LONGEST_TEXT: usize = 253;
/// Of numbers that are passed on (`MOST` of `quota.lua`).
pub const MOST_CALLS: u64 = u32::MAX as u64;
/// The scripts count in doubles, which are exact until then: the year 2255.
const LATEST: Micros = 1 << 53;
/// A cool-down of the second lasts no longer, and one of the day so much into the next (`PAUSE` of `quota.lua`).
const PAUSE: Duration = Duration::from_secs(60);
/// So long before 00:00 UTC another server may have begun the next day (`DAY_HAS_TURNED` of `quota.lua`).
const DAY_HAS_TURNED: Duration = Duration::from_secs(300);
/// Where few calls are permitted in a day, more than those are believed.
const LEAST_OF_DAY: u64 = 100_000;
/// By so much two looks at one clock may differ (`STEP` of `quota.lua`).
const STEP: Duration = Duration::from_secs(1);

/// Out of bounds: it counts as not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what Redis says is out of bounds")]
pub struct Rejected;

/// What a server's clock can show.
pub(super) fn server_time(seconds: u64, rest: u64) -> Result<Micros, Rejected> {
    let micros = seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(rest));
    micros.ok_or(Rejected).and_then(clock_shows)
}

/// The same, in microseconds.
pub(super) fn clock_shows(micros: Micros) -> Result<Micros, Rejected> {
    within(micros, LATEST)
}

/// The number of a claim, a record or a purge: a time of the server, or a little more.
pub(super) fn fence(number: u64, now: Micros) -> Result<u64, Rejected> {
    within(number, now.saturating_add(micros(AHEAD_AT_MOST)))
}

/// The end of a cool-down: within a minute, or for the day a minute after the next 00:00 UTC at the latest.
pub(super) fn cool_down(kind: LimitKind, until: Micros, now: Micros) -> Result<Micros, Rejected> {
    let from = match kind {
        LimitKind::PerSecond => now,
        LimitKind::PerDay => (now / DAY + 1).saturating_mul(DAY),
    };
    within(until, from.saturating_add(micros(PAUSE + STEP)))
}

/// A number of calls or replicas.
pub(super) fn count(number: u64) -> Result<u64, Rejected> {
    within(number, MOST_CALLS)
}

/// The most that is counted in a day for which so many are permitted (`most_calls` of `quota.lua`). There may be more calls than
/// are permitted after the limit was lowered, and where replicas were on their own.
pub(super) fn calls_of_day(per_day: u64) -> u64 {
    per_day.saturating_mul(10).clamp(LEAST_OF_DAY, MOST_CALLS)
}

/// A day, counted since 1970: today's, or minutes before 00:00 UTC the next.
pub(super) fn day(day: u64, now: Micros) -> Result<u64, Rejected> {
    within(day, now.saturating_add(micros(DAY_HAS_TURNED)) / DAY)
}

/// What an event or a record says of a failure.
pub(super) fn words(text: &str) -> Result<&str, Rejected> {
    if text.len() <= LONGEST_WORDS { Ok(text) } else { Err(Rejected) }
}

/// What something is of: printable, and short.
pub(super) fn name(text: &str) -> Result<&str, Rejected> {
    let fits =
        !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text) } else { Err(Rejected) }
}

/// A run id; none is told by some services that imitate Redis.
pub(super) fn run_id(text: &str) -> Result<&str, Rejected> {
    let fits = text.len() <= LONGEST_TEXT && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text) } else { Err(Rejected) }
}

/// The name or address of another node.
pub(super) fn host(text: &str) -> Result<&str, Rejected> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
    let fits = !text.is_empty() && text.len() <= LONGEST_TEXT && text.bytes().all(known);
    if fits { Ok(text) } else { Err(Rejected) }
}

/// What an event, a record or a reply says, judged by the clock of the server it came from.
impl ServerClock {
    /// [`fence`], now.
    pub(super) fn fence(&self, number: u64, here: std::time::Instant) -> Result<u64, Rejected> {
        fence(number, self.at(here))
    }
}

pub(super) fn within(number: u64, most: u64) -> Result<u64, Rejected> {
    if number <= most { Ok(number) } else { Err(Rejected) }
}
