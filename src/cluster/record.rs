//! What is stored, as bytes: a head with the format's version, and a body that is checked or encrypted. Pure.
//!
//! Anything that is not exactly that, of another version, torn, foreign, of another key or moved to another name, is read
//! as nothing at all: a miss.
//!
//! `Z Q version kind sealing`, then 16 bytes of SHA-256 and the body, or the sealed body (`seal.rs`). The body begins with
//! the time at which its content was had, by the server's clock.

use sha2::{Digest as _, Sha256};

use super::{clock::Micros, keys::Subject, seal::Sealer};

/// One more with every change that older replicas would misread.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"ZQ";
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const CHECKSUM: usize = 16;

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A snapshot's bytes.
    Snapshot,
    /// Zoom's word that there is none.
    Refusal,
    /// An access token.
    AccessToken,
}

impl Kind {
    const ALL: [(Self, u8); 3] = [(Self::Snapshot, 1), (Self::Refusal, 2), (Self::AccessToken, 3)];

    fn number(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == number).map(|(kind, _)| *kind)
    }
}

/// A record that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// When its content was had.
    pub had: Micros,
    /// The content.
    pub body: Vec<u8>,
}

/// As bytes for this name. `None`: it cannot be encrypted now.
#[must_use]
pub fn write(
    sealer: Option<&Sealer>,
    of: &Subject,
    kind: Kind,
    had: Micros,
    content: &[u8],
) -> Option<Vec<u8>> {
    let sealing = if sealer.is_some() { SEALED } else { PLAIN };
    let front = [MAGIC[0], MAGIC[1], VERSION, kind.number(), sealing];
    let body = [&had.to_le_bytes(), content].concat();
    Some(match sealer {
        Some(sealer) => [&front[..], &sealer.seal(&body, &around(front, of))?].concat(),
        None => [&front[..], &checksum(front, of, &body), &body].concat(),
    })
}

/// Reads what stands under this name. With a key only what was encrypted with it counts.
#[must_use]
pub fn read(sealer: Option<&Sealer>, of: &Subject, bytes: &[u8]) -> Option<Record> {
    let (front, rest) = bytes.split_first_chunk::<5>()?;
    let [z, q, version, kind, sealing] = *front;
    if [z, q] != MAGIC || version != VERSION {
        return None;
    }
    let kind = Kind::of(kind)?;
    let body = match (sealer, sealing) {
        (Some(sealer), SEALED) => sealer.open(rest, &around(*front, of))?,
        (None, PLAIN) => {
            let (expected, body) = rest.split_first_chunk::<CHECKSUM>()?;
            (checksum(*front, of, body) == *expected).then(|| body.to_vec())?
        }
        _ => return None,
    };
    let (time, content) = body.split_first_chunk::<8>()?;
    Some(Record { kind, had: Micros::from_le_bytes(*time), body: content.to_vec() })
}

/// Whether that is of another version, or was encrypted with another key or none: no reason to wonder, while replicas or
/// keys are being replaced.
#[must_use]
pub fn is_foreign(sealer: Option<&Sealer>, bytes: &[u8]) -> bool {
    let Some((front, rest)) = bytes.split_first_chunk::<5>() else { return false };
    let [z, q, version, kind, sealing] = *front;
    let is_ours = match (sealer, sealing) {
        (Some(sealer), SEALED) => sealer.sealed(rest),
        (None, PLAIN) => true,
        _ => false,
    };
    [z, q] == MAGIC && (version != VERSION || Kind::of(kind).is_none() || !is_ours)
}

/// What the encryption vouches for besides the body.
fn around(front: [u8; 5], of: &Subject) -> Vec<u8> {
    [&front[..], of.as_str().as_bytes()].concat()
}

fn checksum(front: [u8; 5], of: &Subject, body: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update(around(front, of)).chain_update(body).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{MeetingType, SnapshotKey},
    };

    fn of(number: &str) -> Subject {
        let meeting = MeetingId::parse(number).unwrap();
        Subject::meeting(&SnapshotKey { meeting, meeting_type: MeetingType::Live })
    }

    #[test]
    fn a_record_round_trips_only_under_its_own_key() {
        let sealer = Sealer::new(&"07".repeat(32)).unwrap();
        let (one, other) = (of("85746065432"), of("85746065433"));
        for sealer in [None, Some(&sealer)] {
            for (kind, _) in Kind::ALL {
                let bytes = write(sealer, &one, kind, 1_800_000_000_000_000, b"content").unwrap();
                let record = Record { kind, had: 1_800_000_000_000_000, body: b"content".to_vec() };
                assert_eq!(read(sealer, &one, &bytes), Some(record));
                assert_eq!(read(sealer, &other, &bytes), None);
            }
        }
    }

    #[test]
    fn what_is_torn_changed_foreign_or_of_another_version_is_nothing() {
        let sealer = Sealer::new(&"07".repeat(32)).unwrap();
        let one = of("85746065432");
        for sealer in [None, Some(&sealer)] {
            let bytes = write(sealer, &one, Kind::Snapshot, 1, b"content").unwrap();
            for at in 0..bytes.len() {
                assert_eq!(read(sealer, &one, &bytes[..at]), None, "the first {at} bytes");
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert_eq!(read(sealer, &one, &changed), None, "bit {bit} of byte {at}");
                }
            }
            let mut newer = bytes.clone();
            newer[2] = VERSION + 1;
            assert_eq!(read(sealer, &one, &newer), None);
            assert_eq!(read(sealer, &one, b"\"another program's value\""), None);
        }
    }

    #[test]
    fn plain_records_are_foreign_with_a_key_and_encrypted_without() {
        let sealer = Sealer::new(&"07".repeat(32)).unwrap();
        let one = of("85746065432");
        let plain = write(None, &one, Kind::Snapshot, 1, b"content").unwrap();
        let secret = write(Some(&sealer), &one, Kind::Snapshot, 1, b"content").unwrap();
        assert_eq!((read(Some(&sealer), &one, &plain), read(None, &one, &secret)), (None, None));
        assert!(is_foreign(Some(&sealer), &plain) && is_foreign(None, &secret));
    }

    #[test]
    fn another_version_or_key_is_foreign_but_a_torn_record_is_not() {
        let [sealer, other] = ["07", "08"].map(|byte| Sealer::new(&byte.repeat(32)).unwrap());
        let one = of("85746065432");
        for sealer in [None, Some(&sealer)] {
            let bytes = write(sealer, &one, Kind::Snapshot, 1, b"content").unwrap();
            assert!(!is_foreign(sealer, &bytes) && is_foreign(Some(&other), &bytes));
            assert!(!is_foreign(sealer, &bytes[..bytes.len() - 1]) && !is_foreign(sealer, b""));
            let mut newer = bytes;
            newer[2] = VERSION + 1;
            assert!(is_foreign(sealer, &newer));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), head: bool) {
            let sealer = Sealer::new(&"07".repeat(32)).unwrap();
            let bytes = if head { [&b"ZQ\x01\x01\x00"[..], &bytes].concat() } else { bytes };
            for sealer in [None, Some(&sealer)] {
                prop_assert_eq!(read(sealer, &of("85746065432"), &bytes), None);
                prop_assert!(!is_foreign(sealer, &bytes) || bytes.starts_with(&MAGIC));
            }
        }
    }
}
