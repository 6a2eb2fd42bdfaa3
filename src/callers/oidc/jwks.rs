//! The public keys of an issuer (JWK Set, RFC 7517).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// The maximum number of keys. Most issuers have fewer than ten; an issuer with many tenants can have hundreds.
const MAX_KEYS: usize = 2_000;

/// The usable keys of an issuer's JWK Set.
pub(in crate::callers) struct KeySet(Vec<Arc<SigningKey>>);

pub(in crate::callers) struct SigningKey {
    id: Option<String>,
    /// The algorithms that the key's `kty`, `crv` and, if it is set, `alg` allow.
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
    /// The key as the issuer sent it, to recognize it in a later set.
    source: Jwk,
    /// Whether the issuer has removed the key. Tokens that were verified with it are then no longer accepted.
    is_removed: AtomicBool,
}

impl SigningKey {
    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// Returns `None` for a key that signs no tokens we accept, such as one for encryption or of an unknown type.
    fn new(source: Jwk) -> Option<Self> {
        let common = &source.common;
        let may_sign =
            common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let of_type: &[Algorithm] = match &source.algorithm {
            AlgorithmParameters::RSA(_) => {
                &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256]
            }
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => &[],
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            _ => &[],
        };
        let fits = |algorithm: &Algorithm| {
            common.key_algorithm.is_none_or(|declared| declared == KeyAlgorithm::from(*algorithm))
        };
        let algorithms: Vec<_> = of_type.iter().copied().filter(fits).collect();
        if !may_sign || !may_verify || algorithms.is_empty() {
            return None;
        }
        let (id, decoding) = (common.key_id.clone(), DecodingKey::from_jwk(&source).ok()?);
        Some(Self { id, algorithms, decoding, source, is_removed: AtomicBool::new(false) })
    }
}

impl KeySet {
    /// Parses a JWK Set. Skips the keys that cannot be used, as RFC 7517 (5) recommends.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } =
            serde_json::from_slice(document).map_err(|_| "the keys are not a JWK Set".to_owned())?;
        if keys.len() > MAX_KEYS {
            return Err(format!("the JWK Set has {} keys, and {MAX_KEYS} are the limit", keys.len()));
        }
        let usable = keys.into_iter().filter_map(|key| SigningKey::new(serde_json::from_value(key).ok()?));
        let keys: Vec<_> = usable.map(Arc::new).collect();
        if keys.is_empty() {
            return Err("the JWK Set has no key that can verify a token".to_owned());
        }
        Ok(Self(keys))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Reuses the keys that `previous` also has, so that tokens verified with them stay remembered, and marks the
    /// other keys of `previous` as removed.
    pub(super) fn replacing(mut self, previous: &Self) -> Self {
        for key in &mut self.0 {
            if let Some(same) = previous.0.iter().find(|old| old.source == key.source) {
                *key = Arc::clone(same);
            }
        }
        for old in &previous.0 {
            if !self.0.iter().any(|key| Arc::ptr_eq(key, old)) {
                old.is_removed.store(true, Ordering::Release);
            }
        }
        self
    }

    /// Returns the keys that may have signed a token with this `kid` and `alg`.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Candidates<'_> {
        let with_id = |key: &&Arc<SigningKey>| id.is_none() || key.id.as_deref() == id;
        let mut named = self.0.iter().filter(with_id).peekable();
        if named.peek().is_none() {
            return Candidates::UnknownId;
        }
        let fitting: Vec<_> = named.filter(|key| key.algorithms.contains(&algorithm)).collect();
        if fitting.is_empty() { Candidates::NoneFits } else { Candidates::Some(fitting) }
    }
}

pub(super) enum Candidates<'k> {
    UnknownId,
    /// The keys have another type, curve or algorithm.
    NoneFits,
    Some(Vec<&'k Arc<SigningKey>>),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(keys: &Value) -> Result<KeySet, String> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa(id: &str) -> Value {
        json!({ "kty": "RSA", "kid": id, "n": "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri", "e": "AQAB" })
    }

    #[test]
    fn keys_of_other_uses_and_types_are_skipped() {
        let with = |member: &str, value: Value| {
            let mut key = rsa("other");
            key[member] = value;
            key
        };
        let unusable = json!([
            with("use", "enc".into()),
            with("key_ops", json!(["encrypt"])),
            with("alg", "PS512".into()),
            with("alg", "HS256".into()),
            { "kty": "oct", "kid": "other", "k": "c2VjcmV0", "alg": "HS256" },
            { "kty": "EC", "kid": "other", "crv": "P-521", "x": "AA", "y": "AA" },
            { "kty": "OKP", "kid": "other", "crv": "Ed448", "x": "AA" },
            { "kty": "AKP", "kid": "other", "alg": "ML-DSA-44", "pub": "AA" },
            1,
            { "kid": 7 },
        ]);
        assert!(set(&unusable).err().unwrap().contains("no key"));
        let mut all = unusable.as_array().unwrap().clone();
        all.push(rsa("good"));
        let keys = set(&all.into()).ok().unwrap();
        assert_eq!(keys.count(), 1);
        assert!(matches!(keys.candidates(Some("other"), Algorithm::RS256), Candidates::UnknownId));
        assert!(matches!(keys.candidates(Some("good"), Algorithm::ES256), Candidates::NoneFits));
        for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            assert!(matches!(keys.candidates(None, algorithm), Candidates::Some(_)));
        }
        assert!(matches!(keys.candidates(None, Algorithm::PS512), Candidates::NoneFits));
    }

    #[test]
    fn a_document_without_keys_or_with_too_many_is_rejected() {
        for document in ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[]}", "<html>"] {
            assert!(KeySet::parse(document.as_bytes()).is_err(), "{document}");
        }
        let many = |count: usize| (0..count).map(|index| rsa(&index.to_string())).collect::<Vec<_>>().into();
        assert_eq!(set(&many(MAX_KEYS)).ok().unwrap().count(), MAX_KEYS);
        assert!(set(&many(MAX_KEYS + 1)).is_err());
    }

    #[test]
    fn a_key_that_is_gone_from_the_next_set_is_removed() {
        let first = set(&json!([rsa("a"), rsa("b")])).ok().unwrap();
        let (a, b) = (Arc::clone(&first.0[0]), Arc::clone(&first.0[1]));
        let second = set(&json!([rsa("c"), rsa("b")])).ok().unwrap().replacing(&first);
        assert!(a.is_removed() && !b.is_removed() && Arc::ptr_eq(&second.0[1], &b));
    }
}
