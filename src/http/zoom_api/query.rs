//! Parses the query of Zoom's own paths as leniently as Zoom: ignores unknown keys and empty values, and takes the
//! first of several values.

use std::borrow::Cow;

use actix_web::HttpRequest;

use crate::{
    http::{paging::SLICE_SIZES, params, problem::Problem},
    snapshot::MeetingType,
};

/// Zoom's own default page size.
pub(super) const DEFAULT_PAGE_SIZE: u16 = 1;

/// The parameters of Zoom's own paths. A field is `None` if the query has no value for it. Its value then comes from
/// the page token or, without a token, is the default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ZoomQuery {
    pub(super) meeting_type: Option<MeetingType>,
    pub(super) page_size: Option<u16>,
    pub(super) next_page_token: Option<String>,
}

impl ZoomQuery {
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        Self::from_text(request.uri().query().unwrap_or_default())
    }

    fn from_text(query: &str) -> Result<Self, Problem> {
        let value = |key: &str| first(query.as_bytes(), key);
        let meeting_type = params::meeting_type(value("type").as_deref())?;
        let page_size = value("page_size").map(|text| page_size(&text)).transpose()?;
        let next_page_token = value("next_page_token").map(Cow::into_owned);
        Ok(Self { meeting_type, page_size, next_page_token })
    }
}

/// Returns the first value of this key that is not empty.
pub(super) fn first<'q>(form: &'q [u8], key: &str) -> Option<Cow<'q, str>> {
    let mut pairs = url::form_urlencoded::parse(form);
    pairs.find_map(|(name, value)| (name == key && !value.is_empty()).then_some(value))
}

/// Parses a page size. Like Zoom, reduces a size above the maximum to the maximum.
fn page_size(text: &str) -> Result<u16, Problem> {
    let largest = *SLICE_SIZES.end();
    let digits = text.trim_start_matches('0');
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() {
        // A number too large for `u16` is also above the maximum.
        return Ok(digits.parse().map_or(largest, |size: u16| size.min(largest)));
    }
    Err(Problem::invalid("page_size", "page_size must be a whole number of at least 1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Option<(Option<MeetingType>, Option<u16>, Option<String>)> {
        let ZoomQuery { meeting_type, page_size, next_page_token } = ZoomQuery::from_text(query).ok()?;
        Some((meeting_type, page_size, next_page_token))
    }

    #[test]
    fn unknown_keys_and_empty_values_are_ignored() {
        let nothing = Some((None, None, None));
        for query in [
            "",
            "meeting_id=1&include_fields=",
            "type=&page_size=&next_page_token=",
            "kind=x&TYPE=past",
            "&&=&",
        ] {
            assert_eq!(parsed(query), nothing, "{query}");
        }
        let all = parsed("type=past&page_size=30&next_page_token=a%2Db");
        assert_eq!(all, Some((Some(MeetingType::Past), Some(30), Some("a-b".to_owned()))));
    }

    #[test]
    fn the_first_of_two_values_counts() {
        assert_eq!(
            parsed("type=past&type=x&page_size=&page_size=2"),
            Some((Some(MeetingType::Past), Some(2), None))
        );
    }

    #[test]
    fn large_pages_are_cut_and_other_texts_rejected() {
        for (text, size) in [("1", 1), ("300", 300), ("301", 300), ("007", 7), ("99999999999999999999", 300)]
        {
            assert_eq!(parsed(&format!("page_size={text}")), Some((None, Some(size), None)), "{text}");
        }
        for query in [
            "page_size=0",
            "page_size=000",
            "page_size=-1",
            "page_size=%2B5",
            "page_size=1.5",
            "page_size=ten",
            "type=pastOne",
        ] {
            assert_eq!(parsed(query), None, "{query}");
        }
    }
}
