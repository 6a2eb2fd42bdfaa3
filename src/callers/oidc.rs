//! Signed tokens (JWT, RFC 7519) of OIDC issuers, such as a Kubernetes cluster.
//!
//! `jsonwebtoken` parses and validates; `ring` verifies, through `verifier`. Only public keys are stored, so a leak of this
//! process's memory does not let anybody sign tokens.

mod entry;
mod fetch;
mod issuer;
mod jwks;
mod remembered;
mod rule;
mod signature_budget;
mod token;
mod verifier;

pub(super) use self::{
    entry::{IssuerEntry, KeySource},
    fetch::{KeyFetcher, fetch, is_protected, unusable_files},
    issuer::Issuer,
    jwks::KeySet,
    remembered::RememberedTokens,
    rule::{SERVICE_ACCOUNT, TokenRule},
    signature_budget::SignatureBudget,
    token::{Unverified, Verified, looks_like_token, verify},
};
pub(crate) use self::{
    issuer::{FetchEnd, IssuerStatus},
    signature_budget::VerificationCost,
    token::TokenError,
};
