//! Cleans a page of participants: a string with a unit becomes a number, `""` becomes `null`.
//!
//! Everything else is copied as Zoom wrote it, digit for digit and escape for escape, without the white space between tokens.
//! No tree is built: one strict pass validates the whole document, a second one copies it.
//!
//! Pure: no I/O, no clock, no log, no panic. It does not interpret values, does not merge pages, and knows only the fields of
//! [`Field`] and those of the envelope in [`Page`].

use std::ops::Range;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use self::cursor::{Cursor, Desynced};
use self::participants::Participants;

pub use self::field::{Field, Unparsed};

mod copier;
mod cursor;
mod field;
mod measure;
mod participants;
mod renames;

/// The facts about a page that a flight needs, besides its cleaned participants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Where each participant lies, counted from the beginning of this page in `out`. Slices are cut out without parsing.
    pub rows: Vec<Range<usize>>,
    /// Zoom's token for the next page; `None` on the last page, where it is absent, `null` or `""`.
    pub next_page_token: Option<String>,
    /// How many participants the meeting has, according to Zoom; `None` if absent or not a whole number.
    pub total_records: Option<u64>,
    /// The meeting's number; `None` if absent, or neither a whole number nor a string with one.
    pub meeting_number: Option<u64>,
    /// The latest valid `leave_time` of a participant. It decides whether a meeting is settled.
    pub newest_leave_time: Option<Timestamp>,
    /// How many strings were kept under their own key because they did not parse, per field. For a metric.
    pub unparsed: Unparsed,
}

/// Why a response is not a page of participants. Contains positions and our own words, never Zoom's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The text is not one whole JSON document: invalid, or cut off.
    #[error("not a whole JSON document (line {line}, column {column})")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1 in bytes; 0 just after a line feed.
        column: usize,
    },
    /// JSON, but not an object with a list named `participants`. It may be an error body.
    #[error("no list of participants")]
    NoParticipants,
    /// A key of the envelope occurs twice or has the wrong type, so the page cannot be trusted.
    #[error("ambiguous envelope: `{key}` occurs twice or has the wrong type")]
    Ambiguous {
        /// `participants` or `next_page_token`.
        key: &'static str,
    },
    /// The page belongs to another meeting than the requested one.
    #[error("a page of another meeting")]
    AnotherMeeting,
    /// The second pass found what the first should have rejected, which would be a bug.
    #[error("the two passes over the page disagree")]
    Inconsistent,
}

impl From<Desynced> for NotAPage {
    fn from(Desynced: Desynced) -> Self {
        Self::Inconsistent
    }
}

/// Appends the cleaned participants of one of Zoom's pages to `out`, with `,` between them and no brackets.
///
/// # Errors
/// The response is not a whole page; `out` is then unchanged.
pub fn page(zoom: &[u8], out: &mut Vec<u8>) -> Result<Page, NotAPage> {
    let text = str::from_utf8(zoom).map_err(|_| NotAPage::NotUtf8)?;
    // The strict pass. It does not recurse or interpret, so it accepts deep nesting, numbers beyond f64 and lone surrogates. It
    // requires the end of the document, so it also rejects a truncated body.
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| NotAPage::NotJson { line: error.line(), column: error.column() })?;

    let begin = out.len();
    out.reserve(zoom.len());
    let cleaned = envelope(text.as_bytes(), out);
    if cleaned.is_err() {
        out.truncate(begin);
    }
    cleaned
}

/// Walks the top-level object; only `participants` is written to the output.
fn envelope(source: &[u8], out: &mut Vec<u8>) -> Result<Page, NotAPage> {
    let mut page = Page::default();
    let mut participants_seen = false;
    let mut token_seen = false;

    let mut input = Cursor::new(source);
    if !input.take_if(b'{') {
        return Err(NotAPage::NoParticipants);
    }
    let mut more = !input.take_if(b'}');
    while more {
        let key = input.text()?;
        input.take(b':')?;
        match key.name()?.as_ref() {
            b"participants" => {
                if std::mem::replace(&mut participants_seen, true) {
                    return Err(NotAPage::Ambiguous { key: "participants" });
                }
                input = participants(input, out, &mut page)?;
            }
            b"next_page_token" => {
                if std::mem::replace(&mut token_seen, true) {
                    return Err(NotAPage::Ambiguous { key: "next_page_token" });
                }
                page.next_page_token = page_token(&mut input)?;
            }
            b"total_records" => page.total_records = whole_number(&mut input)?,
            b"meeting_number" => page.meeting_number = meeting_number(&mut input)?,
            _ => input.skip_value()?,
        }
        more = input.take_if(b',');
    }
    if participants_seen { Ok(page) } else { Err(NotAPage::NoParticipants) }
}

/// Cleans the list that begins at `input`, and returns the cursor after it.
fn participants<'a>(
    mut input: Cursor<'a>,
    out: &mut Vec<u8>,
    page: &mut Page,
) -> Result<Cursor<'a>, NotAPage> {
    if !input.take_if(b'[') {
        return Err(NotAPage::NoParticipants);
    }
    if input.take_if(b']') {
        return Ok(input);
    }
    let mut participants = Participants::new(input, out);
    while participants.row()? {}
    Ok(participants.finish(page)?)
}

fn page_token(input: &mut Cursor<'_>) -> Result<Option<String>, NotAPage> {
    const AMBIGUOUS: NotAPage = NotAPage::Ambiguous { key: "next_page_token" };
    match input.token()? {
        b'"' => {
            let token = input.text()?.name()?.into_owned();
            // A lone surrogate cannot be sent back to Zoom.
            let token = String::from_utf8(token).map_err(|_| AMBIGUOUS)?;
            Ok(Some(token).filter(|token| !token.is_empty()))
        }
        b'n' => {
            input.skip_value()?;
            Ok(None)
        }
        _ => Err(AMBIGUOUS),
    }
}

fn whole_number(input: &mut Cursor<'_>) -> Result<Option<u64>, Desynced> {
    input.skipped_value().map(number)
}

/// Zoom's documentation declares it a string.
fn meeting_number(input: &mut Cursor<'_>) -> Result<Option<u64>, Desynced> {
    let value = input.skipped_value()?;
    Ok(number(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)))
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
}
