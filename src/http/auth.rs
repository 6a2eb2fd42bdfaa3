//! Identifies the caller by the credential in the request's headers.
//!
//! Handlers get the caller, never the key.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;

use super::{
    credentials::{BasicCredentials, Credential},
    problem::Problem,
};
use crate::{
    callers::{Caller, CallerName, Callers},
    hiding::HiddenFields,
};

/// The sender of a request.
pub(super) enum Identity {
    /// A caller of `callers.file`, or the anonymous one if that is not configured.
    Caller(Arc<Caller>),
    /// A key is required, and the request has none or an unknown one.
    Unknown,
    /// The route is open to everybody.
    NotRequired,
}

impl Identity {
    pub(super) fn of(headers: &HeaderMap, callers: &Callers) -> Self {
        // Without `callers.file`, credentials are ignored.
        if !callers.need_keys() {
            return callers.find(None).map_or(Self::Unknown, Self::Caller);
        }
        let caller = match Credential::of(headers) {
            Some(Credential::Bearer(key) | Credential::ApiKey(key)) => callers.find(Some(key)),
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
            Self::Unknown => CallerName::UNKNOWN,
            Self::NotRequired => CallerName::ANONYMOUS,
        }
    }

    /// Returns whether the caller is anonymous because no callers are configured.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Caller(caller) if caller.is_anonymous())
    }

    /// Returns the fields that no response may contain.
    pub(super) fn hidden_fields(&self) -> HiddenFields {
        match self {
            Self::Caller(caller) => caller.hide,
            Self::Unknown | Self::NotRequired => HiddenFields::default(),
        }
    }

    /// Returns the caller, or the problem to respond with if the request has no known key.
    pub(super) fn caller(&self) -> Result<&Arc<Caller>, Problem> {
        match self {
            Self::Caller(caller) => Ok(caller),
            Self::Unknown | Self::NotRequired => Err(Problem::UnknownCaller),
        }
    }
}

/// Returns the caller whose name and key these are.
pub(super) fn find_by_basic(credentials: &BasicCredentials, callers: &Callers) -> Option<Arc<Caller>> {
    let (name, key) = credentials.name_and_key()?;
    callers.find(Some(key.as_bytes())).filter(|caller| caller.name.as_str() == name)
}
