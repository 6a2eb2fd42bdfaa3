//! Reads how many of the day's calls the account has left: `X-RateLimit-Remaining`, if it is about the daily limit.
//!
//! Zoom's older documentation has these headers. The current documentation does not, and live responses lack them. The
//! headers are therefore only a hint, and count only if they are present and consistent.

/// Reads the number from a response's headers. `header` gets names in lower case.
pub(super) fn read(header: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let is = |value: &str, word: &str| value.trim().eq_ignore_ascii_case(word);
    if !is(&header("x-ratelimit-type")?, "Daily-limit") {
        return None;
    }
    // Our calls come from the pool of "Heavy" calls, which also covers resource-intensive calls.
    if header("x-ratelimit-category").is_some_and(|category| !is(&category, "Heavy")) {
        return None;
    }
    let number = |name| {
        let text = header(name)?;
        let digits = text.trim();
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let (limit, remaining) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
    (limit > 0 && remaining <= limit).then_some(remaining)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(category: Option<&str>, kind: Option<&str>, limit: &str, remaining: &str) -> Option<u64> {
        read(|name| {
            let value = match name {
                "x-ratelimit-category" => category,
                "x-ratelimit-type" => kind,
                "x-ratelimit-limit" => Some(limit),
                "x-ratelimit-remaining" => Some(remaining),
                _ => None,
            };
            value.filter(|value| *value != "absent").map(str::to_owned)
        })
    }

    const HEAVY: Option<&str> = Some("Heavy");
    const DAILY: Option<&str> = Some("Daily-limit");

    #[test]
    fn the_remaining_calls_are_read_in_upper_or_lower_case() {
        assert_eq!(left(HEAVY, DAILY, "60000", "41234"), Some(41_234));
        assert_eq!(left(Some(" HEAVY "), Some("daily-LIMIT"), " 60000", "0 "), Some(0));
        assert_eq!(left(None, DAILY, "60000", "60000"), Some(60_000));
    }

    #[test]
    fn headers_about_another_limit_are_ignored() {
        assert_eq!(left(HEAVY, Some("QPS"), "40", "39"), None);
        assert_eq!(left(HEAVY, None, "60000", "5"), None);
        assert_eq!(left(HEAVY, Some(""), "60000", "5"), None);
        assert_eq!(left(Some("Light"), DAILY, "60000", "5"), None);
    }

    #[test]
    fn inconsistent_headers_are_ignored() {
        for (limit, remaining) in [
            ("60000", "absent"),
            ("absent", "5"),
            ("60000", ""),
            ("60000", "-1"),
            ("60000", "+5"),
            ("60000", "5.0"),
            ("60000", "5, 5"),
            ("60000", "many"),
            ("60000", "60001"),
            ("60000", "99999999999999999999"),
            ("0", "0"),
        ] {
            assert_eq!(left(HEAVY, DAILY, limit, remaining), None, "{limit} {remaining}");
        }
    }
}
