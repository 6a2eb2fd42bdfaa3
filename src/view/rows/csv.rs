//! A row as a record of CSV (RFC 4180), written so that spreadsheets do not run its cells as formulas.

use std::borrow::Cow;

use super::{
    columns::{Columns, Place},
    row::TableRow,
};
use crate::json::{Container, Cursor, Desynced};

/// A spreadsheet can run a text cell that begins with one of these characters as a formula. Attendees choose their
/// names, so a name can be a formula.
const FORMULA: &[u8] = b"=+-@\t\r\n";

pub(super) fn append_header(columns: &Columns, out: &mut Vec<u8>) {
    for (place, name) in columns.all() {
        separate(place, out);
        append_text(&name.name, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a record with a cell for each column.
pub(super) fn append(row: &TableRow<'_>, columns: &Columns, out: &mut Vec<u8>) -> Result<(), Desynced> {
    let mut cells = row.cells.iter().peekable();
    for (place, _) in columns.all() {
        separate(place, out);
        if let Some(cell) = cells.next_if(|cell| cell.place == place) {
            append_value(cell.value, out)?;
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn separate(place: Place, out: &mut Vec<u8>) {
    if place != Place::MEETING_ID {
        out.push(b',');
    }
}

fn append_value(json: &[u8], out: &mut Vec<u8>) -> Result<(), Desynced> {
    match json.first() {
        Some(b'"' | b'n') => {
            if let Some(text) = scalar(&mut Cursor::new(json))? {
                append_text(&text, out);
            }
        }
        Some(b'[') => match joined(json)? {
            Some(text) => append_text(&text, out),
            None => append_text(json, out),
        },
        Some(b'{') => append_text(json, out),
        _ => out.extend_from_slice(json),
    }
    Ok(())
}

/// Joins a list of scalars with `;`. Returns `None` if an element is a list or an object.
fn joined(json: &[u8]) -> Result<Option<Vec<u8>>, Desynced> {
    let mut input = Cursor::new(json);
    let mut text = Vec::new();
    let mut values = Container::open(&mut input, b'[').ok_or(Desynced)?;
    let mut is_first = true;
    while values.next(&mut input)? {
        if !std::mem::replace(&mut is_first, false) {
            text.push(b';');
        }
        if matches!(input.token()?, b'{' | b'[') {
            return Ok(None);
        }
        text.extend_from_slice(&scalar(&mut input)?.unwrap_or_default());
    }
    Ok(Some(text))
}

/// Returns a string unescaped, and any other scalar as it is written; `None` for `null`.
fn scalar<'a>(input: &mut Cursor<'a>) -> Result<Option<Cow<'a, [u8]>>, Desynced> {
    if input.token()? == b'"' {
        return input.text()?.name().map(Some);
    }
    let written = input.scalar()?;
    Ok((written != b"null").then_some(Cow::Borrowed(written)))
}

/// Appends a text cell: quoted where necessary, and with `'` before the beginning of a formula.
fn append_text(text: &[u8], out: &mut Vec<u8>) {
    let text = utf8(text);
    let is_formula = text.bytes().next().is_some_and(|first| FORMULA.contains(&first));
    let is_quoted = text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
    if is_quoted {
        out.push(b'"');
    }
    if is_formula {
        out.push(b'\'');
    }
    for (number, part) in text.split('"').enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    if is_quoted {
        out.push(b'"');
    }
}

/// Converts WTF-8 to UTF-8. In WTF-8, a lone surrogate is three bytes, none of them valid in UTF-8: U+D83D is ED A0
/// BD. One replacement character stands for all three.
fn utf8(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        replaced.push_str(chunk.valid());
        if !matches!(chunk.invalid(), [] | [0x80..=0xbf]) {
            replaced.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(replaced)
}
