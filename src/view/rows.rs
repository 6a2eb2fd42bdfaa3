//! Participants as rows of a table: one for each sample, or for each group of a sample.
//!
//! A participant without samples has one row. A value without a column of its own is in the list `other`, with its name:
//! for example the second of two equal keys, or a participant's field with the name of a sample's column. So is a value
//! that needs a new column after a thousand were added to the known ones.

mod columns;
mod csv;
mod json_text;
mod ndjson;
mod row;
mod shape;

use self::{
    columns::Columns,
    row::{RowReader, TableRow},
};
use std::io::{self, Write};

pub use self::{
    columns::known_columns,
    shape::{RowFormat, RowShape},
};
use super::NotAParticipant;
use crate::json::Desynced;

/// Makes rows of one meeting's participants.
pub struct RowMaker {
    shape: RowShape,
    /// The meeting's id as JSON text.
    meeting_id: Vec<u8>,
    columns: Columns,
}

impl RowMaker {
    /// Returns a maker of rows in this shape, for the participants of `meeting_id`.
    #[must_use]
    pub fn new(meeting_id: &str, shape: RowShape) -> Self {
        let mut json = Vec::new();
        json_text::append(meeting_id.as_bytes(), &mut json);
        Self { shape, meeting_id: json, columns: Columns::new(shape) }
    }

    /// Writes the rows of `cleaned`, one element of a snapshot's `participants`, as NDJSON.
    ///
    /// # Errors
    /// `cleaned` is not such an element, which would be a bug, or the writer failed.
    pub fn write_ndjson(&mut self, cleaned: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.write(cleaned, out, |row, columns, line| {
            ndjson::append(row, columns, line);
            Ok(())
        })
    }

    /// Adds the columns of a participant. CSV needs the columns of all participants for its header.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which would be a bug.
    pub fn add_columns(&mut self, cleaned: &[u8]) -> io::Result<()> {
        self.write(cleaned, &mut io::sink(), |_, _, _| Ok(()))
    }

    /// Writes the header of CSV, with all columns added so far.
    ///
    /// # Errors
    /// The writer failed.
    pub fn write_csv_header(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = Vec::new();
        csv::append_header(&self.columns, &mut line);
        out.write_all(&line)
    }

    /// Writes the rows of a participant, whose columns were added before, as CSV.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which would be a bug, or the writer failed.
    pub fn write_csv(&mut self, cleaned: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.write(cleaned, out, csv::append)
    }

    /// Writes each row as soon as it is complete. All rows of a participant can be many times as large as the
    /// participant, because each row repeats the participant's own fields.
    fn write(
        &mut self,
        cleaned: &[u8],
        out: &mut impl Write,
        append: impl Fn(&TableRow<'_>, &Columns, &mut Vec<u8>) -> Result<(), Desynced>,
    ) -> io::Result<()> {
        let (shape, columns, meeting_id) = (self.shape, &mut self.columns, self.meeting_id.as_slice());
        let (mut line, mut failed) = (Vec::new(), None);
        let each = |row: &TableRow<'_>, columns: &Columns| {
            line.clear();
            append(row, columns, &mut line)?;
            // Any error ends the reading.
            out.write_all(&line).map_err(|error| {
                failed = Some(error);
                Desynced
            })
        };
        let read = RowReader { shape, columns, meeting_id, each }.read(cleaned);
        match failed {
            Some(error) => Err(error),
            None => read.map_err(|error| io::Error::other(NotAParticipant::from(error))),
        }
    }
}
