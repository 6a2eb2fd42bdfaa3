//! Cached, cleaned Zoom meeting QoS for every team, within one account's rate limits.

#[macro_use]
mod vocabulary;

pub mod app;
mod atomic_file;
mod blocking;
pub mod cache;
pub mod callers;
pub mod clean;
pub mod cluster;
pub mod config;
pub mod egress;
pub mod failure;
pub mod fetcher;
pub mod http;
pub mod meeting_id;
pub mod metrics;
pub mod quota;
mod regular_file;
pub mod scheduler;
pub mod server;
pub mod snapshot;
mod supervisor;
pub mod telemetry;
mod toml_document;
pub mod trace;
pub mod zoom;
