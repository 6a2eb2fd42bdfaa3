//! Serves the QoS of Zoom meetings to many callers, cached and cleaned, within the rate limits of one Zoom account.
//!
//! The life of a request:
//!
//! 1. [`server`] accepts the connection and passes one request at a time to actix.
//! 2. [`http`] finds the route, identifies the caller ([`callers`]), and parses the [`meeting_id`] and the query.
//! 3. If [`cache`] has a fresh [`snapshot`] of the meeting, `http` serves it. For a whole meeting, the cached bytes are
//!    usually the bytes on the wire.
//! 4. A stale snapshot is also served, within limits, while it is refreshed. Otherwise the worker sends [`fetcher`]
//!    a command and waits.
//! 5. The fetcher, the only thread that calls Zoom, joins the request to the meeting's flight, or starts a flight. A
//!    *flight* fetches one meeting for every request that waits for it (single-flight). With Redis, the flight first
//!    searches the other replicas (`fetcher/peers`): it takes their snapshot, waits for their flight, or claims the
//!    meeting, so that the other replicas wait for this one.
//! 6. For each page, the flight waits for a permit, the right to make one call: [`scheduler`] picks the next caller,
//!    and [`quota`] decides when Zoom may be called. With Redis, all replicas share the quota and the access token
//!    through [`cluster`].
//! 7. [`zoom`] makes the call and classifies errors; [`clean`] turns Zoom's page into ours.
//! 8. After the last page, the finished snapshot goes into the cache, and every caller that waits gets it. With
//!    Redis, the flight first publishes the snapshot for the other replicas.
//! 9. `http` builds the response in an encoding that the caller accepts. A [`failure`] becomes a stale response or an
//!    error response.
//! 10. [`metrics`], [`telemetry`] and [`trace`] record the request.

#[macro_use]
mod vocabulary;

// Steps 1 and 2: the request.
pub mod callers;
pub mod http;
pub mod meeting_id;
pub mod server;

// Step 3: the cache, and what a caller sees of it.
pub mod cache;
pub mod hiding;
pub mod snapshot;
pub mod view;

// Steps 4 to 6: fetching within the limits.
pub mod cluster;
pub mod fetcher;
pub mod quota;
pub mod scheduler;

// Step 7: Zoom.
pub mod clean;
pub mod zoom;

// Steps 9 and 10: failures, and what operators see.
pub mod failure;
pub mod metrics;
pub mod telemetry;
pub mod trace;

// Before the first request: commands, settings, wiring and start-up.
pub mod app;
pub mod cli;
pub mod config;
mod supervisor;

// Tools that depend on no module above.
mod atomic_file;
mod blocking;
pub mod egress;
mod json;
mod regular_file;
mod toml_document;
