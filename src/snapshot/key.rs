//! The keys of snapshots: which meeting or webinar, which of Zoom's two views of it, and which of its snapshots.

use std::fmt;

use crate::meeting_id::MeetingId;

vocabulary! {
    /// Zoom's two views of a meeting. The word is the value of the query parameter `type`, in our API and in Zoom's.
    pub enum MeetingType {
        /// In progress.
        Live = "live",
        /// Over.
        Past = "past",
    }
}

vocabulary! {
    /// The two kinds of session. Zoom has a QoS endpoint for each, and their ids look alike. The word is the value of
    /// the query parameter `kind`.
    pub enum MeetingKind {
        /// A meeting.
        Meeting = "meeting",
        /// A webinar.
        Webinar = "webinar",
    }
}

/// The meeting or webinar that a snapshot shows: the key of the cache and of the table of flights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    /// The meeting's or webinar's id.
    pub meeting: MeetingId,
    /// Its kind, which decides which of Zoom's endpoints is called.
    pub kind: MeetingKind,
    /// Zoom's view of it, live or past.
    pub meeting_type: MeetingType,
}

impl MeetingKind {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Meeting => Self::Webinar,
            Self::Webinar => Self::Meeting,
        }
    }
}

/// The key of a snapshot as a caller requests it. The caller may not know the kind, because the id does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestedKey {
    pub(crate) meeting: MeetingId,
    /// The kind; `None` if the caller does not name one.
    pub(crate) kind: Option<MeetingKind>,
    pub(crate) meeting_type: MeetingType,
}

impl RequestedKey {
    pub(crate) fn of_kind(self, kind: MeetingKind) -> SnapshotKey {
        SnapshotKey { meeting: self.meeting, kind, meeting_type: self.meeting_type }
    }
}

/// Identifies one snapshot of a meeting: equal tags mean equal bodies, on every replica.
// Packed, because the alignment of a u128 would make each key of the cache 16 bytes larger.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(Rust, packed(8))]
pub struct Tag(pub u128);

impl Tag {
    /// Makes a tag from the first 128 bits of a digest.
    pub(crate) fn of(digest: &[u8]) -> Self {
        Self(digest.iter().take(16).fold(0, |tag, byte| tag << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", { self.0 })
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
