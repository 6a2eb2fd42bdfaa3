//! Verifies a token: its header, its signature by a key of its issuer, and its claims.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonwebtoken::{
    Algorithm, Validation, dangerous::insecure_decode_claims, decode, decode_header, errors::ErrorKind,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    issuer::Issuer,
    jwks::{Candidates, SigningKey},
    signature_budget::VerificationCost,
    verifier,
};

/// The maximum length of a token. Tokens with hundreds of groups take a few KiB.
const MAX_LENGTH: usize = 16 * 1024;
/// The maximum tolerated difference between the clocks of the issuer and the service.
const LEEWAY: Duration = Duration::from_secs(60);

/// The reason why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is longer than 16 KiB")]
    TooLong,
    #[error(
        "the token is malformed, or its alg is none of RS256, RS384, RS512, PS256, ES256, ES384 and EdDSA"
    )]
    Malformed,
    #[error("the alg of the token is none of RS256, RS384, RS512, PS256, ES256, ES384 and EdDSA")]
    Algorithm,
    #[error("the token has critical extensions")]
    Critical,
    #[error("the token has no iss, or one that is not configured")]
    Issuer,
    #[error("the issuer has no key with the kid of the token")]
    UnknownKey,
    #[error("the alg of the token does not fit the issuer's key")]
    KeyMismatch,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token has no aud, or not the one of this service")]
    Audience,
    #[error("the token has no exp")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("no caller is configured for this token")]
    NoCaller,
}

/// The reason why a token could not be verified.
pub(in crate::callers) enum Unverified {
    Refused(TokenError),
    /// This thread must not verify that many signatures now.
    TooManySignatures(VerificationCost),
    /// The issuer has no key with this id now. A fetch may add one.
    UnknownKey(Arc<Issuer>),
    /// The issuer's first keys have not arrived yet.
    NoKeys(Arc<Issuer>),
}

impl From<TokenError> for Unverified {
    fn from(error: TokenError) -> Self {
        Self::Refused(error)
    }
}

/// A token whose signature and claims are valid.
pub(in crate::callers) struct Verified {
    pub(in crate::callers) issuer: Arc<Issuer>,
    pub(in crate::callers) key: Arc<SigningKey>,
    pub(in crate::callers) claims: TokenClaims,
}

#[derive(Deserialize)]
pub(in crate::callers) struct TokenClaims {
    exp: f64,
    #[serde(default)]
    pub(in crate::callers) sub: String,
    #[serde(default, deserialize_with = "texts")]
    pub(in crate::callers) groups: Vec<String>,
}

impl TokenClaims {
    /// Returns the time at which the token expires, without the leeway; `None` if it is out of range.
    pub(in crate::callers) fn expires(&self) -> Option<SystemTime> {
        let since_1970 = Duration::try_from_secs_f64(self.exp).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(since_1970)
    }
}

/// Reads a list of strings. Any other value counts as an empty list, because some issuers use this claim for
/// something else.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    })
}

/// Returns whether this has the three parts of a token. The keys that `callers add` generates contain no dots.
pub(in crate::callers) fn looks_like_token(value: &[u8]) -> bool {
    memchr::memchr_iter(b'.', value).count() == 2
}

/// Verifies a token of one of these issuers, if `may_verify` allows the number of signatures that it may need.
pub(in crate::callers) fn verify(
    token: &[u8],
    issuers: &[Arc<Issuer>],
    may_verify: impl FnOnce(usize) -> bool,
) -> Result<Verified, Unverified> {
    if token.len() > MAX_LENGTH {
        return Err(TokenError::TooLong.into());
    }
    let head = decode_header(token).map_err(|_| TokenError::Malformed)?;
    if head.crit.is_some() {
        return Err(TokenError::Critical.into());
    }
    if !verifier::ALGORITHMS.contains(&head.alg) {
        return Err(TokenError::Algorithm.into());
    }
    let issuer = issuer_of(token, issuers)?;
    let Some(keys) = issuer.keys() else { return Err(Unverified::NoKeys(Arc::clone(issuer))) };
    // A key in the header (`jwk`, `jku`, `x5c`) is never used.
    let candidates = match keys.candidates(head.kid.as_deref(), head.alg) {
        Candidates::Some(candidates) => candidates,
        Candidates::UnknownId => return Err(Unverified::UnknownKey(Arc::clone(issuer))),
        Candidates::NoneFits => return Err(TokenError::KeyMismatch.into()),
    };
    if !may_verify(candidates.len()) {
        return Err(Unverified::TooManySignatures(VerificationCost::of(candidates.len())));
    }
    verifier::install();
    let validation = validation(head.alg, issuer);
    let mut failure = TokenError::Signature;
    for key in candidates {
        match decode::<TokenClaims>(token, &key.decoding, &validation) {
            Ok(decoded) => {
                let (issuer, key) = (Arc::clone(issuer), Arc::clone(key));
                return Ok(Verified { issuer, key, claims: decoded.claims });
            }
            Err(error) => match token_error(error.kind()) {
                // Another candidate may have signed the token.
                TokenError::Signature => {}
                other => failure = other,
            },
        }
    }
    Err(failure.into())
}

/// Finds the issuer by the token's `iss`, which is not verified yet. The issuer's keys verify it afterwards.
fn issuer_of<'i>(token: &[u8], issuers: &'i [Arc<Issuer>]) -> Result<&'i Arc<Issuer>, TokenError> {
    #[derive(Deserialize)]
    struct IssuerClaim {
        #[serde(default)]
        iss: Value,
    }
    let IssuerClaim { iss } = insecure_decode_claims(token).map_err(|_| TokenError::Malformed)?;
    issuers.iter().find(|issuer| iss.as_str() == Some(&issuer.entry.url)).ok_or(TokenError::Issuer)
}

fn validation(algorithm: Algorithm, issuer: &Issuer) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&issuer.entry.url]);
    validation.set_audience(&[&issuer.entry.audience]);
    validation
}

fn token_error(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYetValid,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => TokenError::NoExpiry,
            "aud" => TokenError::Audience,
            _ => TokenError::Issuer,
        },
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::KeyMismatch,
        _ => TokenError::Malformed,
    }
}
