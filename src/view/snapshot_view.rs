//! The views of a snapshot that callers can request, with their parameters.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    rows::{RowFormat, RowShape},
    select::Selection,
    selected, summarized,
    summary::{SummaryLimit, SummaryLimits},
    zoom_page,
};
use crate::snapshot::Snapshot;

/// A view of a snapshot, with all parameters.
#[derive(Debug, Clone)]
pub enum View {
    /// A page in Zoom's shape.
    ZoomPage {
        /// The index of its first participant, from 0.
        offset: usize,
        /// The maximum number of participants.
        size: u16,
        /// The token of the next page; `None` on the last one. It is determined by the snapshot and the other two
        /// fields, so it is not part of the view's name.
        next_page_token: Option<String>,
    },
    /// The newest row of one participant in Zoom's shape.
    ZoomParticipant {
        /// The participant's `user_id`, `id` or `participant_uuid`.
        wanted: String,
    },
    /// The meeting with some of its participants, groups and minutes.
    Selected(Box<Selection>),
    /// Participants as rows.
    Rows {
        /// The part of the meeting.
        selection: Box<Selection>,
        /// The unit of a row.
        shape: RowShape,
        /// How it is written.
        format: RowFormat,
    },
    /// Whose connection was bad, when and why.
    Summary {
        /// The part of the meeting.
        selection: Box<Selection>,
        /// The limits above which a minute counts as over.
        limits: SummaryLimits,
    },
}

impl View {
    /// Returns a name that differs for different views, and is valid as part of an entity tag.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::ZoomPage { offset, size, .. } => format!("zoom-{offset}-{size}").into(),
            Self::Selected(selection) => format!("select-{}", selection.fingerprint()).into(),
            Self::Rows { selection, shape, format } => {
                let (shape, format) = (shape.as_str(), format.as_str());
                format!("{format}-{shape}-{}", selection.fingerprint()).into()
            }
            // Each limit as 16 hexadecimal digits: written in decimal, it could have hundreds.
            Self::Summary { selection, limits } => {
                let name = format!("summary-{}", selection.fingerprint());
                let bits = SummaryLimit::ALL.map(|limit| limits.get(limit).to_bits());
                bits.iter().fold(name, |name, bits| format!("{name}-{bits:016x}")).into()
            }
            Self::ZoomParticipant { wanted } => {
                let digest = Sha256::digest(wanted.as_bytes());
                digest.iter().fold("zoom-".to_owned(), |name, byte| format!("{name}{byte:02x}")).into()
            }
        }
    }

    /// Returns the participant whom the view shows alone.
    pub fn participant(&self) -> Option<&str> {
        match self {
            Self::ZoomPage { .. } => None,
            Self::ZoomParticipant { wanted } => Some(wanted),
            Self::Selected(selection) | Self::Rows { selection, .. } | Self::Summary { selection, .. } => {
                selection.participant.as_deref()
            }
        }
    }

    /// Returns the length of the participants that the view is made from, in bytes, to decide whether the view is
    /// large.
    pub fn input_length(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::ZoomPage { offset, size, .. } => snapshot.row_range(*offset, (*size).into()).length,
            // Unknown until the participant is found. A single participant is never treated as large.
            _ if self.participant().is_some() => 0,
            Self::ZoomParticipant { .. } | Self::Selected(_) | Self::Rows { .. } | Self::Summary { .. } => {
                snapshot.length
            }
        }
    }

    /// Writes the view. Returns `false`, and writes nothing, if the view is of a participant that the meeting does not
    /// have.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, or the writer failed.
    pub fn write(
        &self,
        snapshot: &Snapshot,
        plain: Option<&Bytes>,
        out: &mut impl Write,
    ) -> io::Result<bool> {
        match self {
            Self::ZoomPage { offset, size, next_page_token } => {
                let token = next_page_token.as_deref();
                zoom_page::write_page(snapshot, plain, (*offset, *size), token, out)?;
                Ok(true)
            }
            Self::ZoomParticipant { wanted } => zoom_page::write_participant(snapshot, plain, wanted, out),
            Self::Selected(selection) => selected::write_json(snapshot, plain, selection, out),
            Self::Rows { selection, shape, format } => {
                selected::write_rows(snapshot, plain, (selection, *shape, *format), out)
            }
            Self::Summary { selection, limits } => {
                summarized::write(snapshot, plain, (selection, *limits), out)
            }
        }
    }
}
