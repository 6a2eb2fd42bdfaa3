//! Why there is no access token, and what operators see of it.

use std::time::Instant;

use crate::failure::ZoomSaid;

/// Why there is no access token.
#[derive(Debug, Clone)]
pub enum TokenError {
    /// Zoom refuses the credentials; nothing is tried before the time given.
    Refused {
        /// End of the hold.
        until: Instant,
        /// What callers may hear of it: Zoom's API in its own words, and of the token endpoint the status alone.
        said: ZoomSaid,
    },
    /// Zoom did not answer in time.
    TimedOut,
    /// No connection, or no usable answer.
    Failed {
        /// When the endpoint is asked again, where that is not at once.
        until: Option<Instant>,
        /// The token endpoint's status, if it answered.
        said: Option<ZoomSaid>,
    },
}

/// Whether Zoom takes our credentials, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not refused.
    Accepted,
    /// Refused, with Zoom's own message.
    Refused(String),
}
