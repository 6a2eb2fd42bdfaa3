//! Reads the rows of a participant: the participant's own fields, repeated beside each sample or each group of a sample.

use super::{
    columns::{ColumnPart, Columns, Place},
    json_text,
    shape::RowShape,
};
use crate::json::{Container, Cursor, Desynced, Text};

/// One row: at most one cell for each column, from left to right.
#[derive(Default)]
pub(super) struct TableRow<'a> {
    pub(super) cells: Vec<Cell<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) place: Place,
    /// The value as JSON text.
    pub(super) value: &'a [u8],
}

/// Cells in the order in which they were read.
#[derive(Default)]
struct Draft<'a> {
    cells: Vec<Cell<'a>>,
    /// Values that have no column of their own, with their names.
    others: Vec<(Vec<u8>, &'a [u8])>,
    /// A buffer for the name being built, reused to avoid an allocation for each value.
    name: Vec<u8>,
}

/// The lengths of a draft before a sample or a group was added.
#[derive(Clone, Copy)]
struct Mark(usize, usize);

pub(super) struct RowReader<'r, 'a, F> {
    pub(super) shape: RowShape,
    pub(super) columns: &'r mut Columns,
    /// The meeting's id as JSON text.
    pub(super) meeting_id: &'a [u8],
    pub(super) each: F,
}

impl<'a, F: FnMut(&TableRow<'_>, &Columns) -> Result<(), Desynced>> RowReader<'_, 'a, F> {
    /// Calls `each` with each row of one cleaned participant.
    pub(super) fn read(&mut self, cleaned: &'a [u8]) -> Result<(), Desynced> {
        let mut draft = Draft::default();
        draft.cells.push(Cell { place: Place::MEETING_ID, value: self.meeting_id });
        let mut input = Cursor::new(cleaned);
        let mut qos = Vec::new();
        if let Some(mut fields) = Container::open(&mut input, b'{') {
            while fields.next(&mut input)? {
                let name = input.key()?.name()?;
                if *name == *b"user_qos" && input.token()? == b'[' {
                    qos.push(input);
                    input.skip_value()?;
                } else {
                    draft.add(self.columns, ColumnPart::Participant, &[&name], input.skipped_value()?);
                }
            }
        } else {
            draft.add(self.columns, ColumnPart::Participant, &[b"participant"], input.skipped_value()?);
        }
        if input.at() != cleaned.len() {
            return Err(Desynced);
        }
        let participant = draft.mark();
        let mut has_samples = false;
        for mut input in qos {
            let mut samples = Container::open(&mut input, b'[').ok_or(Desynced)?;
            while samples.next(&mut input)? {
                has_samples = true;
                self.sample(&mut input, &mut draft)?;
                draft.reset(participant);
            }
        }
        if has_samples { Ok(()) } else { self.finish(&draft) }
    }

    fn sample(&mut self, input: &mut Cursor<'a>, draft: &mut Draft<'a>) -> Result<(), Desynced> {
        let mut groups = Vec::new();
        if let Some(mut entries) = Container::open(input, b'{') {
            while entries.next(input)? {
                input.token()?;
                let key = input.key()?;
                let name = key.name()?;
                if *name == *b"date_time" {
                    draft.add(self.columns, ColumnPart::Sample, &[&name], input.skipped_value()?);
                } else if input.token()? == b'{' {
                    groups.push((key, *input));
                    input.skip_value()?;
                } else {
                    draft.add(self.columns, ColumnPart::Sample, &[b"sample", &name], input.skipped_value()?);
                }
            }
        } else {
            draft.add(self.columns, ColumnPart::Sample, &[b"sample"], input.skipped_value()?);
        }
        let sample = draft.mark();
        let has_groups = !groups.is_empty();
        for (key, mut input) in groups {
            match self.shape {
                RowShape::Sample => self.group(Some(&key.name()?), &mut input, draft)?,
                RowShape::Group => {
                    draft.cells.push(Cell { place: Place::GROUP, value: quoted(key, &input)? });
                    self.group(None, &mut input, draft)?;
                    self.finish(draft)?;
                    draft.reset(sample);
                }
            }
        }
        if has_groups && self.shape == RowShape::Group { Ok(()) } else { self.finish(draft) }
    }

    /// Adds the measurements of a group. If `group` is given, it precedes their names.
    fn group(
        &mut self,
        group: Option<&[u8]>,
        input: &mut Cursor<'a>,
        draft: &mut Draft<'a>,
    ) -> Result<(), Desynced> {
        let mut measurements = Container::open(input, b'{').ok_or(Desynced)?;
        while measurements.next(input)? {
            let own = input.key()?.name()?;
            let with_group = [group.unwrap_or_default(), &*own];
            let name = if group.is_some() { &with_group[..] } else { &[&*own] };
            match input.token()? {
                b'{' if *own == *b"resolution" => self.resolution(name, input, draft)?,
                b'n' if *own == *b"resolution" => {
                    let null = input.skipped_value()?;
                    for side in [b"width".as_slice(), b"height"] {
                        draft.add(self.columns, ColumnPart::Sample, &[name, &[side]].concat(), null);
                    }
                }
                _ => draft.add(self.columns, ColumnPart::Sample, name, input.skipped_value()?),
            }
        }
        Ok(())
    }

    /// Adds each side of a resolution.
    fn resolution(
        &mut self,
        name: &[&[u8]],
        input: &mut Cursor<'a>,
        draft: &mut Draft<'a>,
    ) -> Result<(), Desynced> {
        let mut sides = Container::open(input, b'{').ok_or(Desynced)?;
        while sides.next(input)? {
            let side = input.key()?.name()?;
            draft.add(self.columns, ColumnPart::Sample, &[name, &[&*side]].concat(), input.skipped_value()?);
        }
        Ok(())
    }

    /// Passes the draft on as a row. If several cells have the same column, the first keeps it; the others go to
    /// `other`, a list of objects with one entry each.
    fn finish(&mut self, draft: &Draft<'a>) -> Result<(), Desynced> {
        let mut cells = draft.cells.clone();
        // The sort is stable, so the first of equal columns is the first that was read.
        cells.sort_by_key(|cell| cell.place);
        let mut others = Vec::new();
        for (name, value) in &draft.others {
            let mut json = Vec::new();
            json_text::append(name, &mut json);
            push_other(&json, value, &mut others);
        }
        let mut before = None;
        cells.retain(|cell| {
            let is_first = before.replace(cell.place) != Some(cell.place);
            if !is_first {
                push_other(&self.columns.name(cell.place).json, cell.value, &mut others);
            }
            is_first
        });
        if !others.is_empty() {
            others.push(b']');
            self.columns.has_other = true;
            cells.push(Cell { place: Place::OTHER, value: &others });
        }
        (self.each)(&TableRow { cells }, self.columns)
    }
}

impl<'a> Draft<'a> {
    /// Adds a cell whose name is these parts with dots between them.
    fn add(&mut self, columns: &mut Columns, part: ColumnPart, name: &[&[u8]], value: &'a [u8]) {
        self.name.clear();
        for (number, part) in name.iter().enumerate() {
            if number > 0 {
                self.name.push(b'.');
            }
            self.name.extend_from_slice(part);
        }
        match columns.place(part, &self.name) {
            Some(place) => self.cells.push(Cell { place, value }),
            None => self.others.push((self.name.clone(), value)),
        }
    }

    fn mark(&self) -> Mark {
        Mark(self.cells.len(), self.others.len())
    }

    fn reset(&mut self, Mark(cells, others): Mark) {
        self.cells.truncate(cells);
        self.others.truncate(others);
    }
}

fn push_other(name: &[u8], value: &[u8], others: &mut Vec<u8>) {
    others.push(if others.is_empty() { b'[' } else { b',' });
    for part in [b"{", name, b":", value, b"}"] {
        others.extend_from_slice(part);
    }
}

fn quoted<'a>(text: Text<'a>, input: &Cursor<'a>) -> Result<&'a [u8], Desynced> {
    input.source().get(text.begin()..=text.closing_quote()).ok_or(Desynced)
}
