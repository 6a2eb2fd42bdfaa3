//! Writes the responses of Zoom's own paths from a snapshot.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{
    identity::ParticipantIdentity,
    visible::VisibleMeeting,
    whole::ViewPage,
    zoom_shape::{LIST_TAIL, append_participant, list_head},
};

/// Writes these participants as one of Zoom's pages.
pub(super) fn write_page(
    meeting: &VisibleMeeting<'_>,
    page: &ViewPage,
    out: &mut impl Write,
) -> io::Result<()> {
    let ViewPage { offset, size, next_page_token } = page;
    out.write_all(list_head(meeting.rows(), *size, next_page_token.as_deref()).as_bytes())?;
    let mut participants = meeting.participants_for_zooms_shape(*offset, (*size).into());
    let mut shaped = Vec::new();
    while let Some(participant) = participants.read()? {
        if !shaped.is_empty() {
            shaped.clear();
            shaped.push(b',');
        }
        append_participant(participant, &mut shaped).map_err(io::Error::other)?;
        out.write_all(&shaped)?;
    }
    out.write_all(LIST_TAIL.as_bytes())
}

/// Writes the newest row of the participant with this `user_id`, `id` or `participant_uuid`. Returns `false` if the
/// meeting has no such participant.
pub(super) fn write_participant(
    meeting: &VisibleMeeting<'_>,
    wanted: &str,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut participants = meeting.participants_for_zooms_shape(0, meeting.rows());
    let mut newest: Option<(Option<Timestamp>, Vec<u8>)> = None;
    while let Some(participant) = participants.read()? {
        let identity = ParticipantIdentity::of(participant).map_err(io::Error::other)?;
        let joined = joined_at(&identity);
        let is_newer = newest.as_ref().is_none_or(|(newest, _)| *newest <= joined);
        if is_newer && has_id(&identity, wanted) {
            newest = Some((joined, participant.to_vec()));
        }
    }
    let Some((_, row)) = newest else { return Ok(false) };
    let mut shaped = Vec::new();
    append_participant(&row, &mut shaped).map_err(io::Error::other)?;
    out.write_all(&shaped)?;
    Ok(true)
}

fn has_id(identity: &ParticipantIdentity<'_>, wanted: &str) -> bool {
    let ids = [&identity.user_id, &identity.id, &identity.participant_uuid];
    !wanted.is_empty() && ids.into_iter().flatten().any(|id| **id == *wanted.as_bytes())
}

/// Returns the time at which the stay began. `None` if Zoom sent no valid time; it compares as earlier than every time.
fn joined_at(identity: &ParticipantIdentity<'_>) -> Option<Timestamp> {
    str::from_utf8(identity.join_time.as_deref()?).ok()?.parse().ok()
}
