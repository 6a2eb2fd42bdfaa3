//! The keys in Redis. Pure.
//!
//! All begin with one hash tag: in a Redis Cluster they then lie in one slot, and one script may touch several of them.
//!
//! | key | value | expires |
//! |---|---|---|
//! | `{zqp:NS}:budget` | hash: next free slot, day's count, cool-downs, last purge; about 300 bytes | never |
//! | `{zqp:NS}:members` | hash: replica → last seen, demand | never; a replica is removed an hour after its last heartbeat |
//! | `{zqp:NS}:fence` | last fencing number | never |
//! | `{zqp:NS}:purges` | sorted set: the last 1000 purges by number | never |
//! | `{zqp:NS}:r:ID:TYPE` | hash: fencing number, record of a snapshot or a refusal | when no replica can use it any more |
//! | `{zqp:NS}:r:access-token:NAME` | the same for the access token, always encrypted; `NAME` is derived from the credentials | with the token |
//! | `{zqp:NS}:r:ID:TYPE:webinar` | the same for a webinar | the same |
//! | `{zqp:NS}:r:ID:TYPE:TAG`, `…:webinar:TAG` | record of a snapshot that a caller pages through | 15 minutes after its last use |
//! | `{zqp:NS}:c:…` | hash: owner of a claim, fencing number, attempt | with the claim, a minute after its last renewal |
//! | `{zqp:NS}:p:…` | number of the key's last purge | after 15 minutes |
//! | `{zqp:NS}:events` | channel: cool-downs, stored records, failures, purges | |
//!
//! `NS` separates accounts that use one Redis: they share nothing.

use sha2::{Digest as _, Sha256};

use crate::{
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType, SnapshotKey, Tag},
};

/// How the name of a webinar's view ends.
const WEBINAR: &str = ":webinar";

#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tag: Box<str>,
    pub(super) budget: Box<str>,
    pub(super) members: Box<str>,
    pub(super) fence: Box<str>,
    pub(super) purges: Box<str>,
    pub(super) events: Box<str>,
}

/// Names a record, and its claim: the part of their keys that is their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey(Box<str>);

/// The right to fetch, until a record is put, or the claim is released or taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(crate) key: RecordKey,
    /// Larger than that of every claim before.
    pub fence: u64,
}

impl RecordKey {
    /// A meeting's view: a snapshot or a refusal. Replicas of versions without webinars do not know a webinar's name, and ignore
    /// it.
    pub fn meeting(key: &SnapshotKey) -> Self {
        let suffix = match key.kind {
            MeetingKind::Meeting => "",
            MeetingKind::Webinar => WEBINAR,
        };
        Self(format!("{}:{}{suffix}", key.meeting, key.meeting_type.as_str()).into())
    }

    /// One snapshot of a meeting, which a caller pages through.
    pub fn paged(key: &SnapshotKey, tag: Tag) -> Self {
        Self(format!("{}:{tag}", Self::meeting(key).0).into())
    }

    /// The access token. `name`: the credentials', by [`super::cipher::RecordCipher::name`].
    pub fn access_token(name: &str) -> Self {
        Self(format!("access-token:{name}").into())
    }

    /// The meeting's view that an event names. `None`: it names something else, or is of a later version.
    pub(crate) fn snapshot_key(text: &str) -> Option<SnapshotKey> {
        let (text, kind) = match text.strip_suffix(WEBINAR) {
            Some(text) => (text, MeetingKind::Webinar),
            None => (text, MeetingKind::Meeting),
        };
        let (meeting, view) = text.rsplit_once(':')?;
        let meeting_type = MeetingType::ALL.into_iter().find(|known| known.as_str() == view)?;
        Some(SnapshotKey { meeting: MeetingId::parse(meeting).ok()?, kind, meeting_type })
    }

    /// As it appears in keys and events.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Separates accounts that use one Redis, without revealing anything about them.
pub(crate) fn namespace(api_base_url: &str, account: &str) -> String {
    let digest =
        Sha256::new().chain_update(api_base_url).chain_update(b"\0").chain_update(account).finalize();
    format!("{:016x}", digest.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

impl Keys {
    /// `namespace`: a short text of letters and digits, one for each account.
    pub(crate) fn new(namespace: &str) -> Self {
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

    pub(super) fn record(&self, key: &RecordKey) -> String {
        format!("{}:r:{}", self.tag, key.0)
    }

    pub(super) fn claim(&self, key: &RecordKey) -> String {
        format!("{}:c:{}", self.tag, key.0)
    }

    pub(super) fn purged(&self, key: &RecordKey) -> String {
        format!("{}:p:{}", self.tag, key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meetings_view_is_known_again_by_its_text() {
        for meeting in ["85746065432", "ats/xhSEQWit9t+U02HXNQ=="] {
            for (kind, meeting_type) in
                MeetingKind::ALL.into_iter().flat_map(|kind| MeetingType::ALL.map(|view| (kind, view)))
            {
                let key = SnapshotKey { meeting: MeetingId::parse(meeting).unwrap(), kind, meeting_type };
                assert_eq!(RecordKey::snapshot_key(RecordKey::meeting(&key).as_str()), Some(key));
            }
        }
        let texts = ["", "access-token", "access-token:00ff", "85746065432", "85746065432:soon", "x:live"];
        for text in
            texts.into_iter().chain([":webinar", "85746065432:webinar", "85746065432:live:webinar:webinar"])
        {
            assert_eq!(RecordKey::snapshot_key(text), None, "{text}");
        }
    }

    #[test]
    fn a_webinars_names_are_a_meetings_with_a_suffix() {
        let meeting = MeetingId::parse("85746065432").unwrap();
        let key = |kind| SnapshotKey { meeting, kind, meeting_type: MeetingType::Live };
        let names = MeetingKind::ALL.map(|kind| RecordKey::meeting(&key(kind)).as_str().to_owned());
        assert_eq!(names, ["85746065432:live", "85746065432:live:webinar"]);
        let paged = RecordKey::paged(&key(MeetingKind::Webinar), Tag(0x2a));
        assert_eq!(paged.as_str(), "85746065432:live:webinar:0000000000000000000000000000002a");
    }

    #[test]
    fn every_name_has_the_one_hash_tag() {
        let keys = Keys::new("5f0c");
        let meeting = MeetingId::parse("ats/xhSEQWit9t+U02HXNQ==").unwrap();
        let key = RecordKey::meeting(&SnapshotKey {
            meeting,
            kind: MeetingKind::Meeting,
            meeting_type: MeetingType::Past,
        });
        let names =
            [&*keys.budget, &keys.members, &keys.fence, &keys.purges, &keys.events].map(str::to_owned);
        for name in names.into_iter().chain([keys.record(&key), keys.claim(&key), keys.purged(&key)]) {
            assert!(name.starts_with("{zqp:5f0c}:"), "{name}");
        }
        assert_eq!(keys.record(&key), "{zqp:5f0c}:r:ats/xhSEQWit9t+U02HXNQ==:past");
    }
}
