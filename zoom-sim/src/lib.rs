//! A simulator of Zoom's `QoS` endpoints and token endpoint, including their oddities, for demos, tests and benches.
//!
//! ```
//! use zoom_sim::{Fault, FaultKind, Meeting, Sim, SimConfig};
//!
//! let sim = Sim::start(SimConfig::default())?;
//! sim.add_meeting(Meeting::generated("91234567890", 30, 20));
//! sim.inject(Fault::new(FaultKind::Hang).on_page(1));
//! // Run a client against sim.api_base_url() and sim.oauth_url(), then:
//! assert_eq!(sim.qos_calls().len(), 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The simulator shares no type with the service, and has only Zoom's `QoS` endpoints and its token endpoint. The life of a
//! request: `server` reads it raw, `state` records it and decides the answer (`oauth` or `qos`, with `limits`, `fault` and
//! `meeting`), and `server/wire` sends the `reply` as decided.

mod config;
mod control;
mod endpoint;
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

pub use config::{SimConfig, TokenParameters};
pub use endpoint::{MeetingKind, QosEndpoint};
pub use fault::{Fault, FaultKind};
pub use meeting::{Meeting, demo_meetings, example_json};
pub use record::{Call, CallKind};

use server::Server;
use state::Shared;

/// A running simulator; dropping it stops it.
///
/// From the start, it has the meeting of Zoom's documentation, `85746065432`.
#[derive(Debug)]
pub struct Sim {
    server: Server,
    shared: Arc<Shared>,
}

impl Sim {
    /// Starts a simulator without the control endpoint.
    ///
    /// # Errors
    /// The address cannot be bound, or the system refuses a thread or another resource.
    pub fn start(config: SimConfig) -> io::Result<Self> {
        Self::begin(config, false)
    }

    /// Starts a simulator with the control endpoint at `/_sim/`, for experiments by hand.
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

    /// The address on which the simulator listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL of the API, such as `http://127.0.0.1:PORT/v2`.
    #[must_use]
    pub fn api_base_url(&self) -> String {
        format!("http://{}/v2", self.addr())
    }

    /// The URL of the token endpoint.
    #[must_use]
    pub fn oauth_url(&self) -> String {
        format!("http://{}/oauth/token", self.addr())
    }

    /// Adds a meeting, or replaces the one with the same id. Generating a large one takes a while.
    pub fn add_meeting(&self, meeting: Meeting) {
        self.shared.add_meeting(meeting);
    }

    /// Removes a meeting, by either of its ids.
    pub fn remove_meeting(&self, id: &str) {
        self.shared.lock().remove_meeting(id);
    }

    /// Adds a fault after those already injected.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.inject(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// The recorded requests since the start or the last [`clear_calls`](Self::clear_calls), in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().record.calls().to_vec()
    }

    /// The recorded requests to all `QoS` endpoints.
    #[must_use]
    pub fn qos_calls(&self) -> Vec<Call> {
        self.calls_of(CallKind::Qos)
    }

    /// The recorded requests to the token endpoint.
    #[must_use]
    pub fn token_calls(&self) -> Vec<Call> {
        self.calls_of(CallKind::Token)
    }

    fn calls_of(&self, kind: CallKind) -> Vec<Call> {
        self.shared.lock().record.calls().iter().filter(|call| call.kind == kind).cloned().collect()
    }

    /// Removes all recorded calls.
    pub fn clear_calls(&self) {
        self.shared.lock().record.clear();
    }

    /// Blocks until `n` `QoS` calls are recorded. Returns `false` if fewer are recorded within `timeout`.
    #[must_use]
    pub fn wait_for_calls(&self, n: usize, timeout: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self.shared.arrived.wait_timeout_while(state, timeout, |state| state.record.qos() < n);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.record.qos() >= n
    }

    /// Invalidates every access token issued so far.
    pub fn revoke_access_tokens(&self) {
        self.shared.lock().access_tokens.revoke_all();
    }

    /// Invalidates every page token issued so far.
    pub fn expire_page_tokens(&self) {
        self.shared.lock().page_tokens.expire_all();
    }

    /// Replaces the client secret.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.shared.lock().config.client_secret);
    }

    /// Grants or withdraws the scopes of the webinar endpoints, which are granted at the start. The change also applies
    /// to access tokens that were issued before.
    pub fn set_webinar_scope(&self, granted: bool) {
        self.shared.lock().has_webinar_scope = granted;
    }

    /// Sets the delay before each `QoS` answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.lock().config.latency = latency;
    }

    /// Adds `X-RateLimit-*` headers with the day's remaining calls to every `QoS` answer from now on, except to a 429.
    pub fn tell_day_left(&self) {
        self.shared.lock().tells_day_left = true;
    }

    /// Adds these headers, verbatim, to every `QoS` answer except a 429. Replaces the headers of an earlier call.
    pub fn set_answer_headers(&self, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.shared.lock().answer_headers = headers.collect();
    }

    /// Sets how many calls were made today.
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
