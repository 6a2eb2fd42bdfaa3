//! What a caller's `Cache-Control` asks for (RFC 9111, section 5.2.1), as far as it can be had here.
//!
//! `max-stale` widens nothing and `no-store` and `no-transform` change nothing: snapshots belong to everybody, and are
//! never transformed. A directive that is not of its form is no directive, as the RFC advises.

use actix_web::http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

/// The directives that a request gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Directives {
    /// Only an answer that was fetched for this request will do.
    pub(super) no_cache: bool,
    /// Nothing may be fetched for this request.
    pub(super) only_if_cached: bool,
    /// No older than this, in seconds.
    pub(super) max_age: Option<u64>,
    /// Fresh for this long yet, in seconds.
    pub(super) min_fresh: Option<u64>,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let mut given = false;
        for value in headers.get_all(CACHE_CONTROL) {
            given = true;
            // A comma within quotes belongs to the quoted text.
            let mut quoted = false;
            let at_comma = |letter: char| {
                quoted ^= letter == '"';
                letter == ',' && !quoted
            };
            for directive in value.to_str().unwrap_or_default().split(at_comma) {
                directives.add(directive.trim());
            }
        }
        // HTTP/1.0's word for it counts only where the other is absent.
        if !given
            && headers.get(PRAGMA).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            directives.no_cache = true;
        }
        directives
    }

    fn add(&mut self, directive: &str) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" => self.no_cache = true,
            "only-if-cached" => self.only_if_cached = true,
            // Of two the stricter.
            "max-age" => self.max_age = smaller(self.max_age, seconds(argument)),
            "min-fresh" => self.min_fresh = self.min_fresh.max(seconds(argument)),
            _ => {}
        }
    }
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Whole seconds, also in quotes, as some send it; too many digits are a very long time.
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
        Directives::of(&headers)
    }

    fn cache_control(value: &'static str) -> Directives {
        of(&[("cache-control", value)])
    }

    #[test]
    fn each_directive_is_understood_in_any_case_and_company() {
        assert!(cache_control("No-Cache").no_cache);
        assert!(cache_control("foo=bar, only-if-cached ,x").only_if_cached);
        assert_eq!(cache_control("max-age=10").max_age, Some(10));
        assert_eq!(cache_control("MAX-AGE = \"10\"").max_age, Some(10));
        assert_eq!(cache_control("min-fresh=5, max-age=7").min_fresh, Some(5));
        assert_eq!(of(&[("cache-control", "max-age=9"), ("cache-control", "max-age=3")]).max_age, Some(3));
        assert_eq!(cache_control("max-age=99999999999999999999999").max_age, Some(u64::MAX));
    }

    #[test]
    fn what_is_not_of_its_form_is_no_directive() {
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
