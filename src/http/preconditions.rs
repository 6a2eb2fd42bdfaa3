//! Conditional requests: `If-None-Match` and `If-Modified-Since` (RFC 9110, section 13).

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH};

/// Returns whether the response is a `304`. `etag` is the entity tag of the selected representation, with quotes.
pub(super) fn not_modified(headers: &HeaderMap, etag: &[u8], fetched_at: SystemTime) -> bool {
    // If-None-Match takes precedence, even if it does not match.
    if let Some(matches) = if_none_match(headers, etag) {
        return matches;
    }
    let mut dates = headers.get_all(IF_MODIFIED_SINCE);
    // If the header is repeated, no date counts.
    let (Some(since), None) = (dates.next(), dates.next()) else { return false };
    let since = since.to_str().ok().and_then(|value| httpdate::parse_http_date(value).ok());
    since.is_some_and(|since| seconds(fetched_at) <= seconds(since))
}

/// Returns whether `If-None-Match` lists this tag or is `*`; `None` if the request does not have the header.
pub(super) fn if_none_match(headers: &HeaderMap, etag: &[u8]) -> Option<bool> {
    let mut tags = headers.get_all(IF_NONE_MATCH).peekable();
    tags.peek()?;
    Some(tags.any(|list| matches(list.as_bytes(), etag)))
}

/// Returns whether `If-None-Match` lists this tag itself. Unlike in [`if_none_match`], `*` does not count.
pub(super) fn names(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .any(|list| list.as_bytes().trim_ascii() != b"*" && matches(list.as_bytes(), etag))
}

/// Rounds down to whole seconds, because HTTP dates have no fractions.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns whether the list contains the tag, by weak comparison: `W/"a"` equals `"a"`. A tag may contain commas, so
/// the list is parsed from quote to quote.
fn matches(list: &[u8], etag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        // A list may have empty elements (RFC 9110, 5.6.1).
        while let [b',' | b' ' | b'\t', behind @ ..] = rest {
            rest = behind;
        }
        let opened = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(tag) = opened.strip_prefix(b"\"") else { return false };
        let Some(end) = tag.iter().position(|byte| *byte == b'"') else { return false };
        let Some((tag, behind)) = tag.split_at_checked(end) else { return false };
        if etag.strip_prefix(b"\"").and_then(|etag| etag.strip_suffix(b"\"")) == Some(tag) {
            return true;
        }
        rest = behind.strip_prefix(b"\"").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const TAG: &[u8] = b"\"abc\"";

    fn fetched_at() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(784_111_777_900)
    }

    fn has(name: &'static str, value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        not_modified(&headers, TAG, fetched_at())
    }

    #[test]
    fn a_tag_is_found_in_a_list_strong_or_weak() {
        for list in [
            "\"abc\"",
            "W/\"abc\"",
            "*",
            " * ",
            "\"x\", \"abc\"",
            "\"x\",W/\"abc\",\"y\"",
            "\"a,b\" , \"abc\"",
        ] {
            assert!(has("if-none-match", list), "{list}");
        }
    }

    #[test]
    fn another_tag_or_none_at_all_is_not() {
        for list in ["\"abd\"", "abc", "", "\"", "\"abc", "\"\"", "W/", "\"x\" \"y\"", ",,,", "\"x\", *"] {
            assert!(!has("if-none-match", list), "{list}");
        }
    }

    #[test]
    fn a_date_counts_to_the_second_and_only_if_it_is_one() {
        assert!(has("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(has("if-modified-since", "Sun, 06 Nov 1994 08:49:38 GMT"));
        assert!(!has("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(!has("if-modified-since", "yesterday"));
        assert!(!not_modified(&HeaderMap::new(), TAG, fetched_at()));
    }

    #[test]
    fn the_tag_decides_where_both_are_given() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"x\""));
        headers.insert(IF_MODIFIED_SINCE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert!(!not_modified(&headers, TAG, fetched_at()));
    }
}
