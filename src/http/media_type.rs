//! The media types of `/qos`, and which of them a caller prefers according to `Accept` (RFC 9110, 12.5.1).

use actix_web::http::header::{ACCEPT, HeaderMap, HeaderValue};

use crate::view::rows::RowFormat;

/// A form in which `/qos` shows a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Rows(RowFormat),
}

impl MediaType {
    /// Every media type. If two have equal weights, the first one is used.
    pub(super) const ALL: [Self; 3] = [Self::Json, Self::Rows(RowFormat::Ndjson), Self::Rows(RowFormat::Csv)];

    /// Returns the value of the parameter `format`, which is also the extension of a file's name.
    pub(super) const fn format(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Rows(format) => format.as_str(),
        }
    }

    /// Returns the type and the subtype, without parameters.
    pub(super) const fn essence(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Rows(RowFormat::Ndjson) => "application/x-ndjson",
            Self::Rows(RowFormat::Csv) => "text/csv",
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        // Constants, because `from_static` checks each letter when it runs.
        const JSON: HeaderValue = HeaderValue::from_static(MediaType::Json.essence());
        const NDJSON: HeaderValue = HeaderValue::from_static(MediaType::Rows(RowFormat::Ndjson).essence());
        const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
        match self {
            Self::Json => JSON,
            Self::Rows(RowFormat::Ndjson) => NDJSON,
            Self::Rows(RowFormat::Csv) => CSV,
        }
    }
}

/// Returns the media type with the highest weight; `None` if none is acceptable.
pub(super) fn preferred(headers: &HeaderMap) -> Option<MediaType> {
    // Most clients send one of these, and parsing takes longer than the cache look-up of a hit.
    match single_line(headers) {
        Some(b"" | b"*/*" | b"application/json") => Some(MediaType::Json),
        Some(value) if value.starts_with(b"application/json,") => Some(MediaType::Json),
        _ => negotiated(headers),
    }
}

/// The value of `Content-Type` of a page.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// Returns whether the client names HTML among the types that it accepts, as browsers do.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let is_html = |range: &Range<'_>| range.media.eq_ignore_ascii_case("text/html") && range.weight > 0.0;
    // Most clients send one of these, and parsing takes longer than the cache look-up of a hit.
    match single_line(headers) {
        Some(b"" | b"*/*" | b"application/json") => false,
        _ => ranges(headers).iter().any(is_html),
    }
}

/// Returns the value of `Accept`, empty if it is absent; `None` if the header occurs more than once, which only
/// [`ranges`] handles.
fn single_line(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(ACCEPT);
    let first = lines.next().map_or(&b""[..], HeaderValue::as_bytes);
    lines.next().is_none().then_some(first)
}

/// An element of `Accept`.
struct Range<'h> {
    media: &'h str,
    weight: f32,
}

/// Returns whether a response that can only be JSON is acceptable.
pub(super) fn accepts_json(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    ranges.is_empty() || weight(MediaType::Json.essence(), &ranges) > 0.0
}

fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers.get_all(ACCEPT).map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| value.split(',')).filter_map(Range::parse).collect()
}

fn negotiated(headers: &HeaderMap) -> Option<MediaType> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        // The header is empty or completely malformed, so it counts as absent.
        return Some(MediaType::Json);
    }
    let mut best = (0.0, None);
    for media in MediaType::ALL {
        let weight = weight(media.essence(), &ranges);
        if weight > best.0 {
            best = (weight, Some(media));
        }
    }
    best.1
}

/// Returns the weight of the most specific range that includes a media type; 0 if none does.
fn weight(essence: &str, ranges: &[Range<'_>]) -> f32 {
    let kind = essence.split('/').next().unwrap_or_default();
    let is_of_kind =
        |media: &str| media.strip_suffix("/*").is_some_and(|of_kind| of_kind.eq_ignore_ascii_case(kind));
    let specificity = |media: &str| match media {
        _ if media.eq_ignore_ascii_case(essence) => Some(2),
        _ if is_of_kind(media) => Some(1),
        // Java's HTTP client sends a bare `*` by default.
        "*/*" | "*" => Some(0),
        _ => None,
    };
    let included = ranges.iter().filter_map(|range| Some((specificity(range.media)?, range.weight)));
    included
        .max_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal))
        .map_or(0.0, |best| best.1)
}

impl<'h> Range<'h> {
    /// Parses an element; `None` if it names no media type. Ignores an invalid weight and all other parameters. The
    /// weight `.2` is accepted, because Java's HTTP client sends it.
    fn parse(item: &'h str) -> Option<Self> {
        let mut parts = item.split(';').map(str::trim);
        let media = parts.next().filter(|media| media.contains('/') || *media == "*")?;
        let mut weights = parts.filter_map(|part| part.split_once('='));
        let weight = weights.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let weight = weight.and_then(|(_, value)| value.trim().parse().ok());
        Some(Self { media, weight: weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&'static str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        preferred(&headers).map(MediaType::format)
    }

    #[test]
    fn json_is_the_default_and_wins_between_equal_weights() {
        for accept in [
            "*/*",
            "application/json",
            "APPLICATION/JSON",
            "application/json, text/plain, */*",
            "text/csv, application/x-ndjson, application/json",
            "application/problem+json, application/json",
            "application/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            "application/json; charset=utf-8; q=1",
            "",
            " , ",
            "json",
        ] {
            assert_eq!(chosen(&[accept]), Some("json"), "{accept}");
        }
        assert_eq!(chosen(&[]), Some("json"));
        assert_eq!(chosen(&["*/*", "text/csv"]), Some("json"));
    }

    #[test]
    fn the_highest_weight_wins() {
        for (accept, format) in [
            ("text/csv", "csv"),
            ("text/*", "csv"),
            ("Text/CSV; header=present", "csv"),
            ("application/x-ndjson", "ndjson"),
            ("text/csv, application/x-ndjson", "ndjson"),
            ("text/csv, application/json;q=0.9", "csv"),
            ("application/json;q=0.5, text/csv;q=0.6, application/x-ndjson;q=0.55", "csv"),
            ("application/json;q=0, application/*", "ndjson"),
            ("*/*;q=0.1, application/json;q=0, application/x-ndjson;q=0", "csv"),
            ("text/csv;q=high, application/json;q=0.9", "csv"),
            ("text/csv;q=0.001", "csv"),
        ] {
            assert_eq!(chosen(&[accept]), Some(format), "{accept}");
        }
        assert_eq!(chosen(&["text/html", "text/csv"]), Some("csv"), "in two lines");
        for (first, format) in [("*/*", "ndjson"), ("*/*;q=0.9", "csv"), ("application/json;q=0.1", "csv")] {
            assert_eq!(chosen(&[first, "application/json;q=0, text/csv"]), Some(format), "{first}");
        }
    }

    #[test]
    fn html_is_accepted_in_whichever_line_it_is_named() {
        let accepts = |lines: &[&'static str]| {
            accepts_html(&lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line))).collect())
        };
        for lines in
            [&["text/html"][..], &["*/*", "text/html"], &["application/json", "a/b, text/html;q=0.1"]]
        {
            assert!(accepts(lines), "{lines:?}");
        }
        for lines in [&[][..], &["*/*"], &["*/*", "text/html;q=0"], &["application/json", "text/csv"]] {
            assert!(!accepts(lines), "{lines:?}");
        }
    }

    #[test]
    fn json_alone_is_acceptable_unless_every_range_excludes_it() {
        let accepts = |accept: &'static str| {
            accepts_json(&[(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
        };
        for accept in ["*/*", "text/csv, application/*;q=0.1", "application/json;q=0.001", "", "json"] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["text/csv", "application/x-ndjson", "*/*, application/json;q=0", "text/html"] {
            assert!(!accepts(accept), "{accept}");
        }
        assert!(accepts_json(&HeaderMap::new()));
    }

    #[test]
    fn nothing_is_acceptable_if_every_range_excludes_our_types() {
        for accept in
            ["text/html", "image/*", "text/csv;q=0", "*/*;q=0", "application/xml, text/plain", "text/*;q=0.0"]
        {
            assert_eq!(chosen(&[accept]), None, "{accept}");
        }
    }
}
