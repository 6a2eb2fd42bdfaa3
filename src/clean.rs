//! Cleans a page of participants: a string with a unit becomes a number, `""` becomes `null`.
//!
//! Everything else is copied as Zoom wrote it, digit for digit and escape for escape, without the white space between
//! tokens. No tree is built: one strict pass validates the complete document, a second one copies it.
//!
//! Pure: no I/O, no clock, no log, no panic. It interprets only the fields of [`Field`] and [`Page`], and does not
//! merge pages.

use serde::de::IgnoredAny;

use self::participants::Participants;
use crate::json::{Cursor, Desynced};

pub(crate) use self::field::Key;
pub use self::field::{Field, Unparsed};
pub use self::page::{NotAPage, Page};
pub(crate) use self::scope::Scope;

mod field;
mod measure;
mod page;
mod participants;
mod scope;

/// Appends the cleaned participants of one of Zoom's pages to `out`, with `,` between them and without brackets.
///
/// # Errors
/// The response is not a complete page. `out` is then unchanged.
pub fn page(zoom: &[u8], out: &mut Vec<u8>) -> Result<Page, NotAPage> {
    let text = str::from_utf8(zoom).map_err(|_| NotAPage::NotUtf8)?;
    // The strict pass. It does not recurse or interpret, so it accepts deep nesting, numbers beyond f64 and lone
    // surrogates. It requires the end of the document, so it rejects a truncated body, too.
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
            // The key of the number in a webinar's pages.
            b"meeting_number" | b"webinar_number" => page.meeting_number = meeting_number(&mut input)?,
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

/// Reads a number, or a string with a number: Zoom's documentation declares a string.
fn meeting_number(input: &mut Cursor<'_>) -> Result<Option<u64>, Desynced> {
    let value = input.skipped_value()?;
    Ok(number(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)))
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
}
