//! Encrypts the records in Redis with AES-256-GCM (ring) and the key of `redis.encryption_key`.
//!
//! With random nonces of 96 bits, one key may encrypt about 2³² records (NIST SP 800-38D, 8.3). At 40 records a second,
//! that is enough for three years.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use sha2::{Digest as _, Sha256};

/// The length of the key's id, in bytes. The id distinguishes records of another key from corrupt records.
const KEY_ID: usize = 4;

/// Encrypts and decrypts records. It contains the key, so it implements neither `Debug` nor `Serialize`.
pub struct RecordCipher {
    key: LessSafeKey,
    names: hmac::Key,
    id: [u8; KEY_ID],
}

/// The error of [`RecordCipher::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 64 hexadecimal digits, which are 32 bytes: `openssl rand -hex 32` makes one")]
pub struct InvalidKey;

impl RecordCipher {
    /// Parses a key in hexadecimal.
    ///
    /// # Errors
    /// The text is not 64 hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| InvalidKey)?;
        // The key's id and the HMAC key for names are separate digests of the key, so that neither of them reveals
        // another secret.
        let digest = |purpose: &[u8]| Sha256::new().chain_update(purpose).chain_update(key).finalize();
        let id = digest(b"zoom-qos-proxy key id").first_chunk().copied().ok_or(InvalidKey)?;
        let names = hmac::Key::new(hmac::HMAC_SHA256, &digest(b"zoom-qos-proxy names"));
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| InvalidKey)?;
        Ok(Self { key: LessSafeKey::new(key), names, id })
    }

    /// Returns a public name for secrets. It depends only on the secrets and the key. It is an HMAC, so that a guess of
    /// the secrets cannot be checked against the name without the key.
    pub(crate) fn name(&self, secrets: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        for secret in secrets {
            context.update(&secret.len().to_le_bytes());
            context.update(secret.as_bytes());
        }
        let tag = context.sign();
        format!("{:016x}", tag.as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes))
    }

    /// Returns the key's id, the nonce and the ciphertext; `None` if the system's random number generator failed.
    /// `context` is authenticated, but not part of the result.
    pub(crate) fn encrypt(&self, plain: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut encrypted = Vec::with_capacity(KEY_ID + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        encrypted.extend_from_slice(&self.id);
        encrypted.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(context), &mut body).ok()?;
        encrypted.append(&mut body);
        Some(encrypted)
    }

    /// Returns whether the bytes begin with the id of this key.
    pub(crate) fn has_key_id(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.id)
    }

    /// Returns the plain bytes; `None` if the bytes were changed, the context differs, or another key was used.
    pub(crate) fn decrypt(&self, encrypted: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = encrypted.split_first_chunk::<KEY_ID>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *id != self.id {
            return None;
        }
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_context_decrypt() {
        let (one, other) =
            (RecordCipher::new(&"1f".repeat(32)).unwrap(), RecordCipher::new(&"1e".repeat(32)).unwrap());
        let encrypted = one.encrypt(b"Ada, 192.0.2.7", b"85746065432:live").unwrap();
        assert!(!encrypted.windows(3).any(|window| window == b"Ada"));
        assert_eq!(one.decrypt(&encrypted, b"85746065432:live").unwrap(), b"Ada, 192.0.2.7");
        assert_eq!(one.decrypt(&encrypted, b"85746065433:live"), None, "moved to another meeting");
        assert_eq!(other.decrypt(&encrypted, b"85746065432:live"), None);
        for at in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[at] ^= 1;
            assert_eq!(one.decrypt(&changed, b"85746065432:live"), None, "byte {at}");
            assert_eq!(one.decrypt(&encrypted[..at], b"85746065432:live"), None, "the first {at} bytes");
        }
        assert_ne!(
            encrypted,
            one.encrypt(b"Ada, 192.0.2.7", b"85746065432:live").unwrap(),
            "never the same nonce"
        );
    }

    #[test]
    fn a_name_depends_on_the_secrets_their_order_and_the_key() {
        let cipher = |byte: &str| RecordCipher::new(&byte.repeat(32)).unwrap();
        let (one, other) = (cipher("1f"), cipher("1e"));
        let name = one.name(&["account", "client", "secret"]);
        assert_eq!(name.len(), 16);
        assert_eq!(name, cipher("1F").name(&["account", "client", "secret"]));
        assert_ne!(name, other.name(&["account", "client", "secret"]));
        for others in [
            ["account", "client", "secret2"],
            ["account", "secret", "client"],
            ["account", "clients", "ecret"],
        ] {
            assert_ne!(name, one.name(&others), "{others:?}");
        }
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        assert!(RecordCipher::new(&"aB".repeat(32)).is_ok());
        for text in ["", "1f", &"1f".repeat(33), &"1g".repeat(32), &"1".repeat(63), &"é".repeat(32)] {
            assert_eq!(RecordCipher::new(text).err(), Some(InvalidKey), "{text}");
        }
    }
}
