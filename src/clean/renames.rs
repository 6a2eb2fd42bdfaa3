//! Prevents duplicate keys: neither value of `{"bitrate": "1 kbps", "bitrate_kbps": 2}` may be lost.
//!
//! Keys are renamed at once, although a colliding key may follow much later. So each object records its renames, and those that
//! collide are undone in one pass once the page is written.

use std::ops::Range;

use super::cursor::{Desynced, Text};
use super::field::Field;

/// The open objects below `user_qos`, and the renames to undo in closed ones.
#[derive(Default)]
pub(super) struct Renames<'a> {
    open: Vec<ObjectKeys>,
    /// The keys of all open objects; each object's begin where its parent's end.
    keys: Vec<SeenKey<'a>>,
    undo: Vec<Undo<'a>>,
}

/// One open object.
struct ObjectKeys {
    begin: usize,
    /// One bit for each cleaned key. Some keys share a bit, but nearly always the bits show that no two keys are equal.
    seen: u64,
    may_collide: bool,
}

struct SeenKey<'a> {
    key: Text<'a>,
    field: Field,
    /// How to undo the rename; `None` for a key that Zoom sent in this form.
    undo: Option<Undo<'a>>,
}

/// How to restore an entry's own key and value.
#[derive(Clone)]
pub(super) struct Undo<'a> {
    /// The range of the complete entry, counted from the beginning of the page in the output.
    pub(super) written: Range<usize>,
    /// Zoom's key, without quotes.
    pub(super) key: &'a [u8],
    /// Zoom's string, without quotes; `None` for `null`, and for `""`, which becomes `null` under any key.
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Renames<'a> {
    pub(super) fn open_object(&mut self) {
        self.open.push(ObjectKeys { begin: self.keys.len(), seen: 0, may_collide: false });
    }

    /// Records that Zoom itself sent the new key of `field`.
    pub(super) fn sent(&mut self, key: Text<'a>, name: &[u8], field: Field) {
        let stem = name.strip_suffix(field.suffix().as_bytes()).unwrap_or(name);
        self.record(SeenKey { key, field, undo: None }, stem);
    }

    /// Records that a key was renamed.
    #[inline]
    pub(super) fn renamed(&mut self, key: Text<'a>, name: &[u8], field: Field, undo: Undo<'a>) {
        self.record(SeenKey { key, field, undo: Some(undo) }, name);
    }

    #[inline]
    fn record(&mut self, key: SeenKey<'a>, stem: &[u8]) {
        if let Some(object) = self.open.last_mut() {
            let bit = bit(key.field, stem);
            object.may_collide |= object.seen & bit != 0;
            object.seen |= bit;
            self.keys.push(key);
        }
    }

    pub(super) fn close_object(&mut self) -> Result<(), Desynced> {
        let object = self.open.pop().ok_or(Desynced)?;
        if object.may_collide {
            self.find_collisions(object.begin)?;
        }
        self.keys.truncate(object.begin);
        Ok(())
    }

    /// Finds the renames to undo in a closed object. Where several cleaned keys are equal, the one that Zoom sent
    /// stays, or else the first renamed one.
    #[cold]
    fn find_collisions(&mut self, begin: usize) -> Result<(), Desynced> {
        let mut names = Vec::new();
        for key in self.keys.get(begin..).ok_or(Desynced)? {
            let mut cleaned = key.key.name()?.into_owned();
            if key.undo.is_some() {
                cleaned.extend_from_slice(key.field.suffix().as_bytes());
            }
            names.push((cleaned, &key.undo));
        }
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        for equal in names.chunk_by(|(one, _), (other, _)| one == other) {
            let is_sent = equal.iter().any(|(_, undo)| undo.is_none());
            let stays = usize::from(!is_sent);
            let renamed = equal.iter().filter_map(|(_, undo)| undo.as_ref());
            self.undo.extend(renamed.skip(stays).cloned());
        }
        Ok(())
    }

    /// Returns the renames to undo, in the order of the output.
    pub(super) fn into_undo(mut self) -> Vec<Undo<'a>> {
        self.undo.sort_by_key(|undo| undo.written.start);
        self.undo
    }
}

/// Returns the bit of a key. Each fixed key has its own bit; the keys of `CpuUsage` share 56 bits.
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

/// Undoes renames: rewrites the page, which begins at `begin` in `out`, and moves `rows` along.
#[cold]
pub(super) fn take_back(
    undo: &[Undo<'_>],
    out: &mut Vec<u8>,
    begin: usize,
    rows: &mut [Range<usize>],
) -> Result<(), Desynced> {
    let page = out.get(begin..).ok_or(Desynced)?.to_vec();
    out.truncate(begin);
    let mut copied = 0;
    let mut borders = rows.iter_mut().flat_map(|row| [&mut row.start, &mut row.end]).peekable();
    // Copies from border to border. A border is the beginning or the end of a row, or of an entry to restore.
    for undo in undo {
        while let Some(border) = borders.next_if(|border| **border <= undo.written.start) {
            out.extend_from_slice(page.get(copied..*border).ok_or(Desynced)?);
            copied = *border;
            *border = out.len() - begin;
        }
        out.extend_from_slice(page.get(copied..undo.written.start).ok_or(Desynced)?);
        copied = undo.written.end;
        append_entry(undo, out);
    }
    for border in borders {
        out.extend_from_slice(page.get(copied..*border).ok_or(Desynced)?);
        copied = *border;
        *border = out.len() - begin;
    }
    out.extend_from_slice(page.get(copied..).ok_or(Desynced)?);
    Ok(())
}

fn append_entry(undo: &Undo<'_>, out: &mut Vec<u8>) {
    let (quote, value): (&[u8], _) = undo.value.map_or((b"", &b"null"[..]), |text| (b"\"", text));
    for part in [b"\"", undo.key, b"\":", quote, value, quote] {
        out.extend_from_slice(part);
    }
}
