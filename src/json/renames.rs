//! Prevents duplicate keys: neither value of `{"bitrate": "1 kbps", "bitrate_kbps": 2}` may be lost.
//!
//! A key is renamed as soon as it is read, although a colliding key may follow much later. The renames of each
//! object are therefore recorded, and those that collide are undone in one pass after the text is written.

use std::ops::Range;

use super::cursor::{Desynced, Text};

/// Decides which of several renamed keys stays renamed if they have the same new name, and no key in the source has
/// that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    FirstStays,
    NoneStays,
}

/// The open objects whose keys are compared, and the renames to undo in closed objects.
pub(crate) struct Renames<'a> {
    ties: Ties,
    open: Vec<ObjectKeys>,
    /// The recorded keys of all open objects, from the outermost object to the innermost.
    keys: Vec<SeenKey<'a>>,
    /// The entries to restore, each with its key in the source, without quotes.
    undo: Vec<(&'a [u8], Undo<'a>)>,
}

struct ObjectKeys {
    begin: usize,
    /// The bits of all recorded keys. Keys with different bits cannot collide, and nearly always all bits differ.
    /// Keys that share a bit may collide.
    seen: u64,
    may_collide: bool,
}

struct SeenKey<'a> {
    key: Text<'a>,
    suffix: &'static str,
    undo: Option<Undo<'a>>,
}

/// How to restore an entry.
#[derive(Clone)]
pub(crate) struct Undo<'a> {
    /// The range of the complete entry, counted from the beginning of the copy in the output.
    pub(crate) written: Range<usize>,
    /// The value to write back, as JSON text.
    pub(crate) value: &'a [u8],
}

impl<'a> Renames<'a> {
    pub(crate) fn new(ties: Ties) -> Self {
        Self { ties, open: Vec::new(), keys: Vec::new(), undo: Vec::new() }
    }

    pub(crate) fn open_object(&mut self) {
        self.open.push(ObjectKeys { begin: self.keys.len(), seen: 0, may_collide: false });
    }

    /// Records a key of the innermost object. Two keys collide if they are equal with their suffixes: `latency` with
    /// `_ms`, and `latency_ms` with none. Keys that can be equal must have the same `bit`. `undo` is `None` if the
    /// key was not renamed.
    #[inline]
    pub(crate) fn record(&mut self, bit: u64, key: Text<'a>, suffix: &'static str, undo: Option<Undo<'a>>) {
        if let Some(object) = self.open.last_mut() {
            object.may_collide |= object.seen & bit != 0;
            object.seen |= bit;
            self.keys.push(SeenKey { key, suffix, undo });
        }
    }

    pub(crate) fn close_object(&mut self) -> Result<(), Desynced> {
        let object = self.open.pop().ok_or(Desynced)?;
        if object.may_collide {
            self.find_collisions(object.begin)?;
        }
        self.keys.truncate(object.begin);
        Ok(())
    }

    /// Finds the renames to undo in a closed object. Where several keys collide, all renames among them are undone.
    /// If all of these keys were renamed, [`Ties`] decides whether the first key stays renamed.
    #[cold]
    fn find_collisions(&mut self, begin: usize) -> Result<(), Desynced> {
        let mut names = Vec::new();
        for key in self.keys.get(begin..).ok_or(Desynced)? {
            let name = [&key.key.name()?, key.suffix.as_bytes()].concat();
            names.push((name, key));
        }
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        for equal in names.chunk_by(|(one, _), (other, _)| one == other).filter(|equal| equal.len() > 1) {
            let all_renamed = equal.iter().all(|(_, key)| key.undo.is_some());
            let stay = usize::from(all_renamed && self.ties == Ties::FirstStays);
            let renamed = equal.iter().filter_map(|(_, key)| Some((key.key.raw, key.undo.clone()?)));
            self.undo.extend(renamed.skip(stay));
        }
        Ok(())
    }

    /// Undoes the renames that collide, in the text that begins at `begin` in `out`, and adjusts `rows` to the new
    /// text.
    pub(crate) fn finish(
        mut self,
        out: &mut Vec<u8>,
        begin: usize,
        rows: &mut [Range<usize>],
    ) -> Result<(), Desynced> {
        if self.undo.is_empty() {
            return Ok(());
        }
        self.undo.sort_by_key(|(_, undo)| undo.written.start);
        take_back(&self.undo, out, begin, rows)
    }
}

#[cold]
fn take_back(
    undo: &[(&[u8], Undo<'_>)],
    out: &mut Vec<u8>,
    begin: usize,
    rows: &mut [Range<usize>],
) -> Result<(), Desynced> {
    let written = out.get(begin..).ok_or(Desynced)?.to_vec();
    out.truncate(begin);
    let mut copied = 0;
    let mut borders = rows.iter_mut().flat_map(|row| [&mut row.start, &mut row.end]).peekable();
    // Copies from border to border. A border is the beginning or the end of a row, or of an entry to restore.
    for &(key, ref undo) in undo {
        while let Some(border) = borders.next_if(|border| **border <= undo.written.start) {
            out.extend_from_slice(written.get(copied..*border).ok_or(Desynced)?);
            copied = *border;
            *border = out.len() - begin;
        }
        out.extend_from_slice(written.get(copied..undo.written.start).ok_or(Desynced)?);
        copied = undo.written.end;
        for part in [b"\"", key, b"\":", undo.value] {
            out.extend_from_slice(part);
        }
    }
    for border in borders {
        out.extend_from_slice(written.get(copied..*border).ok_or(Desynced)?);
        copied = *border;
        *border = out.len() - begin;
    }
    out.extend_from_slice(written.get(copied..).ok_or(Desynced)?);
    Ok(())
}
