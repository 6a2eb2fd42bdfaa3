//! The keys of snapshots: which meeting, which of Zoom's two views of it, and which of its snapshots.

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

/// The meeting that a snapshot shows: the key of the cache and of the table of flights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    /// The meeting.
    pub meeting: MeetingId,
    /// The view of it.
    pub meeting_type: MeetingType,
}

/// Identifies one snapshot of a meeting: equal tags mean equal bodies, on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub u128);

impl Tag {
    /// Makes a tag of the first 128 bits of a digest.
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
