//! Responses of `/qos` that show a selection of a snapshot's participants: as JSON, or as rows.

use std::io::{self, Write};

use super::{
    NotAParticipant,
    rows::{RowFormat, RowMaker, RowShape},
    select::Selection,
    visible::{VisibleMeeting, VisibleReader},
};

/// How a snapshot's body begins its list of participants.
const LIST: &str = "\"participants\":[";

/// Reads the selected participants of a snapshot one after the other.
pub(super) struct SelectedReader<'s> {
    participants: VisibleReader<'s>,
    selection: &'s Selection,
    selected: Vec<u8>,
    /// Whether the selected participant was read, with or without samples; `true` if the selection names no participant.
    pub(super) found: bool,
}

impl<'s> SelectedReader<'s> {
    pub(super) fn new(meeting: &VisibleMeeting<'s>, selection: &'s Selection) -> Self {
        let participants = meeting.participants(0, meeting.rows());
        Self { participants, selection, selected: Vec::new(), found: selection.participant.is_none() }
    }

    pub(super) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        self.selected.clear();
        while self.selected.is_empty() {
            let Some(participant) = self.participants.read()? else { return Ok(None) };
            if self.selection.matches(participant).map_err(corrupt)? {
                self.found = true;
                self.selection.append(participant, &mut self.selected).map_err(corrupt)?;
            }
        }
        Ok(Some(&self.selected))
    }
}

/// Writes the meeting with the selected participants, and their number. Returns `false`, and writes nothing, if the
/// meeting lacks the participant.
pub(super) fn write_json(
    meeting: &VisibleMeeting<'_>,
    selection: &Selection,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut counted = SelectedReader::new(meeting, selection);
    let mut count = 0_usize;
    while counted.read()?.is_some() {
        count += 1;
    }
    if !counted.found {
        return Ok(false);
    }
    let head = meeting.head();
    let head = head.strip_suffix(LIST).ok_or(io::ErrorKind::InvalidData)?;
    write!(out, "{head}\"selected_records\":{count},{LIST}")?;
    let mut selected = SelectedReader::new(meeting, selection);
    let mut separator: &[u8] = b"";
    while let Some(participant) = selected.read()? {
        out.write_all(std::mem::replace(&mut separator, b","))?;
        out.write_all(participant)?;
    }
    out.write_all(b"]}")?;
    Ok(true)
}

/// Writes the rows of the selected participants. Returns `false`, and writes nothing, if the meeting lacks the participant.
pub(super) fn write_rows(
    meeting: &VisibleMeeting<'_>,
    (selection, shape, format): (&Selection, RowShape, RowFormat),
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut maker = RowMaker::new(meeting.key().meeting.as_str(), shape);
    if format == RowFormat::Csv {
        let mut selected = SelectedReader::new(meeting, selection);
        while let Some(participant) = selected.read()? {
            maker.add_columns(participant)?;
        }
        if !selected.found {
            return Ok(false);
        }
        maker.write_csv_header(out)?;
    }
    let mut selected = SelectedReader::new(meeting, selection);
    while let Some(participant) = selected.read()? {
        match format {
            RowFormat::Ndjson => maker.write_ndjson(participant, out)?,
            RowFormat::Csv => maker.write_csv(participant, out)?,
        }
    }
    Ok(selected.found)
}

pub(super) fn corrupt(error: NotAParticipant) -> io::Error {
    io::Error::other(error)
}
