//! Slices of a snapshot, and the tokens that lead from one slice to the next. Following a token costs no Zoom call.
//!
//! A token contains the offset of the next slice and names the snapshot, so that all slices show the meeting at one
//! time. Replicas that share snapshots accept each other's tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::{
    hiding::HidingKeys,
    snapshot::{MeetingKind, MeetingType, RowRange, Snapshot, SnapshotKey, Tag},
    view::snapshot_view::ViewPage,
};

/// The permitted numbers of participants in a slice. Zoom permits the same range on other endpoints.
pub(super) const SLICE_SIZES: std::ops::RangeInclusive<u16> = 1..=300;

/// A range of consecutive participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// The index of the first participant, from 0.
    pub(super) offset: u32,
    /// The maximum number of participants.
    pub(super) size: u16,
}

impl Slice {
    pub(super) fn offset(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }

    pub(super) fn next(self) -> Self {
        Self { offset: self.offset.saturating_add(self.size.into()), ..self }
    }

    /// Returns the range of this slice's participants. If more participants follow, the response contains a token
    /// that names this snapshot. The snapshot is then marked, so that the cache keeps it after a newer one replaces
    /// it.
    pub(super) fn range_in(self, snapshot: &Snapshot) -> RowRange {
        let range = snapshot.row_range(self.offset(), self.size.into());
        if range.more {
            snapshot.mark_paged();
        }
        range
    }

    /// Returns the page of a view. Its page token is sealed if there are `keys`.
    pub(super) fn view_page(
        self,
        snapshot: &Snapshot,
        keys: Option<&HidingKeys>,
    ) -> Result<ViewPage, Problem> {
        let next = self.range_in(snapshot).more.then(|| PageToken::after(self, snapshot));
        let next_page_token = match (next, keys) {
            (None, _) => None,
            (Some(token), None) => Some(token.encode()),
            (Some(token), Some(keys)) => Some(token.seal(keys)?),
        };
        Ok(ViewPage { offset: self.offset(), size: self.size, next_page_token })
    }
}

/// A decoded `next_page_token`. It does not contain the meeting's id; the snapshot with its tag is found only under the
/// right id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageToken {
    pub(super) tag: Tag,
    pub(super) kind: MeetingKind,
    pub(super) meeting_type: MeetingType,
    pub(super) slice: Slice,
}

/// The first byte of a token. A token of another version is rejected, and the caller must start again.
const VERSION: u8 = 2;
/// The length of a token without its checksum: version, kind and type, tag, offset and size.
const LENGTH: usize = 1 + 1 + 16 + 4 + 2;
/// Bits of the second byte, which contains kind and type.
const WEBINAR: u8 = 1;
const PAST: u8 = 2;
/// The length of the checksum, which detects mistyped tokens. It does not prevent forgery, and need not: a forged token
/// leads only to data that its sender may request anyway.
const CHECKSUM: usize = 4;

impl PageToken {
    /// Makes the token for the slice after this one.
    pub(super) fn after(slice: Slice, snapshot: &Snapshot) -> Self {
        let SnapshotKey { kind, meeting_type, .. } = snapshot.key;
        Self { tag: snapshot.tag, kind, meeting_type, slice: slice.next() }
    }

    pub(super) fn encode(self) -> String {
        let mut bytes = self.content();
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum.iter().take(CHECKSUM));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Encrypts the token, for a caller from whom fields are hidden. The token contains the snapshot's tag, which is a
    /// hash of the whole meeting, including the hidden fields.
    pub(super) fn seal(self, keys: &HidingKeys) -> Result<String, Problem> {
        let sealed = keys.seal(&self.content()).map_err(|_| Problem::Internal)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn content(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH + CHECKSUM);
        let webinar = if self.kind == MeetingKind::Webinar { WEBINAR } else { 0 };
        let past = if self.meeting_type == MeetingType::Past { PAST } else { 0 };
        bytes.extend_from_slice(&[VERSION, webinar | past]);
        bytes.extend_from_slice(&self.tag.0.to_be_bytes());
        bytes.extend_from_slice(&self.slice.offset.to_be_bytes());
        bytes.extend_from_slice(&self.slice.size.to_be_bytes());
        bytes
    }

    /// Reads a token that was sealed with these keys, or encoded if there are no keys. A caller from whom fields are
    /// hidden must not use encoded tokens: it could forge one to test a guess about a hidden value.
    ///
    /// # Errors
    /// The text is not such a token of this version.
    pub(super) fn parse(text: &str, keys: Option<&HidingKeys>) -> Result<Self, Problem> {
        let token = match keys {
            None => Self::decode(text),
            Some(keys) => Self::unseal(text, keys),
        };
        token.ok_or(Problem::InvalidPageToken)
    }

    fn unseal(text: &str, keys: &HidingKeys) -> Option<Self> {
        Self::of_content(&keys.open(&URL_SAFE_NO_PAD.decode(text).ok()?)?)
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (content, checksum) = bytes.split_at_checked(LENGTH)?;
        if checksum.len() != CHECKSUM || !Sha256::digest(content).starts_with(checksum) {
            return None;
        }
        Self::of_content(content)
    }

    fn of_content(content: &[u8]) -> Option<Self> {
        let ([version, flags], rest) = content.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (offset, size) = rest.split_first_chunk()?;
        let slice =
            Slice { offset: u32::from_be_bytes(*offset), size: u16::from_be_bytes(size.try_into().ok()?) };
        let is_valid = *version == VERSION && *flags <= WEBINAR | PAST && SLICE_SIZES.contains(&slice.size);
        let kind = if flags & WEBINAR == 0 { MeetingKind::Meeting } else { MeetingKind::Webinar };
        let meeting_type = if flags & PAST == 0 { MeetingType::Live } else { MeetingType::Past };
        is_valid.then_some(Self { tag: Tag(u128::from_be_bytes(*tag)), kind, meeting_type, slice })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(tag: u128, offset: u32, size in SLICE_SIZES, flags in 0..4_u8) {
            let kind = MeetingKind::ALL[usize::from(flags & 1)];
            let meeting_type = MeetingType::ALL[usize::from(flags >> 1)];
            let token = PageToken { tag: Tag(tag), kind, meeting_type, slice: Slice { offset, size } };
            prop_assert_eq!(PageToken::decode(&token.encode()), Some(token));
        }

        #[test]
        fn unsealing_undoes_sealing_with_the_same_keys(tag: u128, offset: u32, size in SLICE_SIZES) {
            let (kind, meeting_type) = (MeetingKind::Webinar, MeetingType::Past);
            let token = PageToken { tag: Tag(tag), kind, meeting_type, slice: Slice { offset, size } };
            let keys = |secret| HidingKeys::derive(secret).unwrap();
            let sealed = token.seal(&keys("secret")).unwrap();
            prop_assert_eq!(PageToken::unseal(&sealed, &keys("secret")), Some(token));
            prop_assert_eq!(PageToken::unseal(&sealed, &keys("secret2")), None);
            prop_assert_eq!(PageToken::unseal(&token.encode(), &keys("secret")), None);
            prop_assert_eq!(PageToken::decode(&sealed), None);
        }

        #[test]
        fn other_text_is_no_token(text in "[A-Za-z0-9_-]{0,80}") {
            prop_assert_eq!(PageToken::decode(&text), None);
        }

        #[test]
        fn a_token_with_one_letter_changed_is_rejected(at in 0_usize..38, letter in "[A-Za-z0-9_-]") {
            let (kind, meeting_type) = (MeetingKind::Webinar, MeetingType::Past);
            let token = PageToken { tag: Tag(7), kind, meeting_type, slice: Slice { offset: 10, size: 10 } }.encode();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &letter);
            prop_assert_eq!(PageToken::decode(&changed).is_some(), changed == token);
        }
    }
}
