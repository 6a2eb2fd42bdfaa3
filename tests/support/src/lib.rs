//! Shared by the integration tests: the service as a process, its callers, and stand-ins for its peers.
//!
//! A test file imports from here and from no other test file; `tests/tidy.rs` checks that. Helpers that only one file
//! needs stay in that file.
#![expect(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, compares counters exactly, and may print and format as it likes; the names of most helpers say what they do"
)]

pub mod arbitrary_json;
pub mod callers;
pub mod client;
pub mod collector;
pub mod connect_proxy;
pub mod freshness;
pub mod hidden_fields;
pub mod issuer;
pub mod preload;
pub mod process;
pub mod rate;
pub mod raw_zoom;
pub mod records;
pub mod redis_server;
pub mod relay;
pub mod replica;
pub mod replicas;
pub mod rudeness;
pub mod service;
pub mod simulator;
pub mod tls_front;
pub mod wait;
