//! Writes the JSON of a whole snapshot, or of a slice of it, for callers from whom something is hidden.

use std::io::{self, Write};

use super::visible::{VisibleMeeting, VisibleReader};

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
    (offset, size): (usize, u16),
    next_page_token: Option<&str>,
    out: &mut impl Write,
) -> io::Result<()> {
    write_list(&meeting.head(), meeting.participants(offset, size.into()), out)?;
    out.write_all(slice_foot(size, next_page_token).as_bytes())
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
