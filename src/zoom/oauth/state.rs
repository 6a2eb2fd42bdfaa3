//! The present token, and until when no request for one is made. Pure: every method gets the time.

use std::time::Instant;

use futures_util::future::{LocalBoxFuture, Shared};

use super::{error::TokenError, token::AccessToken};
use crate::failure::ZoomError;

/// A renewal in flight, for which any number of callers can wait.
pub(super) type Renewal = Shared<LocalBoxFuture<'static, Result<AccessToken, TokenError>>>;

#[derive(Default)]
pub(super) struct TokenState {
    pub(super) current: Option<AccessToken>,
    /// After refused credentials: no request and no call before then, and Zoom's response.
    pub(super) refused: Option<(Instant, ZoomError)>,
    /// After another error that would only repeat: no request before then.
    pub(super) failed: Option<(Instant, TokenError)>,
    /// After a failed renewal while the current token still serves: no renewal before then.
    pub(super) renew_early_from: Option<Instant>,
}

impl TokenState {
    pub(super) fn refused(&self, now: Instant) -> Option<TokenError> {
        let (until, zoom_error) = self.refused.as_ref().filter(|(until, _)| now < *until)?;
        Some(TokenError::Refused { until: *until, zoom_error: zoom_error.clone() })
    }

    pub(super) fn failed(&self, now: Instant) -> Option<TokenError> {
        self.failed.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    pub(super) fn refused_until(&self) -> Option<Instant> {
        self.refused.as_ref().map(|(until, _)| *until)
    }
}
