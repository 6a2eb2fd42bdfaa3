//! Identifies the caller by the credential in the request's headers.
//!
//! The handlers of meetings get the caller, not the key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::http::header::HeaderMap;

use super::{
    credentials::{BasicCredentials, Credential},
    problem::Problem,
    token_thread::TokenThread,
};
use crate::{
    callers::{
        Caller, CallerName, Callers, FetchEnd, LookupPlace, TokenError, Unidentified, VerificationCost,
    },
    hiding::HiddenFields,
};

/// The maximum time that a request waits for the keys of a token's issuer of a token's issuer.
const KEYS_TIMEOUT: Duration = Duration::from_secs(3);

/// The event that the verification of a token waits for.
pub(super) enum PendingIdentity {
    /// The keys of the token's issuer are being fetched.
    Keys(FetchEnd),
    /// The token may need more signature verifications than workers may make now.
    BlockingThread(VerificationCost),
}

impl PendingIdentity {
    /// Waits for some seconds at most, and identifies the caller.
    pub(super) async fn wait(self, headers: &HeaderMap, callers: &Callers, thread: &TokenThread) -> Identity {
        let cost = match self {
            Self::BlockingThread(cost) => cost,
            Self::Keys(end) => {
                let _in_time = tokio::time::timeout(KEYS_TIMEOUT, end.wait()).await;
                let place = LookupPlace::WorkerAfterFetch;
                match Identity::find(headers, callers, Instant::now(), place) {
                    Identity::Pending(Self::BlockingThread(cost)) => cost,
                    identified => return identified,
                }
            }
        };
        match Credential::of(headers) {
            Some(Credential::Bearer(token)) => thread.find(token, callers, cost).await.into(),
            _ => Identity::Unknown,
        }
    }
}

/// The sender of a request.
pub(super) enum Identity {
    /// A caller of `callers.file`, or the anonymous caller if that file is not configured.
    Caller(Arc<Caller>),
    /// A credential is required, and the request has none or an invalid one.
    Unknown,
    RefusedToken(TokenError),
    /// The token cannot be verified immediately.
    Pending(PendingIdentity),
    /// The token cannot be verified yet. A retry may help at this time.
    NoKeys(Instant),
    /// The path needs no caller.
    NotRequired,
}

impl Identity {
    pub(super) fn of(headers: &HeaderMap, callers: &Callers, now: Instant) -> Self {
        Self::find(headers, callers, now, LookupPlace::Worker)
    }

    fn find(headers: &HeaderMap, callers: &Callers, now: Instant, place: LookupPlace) -> Self {
        // Without `callers.file`, credentials are ignored.
        if !callers.need_keys() {
            return callers.find(None).map_or(Self::Unknown, Self::Caller);
        }
        let caller = match Credential::of(headers) {
            Some(Credential::Bearer(value)) => return callers.find_by_bearer(value, now, place).into(),
            Some(Credential::ApiKey(key)) => callers.find(Some(key)),
            Some(Credential::Basic(credentials)) => {
                credentials.and_then(|pair| find_by_basic(&pair, callers))
            }
            None => None,
        };
        caller.map_or(Self::Unknown, Self::Caller)
    }

    /// Returns the name under which the request is logged.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Caller(caller) => caller.name.as_str(),
            Self::Unknown | Self::RefusedToken(_) | Self::Pending(_) | Self::NoKeys(_) => CallerName::UNKNOWN,
            Self::NotRequired => CallerName::ANONYMOUS,
        }
    }

    /// Returns whether the caller is anonymous because no callers are configured.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Caller(caller) if caller.is_anonymous())
    }

    /// Returns the groups of fields that are hidden from the sender.
    pub(super) fn hidden_fields(&self) -> HiddenFields {
        match self {
            Self::Caller(caller) => caller.hide,
            _ => HiddenFields::default(),
        }
    }

    /// Returns the caller, or the problem to respond with if the caller is not identified.
    pub(super) fn caller(&self) -> Result<&Arc<Caller>, Problem> {
        match self {
            Self::Caller(caller) => Ok(caller),
            Self::RefusedToken(error) => Err(Problem::UnknownCaller(Some(*error))),
            Self::NoKeys(retry_at) => Err(Problem::IssuerUnavailable { retry_at: Some(*retry_at) }),
            Self::Unknown | Self::Pending(_) | Self::NotRequired => Err(Problem::UnknownCaller(None)),
        }
    }
}

impl From<Result<Arc<Caller>, Unidentified>> for Identity {
    fn from(found: Result<Arc<Caller>, Unidentified>) -> Self {
        match found {
            Ok(caller) => Self::Caller(caller),
            Err(Unidentified::UnknownKey) => Self::Unknown,
            Err(Unidentified::RefusedToken(error)) => Self::RefusedToken(error),
            Err(Unidentified::AwaitsKeys(end)) => Self::Pending(PendingIdentity::Keys(end)),
            Err(Unidentified::NeedsBlockingThread(cost)) => {
                Self::Pending(PendingIdentity::BlockingThread(cost))
            }
            Err(Unidentified::NoKeys { retry_at }) => Self::NoKeys(retry_at),
        }
    }
}

/// Returns the caller with this name and this key.
pub(super) fn find_by_basic(credentials: &BasicCredentials, callers: &Callers) -> Option<Arc<Caller>> {
    let (name, key) = credentials.name_and_key()?;
    callers.find(Some(key.as_bytes())).filter(|caller| caller.name.as_str() == name)
}
