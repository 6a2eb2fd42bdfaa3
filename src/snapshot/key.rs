//! The keys of snapshots: which meeting or webinar, which of Zoom's two views of it, and which of its snapshots.

use std::fmt;

use crate::meeting_id::MeetingId;

vocabulary! {
    /// Zoom's two views of a meeting. The word is the value of the query parameter `type`, both ours and Zoom's.
    pub enum MeetingType {
        /// In progress.
        Live = "live",
        /// Over.
        Past = "past",
    }
}

vocabulary! {
    /// The two kinds of session, each with a QoS endpoint of its own. Their ids look alike. The word is the value of the query
    /// parameter `kind`.
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
    /// Which one.
    pub meeting: MeetingId,
    /// At which of Zoom's endpoints.
    pub kind: MeetingKind,
    /// Which view of it.
    pub meeting_type: MeetingType,
}

impl MeetingKind {
    /// The kind that an id has if it has not this one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Meeting => Self::Webinar,
            Self::Webinar => Self::Meeting,
        }
    }
}

/// A snapshot's key as a caller names it, who may not know the kind: the id does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedKey {
    /// Which meeting or webinar.
    pub meeting: MeetingId,
    /// At which of Zoom's endpoints; `None`: at the one that knows the id.
    pub kind: Option<MeetingKind>,
    /// Which view of it.
    pub meeting_type: MeetingType,
}

impl RequestedKey {
    pub(crate) fn of_kind(self, kind: MeetingKind) -> SnapshotKey {
        SnapshotKey { meeting: self.meeting, kind, meeting_type: self.meeting_type }
    }
}

/// Identifies one snapshot of a meeting: equal tags mean equal bodies, on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub u128);

impl Tag {
    /// The first 128 bits of a digest.
    #[must_use]
    pub fn of(digest: &[u8]) -> Self {
        Self(digest.iter().take(16).fold(0, |tag, byte| tag << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
