//! Writes the summary of a selection of a snapshot's participants.

use std::io::{self, Write};

use super::{
    select::Selection,
    selected::{SelectedReader, corrupt},
    summary::{Summary, SummaryLimits},
    visible::VisibleMeeting,
};

/// Writes the summary with these limits. Reads the participants twice, because the counts of all participants come
/// first. Returns `false`, and writes nothing, if the selection is of a participant that the meeting does not have.
pub(super) fn write(
    meeting: &VisibleMeeting<'_>,
    (selection, limits): (&Selection, SummaryLimits),
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut summary = Summary::new(limits);
    let mut counted = SelectedReader::new(meeting, selection);
    while let Some(participant) = counted.read()? {
        summary.add(participant).map_err(corrupt)?;
    }
    if !counted.found {
        return Ok(false);
    }
    let mut text = meeting.opening().into_bytes();
    if !selection.is_everything() {
        write!(text, ",\"selected_records\":{}", summary.participants())?;
    }
    text.push(b',');
    summary.append_counts(&mut text);
    text.extend_from_slice(b",\"participants\":[");
    let mut selected = SelectedReader::new(meeting, selection);
    let mut is_first = true;
    while let Some(participant) = selected.read()? {
        if !std::mem::replace(&mut is_first, false) {
            text.push(b',');
        }
        summary.append_participant(participant, &mut text).map_err(corrupt)?;
        out.write_all(&text)?;
        text.clear();
    }
    text.extend_from_slice(b"]}");
    out.write_all(&text)?;
    Ok(true)
}
