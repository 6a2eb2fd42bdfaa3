//! The views of a snapshot that callers can request, with their parameters.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use sha2::{Digest as _, Sha256};

pub(crate) use super::whole::ViewPage;
use super::{
    rows::{RowFormat, RowShape},
    select::Selection,
    selected, summarized,
    summary::{SummaryLimit, SummaryLimits},
    visible::VisibleMeeting,
    whole, zoom_page,
};
use crate::snapshot::Snapshot;

/// A view of a snapshot, with all parameters.
#[derive(Debug, Clone)]
pub(crate) enum View {
    /// The meeting as its snapshot has it. Only for callers from whom something is hidden: the others get the
    /// snapshot's body.
    Whole,
    /// A slice of [`Self::Whole`].
    Slice(ViewPage),
    /// A page in Zoom's shape.
    ZoomPage(ViewPage),
    /// The newest row of one participant in Zoom's shape.
    ZoomParticipant {
        /// The participant's `user_id`, `id` or `participant_uuid`.
        wanted: String,
    },
    /// The meeting with some of its participants, groups and minutes.
    Selected(Box<Selection>),
    /// Participants as rows.
    Rows { selection: Box<Selection>, shape: RowShape, format: RowFormat },
    /// A summary: whose connection was bad, when and why.
    Summary {
        selection: Box<Selection>,
        /// The limits above which a minute counts as over.
        limits: SummaryLimits,
    },
}

impl View {
    /// Returns a name that differs for different views, and is valid as part of an entity tag.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Whole => "whole".into(),
            Self::Slice(ViewPage { offset, size, .. }) => format!("slice-{offset}-{size}").into(),
            Self::ZoomPage(ViewPage { offset, size, .. }) => format!("zoom-{offset}-{size}").into(),
            Self::Selected(selection) => format!("select-{}", selection.fingerprint()).into(),
            Self::Rows { selection, shape, format } => {
                let (shape, format) = (shape.as_str(), format.as_str());
                format!("{format}-{shape}-{}", selection.fingerprint()).into()
            }
            // Each limit is written as 16 hexadecimal digits, because in decimal it could have hundreds.
            Self::Summary { selection, limits } => {
                let name = format!("summary-{}", selection.fingerprint());
                let bits = SummaryLimit::ALL.map(|limit| limits.get(limit).to_bits());
                bits.iter().fold(name, |name, bits| format!("{name}-{bits:016x}")).into()
            }
            Self::ZoomParticipant { wanted } => {
                format!("zoom-{}", hex::encode(Sha256::digest(wanted))).into()
            }
        }
    }

    /// Returns the participant to whom the view is restricted, if it is.
    pub(crate) fn participant(&self) -> Option<&str> {
        match self {
            Self::Whole | Self::Slice(_) | Self::ZoomPage(_) => None,
            Self::ZoomParticipant { wanted } => Some(wanted),
            Self::Selected(selection) | Self::Rows { selection, .. } | Self::Summary { selection, .. } => {
                selection.participant.as_deref()
            }
        }
    }

    /// Returns the size of the input in bytes, which decides whether the view counts as large.
    pub(crate) fn input_length(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Slice(page) | Self::ZoomPage(page) => {
                snapshot.row_range(page.offset, page.size.into()).length
            }
            // Unknown until the participant is found. A single participant is never treated as large.
            _ if self.participant().is_some() => 0,
            _ => snapshot.length,
        }
    }

    /// Writes the view. Returns `false`, and writes nothing, if the view is of a participant that the meeting does not
    /// have.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, or the writer failed.
    pub(crate) fn write(&self, meeting: &VisibleMeeting<'_>, out: &mut impl Write) -> io::Result<bool> {
        match self {
            Self::Whole => whole::write(meeting, out).map(|()| true),
            Self::Slice(page) => whole::write_slice(meeting, page, out).map(|()| true),
            Self::ZoomPage(page) => zoom_page::write_page(meeting, page, out).map(|()| true),
            Self::ZoomParticipant { wanted } => zoom_page::write_participant(meeting, wanted, out),
            Self::Selected(selection) => selected::write_json(meeting, selection, out),
            Self::Rows { selection, shape, format } => {
                selected::write_rows(meeting, (selection, *shape, *format), out)
            }
            Self::Summary { selection, limits } => summarized::write(meeting, (selection, *limits), out),
        }
    }
}
