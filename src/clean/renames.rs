//! Keeps a renamed key from meeting its equal: `{"bitrate": "1 kbps", "bitrate_kbps": 2}` must lose neither.
//!
//! Keys are renamed as they come, since the one that forbids it may follow much later. Each object notes its
//! renames; when one turns out to collide, it is taken back once the page is written, all of them in one pass.

use std::ops::Range;

use super::cursor::{Astray, Text};
use super::field::Field;

/// The objects below `user_qos` that are open, and what must be taken back in those that are closed.
#[derive(Default)]
pub(super) struct Renames<'a> {
    open: Vec<Names>,
    /// The names of all open objects; each object's begin where its outer one's end.
    names: Vec<Name<'a>>,
    undo: Vec<Undo<'a>>,
}

/// One open object.
struct Names {
    begin: usize,
    /// One bit for each cleaned key, shared by some: tells at once, nearly always, that no two are equal.
    seen: u64,
    doubtful: bool,
}

struct Name<'a> {
    key: Text<'a>,
    field: Field,
    /// What to do if another key equals this one's new name; `None` for a key that Zoom sent so.
    undo: Option<Undo<'a>>,
}

/// How to give an entry its own key and text back.
#[derive(Clone)]
pub(super) struct Undo<'a> {
    /// The whole entry, from where the page begins in the output.
    pub(super) written: Range<usize>,
    /// Zoom's key, without quotes.
    pub(super) key: &'a [u8],
    /// Zoom's text, without quotes; `None` for `null`, and for `""`, which is `null` under any key.
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Renames<'a> {
    pub(super) fn open_object(&mut self) {
        self.open.push(Names { begin: self.names.len(), seen: 0, doubtful: false });
    }

    /// Notes that Zoom sent a key of the name that `field` is cleaned to.
    pub(super) fn sent(&mut self, key: Text<'a>, name: &[u8], field: Field) {
        let stem = name.strip_suffix(field.suffix().as_bytes()).unwrap_or(name);
        self.note(Name { key, field, undo: None }, stem);
    }

    /// Notes that a key of Zoom's was renamed.
    #[inline]
    pub(super) fn renamed(&mut self, key: Text<'a>, name: &[u8], field: Field, undo: Undo<'a>) {
        self.note(Name { key, field, undo: Some(undo) }, name);
    }

    #[inline]
    fn note(&mut self, name: Name<'a>, stem: &[u8]) {
        if let Some(object) = self.open.last_mut() {
            let bit = bit(name.field, stem);
            object.doubtful |= object.seen & bit != 0;
            object.seen |= bit;
            self.names.push(name);
        }
    }

    pub(super) fn close_object(&mut self) -> Result<(), Astray> {
        let object = self.open.pop().ok_or(Astray)?;
        if object.doubtful {
            self.settle(object.begin)?;
        }
        self.names.truncate(object.begin);
        Ok(())
    }

    /// Of several equal cleaned keys in one object the one that Zoom sent so stays, else the first renamed.
    #[cold]
    fn settle(&mut self, begin: usize) -> Result<(), Astray> {
        let mut names = Vec::new();
        for name in self.names.get(begin..).ok_or(Astray)? {
            let mut cleaned = name.key.name()?.into_owned();
            if name.undo.is_some() {
                cleaned.extend_from_slice(name.field.suffix().as_bytes());
            }
            names.push((cleaned, &name.undo));
        }
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        for equal in names.chunk_by(|(one, _), (other, _)| one == other) {
            let sent_so = equal.iter().any(|(_, undo)| undo.is_none());
            let stays = usize::from(!sent_so);
            let renamed = equal.iter().filter_map(|(_, undo)| undo.as_ref());
            self.undo.extend(renamed.skip(stays).cloned());
        }
        Ok(())
    }

    /// What must be taken back, in the order of the output.
    pub(super) fn into_undo(mut self) -> Vec<Undo<'a>> {
        self.undo.sort_by_key(|undo| undo.written.start);
        self.undo
    }
}

/// Fixed keys have a bit of their own, the keys of `CpuUsage` share the other 56.
#[inline]
fn bit(field: Field, stem: &[u8]) -> u64 {
    match field {
        Field::CpuUsage => {
            let hash = stem.iter().fold(0_u32, |hash, &byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            1 << (8 + hash % 56)
        }
        fixed => 1 << (fixed as u32),
    }
}

/// Takes entries back: rewrites what the page wrote to `out` from `begin` on, and moves `rows` along.
#[cold]
pub(super) fn take_back(
    undo: &[Undo<'_>],
    out: &mut Vec<u8>,
    begin: usize,
    rows: &mut [Range<usize>],
) -> Result<(), Astray> {
    let page = out.get(begin..).ok_or(Astray)?.to_vec();
    out.truncate(begin);
    let mut copied = 0;
    let mut borders = rows.iter_mut().flat_map(|row| [&mut row.start, &mut row.end]).peekable();
    // The copy goes from border to border: of an entry that is taken back, or of a row.
    for undo in undo {
        while let Some(border) = borders.next_if(|border| **border <= undo.written.start) {
            out.extend_from_slice(page.get(copied..*border).ok_or(Astray)?);
            copied = *border;
            *border = out.len() - begin;
        }
        out.extend_from_slice(page.get(copied..undo.written.start).ok_or(Astray)?);
        copied = undo.written.end;
        append_entry(undo, out);
    }
    for border in borders {
        out.extend_from_slice(page.get(copied..*border).ok_or(Astray)?);
        copied = *border;
        *border = out.len() - begin;
    }
    out.extend_from_slice(page.get(copied..).ok_or(Astray)?);
    Ok(())
}

fn append_entry(undo: &Undo<'_>, out: &mut Vec<u8>) {
    let (quote, value): (&[u8], _) = undo.value.map_or((b"", &b"null"[..]), |text| (b"\"", text));
    for part in [b"\"", undo.key, b"\":", quote, value, quote] {
        out.extend_from_slice(part);
    }
}
