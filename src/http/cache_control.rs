//! Parses the `Cache-Control` of a request (RFC 9111, 5.2.1).
//!
//! `max-stale`, `no-store` and `no-transform` are ignored, because all callers share a snapshot. Malformed directives are
//! ignored, as the RFC advises.

use actix_web::http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

use crate::cache::policy::Directives;

pub(super) fn parse(headers: &HeaderMap) -> Directives {
    let mut directives = Directives::default();
    let mut given = false;
    for value in headers.get_all(CACHE_CONTROL) {
        given = true;
        // A comma within quotes is part of the quoted text.
        let mut quoted = false;
        let at_comma = |letter: char| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        };
        for directive in value.to_str().unwrap_or_default().split(at_comma) {
            add(&mut directives, directive.trim());
        }
    }
    // `Pragma: no-cache`, the equivalent in HTTP/1.0, counts only if there is no Cache-Control.
    if !given && headers.get(PRAGMA).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache")) {
        directives.no_cache = true;
    }
    directives
}

fn add(directives: &mut Directives, directive: &str) {
    let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
    match name.trim().to_ascii_lowercase().as_str() {
        "no-cache" => directives.no_cache = true,
        "only-if-cached" => directives.only_if_cached = true,
        // If a directive is repeated, the stricter value counts.
        "max-age" => directives.max_age = smaller(directives.max_age, seconds(argument)),
        "min-fresh" => directives.min_fresh = directives.min_fresh.max(seconds(argument)),
        _ => {}
    }
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Parses whole seconds, which some clients put in quotes. A number that is too large for `u64` counts as `u64::MAX`.
fn seconds(argument: &str) -> Option<u64> {
    let argument = argument.trim();
    let digits = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Directives {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        parse(&headers)
    }

    fn cache_control(value: &'static str) -> Directives {
        of(&[("cache-control", value)])
    }

    #[test]
    fn directives_are_read_in_any_case_and_beside_others() {
        assert!(cache_control("No-Cache").no_cache);
        assert!(cache_control("foo=bar, only-if-cached ,x").only_if_cached);
        assert_eq!(cache_control("max-age=10").max_age, Some(10));
        assert_eq!(cache_control("MAX-AGE = \"10\"").max_age, Some(10));
        assert_eq!(cache_control("min-fresh=5, max-age=7").min_fresh, Some(5));
        assert_eq!(of(&[("cache-control", "max-age=9"), ("cache-control", "max-age=3")]).max_age, Some(3));
        assert_eq!(cache_control("max-age=99999999999999999999999").max_age, Some(u64::MAX));
    }

    #[test]
    fn malformed_directives_are_ignored() {
        for value in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=soon",
            "max-stale=5",
            "no-store",
            "x=\"a, no-cache, b\"",
        ] {
            assert_eq!(cache_control(value), Directives::default(), "{value}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(of(&[("pragma", "no-cache")]).no_cache);
        assert!(!of(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]).no_cache);
    }
}
