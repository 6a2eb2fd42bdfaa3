//! The present token, or why there is none, and until when no request for one is made. Pure: every method gets the time.

use std::time::Instant;

use futures_util::future::{LocalBoxFuture, Shared};

use super::token::AccessToken;
use crate::failure::ZoomError;

#[derive(Debug, Clone)]
pub(crate) enum TokenError {
    /// Zoom refuses the credentials.
    Refused {
        /// No request is made before then.
        until: Instant,
        /// The part of Zoom's response that callers may see: all of the API's, but only the status of the token endpoint's.
        zoom_error: ZoomError,
    },
    /// The token endpoint did not respond in time.
    TimedOut,
    /// No connection, or no usable response.
    Failed {
        /// When the endpoint is tried again, if not at once.
        until: Option<Instant>,
        /// The token endpoint's status, if it responded.
        zoom_error: Option<ZoomError>,
    },
}

/// Whether Zoom accepts our credentials, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Also before the first response.
    Accepted,
    /// With Zoom's own message, or the name of the missing scope.
    Refused(String),
}

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
