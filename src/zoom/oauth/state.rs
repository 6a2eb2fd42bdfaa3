//! The state of the access token: the current token, the failures that prevent a request, and the time before which
//! it is not renewed early. Pure: callers pass the time.

use std::time::Instant;

use futures_util::future::{LocalBoxFuture, Shared};

use super::token::AccessToken;
use crate::failure::Failure;

/// Whether Zoom accepts our credentials, for `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Zoom accepts them, has not responded yet, or refuses a renewal while the current token is usable.
    #[default]
    Accepted,
    /// Zoom rejects them. The string names the missing scope if a scope is missing, and otherwise repeats Zoom's message.
    Refused(String),
}

/// A renewal in flight, for which any number of callers can wait.
pub(super) type Renewal = Shared<LocalBoxFuture<'static, Result<AccessToken, Failure>>>;

#[derive(Default)]
pub(super) struct TokenState {
    pub(super) current: Option<AccessToken>,
    /// Set after Zoom rejected the credentials. No token is requested and no call is made before its `retry_at`, unless
    /// a mounted secret changes.
    pub(super) refused: Option<Failure>,
    /// Set after another failure that an immediate retry would not fix. Callers that need a new token get this failure
    /// until its `retry_at`.
    pub(super) failed: Option<Failure>,
    /// Set after a failed renewal. A usable token is not renewed early before this time.
    pub(super) renew_early_from: Option<Instant>,
}

impl TokenState {
    pub(super) fn refused(&self, now: Instant) -> Option<Failure> {
        self.refused.clone().filter(|failure| failure.is_in_force(now))
    }

    pub(super) fn failed(&self, now: Instant) -> Option<Failure> {
        self.failed.clone().filter(|failure| failure.is_in_force(now))
    }

    pub(super) fn refused_until(&self) -> Option<Instant> {
        self.refused.as_ref()?.retry_at
    }
}
