//! A snapshot as one caller may see it. Views read participants only through these types, so no view can show a
//! hidden value.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::redact::{HiddenForm, ParticipantRedactor};
use crate::{
    hiding::{HiddenFields, HidingKeys},
    snapshot::{ParticipantReader, Snapshot, SnapshotKey},
};

/// The fields that a caller may not see, and the keys for their replacements.
#[derive(Clone)]
pub(crate) struct Redaction {
    hidden: HiddenFields,
    keys: Arc<HidingKeys>,
}

impl Redaction {
    /// Returns `None` if nothing is hidden, without calling `keys`.
    pub(crate) fn new(hidden: HiddenFields, keys: impl FnOnce() -> Arc<HidingKeys>) -> Option<Self> {
        (!hidden.is_empty()).then(|| Self { hidden, keys: keys() })
    }

    pub(crate) fn keys(&self) -> &HidingKeys {
        &self.keys
    }

    /// Returns a name that differs for different hidden fields or keys, and is valid as part of an entity tag.
    pub(crate) fn name(&self) -> String {
        format!("hide{}-{:016x}", self.hidden.digit(), self.keys.id())
    }
}

/// A snapshot without what a caller may not see.
#[derive(Clone, Copy)]
pub(crate) struct VisibleMeeting<'s> {
    snapshot: &'s Snapshot,
    /// The uncompressed body, if it is available.
    plain: Option<&'s Bytes>,
    redaction: Option<&'s Redaction>,
}

impl<'s> VisibleMeeting<'s> {
    pub(crate) fn new(
        snapshot: &'s Snapshot,
        plain: Option<&'s Bytes>,
        redaction: Option<&'s Redaction>,
    ) -> Self {
        Self { snapshot, plain, redaction }
    }

    pub(crate) fn key(&self) -> SnapshotKey {
        self.snapshot.key
    }

    pub(crate) fn fetched_at(&self) -> SystemTime {
        self.snapshot.fetched_at
    }

    pub(crate) fn fresh_for(&self) -> Duration {
        self.snapshot.fresh_for
    }

    /// Returns how many participants there are.
    pub(crate) fn rows(&self) -> usize {
        self.snapshot.rows()
    }

    /// Returns everything in the snapshot's body before its first participant.
    pub(super) fn head(&self) -> String {
        self.snapshot.head()
    }

    /// Returns the beginning of another JSON object about this snapshot: the meeting, its type and kind, and the time of
    /// fetching.
    pub(super) fn opening(&self) -> String {
        self.snapshot.opening()
    }

    /// Returns a reader of at most `size` participants, beginning with number `offset`.
    pub(crate) fn participants(&self, offset: usize, size: usize) -> VisibleReader<'s> {
        self.read(offset, size, HiddenForm::Null)
    }

    /// Like [`Self::participants`], but for Zoom's shape, in which a hidden list is an empty list.
    pub(super) fn participants_for_zooms_shape(&self, offset: usize, size: usize) -> VisibleReader<'s> {
        self.read(offset, size, HiddenForm::ZoomsShape)
    }

    fn read(&self, offset: usize, size: usize, form: HiddenForm) -> VisibleReader<'s> {
        let requested_as = self.snapshot.key.meeting;
        let redactor = self.redaction.map(|redaction| {
            ParticipantRedactor::new(redaction.hidden, form, &redaction.keys, requested_as.as_str())
        });
        let participants = self.snapshot.participants(offset, size, self.plain);
        VisibleReader { participants, redactor, redacted: Vec::new() }
    }
}

/// Reads participants one after the other.
pub(crate) struct VisibleReader<'s> {
    participants: ParticipantReader<'s>,
    redactor: Option<ParticipantRedactor>,
    redacted: Vec<u8>,
}

impl VisibleReader<'_> {
    /// Returns the next participant; `None` after the last one.
    pub(crate) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        let Some(redactor) = &self.redactor else { return self.participants.read() };
        let Some(participant) = self.participants.read()? else { return Ok(None) };
        self.redacted.clear();
        redactor.append(participant, &mut self.redacted).map_err(io::Error::other)?;
        Ok(Some(&self.redacted))
    }
}
