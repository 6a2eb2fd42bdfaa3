//! Restores Zoom's own form of a participant: `"latency_ms":126` becomes `"latency":"126 ms"`, and `null` becomes `""`,
//! unless Zoom documents that the value is not a string.
//!
//! Text in Zoom's documented form is restored byte for byte, and cleaning the result yields the same cleaned text
//! again. An entry therefore stays as it is if cleaning its restored form would yield another entry. Examples are a
//! number with an exponent, and `latency_ms` beside `latency`.

use super::NotAParticipant;
use crate::clean::{Field, Key, Scope};
use crate::json::{Copier, Cursor, Desynced, Renames, Rewriter, Rules, Text, Ties, Undo};

/// The end of the list that [`list_head`] begins, after the last participant.
pub const LIST_TAIL: &str = "]}";

/// Returns Zoom's list of participants up to the first participant. `next_page_token` must need no escapes in JSON. It
/// is `None` on the last page, where Zoom sends `""`.
///
/// ```
/// use zoom_qos_proxy::view::zoom_shape::list_head;
///
/// let head = r#"{"page_count":3,"page_size":10,"total_records":21,"next_page_token":"","participants":["#;
/// assert_eq!(list_head(21, 10, None), head);
/// ```
pub fn list_head(total_records: usize, page_size: u16, next_page_token: Option<&str>) -> String {
    let page_count = total_records.div_ceil(usize::from(page_size.max(1)));
    let token = next_page_token.unwrap_or_default();
    format!(
        r#"{{"page_count":{page_count},"page_size":{page_size},"total_records":{total_records},"next_page_token":"{token}","participants":["#
    )
}

/// Appends Zoom's form of `cleaned`, one element of a snapshot's `participants`.
///
/// # Errors
/// `cleaned` is not such an element, which can only be a bug. `out` is then unchanged.
pub fn append_participant(cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), NotAParticipant> {
    let begin = out.len();
    out.reserve(cleaned.len());
    let appended = append(cleaned, out);
    if appended.is_err() {
        out.truncate(begin);
    }
    Ok(appended?)
}

fn append(cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), Desynced> {
    let mut rewriter =
        Rewriter::new(Cursor::new(cleaned), out, ZoomShape { renames: Renames::new(Ties::NoneStays) });
    rewriter.value(Scope::Participant)?;
    let Rewriter { copier: Copier { input, out, begin, .. }, rules, .. } = rewriter;
    if input.at() != cleaned.len() {
        return Err(Desynced);
    }
    rules.renames.finish(out, begin, &mut [])
}

struct ZoomShape<'a> {
    renames: Renames<'a>,
}

impl<'a> Rules<'a> for ZoomShape<'a> {
    type Scope = Scope;

    fn element(list: Scope) -> Scope {
        list.element()
    }

    fn renames(&mut self, scope: Scope) -> Option<&mut Renames<'a>> {
        (scope == Scope::Qos).then_some(&mut self.renames)
    }

    fn entry(
        &mut self,
        copier: &mut Copier<'a, '_>,
        scope: Scope,
        key: Text<'a>,
    ) -> Result<Option<Scope>, Desynced> {
        if scope == Scope::Outside {
            return Ok(Some(Scope::Outside));
        }
        let name = key.name()?;
        if scope == Scope::Qos {
            match Key::of(&name) {
                Key::Zooms(Field::Resolution) if resolution(copier)? => return Ok(None),
                Key::Ours(field) if self.restore(copier, key, &name, field)? => return Ok(None),
                Key::Ours(field) => self.renames.record(field.bit(&name), key, "", None),
                Key::Zooms(field) => self.renames.record(field.bit(&name), key, field.suffix(), None),
                Key::Other => {}
            }
        }
        if is_documented_as_no_text(scope, &name) && step_over_null(copier)? {
            return Ok(None);
        }
        Ok(Some(scope.entry(&name)))
    }

    #[inline]
    fn scalar(&mut self, copier: &mut Copier<'a, '_>, _: Scope, token: u8) -> Result<(), Desynced> {
        match token {
            b'"' => {
                copier.input.text()?;
            }
            b'n' => {
                copier.copy_to_input()?;
                copier.input.scalar()?;
                copier.out.extend_from_slice(b"\"\"");
                copier.drop_to_input();
            }
            _ => {
                copier.input.scalar()?;
            }
        }
        Ok(())
    }
}

impl<'a> ZoomShape<'a> {
    /// Writes a cleaned entry under Zoom's key. Returns `false`, with nothing changed, if the entry must stay as it is.
    fn restore(
        &mut self,
        copier: &mut Copier<'a, '_>,
        key: Text<'a>,
        name: &[u8],
        field: Field,
    ) -> Result<bool, Desynced> {
        // Cleaning writes the suffix without escapes, so a suffix with escapes is Zoom's own.
        let Some(stem) = key.raw.strip_suffix(field.suffix().as_bytes()) else {
            return Ok(false);
        };
        let mut ahead = copier.input;
        ahead.take(b':')?;
        if !matches!(ahead.token()?, b'-' | b'0'..=b'9' | b'n') {
            return Ok(false);
        }
        let mut value = ahead.scalar()?;
        let is_null = value == b"null";
        // Cleaning never writes an exponent, so a number with one is Zoom's own.
        if !is_null && !value.iter().all(|byte| matches!(byte, b'-' | b'.' | b'0'..=b'9')) {
            return Ok(false);
        }

        let key_end = key.begin() + 1 + stem.len();
        copier.copy_to(key_end)?;
        let key_begin = copier.written().saturating_sub(1 + stem.len());
        copier.out.extend_from_slice(b"\":\"");
        if is_null {
            value = b"\"\"";
        } else {
            copier.out.extend_from_slice(value);
            if field.unit() != "%" {
                copier.out.push(b' ');
            }
            copier.out.extend_from_slice(field.unit().as_bytes());
        }
        copier.out.push(b'"');
        copier.input = ahead;
        copier.drop_to_input();
        let undo = Undo { written: key_begin..copier.written(), value };
        self.renames.record(field.bit(name), key, "", Some(undo));
        Ok(true)
    }
}

/// Writes `:{"width":1280,"height":720}` as `:"1280*720"`. Returns `false`, with nothing changed, for any other value.
fn resolution(copier: &mut Copier<'_, '_>) -> Result<bool, Desynced> {
    let mut ahead = copier.input;
    let Some((width, height)) = sides(&mut ahead) else {
        return Ok(false);
    };
    copier.copy_to_input()?;
    for part in [b":\"", width, b"*", height, b"\""] {
        copier.out.extend_from_slice(part);
    }
    copier.input = ahead;
    copier.drop_to_input();
    Ok(true)
}

/// Steps over an object exactly as cleaning writes it: these two keys in this order, with whole numbers and no white
/// space. Returns the two numbers.
fn sides<'a>(input: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let whole = |number: &[u8]| number.iter().all(u8::is_ascii_digit);
    input.take_bytes(b":{\"width\":")?;
    let width = input.scalar().ok().filter(|width| whole(width))?;
    input.take_bytes(b",\"height\":")?;
    let height = input.scalar().ok().filter(|height| whole(height))?;
    input.take_bytes(b"}")?;
    Some((width, height))
}

/// Returns whether Zoom documents the values of a key as booleans, numbers or lists: `""` would have the wrong type
/// there.
fn is_documented_as_no_text(scope: Scope, name: &[u8]) -> bool {
    match scope {
        Scope::Participant => matches!(
            name,
            b"has_archiving"
                | b"internal_ip_addresses"
                | b"issue_list"
                | b"recording"
                | b"share_application"
                | b"share_desktop"
                | b"share_whiteboard"
                | b"total_jointime_cost"
                | b"user_qos"
        ),
        Scope::Outside => false,
        Scope::Qos => matches!(name, b"max_rssi" | b"avg_rssi" | b"min_rssi"),
    }
}

/// Steps over `:null`. Returns `false`, with nothing changed, for any other value.
fn step_over_null(copier: &mut Copier<'_, '_>) -> Result<bool, Desynced> {
    let mut ahead = copier.input;
    ahead.take(b':')?;
    let is_null = ahead.token()? == b'n';
    if is_null {
        ahead.scalar()?;
        copier.input = ahead;
    }
    Ok(is_null)
}
