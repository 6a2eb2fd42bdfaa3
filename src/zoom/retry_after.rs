//! Parses `Retry-After` in four forms: seconds, an HTTP date (RFC 9110), an ISO 8601 instant (Zoom's older
//! documentation), and a Unix time in seconds or milliseconds.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// The longest pause that is accepted. A longer one probably comes from a wrong clock or a wrong header, and is cut.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// Returns how long to wait from `now`; `None` if the text has none of these forms or the wait is over. `now` is the
/// response's own `Date`, if it has one: if our clock is an hour off, a pause of a second must not become an hour.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let after = match seconds(value) {
        Some(seconds) => match unix_time(seconds) {
            Some(instant) => instant.duration_since(now).ok()?,
            None => seconds,
        },
        None => instant(value)?.duration_since(now).ok()?,
    };
    (!after.is_zero()).then(|| after.min(LONGEST))
}

/// Parses seconds. Fractions are not standard, but they are accepted and rounded up.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let round_up = u64::from(fraction.bytes().any(|byte| byte != b'0'));
    // A number too large for u64 still means a long pause.
    Some(Duration::from_secs(whole.parse::<u64>().unwrap_or(u64::MAX).saturating_add(round_up)))
}

/// Returns the instant, if the number can only be a Unix time: as a pause it would be thirty years or more.
fn unix_time(number: Duration) -> Option<SystemTime> {
    const SECONDS: u64 = 1_000_000_000;
    const MILLISECONDS: u64 = SECONDS * 1_000;
    let since_1970 = match number.as_secs() {
        SECONDS..MILLISECONDS => number,
        milliseconds @ MILLISECONDS..1_000_000_000_000_000 => Duration::from_millis(milliseconds),
        _ => return None,
    };
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

fn instant(value: &str) -> Option<SystemTime> {
    if let Ok(date) = httpdate::parse_http_date(value) {
        return Some(date);
    }
    value.parse::<Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-05-30T23:59:00Z.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_590_883_140)
    }

    fn after(value: &str) -> Option<u64> {
        parse(value, now()).map(|duration| duration.as_secs())
    }

    #[test]
    fn seconds_are_taken() {
        assert_eq!(after("7"), Some(7));
        assert_eq!(after(" 7 "), Some(7));
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_up() {
        assert_eq!(after("0.25"), Some(1));
        assert_eq!(after("2.0"), Some(2));
    }

    #[test]
    fn an_http_date_is_taken() {
        assert_eq!(after("Sun, 31 May 2020 00:00:00 GMT"), Some(60));
    }

    #[test]
    fn an_iso_8601_instant_is_taken() {
        assert_eq!(after("2020-05-31T00:00:00Z"), Some(60));
        assert_eq!(after("2020-05-31T02:00:00+02:00"), Some(60));
    }

    #[test]
    fn a_number_too_large_for_seconds_is_a_unix_time() {
        assert_eq!(after("1590883200"), Some(60));
        assert_eq!(after("1590883200000"), Some(60));
        assert_eq!(after("1590883100"), None, "in the past");
        assert_eq!(after("999999999"), Some(48 * 3600), "just below the smallest Unix time");
    }

    #[test]
    fn a_time_in_the_past_is_no_pause() {
        assert_eq!(after("0"), None);
        assert_eq!(after("2020-05-30T23:58:59Z"), None);
        assert_eq!(after("Sat, 30 May 2020 23:00:00 GMT"), None);
    }

    #[test]
    fn an_absurd_pause_is_cut_to_two_days() {
        assert_eq!(after("99999999999999999999999"), Some(48 * 3600));
        assert_eq!(after("2999-05-31T00:00:00Z"), Some(48 * 3600));
    }

    #[test]
    fn anything_else_is_no_pause() {
        for value in ["", "soon", "-5", "1e3", "5s", "."] {
            assert_eq!(after(value), None, "{value:?}");
        }
    }
}
