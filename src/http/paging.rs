//! Slices of a snapshot, and the tokens that lead from one to the next. Paging costs no Zoom call.
//!
//! A token names the snapshot that it was made from, so that all slices are of one meeting at one time, and where the
//! next slice begins. Replicas that share snapshots understand each other's tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::snapshot::Tag;

/// Participants in a slice, at most. Zoom's own range for other endpoints.
pub(super) const PAGE_SIZES: std::ops::RangeInclusive<u16> = 1..=300;

/// Some participants in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// The number of the first, counted from 0.
    pub(super) offset: u32,
    /// How many at most.
    pub(super) size: u16,
}

impl Slice {
    pub(super) fn offset(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }

    pub(super) fn next(self) -> Self {
        Self { offset: self.offset.saturating_add(self.size.into()), ..self }
    }
}

/// What a `next_page_token` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageToken {
    pub(super) tag: Tag,
    pub(super) slice: Slice,
}

/// The first byte of a token. A token of another form is not understood, and its caller begins anew.
const FORM: u8 = 1;
/// Form, tag, offset, size.
const LENGTH: usize = 1 + 16 + 4 + 2;
/// So that a token with a slip of the pen is refused, not misunderstood. It is no protection, and need not be one: a
/// made-up token leads to nothing that its maker could not ask for.
const CHECK: usize = 4;

impl PageToken {
    pub(super) fn write(self) -> String {
        let mut bytes = Vec::with_capacity(LENGTH + CHECK);
        bytes.push(FORM);
        bytes.extend_from_slice(&self.tag.0.to_be_bytes());
        bytes.extend_from_slice(&self.slice.offset.to_be_bytes());
        bytes.extend_from_slice(&self.slice.size.to_be_bytes());
        let check = Sha256::digest(&bytes);
        bytes.extend(check.iter().take(CHECK));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` if it is not one of ours.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, check) = bytes.split_at_checked(LENGTH)?;
        let right = Sha256::digest(said);
        if check.len() != CHECK || !right.starts_with(check) {
            return None;
        }
        let (form, rest) = said.split_first()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (offset, size) = rest.split_first_chunk()?;
        let slice =
            Slice { offset: u32::from_be_bytes(*offset), size: u16::from_be_bytes(size.try_into().ok()?) };
        let is_ours = *form == FORM && PAGE_SIZES.contains(&slice.size);
        is_ours.then_some(Self { tag: Tag(u128::from_be_bytes(*tag)), slice })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(tag: u128, offset: u32, size in PAGE_SIZES) {
            let token = PageToken { tag: Tag(tag), slice: Slice { offset, size } };
            prop_assert_eq!(PageToken::read(&token.write()), Some(token));
        }

        #[test]
        fn another_text_is_no_token(text in "[A-Za-z0-9_-]{0,80}") {
            prop_assert_eq!(PageToken::read(&text), None);
        }

        #[test]
        fn nor_is_one_with_a_letter_changed(at in 0_usize..36, letter in "[A-Za-z0-9_-]") {
            let token = PageToken { tag: Tag(7), slice: Slice { offset: 10, size: 10 } }.write();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &letter);
            prop_assert_eq!(PageToken::read(&changed).is_some(), changed == token);
        }
    }
}
