//! Content negotiation: `Accept-Encoding` and its weights (RFC 9110, 12.5.3).

use actix_web::http::header::{ACCEPT_ENCODING, HeaderMap};

use crate::snapshot::Coding;

/// A weight in thousandths.
type QValue = u16;
const FULL: QValue = 1_000;

/// Returns the acceptable coding with the highest weight. If none is acceptable, the response is uncompressed, even if
/// the caller refuses that. RFC 9110 (12.4.1) allows this instead of a `406`.
///
/// `is_stored` returns whether the cache stores the body in a coding, which decides between zstd and gzip of equal weight.
pub(super) fn coding(headers: &HeaderMap, is_stored: impl Fn(Coding) -> bool) -> Coding {
    let (mut zstd, mut gzip, mut identity, mut any) = (None, None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (name, weight) = item.split_once(';').unwrap_or((item, ""));
            let name = name.trim();
            let slot = match Some(name) {
                _ if name.eq_ignore_ascii_case("zstd") => &mut zstd,
                _ if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
                _ if name.eq_ignore_ascii_case("identity") => &mut identity,
                _ if name == "*" => &mut any,
                _ => continue,
            };
            // An invalid weight counts as 0, because the caller may not be able to decode this coding.
            *slot = Some(quality(weight.trim()).unwrap_or(0));
        }
    }
    let zstd = zstd.unwrap_or(0);
    // `*` stands for gzip alone: a client that does not name zstd may not decode it.
    let gzip = gzip.or(any).unwrap_or(0);
    // Unless it is named, identity is the last choice.
    let identity = identity.unwrap_or(0);
    let zstd_first = is_stored(Coding::Zstd) || !is_stored(Coding::Gzip);
    if zstd > 0 && zstd >= identity && (zstd > gzip || (zstd == gzip && zstd_first)) {
        Coding::Zstd
    } else if gzip > 0 && gzip >= identity {
        Coding::Gzip
    } else {
        Coding::Identity
    }
}

/// Parses a weight such as `q=0.5`, with at most three decimals. An empty string counts as 1. Returns `None` if the
/// weight is invalid.
fn quality(weight: &str) -> Option<QValue> {
    if weight.is_empty() {
        return Some(FULL);
    }
    let (name, value) = weight.split_once('=')?;
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_valid = name.trim().eq_ignore_ascii_case("q")
        && matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_valid {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= FULL).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn chosen(values: &[&'static str]) -> Coding {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        let chosen = coding(&headers, |_| true);
        let stored_as_gzip = coding(&headers, |coding| coding == Coding::Gzip);
        assert!(
            chosen == stored_as_gzip || (chosen, stored_as_gzip) == (Coding::Zstd, Coding::Gzip),
            "{values:?}"
        );
        chosen
    }

    #[test]
    fn the_stored_coding_wins_between_equal_weights() {
        for (value, expected) in [
            ("gzip, zstd", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("zstd, gzip;q=0.9", Coding::Zstd),
            ("zstd, identity", Coding::Zstd),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(coding(&headers, |coding| coding == Coding::Gzip), expected, "{value}");
        }
    }

    #[test]
    fn the_best_accepted_coding_wins_and_then_the_smaller() {
        assert_eq!(chosen(&["gzip, deflate, br, zstd"]), Coding::Zstd);
        assert_eq!(chosen(&["gzip, deflate, br"]), Coding::Gzip);
        assert_eq!(chosen(&["br"]), Coding::Identity);
        assert_eq!(chosen(&["gzip", "zstd"]), Coding::Zstd, "in two lines");
        assert_eq!(chosen(&["GZIP"]), Coding::Gzip);
        assert_eq!(chosen(&["x-gzip"]), Coding::Gzip);
        assert_eq!(chosen(&["*"]), Coding::Gzip);
        assert_eq!(chosen(&[]), Coding::Identity);
        assert_eq!(chosen(&[""]), Coding::Identity);
        assert_eq!(chosen(&["identity"]), Coding::Identity);
    }

    #[test]
    fn weights_decide_before_our_preference() {
        assert_eq!(chosen(&["zstd;q=0.5, gzip;q=0.501"]), Coding::Gzip);
        assert_eq!(chosen(&["zstd;q=0, gzip"]), Coding::Gzip);
        assert_eq!(chosen(&["gzip;q=0"]), Coding::Identity);
        assert_eq!(chosen(&["gzip; Q=0.1"]), Coding::Gzip);
        assert_eq!(chosen(&["identity;q=1, gzip;q=0.5"]), Coding::Identity);
        assert_eq!(chosen(&["identity;q=0.5, gzip;q=0.5"]), Coding::Gzip);
        assert_eq!(chosen(&["*;q=0"]), Coding::Identity, "there is nothing else to send");
        assert_eq!(chosen(&["identity;q=0"]), Coding::Identity);
        assert_eq!(chosen(&["identity;q=0, *"]), Coding::Gzip);
        assert_eq!(chosen(&["gzip;q=0, *"]), Coding::Identity);
    }

    #[test]
    fn an_invalid_weight_refuses_the_coding() {
        for weight in ["q=2", "q=1.001", "q=0.1234", "q=", "q=-1", "q=abc", "level=9", "q=.5"] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(&format!("gzip;{weight}")).unwrap());
            assert_eq!(coding(&headers, |_| true), Coding::Identity, "{weight}");
        }
    }
}
