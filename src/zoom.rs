//! The upstream: one call for one page, and nothing else that Zoom offers.

pub mod secret;

use std::time::Duration;

use url::Url;

use self::secret::SecretSource;

/// Where Zoom is, who we are there, and how long one HTTP call may take.
pub struct ZoomConfig {
    /// Base of the API, without a trailing slash, for example `https://api.zoom.us/v2`.
    pub api_base_url: Url,
    /// The endpoint that hands out access tokens.
    pub oauth_url: Url,
    /// Server-to-Server OAuth: the account.
    pub account_id: SecretSource,
    /// Server-to-Server OAuth: the app.
    pub client_id: SecretSource,
    /// Server-to-Server OAuth: the app's secret.
    pub client_secret: SecretSource,
    /// Longest time for DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest time from sending a request to the last byte of its answer.
    pub request_timeout: Duration,
    /// Largest page accepted, in bytes after decompression.
    pub max_body: usize,
}
