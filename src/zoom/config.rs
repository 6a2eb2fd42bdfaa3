//! The settings of the connection to Zoom.

use std::time::Duration;

use url::Url;

use super::secret::SecretSource;
use crate::egress::{MoreRoots, ProxySource};

/// Zoom's addresses, the credentials of our app, and the limits on one HTTP call.
pub struct ZoomConfig {
    /// Base of the API, without a trailing slash, for example `https://api.zoom.us/v2`.
    pub api_base_url: Url,
    /// The endpoint that issues access tokens.
    pub oauth_url: Url,
    /// Server-to-Server OAuth: the account.
    pub account_id: SecretSource,
    /// Server-to-Server OAuth: the app.
    pub client_id: SecretSource,
    /// Server-to-Server OAuth: the app's secret.
    pub client_secret: SecretSource,
    /// Limit on DNS and TCP together; the TLS handshake may take as long again.
    pub connect_timeout: Duration,
    /// Limit on the wait for a response's head, connecting included, and on every gap in its body. A call ends after six
    /// times that.
    pub request_timeout: Duration,
    /// Largest page accepted, in bytes after decompression.
    pub max_body: usize,
    /// The proxy between us and the API.
    pub api_proxy: Option<ProxySource>,
    /// The proxy between us and the token endpoint.
    pub oauth_proxy: Option<ProxySource>,
    /// Certificate authorities trusted in addition to Mozilla's.
    pub more_roots: MoreRoots,
}
