//! Announcements that wait until Redis is available again.

use std::time::Instant;

use super::keys::RecordKey;
use crate::failure::LimitKind;

/// The right to fetch, until a record is put, or the claim is released or taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The record that may be fetched.
    pub(crate) key: RecordKey,
    /// Larger than that of every claim before.
    pub fence: u64,
}

pub(super) enum OutboxItem {
    CoolDown {
        kind: LimitKind,
        until: Instant,
        encoded_failure: String,
    },
    /// No key means everything.
    Purge(Vec<RecordKey>),
    /// This claim of this replica will not be used.
    Release(Claim),
    /// Nor will the one that this attempt may have got: its answer was lost.
    Disown {
        key: RecordKey,
        attempt: String,
    },
}
