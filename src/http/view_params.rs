//! Parses the parameters that ask for a selection or for rows.

use std::borrow::Cow;

use actix_web::http::header::HeaderMap;
use jiff::Timestamp;

use super::{
    media_type::{self, MediaType},
    problem::Problem,
};
use crate::view::{rows::RowShape, select::Selection, snapshot_view::View};

/// The form of `2026-11-23T10:15:00`; a `d` is a digit.
const DATE_AND_TIME: &[u8] = b"dddd-dd-ddTdd:dd:dd";

/// The index of the first digit of a fraction of a second, after the decimal point.
const FRACTION: usize = DATE_AND_TIME.len() + 1;

/// The values of the parameters, not parsed yet.
pub(super) struct ViewParams<'q> {
    pub(super) participant: Option<Cow<'q, str>>,
    pub(super) groups: Option<Cow<'q, str>>,
    pub(super) since: Option<Cow<'q, str>>,
    pub(super) until: Option<Cow<'q, str>>,
    pub(super) format: Option<Cow<'q, str>>,
    pub(super) rows: Option<Cow<'q, str>>,
}

impl ViewParams<'_> {
    /// Returns the requested view; `None` for the meeting as it is cached.
    pub(super) fn view(self, headers: &HeaderMap) -> Result<Option<View>, Problem> {
        let media = self.media_type(headers);
        if matches!(media, Ok(MediaType::Json)) && !self.needs_view() {
            return Ok(None);
        }
        let shape = self.rows.as_deref().map(shape).transpose()?;
        let selection = Box::new(self.selection()?);
        match (media?, shape) {
            (MediaType::Json, None) => Ok(Some(View::Selected(selection))),
            (MediaType::Json, Some(_)) => {
                Err(Problem::invalid("rows", "rows needs format=ndjson or format=csv: JSON has no rows."))
            }
            (MediaType::Rows(format), shape) => {
                Ok(Some(View::Rows { selection, shape: shape.unwrap_or(RowShape::Sample), format }))
            }
        }
    }

    /// Returns the media type of `format`, or else of `Accept`.
    fn media_type(&self, headers: &HeaderMap) -> Result<MediaType, Problem> {
        let Some(format) = self.format.as_deref() else {
            return media_type::preferred(headers).ok_or(Problem::NotAcceptable);
        };
        let known = MediaType::ALL.into_iter().find(|media| media.format() == format);
        known.ok_or_else(|| Problem::invalid("format", "format must be json, ndjson or csv."))
    }

    /// Returns whether a parameter other than `format` is set, so that the cached body is not the response.
    fn needs_view(&self) -> bool {
        let Self { participant, groups, since, until, rows, format: _ } = self;
        [participant, groups, since, until, rows].into_iter().any(Option::is_some)
    }

    pub(super) fn selection(self) -> Result<Selection, Problem> {
        let participant = self.participant.map(Cow::into_owned);
        if participant.as_deref() == Some("") {
            return Err(Problem::invalid(
                "participant",
                "participant must be a user_id, id, participant_uuid or email.",
            ));
        }
        let groups = self.groups.as_deref().map(groups).transpose()?.unwrap_or_default();
        let since = self.since.as_deref().map(|text| time("since", text)).transpose()?;
        let until = self.until.as_deref().map(|text| time("until", text)).transpose()?;
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(Problem::invalid("since", "since must not be after until."));
        }
        Ok(Selection { participant, groups, since, until })
    }
}

fn shape(value: &str) -> Result<RowShape, Problem> {
    let known = RowShape::ALL.into_iter().find(|shape| shape.as_str() == value);
    known.ok_or_else(|| Problem::invalid("rows", "rows must be sample or group."))
}

/// The maximum number of different names in `groups`. Zoom has about twenty groups.
const MOST_GROUPS: usize = 64;

fn groups(value: &str) -> Result<Vec<String>, Problem> {
    if value.split(',').any(str::is_empty) {
        let detail = "groups must be names of groups, or their first words, with commas between them: audio,cpu_usage.";
        return Err(Problem::invalid("groups", detail));
    }
    let mut groups: Vec<_> = value.split(',').map(str::to_owned).collect();
    // Every sample is compared with every name, so a long list would keep a thread for minutes.
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > MOST_GROUPS {
        return Err(Problem::invalid("groups", "groups must be at most 64 different names."));
    }
    Ok(groups)
}

/// Parses a time. In a query, `+` stands for a space, so the sign of an offset arrives as a space unless it is encoded.
fn time(name: &'static str, value: &str) -> Result<Timestamp, Problem> {
    let text = value.replace(' ', "+");
    let time = if is_rfc3339(&text) { timestamp(&text) } else { None };
    time.ok_or_else(|| {
        Problem::invalid(name, format!("{name} must be a time of RFC 3339, such as 2026-11-23T10:15:00Z."))
    })
}

/// Parses a text in the form of RFC 3339. If a `Timestamp` cannot hold the time, returns the nearest one that it can
/// hold.
fn timestamp(text: &str) -> Option<Timestamp> {
    // jiff reads at most nine digits of a fraction. Further digits change no comparison with Zoom's whole seconds.
    let digits = text.get(FRACTION..)?.bytes().take_while(u8::is_ascii_digit).count();
    let (kept, rest) = text.split_at_checked(FRACTION + digits)?;
    let text = format!("{}{rest}", kept.get(..FRACTION + digits.min(9))?);
    text.parse().ok().or_else(|| {
        // jiff ends at 9999-12-30T22:00:00Z. A later time is valid if the same day and hour exist a year earlier:
        // 9998-12-31T23:59:59Z does, 9998-12-32T00:00:00Z does not.
        let year_before = format!("9998{}", text.strip_prefix("9999")?);
        year_before.parse::<Timestamp>().ok().map(|_| Timestamp::MAX)
    })
}

/// Returns whether the text has the form of RFC 3339. jiff's parser also accepts many other forms.
fn is_rfc3339(text: &str) -> bool {
    let Some((begin, rest)) = text.as_bytes().split_at_checked(DATE_AND_TIME.len()) else { return false };
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(form),
    };
    let offset = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            fraction.get(digits..).filter(|_| digits > 0).unwrap_or_default()
        }
        None => rest,
    };
    let is_offset = match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => offset.len() == 5 && offset.iter().zip(b"dd:dd").all(fits),
        _ => false,
    };
    begin.iter().zip(DATE_AND_TIME).all(fits) && is_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_of_rfc_3339_and_a_space_stands_for_plus() {
        for text in [
            "2026-11-23T10:15:00Z",
            "2026-11-23t10:15:00z",
            "2026-11-23T10:15:00.000Z",
            "2026-11-23T11:15:00+01:00",
            "2026-11-23T11:15:00 01:00",
            "2026-11-23T05:15:00.0-05:00",
        ] {
            let time = time("since", text).unwrap_or_default();
            assert_eq!(time.to_string(), "2026-11-23T10:15:00Z", "{text}");
        }
        for (text, expected) in [
            ("9999-12-31T23:59:59Z", Timestamp::MAX.to_string()),
            ("9999-12-31T23:59:59.999-23:59", Timestamp::MAX.to_string()),
            ("9999-12-30T21:59:59Z", "9999-12-30T21:59:59Z".to_owned()),
            ("0000-01-01T00:00:00+23:59", "-000001-12-31T00:01:00Z".to_owned()),
            ("2026-11-23T10:15:00-00:00", "2026-11-23T10:15:00Z".to_owned()),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z".to_owned()),
            ("2026-11-23T10:15:00.12345678987Z", "2026-11-23T10:15:00.123456789Z".to_owned()),
        ] {
            let time = time("since", text).map(|time| time.to_string());
            assert_eq!(time.ok(), Some(expected), "{text}");
        }
        for text in [
            "9999-12-32T23:59:59Z",
            "9999-12-31T24:59:59Z",
            "9999-02-29T00:00:00Z",
            "9999-12-31T23:59:59+99:00",
            "",
            "2026-11-23",
            "2026-11-23T10:15Z",
            "2026-11-23T10:15:00",
            "2026-11-23 10:15:00Z",
            "20261123T101500Z",
            "2026-11-23T10:15:00.Z",
            "2026-11-23T10:15:00+01",
            "2026-11-23T10:15:00+0100",
            "2026-11-23T10:15:00Z[UTC]",
            "2026-11-23T10:15:00+01:00[Europe/Berlin]",
            "2026-13-23T10:15:00Z",
            "2026-11-23T25:15:00Z",
            "1763892900",
            "now",
        ] {
            assert!(time("since", text).is_err(), "{text}");
        }
    }

    #[test]
    fn groups_are_names_with_commas_between_them() {
        assert!(groups("audio,cpu_usage").is_ok_and(|groups| groups == ["audio", "cpu_usage"]));
        for text in ["", ",", "audio,", ",audio", "audio,,cpu"] {
            assert!(groups(text).is_err(), "{text}");
        }
    }
}
