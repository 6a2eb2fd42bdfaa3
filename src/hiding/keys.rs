//! The keys for pseudonyms, entity tags and page tokens of callers from whom something is hidden.
//!
//! All keys are derived from Zoom's client secret by HKDF (RFC 5869). Replicas therefore have the same keys without
//! another secret to deploy, and a restart does not change the keys. A new client secret changes all of them.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    hmac::{self, HMAC_SHA256},
};

/// The keys derived from one client secret. They would reveal what is hidden, so the type implements neither `Debug`
/// nor `Serialize`.
pub struct HidingKeys {
    pseudonyms: hmac::Key,
    tags: hmac::Key,
    nonces: hmac::Key,
    tokens: LessSafeKey,
    id: u64,
}

/// The error of [`HidingKeys::derive`].
#[derive(Debug, thiserror::Error)]
#[error("HKDF failed")]
pub struct KeyDerivationError;

impl HidingKeys {
    /// Derives the keys from Zoom's client secret.
    ///
    /// # Errors
    /// A key would be longer than HKDF allows, which can only be a bug.
    pub fn derive(client_secret: &str) -> Result<Self, KeyDerivationError> {
        let secret = Salt::new(HKDF_SHA256, b"zoom-qos-proxy hiding").extract(client_secret.as_bytes());
        let hmac_key = |purpose: &[u8]| -> Result<hmac::Key, KeyDerivationError> {
            Ok(secret.expand(&[purpose], HMAC_SHA256).map_err(|_| KeyDerivationError)?.into())
        };
        let purpose: [&[u8]; 1] = [b"page tokens"];
        let tokens: UnboundKey =
            secret.expand(&purpose, &AES_256_GCM).map_err(|_| KeyDerivationError)?.into();
        let id = first_bytes(hmac::sign(&hmac_key(b"key id")?, b"").as_ref());
        Ok(Self {
            pseudonyms: hmac_key(b"pseudonyms")?,
            tags: hmac_key(b"entity tags")?,
            nonces: hmac_key(b"nonces of page tokens")?,
            tokens: LessSafeKey::new(tokens),
            id,
        })
    }

    /// Returns a number that identifies the client secret. It need not be kept secret.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns an HMAC context that has consumed the meeting's id and a zero byte. The caller adds a person's
    /// identifier, and the HMAC is the person's pseudonym.
    pub fn pseudonyms_of(&self, meeting: &str) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.pseudonyms);
        context.update(meeting.as_bytes());
        context.update(&[0]);
        context
    }

    /// Returns an alias of the tag of a snapshot.
    ///
    /// The tag itself is a plain hash of the whole meeting. A caller could put a guessed e-mail address into the body that
    /// it gets, hash the result, and compare the hash with the tag to check the guess.
    pub fn alias_of_tag(&self, tag: u128) -> u128 {
        let alias = hmac::sign(&self.tags, &tag.to_be_bytes());
        alias.as_ref().first_chunk().copied().map_or(0, u128::from_be_bytes)
    }

    /// Encrypts the content of a page token. The content includes the snapshot's tag, which the caller must not
    /// learn.
    ///
    /// Equal contents become equal tokens, because the bytes of a page must not change under one strong entity tag.
    /// The nonce is therefore an HMAC of the content: different contents practically never have the same nonce.
    ///
    /// # Errors
    /// The content is longer than AES-GCM allows, which can only be a bug.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, KeyDerivationError> {
        let nonce = hmac::sign(&self.nonces, content);
        let nonce: [u8; NONCE_LEN] = nonce.as_ref().first_chunk().copied().ok_or(KeyDerivationError)?;
        let mut body = content.to_vec();
        let sealed = self.tokens.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut body,
        );
        sealed.map_err(|_| KeyDerivationError)?;
        Ok([&nonce, &body[..]].concat())
    }

    /// Decrypts what [`Self::seal`] returned with the same keys; `None` for anything else.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.tokens.open_in_place(nonce, Aad::empty(), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> HidingKeys {
        HidingKeys::derive(secret).unwrap()
    }

    fn pseudonym(keys: &HidingKeys, meeting: &str, person: &str) -> Vec<u8> {
        let mut context = keys.pseudonyms_of(meeting);
        context.update(person.as_bytes());
        context.sign().as_ref().to_vec()
    }

    #[test]
    fn keys_depend_on_the_secret_alone() {
        let (one, same, other) = (keys("secret"), keys("secret"), keys("secret2"));
        assert_eq!(one.id(), same.id());
        assert_ne!(one.id(), other.id());
        assert_eq!(one.alias_of_tag(7), same.alias_of_tag(7));
        assert_ne!(one.alias_of_tag(7), other.alias_of_tag(7));
        assert_ne!(one.alias_of_tag(7), one.alias_of_tag(8));
        assert_eq!(pseudonym(&one, "85746065432", "a"), pseudonym(&same, "85746065432", "a"));
        assert_ne!(pseudonym(&one, "85746065432", "a"), pseudonym(&other, "85746065432", "a"));
    }

    #[test]
    fn a_pseudonym_depends_on_meeting_and_person() {
        let keys = keys("secret");
        let one = pseudonym(&keys, "857460654321", "1");
        for (meeting, person) in [("857460654321", "2"), ("857460654322", "1"), ("85746065432", "11")] {
            assert_ne!(one, pseudonym(&keys, meeting, person), "{meeting} {person}");
        }
    }

    #[test]
    fn only_the_same_key_opens_a_sealed_content() {
        let (one, other) = (keys("secret"), keys("secret2"));
        let sealed = one.seal(b"content").unwrap();
        assert_eq!(one.open(&sealed).unwrap(), b"content");
        assert_eq!(sealed, one.seal(b"content").unwrap());
        assert_eq!(other.open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(one.open(&changed), None, "byte {at}");
            assert_eq!(one.open(&sealed[..at]), None, "the first {at} bytes");
        }
    }
}
