//! Responses of Zoom's own paths, made from a snapshot.

use std::io::{self, Write};

use bytes::Bytes;

use super::zoom_shape::append_participant;
use crate::snapshot::Snapshot;

/// Writes at most `size` participants from number `offset` on as one of Zoom's pages.
pub(super) fn write_page(
    snapshot: &Snapshot,
    plain: Option<&Bytes>,
    (offset, size): (usize, u16),
    next_page_token: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let total = snapshot.rows();
    let page_count = total.div_ceil(usize::from(size.max(1)));
    write!(
        out,
        r#"{{"page_count":{page_count},"page_size":{size},"total_records":{total},"next_page_token":"{next_page_token}","participants":["#
    )?;
    let mut participants = snapshot.participants(offset, size.into(), plain);
    let mut shaped = Vec::new();
    while let Some(participant) = participants.read()? {
        if !shaped.is_empty() {
            shaped.clear();
            shaped.push(b',');
        }
        append_participant(participant, &mut shaped).map_err(io::Error::other)?;
        out.write_all(&shaped)?;
    }
    out.write_all(b"]}")
}

/// Writes the newest row of one participant. `false`: the meeting has no such participant.
pub(super) fn write_participant(
    snapshot: &Snapshot,
    plain: Option<&Bytes>,
    wanted: &str,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut participants = snapshot.participants(0, snapshot.rows(), plain);
    while let Some(participant) = participants.read()? {
        if participant.windows(wanted.len().max(1)).any(|part| part == wanted.as_bytes()) {
            let mut shaped = Vec::new();
            append_participant(participant, &mut shaped).map_err(io::Error::other)?;
            out.write_all(&shaped)?;
            return Ok(true);
        }
    }
    Ok(false)
}
