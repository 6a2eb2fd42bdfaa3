//! Caller keys and their hashes. A key is generated, shown once and hashed. Only hashes are stored.
//!
//! SHA-256 needs no salt and no stretching here, because a generated key has 256 random bits and cannot be guessed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a caller key or of the operators' key.
pub(super) type Digest = [u8; 32];

/// The beginning of every generated key. People and scanners for leaked secrets recognize a key by it.
const PREFIX: &str = "zqp_";
const RANDOM_BYTES: usize = 32;

/// A new key, to be shown once. It has no `Debug` or `Display`, so it cannot be printed by accident.
pub(crate) struct CallerKey(String);

impl CallerKey {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of(self.0.as_bytes())
    }
}

pub(super) fn digest_of(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

/// Returns whether this is the hash of at most four white space characters, which an unset variable or a bare `echo`
/// produces.
pub(super) fn is_digest_of_blank(digest: &Digest) -> bool {
    const MAX_LENGTH: usize = 4;
    let mut texts = vec![Vec::new()];
    for _ in 0..=MAX_LENGTH {
        if texts.iter().any(|text| digest_of(text) == *digest) {
            return true;
        }
        let longer =
            texts.iter().flat_map(|text| b" \t\r\n".iter().map(|byte| [text, &[*byte][..]].concat()));
        texts = longer.collect();
    }
    false
}

/// Parses 64 hexadecimal digits, in upper or lower case.
pub(super) fn digest_from_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
}

/// Returns whether the text begins like a caller key.
pub(super) fn is_caller_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        // The output of `printf %s test | sha256sum`.
        let printed = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(hex::encode(digest_of(b"test")), printed);
        assert_eq!(digest_from_hex(printed), Some(digest_of(b"test")));
        assert_eq!(digest_from_hex(&printed.to_uppercase()), Some(digest_of(b"test")));
        for bad in [
            "",
            "9f",
            printed.trim_start_matches('9'),
            &format!("{printed}0"),
            &printed.replace('9', "g"),
            "é",
        ] {
            assert_eq!(digest_from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_differ_and_are_valid_in_a_header() {
        let (one, other) = (CallerKey::random().unwrap(), CallerKey::random().unwrap());
        assert!(one.expose() != other.expose());
        assert_eq!(one.expose().len(), "zqp_".len() + 43, "32 bytes in base64");
        assert!(is_caller_key(one.expose()));
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    }
}
