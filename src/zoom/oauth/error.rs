//! Why there is no access token, and what operators see of it.

use std::time::Instant;

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
