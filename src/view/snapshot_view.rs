//! The views of a snapshot that callers can request, with their parameters.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::zoom_page;
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
}

impl View {
    /// Returns a name that differs for different views, and is valid as part of an entity tag.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::ZoomPage { offset, size, .. } => format!("zoom-{offset}-{size}").into(),
            Self::ZoomParticipant { wanted } => {
                let digest = Sha256::digest(wanted.as_bytes());
                digest.iter().fold("zoom-".to_owned(), |name, byte| format!("{name}{byte:02x}")).into()
            }
        }
    }

    /// Returns the length of the participants that the view is made from, in bytes, to decide whether the view is
    /// large.
    pub fn input_length(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::ZoomPage { offset, size, .. } => snapshot.row_range(*offset, (*size).into()).length,
            // Unknown until the participant is found. A single participant is never treated as large.
            Self::ZoomParticipant { .. } => 0,
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
        }
    }
}
