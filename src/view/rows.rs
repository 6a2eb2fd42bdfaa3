//! Participants as rows of a table: one for each sample, or for each group of a sample.
//!
//! A participant without samples has one row. A value without a column of its own is in the list `other`, with its name: the
//! second of two equal keys, a participant's field that is called like a column of samples, and everything beyond a thousand
//! columns.

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
pub use self::{
    columns::{PARTICIPANT_FIELDS, known_columns},
    shape::{RowFormat, RowShape},
};
use super::NotAParticipant;
use crate::json::Desynced;

/// Makes rows of one meeting's participants.
pub struct RowMaker {
    shape: RowShape,
    /// JSON text.
    meeting_id: Vec<u8>,
    columns: Columns,
}

impl RowMaker {
    /// Rows of this meeting.
    #[must_use]
    pub fn new(meeting_id: &str, shape: RowShape) -> Self {
        let mut json = Vec::new();
        json_text::append(meeting_id.as_bytes(), &mut json);
        Self { shape, meeting_id: json, columns: Columns::new(shape) }
    }

    /// Appends the rows of `cleaned`, one element of a snapshot's `participants`, as NDJSON.
    ///
    /// # Errors
    /// `cleaned` is not such an element, which would be a bug; `out` is then unchanged.
    pub fn append_ndjson(&mut self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), NotAParticipant> {
        self.append(cleaned, out, |row, columns, out| {
            ndjson::append(row, columns, out);
            Ok(())
        })
    }

    /// Adds the columns of a participant. CSV needs those of all participants before its header.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which would be a bug.
    pub fn add_columns(&mut self, cleaned: &[u8]) -> Result<(), NotAParticipant> {
        self.append(cleaned, &mut Vec::new(), |_, _, _| Ok(()))
    }

    /// Appends the header of CSV, with all columns added so far.
    pub fn append_csv_header(&self, out: &mut Vec<u8>) {
        csv::append_header(&self.columns, out);
    }

    /// Appends the rows of a participant, whose columns were added before, as CSV.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which would be a bug; `out` is then unchanged.
    pub fn append_csv(&mut self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), NotAParticipant> {
        self.append(cleaned, out, csv::append)
    }

    fn append(
        &mut self,
        cleaned: &[u8],
        out: &mut Vec<u8>,
        write: impl Fn(&TableRow<'_>, &Columns, &mut Vec<u8>) -> Result<(), Desynced>,
    ) -> Result<(), NotAParticipant> {
        let begin = out.len();
        let (shape, columns, meeting_id) = (self.shape, &mut self.columns, self.meeting_id.as_slice());
        let each = |row: &TableRow<'_>, columns: &Columns| write(row, columns, out);
        let read = RowReader { shape, columns, meeting_id, each }.read(cleaned);
        if read.is_err() {
            out.truncate(begin);
        }
        Ok(read?)
    }
}
