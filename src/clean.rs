//! Zoom's page of participants → our bytes: a text with a unit becomes a number, `""` becomes `null`.
//!
//! Everything else is copied as Zoom wrote it, digit for digit and escape for escape, without the white space
//! between tokens. No tree is built: one strict pass validates the document to its end, a second copies it.
//!
//! Pure: no I/O, no clock, no log, no panic. It deliberately does not judge what a value means, does not merge
//! pages, and knows no field but those of the table in [`Field`] and the few of the envelope in [`Page`].

use std::ops::Range;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use self::cursor::{Astray, Cursor};
use self::participants::Participants;

pub use self::field::{Field, Unparsed};

mod cursor;
mod field;
mod measure;
mod participants;
mod renames;

/// What a flight needs to know of a page besides its cleaned participants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Where each participant lies, counted from where this page begins in `out`: a slice is cut, not parsed.
    pub rows: Vec<Range<usize>>,
    /// Asks Zoom for the page after this one; `None` when Zoom's is absent, `null` or `""`: the last page.
    pub next_page_token: Option<String>,
    /// How many rows Zoom claims that the meeting has; `None` when absent or not a whole number.
    pub total_records: Option<u64>,
    /// The number of the meeting, where Zoom says it; `None` when absent or neither a whole number nor the text of one.
    pub meeting_number: Option<u64>,
    /// The newest `leave_time` of a participant that is a point in time: tells whether a meeting is settled.
    pub newest_leave_time: Option<Timestamp>,
    /// The texts that kept their own key because they did not parse, per field: a metric.
    pub unparsed: Unparsed,
}

/// Why an answer is not a page of participants. Holds positions and our own words, never Zoom's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// The bytes are no text.
    #[error("not UTF-8")]
    NotUtf8,
    /// The text is not one whole JSON document: broken, or cut off.
    #[error("not a whole JSON document (line {line}, column {column})")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1 in bytes; 0 just after a line feed.
        column: usize,
    },
    /// JSON, but not an object with a list named `participants`: an error body, perhaps.
    #[error("no list of participants")]
    NoParticipants,
    /// A key of the envelope is there twice or not of its type, so which page this is cannot be known.
    #[error("ambiguous envelope: `{key}` is there twice or not of its type")]
    Ambiguous {
        /// `participants` or `next_page_token`.
        key: &'static str,
    },
    /// It is a page of another meeting than the one that was asked for.
    #[error("a page of another meeting")]
    AnotherMeeting,
    /// The second pass met what the first should have refused: a bug of this module.
    #[error("the two passes over the page disagree")]
    Inconsistent,
}

impl From<Astray> for NotAPage {
    fn from(Astray: Astray) -> Self {
        Self::Inconsistent
    }
}

/// Appends the cleaned participants of one of Zoom's pages to `out`, with `,` between them and no brackets.
///
/// # Errors
/// [`NotAPage`] when the answer is no whole page; `out` is then as it was before.
pub fn page(zoom: &[u8], out: &mut Vec<u8>) -> Result<Page, NotAPage> {
    let text = str::from_utf8(zoom).map_err(|_| NotAPage::NotUtf8)?;
    // The one strict pass. It neither recurses nor interprets, so deep nesting, numbers beyond f64 and lone
    // surrogates pass; and as it demands the document's end, it is the check against a truncated body too.
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

/// Walks the top-level object; only `participants` leads to output.
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

/// Cleans the list that begins at `input` and returns the cursor behind it.
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

fn whole_number(input: &mut Cursor<'_>) -> Result<Option<u64>, Astray> {
    input.skipped_value().map(number)
}

/// Zoom's description has it as text.
fn meeting_number(input: &mut Cursor<'_>) -> Result<Option<u64>, Astray> {
    let value = input.skipped_value()?;
    Ok(number(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)))
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
}
