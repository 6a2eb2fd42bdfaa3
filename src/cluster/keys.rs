//! The keys in Redis. Pure.
//!
//! All keys begin with the same hash tag. In a Redis Cluster they are therefore in one slot, and a script may use several
//! of them.
//!
//! | key | value | expires |
//! |---|---|---|
//! | `{zqp:NS}:budget` | hash, the shared quota: next free slot, day's count, cool-downs, last purge; about 300 bytes | never |
//! | `{zqp:NS}:members` | hash: replica → last seen, demand | never; a replica is removed an hour after its last heartbeat |
//! | `{zqp:NS}:callers` | hash: the day; caller → calls, end of the drawn part of its reserve | never; a new day replaces it |
//! | `{zqp:NS}:m:CALLER` | sorted set: the times of the calls made for a caller with `calls_per_minute` | a minute after the last call |
//! | `{zqp:NS}:d:CALLER` | the day, and the calls made for a caller with `calls_per_day` | a day after the last call |
//! | `{zqp:NS}:fence` | last fencing number | never |
//! | `{zqp:NS}:purges` | sorted set: the last 1000 purges by number | never |
//! | `{zqp:NS}:r:ID:TYPE` | hash: fencing number, record of a snapshot or a refusal | when no replica can use it any more |
//! | `{zqp:NS}:r:access-token:NAME` | hash: fencing number, record of the access token, always encrypted; `NAME` is derived from the credentials | with the token |
//! | `{zqp:NS}:r:ID:TYPE:webinar` | hash: fencing number, record of a webinar's snapshot or refusal | when no replica can use it any more |
//! | `{zqp:NS}:r:ID:TYPE:TAG`, `…:webinar:TAG` | record of a snapshot that a caller pages through | 15 minutes after its last use |
//! | `{zqp:NS}:c:…` | hash: owner of a claim, fencing number, attempt | with the claim, a minute after its last renewal |
//! | `{zqp:NS}:p:…` | number of the key's last purge | after 30 minutes |
//! | `{zqp:NS}:events` | channel: cool-downs, stored records, failures, purges | |
//!
//! `NS` is different for each account. Accounts that use one Redis share nothing.

use sha2::{Digest as _, Sha256};

use crate::{
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType, SnapshotKey, Tag},
};

/// The suffix of the names of webinars' records.
const WEBINAR: &str = ":webinar";

#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tag: Box<str>,
    pub(super) quota: Box<str>,
    pub(super) members: Box<str>,
    pub(super) callers: Box<str>,
    pub(super) fence: Box<str>,
    pub(super) purges: Box<str>,
    pub(super) events: Box<str>,
}

/// The name of a record and of its claim: the last part of their keys in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordKey(Box<str>);

/// The right to fetch the content of a record for all replicas. A claim ends when the record is stored or purged, or
/// when the claim is released, expires, or is taken over by another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(crate) key: RecordKey,
    /// The fencing number. It is larger than that of every earlier claim of this key, as far as the server remembers
    /// them.
    pub fence: u64,
}

impl RecordKey {
    /// Names the record for a meeting or webinar of one type (`live` or `past`), which contains the snapshot or Zoom's
    /// refusal. Replicas of old versions that do not know webinars ignore the names of webinars.
    pub fn meeting(key: &SnapshotKey) -> Self {
        let suffix = match key.kind {
            MeetingKind::Meeting => "",
            MeetingKind::Webinar => WEBINAR,
        };
        Self(format!("{}:{}{suffix}", key.meeting, key.meeting_type.as_str()).into())
    }

    /// Names the record of one snapshot that callers page through.
    pub fn paged(key: &SnapshotKey, tag: Tag) -> Self {
        Self(format!("{}:{tag}", Self::meeting(key).0).into())
    }

    /// Names the record of an access token. `name` is the [name](super::cipher::RecordCipher::name) of its credentials.
    pub fn access_token(name: &str) -> Self {
        Self(format!("access-token:{name}").into())
    }

    /// Parses a name that [`Self::meeting`] made. Returns `None` for any other name, such as one of a later version.
    pub(crate) fn snapshot_key(text: &str) -> Option<SnapshotKey> {
        let (text, kind) = match text.strip_suffix(WEBINAR) {
            Some(text) => (text, MeetingKind::Webinar),
            None => (text, MeetingKind::Meeting),
        };
        let (meeting, view) = text.rsplit_once(':')?;
        let meeting_type = MeetingType::ALL.into_iter().find(|known| known.as_str() == view)?;
        Some(SnapshotKey { meeting: MeetingId::parse(meeting).ok()?, kind, meeting_type })
    }

    /// Returns the name as it appears in keys and events.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the namespace, which is the part of the keys that separates accounts. It is a digest, so that keys do not
/// reveal the account.
pub(crate) fn namespace(api_base_url: &str, account: &str) -> String {
    let digest =
        Sha256::new().chain_update(api_base_url).chain_update(b"\0").chain_update(account).finalize();
    format!("{:016x}", digest.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

impl Keys {
    /// Makes the keys of an account. `namespace` consists of letters and digits, and is different for each account.
    pub(crate) fn new(namespace: &str) -> Self {
        let tag = format!("{{zqp:{namespace}}}");
        let named = |name: &str| format!("{tag}:{name}").into_boxed_str();
        Self {
            quota: named("budget"),
            members: named("members"),
            callers: named("callers"),
            fence: named("fence"),
            purges: named("purges"),
            events: named("events"),
            tag: tag.clone().into(),
        }
    }

    pub(super) fn record(&self, key: &RecordKey) -> String {
        format!("{}:r:{}", self.tag, key.0)
    }

    /// Returns the keys of a caller's calls of the last minute and of the day.
    pub(super) fn ceilings(&self, caller: &str) -> (String, String) {
        (format!("{}:m:{caller}", self.tag), format!("{}:d:{caller}", self.tag))
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
        let names = [&*keys.quota, &keys.members, &keys.callers, &keys.fence, &keys.purges, &keys.events]
            .map(str::to_owned);
        let (minute, day) = keys.ceilings("support-tools");
        let others = [keys.record(&key), keys.claim(&key), keys.purged(&key), minute, day];
        for name in names.into_iter().chain(others) {
            assert!(name.starts_with("{zqp:5f0c}:"), "{name}");
        }
        assert_eq!(keys.record(&key), "{zqp:5f0c}:r:ats/xhSEQWit9t+U02HXNQ==:past");
    }
}
