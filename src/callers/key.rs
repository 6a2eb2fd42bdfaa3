//! Caller keys and their hashes. A key is only ever made, shown once, and hashed; hashes are what is kept.
//!
//! SHA-256 without salt or stretching: a key is 256 random bits, which nobody guesses from its hash.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::list::Digest;

/// Begins every key that is made here, so that people and scanners for leaked secrets know one when they see it.
const PREFIX: &str = "zqp_";
const RANDOM_BYTES: usize = 32;

/// A key as it is made: to be shown once. It cannot be printed by accident.
pub struct CallerKey(String);

impl CallerKey {
    /// From the operating system's randomness.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The key itself, for the one place that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of(self.0.as_bytes())
    }
}

/// The hash under which a key is kept.
pub(super) fn digest_of(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

/// Whether this is the hash of nothing or of a little white space: of a variable that was not set, or of `echo` alone.
pub(super) fn is_of_nothing(digest: &Digest) -> bool {
    const LONGEST: usize = 4;
    let mut texts = vec![Vec::new()];
    for _ in 0..=LONGEST {
        if texts.iter().any(|text| digest_of(text) == *digest) {
            return true;
        }
        let longer =
            texts.iter().flat_map(|text| b" \t\r\n".iter().map(|byte| [text, &[*byte][..]].concat()));
        texts = longer.collect();
    }
    false
}

/// 64 hexadecimal digits, in any case.
pub(super) fn digest_from_hex(text: &str) -> Option<Digest> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?)).collect();
    bytes.filter(|_| rest.is_empty())?.try_into().ok()
}

/// The same the other way.
pub(super) fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

/// Whether this is one of our keys, where a hash is expected.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        // printf %s test | sha256sum
        let printed = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(hex(&digest_of(b"test")), printed);
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
    fn a_key_fits_into_a_header_and_no_two_are_the_same() {
        let (one, other) = (CallerKey::random().unwrap(), CallerKey::random().unwrap());
        assert!(one.expose() != other.expose());
        assert_eq!(one.expose().len(), "zqp_".len() + 43, "32 bytes in base64");
        assert!(looks_like_one(one.expose()));
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    }
}
