//! Writes the JSON of a whole snapshot, or of a slice of it, for callers from whom something is hidden.

use std::io::{self, Write};

use super::visible::{VisibleMeeting, VisibleReader};

/// Consecutive participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewPage {
    /// The index of the first participant, from 0.
    pub(crate) offset: usize,
    /// The maximum number of participants.
    pub(crate) size: u16,
    /// The token of the next page; `None` on the last one. It is determined by the snapshot, the other two fields and the
    /// keys of the caller's [`Redaction`](super::visible::Redaction), so it is not part of the view's name.
    pub(crate) next_page_token: Option<String>,
}

/// Returns everything in a slice after its last participant. `next_page_token` must need no escapes in JSON.
pub(crate) fn slice_foot(size: u16, next_page_token: Option<&str>) -> String {
    match next_page_token {
        Some(token) => format!("],\"page_size\":{size},\"next_page_token\":\"{token}\"}}"),
        None => format!("],\"page_size\":{size},\"next_page_token\":null}}"),
    }
}

pub(super) fn write(meeting: &VisibleMeeting<'_>, out: &mut impl Write) -> io::Result<()> {
    write_list(&meeting.head(), meeting.participants(0, meeting.rows()), out)?;
    out.write_all(b"]}")
}

pub(super) fn write_slice(
    meeting: &VisibleMeeting<'_>,
    page: &ViewPage,
    out: &mut impl Write,
) -> io::Result<()> {
    let ViewPage { offset, size, next_page_token } = page;
    write_list(&meeting.head(), meeting.participants(*offset, (*size).into()), out)?;
    out.write_all(slice_foot(*size, next_page_token.as_deref()).as_bytes())
}

fn write_list(head: &str, mut participants: VisibleReader<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(head.as_bytes())?;
    let mut separator: &[u8] = b"";
    while let Some(participant) = participants.read()? {
        out.write_all(std::mem::replace(&mut separator, b","))?;
        out.write_all(participant)?;
    }
    Ok(())
}
