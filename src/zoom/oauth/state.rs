//! The present token, or why there is none, and until when no request for one is made. Pure: every method gets the time.

use std::time::Instant;

use futures_util::future::{LocalBoxFuture, Shared};

use super::token::AccessToken;
use crate::failure::Failure;

/// Whether Zoom accepts our credentials, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Also before the first response.
    Accepted,
    /// With Zoom's own message, or the name of the missing scope.
    Refused(String),
}

/// A renewal in flight, for which any number of callers can wait.
pub(super) type Renewal = Shared<LocalBoxFuture<'static, Result<AccessToken, Failure>>>;

#[derive(Default)]
pub(super) struct TokenState {
    pub(super) current: Option<AccessToken>,
    /// After refused credentials: no request and no call before its `retry_at`.
    pub(super) refused: Option<Failure>,
    /// After another failure that would only repeat: no request before its `retry_at`.
    pub(super) failed: Option<Failure>,
    /// After a failed renewal while the current token still serves: no renewal before then.
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
