//! Encodes and decodes the bytes of a record: a head with the format's version, and a body that has a checksum or is
//! encrypted. Pure, except that encryption needs random bytes.
//!
//! A record that cannot be decoded counts as a miss. This happens if it was truncated, changed or moved from another
//! Redis key, or if it is from another program, another version or another encryption key.
//!
//! The head consists of five bytes: `Z`, `Q`, the version, the kind and the protection. It is followed by 16 bytes of
//! SHA-256 and the body, or by the encrypted body (`cipher.rs`). The body begins with the time at which its content was
//! fetched, by the server's clock.

use sha2::{Digest as _, Sha256};

use super::{cipher::RecordCipher, clock::Micros, keys::RecordKey};

/// The format's version. A change that older replicas would misread needs a new version.
pub(crate) const VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"ZQ";
const PLAIN: u8 = 0;
const ENCRYPTED: u8 = 1;
const CHECKSUM: usize = 16;

/// The kind of a record's content, which is one byte of its head. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A snapshot's bytes.
    Snapshot = 1,
    /// A failure in place of a snapshot, for example because there is no such meeting.
    Refusal = 2,
    /// An access token.
    AccessToken = 3,
}

impl RecordKind {
    const ALL: [Self; 3] = [Self::Snapshot, Self::Refusal, Self::AccessToken];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A decoded record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub(crate) kind: RecordKind,
    /// The time at which the content was fetched, by the server's clock.
    pub fetched_at: Micros,
    /// The bytes of a snapshot, a failure or a token.
    pub content: Vec<u8>,
}

/// Encodes a record. Returns `None` if the system's random number generator failed, which encryption needs.
pub fn encode(
    cipher: Option<&RecordCipher>,
    key: &RecordKey,
    kind: RecordKind,
    fetched_at: Micros,
    content: &[u8],
) -> Option<Vec<u8>> {
    let protection = if cipher.is_some() { ENCRYPTED } else { PLAIN };
    let front = [MAGIC[0], MAGIC[1], VERSION, kind as u8, protection];
    let body = [&fetched_at.to_le_bytes(), content].concat();
    Some(match cipher {
        Some(cipher) => [&front[..], &cipher.encrypt(&body, &context(front, key))?].concat(),
        None => [&front[..], &checksum(front, key, &body), &body].concat(),
    })
}

/// Decodes the record of this key. If there is a cipher, the record must be encrypted. Returns `None` if it cannot be
/// decoded.
pub fn decode(cipher: Option<&RecordCipher>, key: &RecordKey, bytes: &[u8]) -> Option<Record> {
    let (front, rest) = bytes.split_first_chunk::<5>()?;
    let [z, q, version, kind, protection] = *front;
    if [z, q] != MAGIC || version != VERSION {
        return None;
    }
    let kind = RecordKind::from_number(kind)?;
    let body = match (cipher, protection) {
        (Some(cipher), ENCRYPTED) => cipher.decrypt(rest, &context(*front, key))?,
        (None, PLAIN) => {
            let (expected, body) = rest.split_first_chunk::<CHECKSUM>()?;
            (checksum(*front, key, body) == *expected).then(|| body.to_vec())?
        }
        _ => return None,
    };
    let (time, content) = body.split_first_chunk::<8>()?;
    Some(Record { kind, fetched_at: Micros::from_le_bytes(*time), content: content.to_vec() })
}

/// Returns whether the record is of another version or an unknown kind, or its encryption does not match the cipher.
/// Such records are expected while replicas or keys are being replaced, so they do not count as rejected values.
pub(crate) fn is_foreign(cipher: Option<&RecordCipher>, bytes: &[u8]) -> bool {
    let Some((front, rest)) = bytes.split_first_chunk::<5>() else { return false };
    let [z, q, version, kind, protection] = *front;
    let is_ours = match (cipher, protection) {
        (Some(cipher), ENCRYPTED) => cipher.has_key_id(rest),
        (None, PLAIN) => true,
        _ => false,
    };
    [z, q] == MAGIC && (version != VERSION || RecordKind::from_number(kind).is_none() || !is_ours)
}

/// Returns the head and the name of the record. The checksum or the encryption also covers them, so that a record
/// cannot be moved to another key.
fn context(front: [u8; 5], key: &RecordKey) -> Vec<u8> {
    [&front[..], key.as_str().as_bytes()].concat()
}

fn checksum(front: [u8; 5], key: &RecordKey, body: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update(context(front, key)).chain_update(body).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{MeetingKind, MeetingType, SnapshotKey},
    };

    fn record_key(number: &str) -> RecordKey {
        let meeting = MeetingId::parse(number).unwrap();
        RecordKey::meeting(&SnapshotKey {
            meeting,
            kind: MeetingKind::Meeting,
            meeting_type: MeetingType::Live,
        })
    }

    #[test]
    fn a_record_round_trips_only_under_its_own_key() {
        let cipher = RecordCipher::new(&"07".repeat(32)).unwrap();
        let (one, other) = (record_key("85746065432"), record_key("85746065433"));
        for cipher in [None, Some(&cipher)] {
            for kind in RecordKind::ALL {
                let bytes = encode(cipher, &one, kind, 1_800_000_000_000_000, b"content").unwrap();
                let record = Record { kind, fetched_at: 1_800_000_000_000_000, content: b"content".to_vec() };
                assert_eq!(decode(cipher, &one, &bytes), Some(record));
                assert_eq!(decode(cipher, &other, &bytes), None);
            }
        }
    }

    #[test]
    fn a_truncated_changed_foreign_or_newer_record_is_not_decoded() {
        let cipher = RecordCipher::new(&"07".repeat(32)).unwrap();
        let one = record_key("85746065432");
        for cipher in [None, Some(&cipher)] {
            let bytes = encode(cipher, &one, RecordKind::Snapshot, 1, b"content").unwrap();
            for at in 0..bytes.len() {
                assert_eq!(decode(cipher, &one, &bytes[..at]), None, "the first {at} bytes");
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert_eq!(decode(cipher, &one, &changed), None, "bit {bit} of byte {at}");
                }
            }
            let mut newer = bytes.clone();
            newer[2] = VERSION + 1;
            assert_eq!(decode(cipher, &one, &newer), None);
            assert_eq!(decode(cipher, &one, b"\"another program's value\""), None);
        }
    }

    #[test]
    fn plain_records_are_foreign_with_a_key_and_encrypted_without() {
        let cipher = RecordCipher::new(&"07".repeat(32)).unwrap();
        let one = record_key("85746065432");
        let plain = encode(None, &one, RecordKind::Snapshot, 1, b"content").unwrap();
        let secret = encode(Some(&cipher), &one, RecordKind::Snapshot, 1, b"content").unwrap();
        assert_eq!((decode(Some(&cipher), &one, &plain), decode(None, &one, &secret)), (None, None));
        assert!(is_foreign(Some(&cipher), &plain) && is_foreign(None, &secret));
    }

    #[test]
    fn another_version_or_key_is_foreign_but_a_torn_record_is_not() {
        let [cipher, other] = ["07", "08"].map(|byte| RecordCipher::new(&byte.repeat(32)).unwrap());
        let one = record_key("85746065432");
        for cipher in [None, Some(&cipher)] {
            let bytes = encode(cipher, &one, RecordKind::Snapshot, 1, b"content").unwrap();
            assert!(!is_foreign(cipher, &bytes) && is_foreign(Some(&other), &bytes));
            assert!(!is_foreign(cipher, &bytes[..bytes.len() - 1]) && !is_foreign(cipher, b""));
            let mut newer = bytes;
            newer[2] = VERSION + 1;
            assert!(is_foreign(cipher, &newer));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), head: bool) {
            let cipher = RecordCipher::new(&"07".repeat(32)).unwrap();
            let bytes = if head { [&b"ZQ\x01\x01\x00"[..], &bytes].concat() } else { bytes };
            for cipher in [None, Some(&cipher)] {
                prop_assert_eq!(decode(cipher, &record_key("85746065432"), &bytes), None);
                prop_assert!(!is_foreign(cipher, &bytes) || bytes.starts_with(&MAGIC));
            }
        }
    }
}
