//! The settings of the connection to Zoom.

use std::time::Duration;

use url::Url;

use super::secret::SecretSource;
use crate::egress::{MoreRoots, ProxySource};

/// Zoom's addresses, the credentials of our app, and the limits on one HTTP call.
pub struct ZoomConfig {
    /// Base of the API, for example `https://api.zoom.us/v2`.
    pub api_base_url: Url,
    /// The endpoint that issues access tokens.
    pub oauth_url: Url,
    /// The id of the account, for Server-to-Server OAuth.
    pub account_id: SecretSource,
    /// The id of the app.
    pub client_id: SecretSource,
    /// The secret of the app.
    pub client_secret: SecretSource,
    /// The maximum time of each step of connecting, for example DNS and TCP together, or the TLS handshake.
    pub connect_timeout: Duration,
    /// The maximum wait for a response's head, connecting included, and for each part of its body. A call ends after
    /// six times this long, not counting waits for memory.
    pub request_timeout: Duration,
    /// The maximum size of a page, in bytes after decompression.
    pub max_body: usize,
    /// The proxy between us and the API.
    pub api_proxy: Option<ProxySource>,
    /// The proxy between us and the token endpoint.
    pub oauth_proxy: Option<ProxySource>,
    /// Certificates that are trusted in addition to Mozilla's.
    pub more_roots: MoreRoots,
}
