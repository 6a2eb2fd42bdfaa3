//! The simulated Zoom account: its credentials, limits and lifetimes.
//!
//! The library reads neither files nor the environment. The binary fills the configuration from its command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;

/// Where the token endpoint reads `grant_type` and `account_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenParameters {
    /// In the form body only. Parameters in the query stopped working for some accounts.
    Form,
    /// In the form body, else in the query, where several clients send them.
    FormOrQuery,
}

/// The simulated account and server.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// The address to listen on; with port 0, the system chooses a free port.
    pub listen: SocketAddr,
    /// The id of the account that owns the OAuth app.
    pub account_id: String,
    /// The Server-to-Server OAuth app's id.
    pub client_id: String,
    /// The Server-to-Server OAuth app's secret.
    pub client_secret: String,
    /// `QoS` calls admitted in any sliding one-second window.
    pub per_second: u32,
    /// `QoS` calls admitted in one UTC day.
    pub per_day: u64,
    /// Lifetime of an access token; `expires_in` is in whole seconds.
    pub access_token_life: Duration,
    /// Lifetime of a `next_page_token`.
    pub page_token_life: Duration,
    /// The delay before each `QoS` answer.
    pub latency: Duration,
    /// Whether a new access token invalidates all earlier ones, as seen on live accounts in 2022–23.
    pub new_token_kills_old: bool,
    /// Where the token endpoint reads its parameters.
    pub token_parameters: TokenParameters,
    /// Whether JSON is compressed for requests that accept gzip.
    pub gzip: bool,
    /// Whether the 429s of both limits have `X-RateLimit-*` and `Retry-After` (an ISO 8601 instant), as Zoom's sometimes do.
    /// Faults do not follow this setting.
    pub rate_headers: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            account_id: "sim-account".to_owned(),
            client_id: "sim-client".to_owned(),
            client_secret: "sim-secret".to_owned(),
            per_second: 40,
            per_day: 60_000,
            access_token_life: Duration::from_secs(3_600),
            page_token_life: Duration::from_secs(900),
            latency: Duration::ZERO,
            new_token_kills_old: false,
            token_parameters: TokenParameters::Form,
            gzip: false,
            rate_headers: true,
        }
    }
}
