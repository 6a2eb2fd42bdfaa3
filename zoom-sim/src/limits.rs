//! The account's limits: a sliding second without tolerance, and the UTC day.
//!
//! Zoom documents neither its window nor whether a refused call counts. Here, the window is the strictest possible, and
//! refused calls do not count. Callers pass the time in, so that tests need no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::SimConfig;
use crate::reply::Reply;

const SECOND: Duration = Duration::from_secs(1);
/// Seconds in a UTC day, as Unix time counts them.
const DAY: i64 = 86_400;

/// Zoom's message when the per-second limit is reached.
pub(crate) const PER_SECOND: &str =
    "You have reached the maximum per-second rate limit for this API. Try again later.";
/// Zoom's message when the daily limit is reached.
pub(crate) const PER_DAY: &str = "You have reached the maximum daily rate limit for this API. Refer to the \
     response header for details on when you can make another request.";

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The one-second window is full until this instant.
    Second(Instant),
    /// The day is used up.
    Day,
}

/// The calls that count in the limits.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Arrivals of the calls that count in the last second, oldest first.
    window: VecDeque<Instant>,
    /// The day of `used`, in days since 1970-01-01.
    day: i64,
    used: u64,
}

impl Limits {
    /// Admits a call that arrived at `now`. The error is the limit that is full.
    pub(crate) fn admit(&mut self, now: Instant, wall: Timestamp, config: &SimConfig) -> Result<(), Full> {
        self.advance(now, wall);
        if self.used >= config.per_day {
            return Err(Full::Day);
        }
        let per_second = usize::try_from(config.per_second).unwrap_or(usize::MAX);
        if self.window.len() >= per_second {
            // The window is full until its oldest call leaves. With a limit of 0, the window is empty.
            return Err(Full::Second(self.window.front().map_or(now, |oldest| *oldest) + SECOND));
        }
        self.charge(now, wall);
        Ok(())
    }

    /// Counts a call without checking the limits, for example a call that a fault answers with something other than a 429.
    pub(crate) fn charge(&mut self, now: Instant, wall: Timestamp) {
        self.advance(now, wall);
        self.window.push_back(now);
        self.used += 1;
    }

    /// Zoom's headers for the daily limit. `X-RateLimit-Category` is added elsewhere, because every page and participant has it.
    pub(crate) fn day_headers(&self, config: &SimConfig) -> Vec<(&'static str, String)> {
        let left = config.per_day.saturating_sub(self.used);
        vec![
            ("X-RateLimit-Type", "Daily-limit".to_owned()),
            ("X-RateLimit-Limit", config.per_day.to_string()),
            ("X-RateLimit-Remaining", left.to_string()),
        ]
    }

    /// Sets how many calls were made on the day of `wall`.
    pub(crate) fn set_day_used(&mut self, wall: Timestamp, used: u64) {
        self.day = wall.as_second().div_euclid(DAY);
        self.used = used;
    }

    /// Drops the calls that have left the window, and yesterday's count.
    fn advance(&mut self, now: Instant, wall: Timestamp) {
        // The window is half-open: a call that is exactly one second old has left it.
        while self.window.front().is_some_and(|oldest| now.saturating_duration_since(*oldest) >= SECOND) {
            self.window.pop_front();
        }
        let today = wall.as_second().div_euclid(DAY);
        if today != self.day {
            self.set_day_used(wall, 0);
        }
    }
}

/// The 429 for a limit that is full.
pub(crate) fn refusal(full: Full, now: Instant, wall: Timestamp, config: &SimConfig) -> Reply {
    let (message, kind, limit, free_at) = match full {
        Full::Second(free_at) => {
            let wait = free_at.saturating_duration_since(now);
            // The header has whole seconds. Rounding down would make retries come too early.
            let nanos = wall.as_nanosecond() + i128::try_from(wait.as_nanos()).unwrap_or(0);
            let seconds = i64::try_from(nanos.div_euclid(1_000_000_000) + 1).unwrap_or(i64::MAX);
            (PER_SECOND, "QPS", u64::from(config.per_second), seconds)
        }
        Full::Day => (PER_DAY, "Daily-limit", config.per_day, (wall.as_second().div_euclid(DAY) + 1) * DAY),
    };
    let reply = Reply::error(429, 429, message);
    if !config.rate_headers {
        return reply;
    }
    with_headers(reply, kind, limit).with("Retry-After", crate::meeting::iso(free_at))
}

/// Adds the `X-RateLimit-*` headers in Zoom's spelling.
pub(crate) fn with_headers(reply: Reply, kind: &str, limit: u64) -> Reply {
    reply
        .with("X-RateLimit-Category", "Heavy")
        .with("X-RateLimit-Type", kind)
        .with("X-RateLimit-Limit", limit.to_string())
        .with("X-RateLimit-Remaining", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn no_window_of_one_second_admits_more_than_the_limit() {
        let config = SimConfig { per_second: 7, ..SimConfig::default() };
        let mut limits = Limits::default();
        let start = Instant::now();
        let mut admitted: Vec<Duration> = Vec::new();
        for at in (0..5_000).step_by(13).map(Duration::from_millis) {
            let earlier = admitted.iter().filter(|t| **t + SECOND > at).count();
            let verdict = limits.admit(start + at, wall(1_000), &config);
            assert_eq!(verdict.is_ok(), earlier < 7, "at {at:?}");
            if verdict.is_ok() {
                admitted.push(at);
            }
        }
        assert_eq!(admitted.len(), 35);
    }

    #[test]
    fn a_call_exactly_one_second_old_has_left_the_window() {
        let config = SimConfig { per_second: 1, ..SimConfig::default() };
        let mut limits = Limits::default();
        let start = Instant::now();
        assert_eq!(limits.admit(start, wall(0), &config), Ok(()));
        let just_before = start + Duration::from_nanos(999_999_999);
        assert_eq!(limits.admit(just_before, wall(0), &config), Err(Full::Second(start + SECOND)));
        assert_eq!(limits.admit(start + SECOND, wall(0), &config), Ok(()));
    }

    #[test]
    fn the_daily_limit_is_checked_first_and_ends_at_midnight() {
        let config = SimConfig { per_second: 10, per_day: 2, ..SimConfig::default() };
        let mut limits = Limits::default();
        let start = Instant::now();
        assert_eq!(limits.admit(start, wall(DAY - 1), &config), Ok(()));
        assert_eq!(limits.admit(start, wall(DAY - 1), &config), Ok(()));
        assert_eq!(limits.admit(start, wall(DAY - 1), &config), Err(Full::Day));
        assert_eq!(limits.admit(start, wall(DAY), &config), Ok(()));
    }

    #[test]
    fn per_second_retry_after_is_rounded_up_and_the_daily_is_midnight() {
        let config = SimConfig::default();
        let now = Instant::now();
        let at = Timestamp::from_millisecond(1_590_883_199_500).unwrap();
        let header = |full| refusal(full, now, at, &config).headers.last().unwrap().1.clone();
        assert_eq!(header(Full::Second(now + Duration::from_millis(100))), "2020-05-31T00:00:00Z");
        assert_eq!(header(Full::Day), "2020-05-31T00:00:00Z");
    }
}
