//! The key that purges require, if the operators have set one. Only its hash is stored.

use std::path::PathBuf;

use super::key::{Digest, digest_from_hex, digest_of, is_digest_of_blank};
use crate::regular_file;

/// The maximum size of the file with the hash, in bytes. A hash has 64 digits.
const LARGEST_FILE: u64 = 1 << 10;

/// The hash of the operators' key, or the file that contains it.
pub enum OperatorsKey {
    /// The hash is in the configuration.
    Hash(PurgeKeyHash),
    /// The file is read at each purge, so that a changed key needs no restart.
    File(PathBuf),
}

/// The SHA-256 of the operators' key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeKeyHash(Digest);

impl PurgeKeyHash {
    /// Parses 64 hexadecimal digits.
    ///
    /// # Errors
    /// Returns a message that does not repeat the text, which may be the key itself.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match digest_from_hex(text.trim()) {
            None => Err("must be 64 hexadecimal digits, the SHA-256 of the key: printf %s KEY | sha256sum"),
            Some(digest) if is_digest_of_blank(&digest) => {
                Err("is the hash of an empty text; hash the key itself")
            }
            Some(digest) => Ok(Self(digest)),
        }
    }
}

impl OperatorsKey {
    /// Returns the current hash.
    ///
    /// # Errors
    /// The file cannot be read, or contains no hash.
    pub fn hash(&self) -> Result<PurgeKeyHash, String> {
        match self {
            Self::Hash(hash) => Ok(*hash),
            Self::File(path) => {
                let text = regular_file::read_text(path, LARGEST_FILE)
                    .map_err(|error| format!("the file cannot be read: {error}"))?;
                PurgeKeyHash::parse(&text).map_err(|problem| format!("the content of the file {problem}"))
            }
        }
    }

    /// Returns whether this is the operators' key. If the file has no valid hash, rejects every key.
    pub(crate) fn admits(&self, key: &[u8]) -> bool {
        self.hash().is_ok_and(|hash| hash.0 == digest_of(key))
    }
}
