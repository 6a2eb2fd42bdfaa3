//! `Retry-After` in the three forms that Zoom and what stands before it use: seconds, an HTTP date (RFC 9110), and an
//! ISO 8601 instant (Zoom's older documentation).

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Nobody means more than this; a clock or a header is wrong then.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// Time from `now` until the header's; `None` when it is no such text, or not ahead of us.
#[must_use]
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let after = match seconds(value) {
        Some(seconds) => seconds,
        None => instant(value)?.duration_since(now).ok()?,
    };
    (!after.is_zero()).then(|| after.min(LONGEST))
}

/// Whole seconds; a fraction is not standard, but a pause rounded up never hurts.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let round_up = u64::from(fraction.bytes().any(|byte| byte != b'0'));
    // Too many digits for u64 is a long time, not a wrong header.
    Some(Duration::from_secs(whole.parse::<u64>().unwrap_or(u64::MAX).saturating_add(round_up)))
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
    fn what_lies_behind_us_is_no_pause() {
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
