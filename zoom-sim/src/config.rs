//! How a simulated Zoom account behaves: its credentials, limits and lives.
//!
//! Nothing is read from files or the environment here; the binary fills it from its command line.

use std::net::SocketAddr;
use std::time::Duration;

/// The simulated account and server.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The account that an access token is asked for.
    pub account_id: String,
    /// The Server-to-Server OAuth app's id.
    pub client_id: String,
    /// The Server-to-Server OAuth app's secret.
    pub client_secret: String,
    /// `QoS` calls admitted in any sliding one-second window.
    pub per_second: u32,
    /// `QoS` calls admitted in one UTC day.
    pub per_day: u64,
    /// How long an access token is good; `expires_in` tells it in whole seconds.
    pub access_token_life: Duration,
    /// How long a `next_page_token` is good.
    pub page_token_life: Duration,
    /// Added before each `QoS` answer.
    pub latency: Duration,
    /// A newly minted access token makes all earlier ones invalid, as seen on live accounts in 2022–23.
    pub new_token_kills_old: bool,
    /// Answers JSON gzipped to requests that accept it.
    pub gzip: bool,
    /// `X-RateLimit-*` and `Retry-After` (an ISO 8601 instant) on 429s; Zoom sends them sometimes.
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
            gzip: false,
            rate_headers: true,
        }
    }
}
