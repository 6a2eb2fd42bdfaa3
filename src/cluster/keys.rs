//! What is in Redis under which name. Pure.
//!
//! All names begin with one hash tag, so that in a cluster they lie in one slot and scripts may touch them together:
//!
//! | name | what | how long |
//! |---|---|---|
//! | `{zqp:NS}:budget` | hash: next free slot, day's count, cool-downs, last purge | for good, some 300 bytes |
//! | `{zqp:NS}:members` | hash: replica → last seen, demand | for good; replicas that are gone leave after an hour |
//! | `{zqp:NS}:fence` | the last fencing number | for good |
//! | `{zqp:NS}:purges` | sorted set: what was purged when, the last 1000 | for good |
//! | `{zqp:NS}:r:ID:TYPE` | hash: fencing number, record of a snapshot or a refusal | as long as it can be of use |
//! | `{zqp:NS}:r:access-token:NAME` | the same, of the access token, only encrypted; `NAME` stands for credentials and key | as long as it lives |
//! | `{zqp:NS}:r:ID:TYPE:TAG` | record of a snapshot that somebody pages through | 5 minutes |
//! | `{zqp:NS}:c:…` | hash: who fetches it, fencing number | until it landed, minutes at most |
//! | `{zqp:NS}:p:…` | number of its last purge | 15 minutes |
//! | `{zqp:NS}:events` | channel: cool-downs, landings, failures, purges | |
//!
//! `NS` tells apart accounts that use one Redis: they share nothing.

use sha2::{Digest as _, Sha256};

use crate::{
    meeting_id::MeetingId,
    snapshot::{MeetingType, SnapshotKey, Tag},
};

/// Names below one hash tag.
#[derive(Debug, Clone)]
pub struct Keys {
    tag: Box<str>,
    pub(super) budget: Box<str>,
    pub(super) members: Box<str>,
    pub(super) fence: Box<str>,
    pub(super) purges: Box<str>,
    pub(super) events: Box<str>,
}

/// What a record is of: the part of its name that is its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Box<str>);

impl Subject {
    /// A meeting's view: its snapshot, or the word that there is none.
    #[must_use]
    pub fn meeting(key: &SnapshotKey) -> Self {
        Self(format!("{}:{}", key.meeting, key.meeting_type.as_str()).into())
    }

    /// One snapshot of a meeting, that somebody pages through.
    #[must_use]
    pub fn paged(key: &SnapshotKey, tag: Tag) -> Self {
        Self(format!("{}:{tag}", Self::meeting(key).0).into())
    }

    /// The access token for certain credentials: [`super::seal::Sealer::name`] makes a name of them.
    #[must_use]
    pub fn access_token(name: &str) -> Self {
        Self(format!("access-token:{name}").into())
    }

    /// Of which meeting's view a text in an event is. `None`: of none, or of a later version's.
    #[must_use]
    pub fn key_of(text: &str) -> Option<SnapshotKey> {
        let (meeting, view) = text.rsplit_once(':')?;
        let meeting_type = MeetingType::ALL.into_iter().find(|known| known.as_str() == view)?;
        Some(SnapshotKey { meeting: MeetingId::parse(meeting).ok()?, meeting_type })
    }

    /// As it stands in names and events.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells apart accounts that use one Redis, and says nothing of them.
#[must_use]
pub fn namespace(api_base_url: &str, account: &str) -> String {
    let digest =
        Sha256::new().chain_update(api_base_url).chain_update(b"\0").chain_update(account).finalize();
    format!("{:016x}", digest.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

impl Keys {
    /// For one account: `namespace` is any short text of letters and digits.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let tag = format!("{{zqp:{namespace}}}");
        let named = |name: &str| format!("{tag}:{name}").into_boxed_str();
        Self {
            budget: named("budget"),
            members: named("members"),
            fence: named("fence"),
            purges: named("purges"),
            events: named("events"),
            tag: tag.clone().into(),
        }
    }

    pub(super) fn record(&self, of: &Subject) -> String {
        format!("{}:r:{}", self.tag, of.0)
    }

    pub(super) fn claim(&self, of: &Subject) -> String {
        format!("{}:c:{}", self.tag, of.0)
    }

    pub(super) fn purged(&self, of: &Subject) -> String {
        format!("{}:p:{}", self.tag, of.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meetings_view_is_known_again_by_its_text() {
        for meeting in ["85746065432", "ats/xhSEQWit9t+U02HXNQ=="] {
            for meeting_type in MeetingType::ALL {
                let key = SnapshotKey { meeting: MeetingId::parse(meeting).unwrap(), meeting_type };
                assert_eq!(Subject::key_of(Subject::meeting(&key).as_str()), Some(key));
            }
        }
        for text in ["", "access-token", "access-token:00ff", "85746065432", "85746065432:soon", "x:live"] {
            assert_eq!(Subject::key_of(text), None, "{text}");
        }
    }

    #[test]
    fn every_name_has_the_one_hash_tag() {
        let keys = Keys::new("5f0c");
        let meeting = MeetingId::parse("ats/xhSEQWit9t+U02HXNQ==").unwrap();
        let of = Subject::meeting(&SnapshotKey { meeting, meeting_type: MeetingType::Past });
        let names =
            [&*keys.budget, &keys.members, &keys.fence, &keys.purges, &keys.events].map(str::to_owned);
        for name in names.into_iter().chain([keys.record(&of), keys.claim(&of), keys.purged(&of)]) {
            assert!(name.starts_with("{zqp:5f0c}:"), "{name}");
        }
        assert_eq!(keys.record(&of), "{zqp:5f0c}:r:ats/xhSEQWit9t+U02HXNQ==:past");
    }
}
