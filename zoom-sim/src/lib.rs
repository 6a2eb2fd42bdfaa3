//! An imitation of Zoom's `QoS` endpoint and token endpoint, awkward parts included, for demo, tests and benches.
//!
//! ```
//! use zoom_sim::{Fault, FaultKind, Meeting, Sim, SimConfig};
//!
//! let sim = Sim::start(SimConfig::default())?;
//! sim.add_meeting(Meeting::generated("91234567890", 30, 20));
//! sim.inject(Fault::new(FaultKind::Hang).on_page(1));
//! // … let a client loose on sim.api_base_url() and sim.oauth_url(), then:
//! assert_eq!(sim.qos_calls().len(), 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It shares no type with the service, and it deliberately has only the two endpoints that the service uses.
//! The life of a request: `server` reads it raw, `state` records and decides it (`oauth` or `qos`, with
//! `limits`, `fault` and `meeting`), and `server/wire` sends the `reply` in the way that was decided.

mod config;
mod control;
mod fault;
mod limits;
mod meeting;
mod oauth;
mod qos;
mod random;
mod record;
mod reply;
mod server;
mod state;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use config::SimConfig;
pub use fault::{Fault, FaultKind};
pub use meeting::{Meeting, demo_meetings, example_json};
pub use record::{Call, CallKind};

use server::Server;
use state::Shared;

/// A running imitation of Zoom; dropping it stops it.
///
/// It has the meeting of Zoom's documentation, `85746065432`, from the start.
#[derive(Debug)]
pub struct Sim {
    server: Server,
    shared: Arc<Shared>,
}

impl Sim {
    /// Starts it.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the system gives no thread.
    pub fn start(config: SimConfig) -> io::Result<Self> {
        Self::begin(config, false)
    }

    /// Starts it with the control endpoint at `/_sim/`, for trials by hand.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_control(config: SimConfig) -> io::Result<Self> {
        Self::begin(config, true)
    }

    fn begin(config: SimConfig, control: bool) -> io::Result<Self> {
        let listen = config.listen;
        let shared = Arc::new(Shared::new(config));
        shared.add_meeting(Meeting::documented_example());
        let server = Server::start(listen, Arc::clone(&shared), control)?;
        Ok(Self { server, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL of the API, `http://127.0.0.1:PORT/v2`.
    #[must_use]
    pub fn api_base_url(&self) -> String {
        format!("http://{}/v2", self.addr())
    }

    /// The URL of the token endpoint.
    #[must_use]
    pub fn oauth_url(&self) -> String {
        format!("http://{}/oauth/token", self.addr())
    }

    /// Adds a meeting, or replaces the one of the same id. A large one takes a while to generate.
    pub fn add_meeting(&self, meeting: Meeting) {
        self.shared.add_meeting(meeting);
    }

    /// Removes a meeting, by either of its ids.
    pub fn remove_meeting(&self, id: &str) {
        self.shared.lock().remove_meeting(id);
    }

    /// Adds a fault behind those already injected.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.inject(fault);
    }

    /// Forgets all faults that have not yet happened.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Every request since the start or the last clearing, in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().record.calls().to_vec()
    }

    /// The requests to the `QoS` endpoint.
    #[must_use]
    pub fn qos_calls(&self) -> Vec<Call> {
        self.calls_of(CallKind::Qos)
    }

    /// The requests to the token endpoint.
    #[must_use]
    pub fn token_calls(&self) -> Vec<Call> {
        self.calls_of(CallKind::Token)
    }

    fn calls_of(&self, kind: CallKind) -> Vec<Call> {
        self.shared.lock().record.calls().iter().filter(|call| call.kind == kind).cloned().collect()
    }

    /// Forgets all recorded calls.
    pub fn clear_calls(&self) {
        self.shared.lock().record.clear();
    }

    /// Blocks until `n` `QoS` calls have arrived in all since the start or the last clearing, or tells `false`
    /// when they have not within `timeout`.
    #[must_use]
    pub fn wait_for_calls(&self, n: usize, timeout: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self.shared.arrived.wait_timeout_while(state, timeout, |state| state.record.qos() < n);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.record.qos() >= n
    }

    /// Makes every access token minted so far invalid.
    pub fn revoke_access_tokens(&self) {
        self.shared.lock().access_tokens.revoke_all();
    }

    /// Makes every page token handed out so far invalid.
    pub fn expire_page_tokens(&self) {
        self.shared.lock().page_tokens.expire_all();
    }

    /// Sets the client secret that is accepted from now on.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.shared.lock().config.client_secret);
    }

    /// Sets what is added before each `QoS` answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.lock().config.latency = latency;
    }

    /// From now on answers of the `QoS` endpoint tell what is left of the day, in `X-RateLimit-*`.
    pub fn tell_day_left(&self) {
        self.shared.lock().tells_day_left = true;
    }

    /// Adds headers to every answer of the `QoS` endpoint but a 429, verbatim, instead of those added before.
    pub fn set_answer_headers(&self, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.shared.lock().answer_headers = headers.collect();
    }

    /// Makes today one in which `n` calls have been made already.
    pub fn set_day_used(&self, n: u64) {
        self.shared.lock().limits.set_day_used(Timestamp::now(), n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Sim::start(SimConfig::default()).unwrap());
    }
}
