//! The service from outside: the real binary on real sockets, against the simulator on port 0.
//!
//! Every test asserts on the simulator's record of calls where it can, and ends with "no unannounced WARN or ERROR".
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::format_push_string,
    clippy::format_collect,
    unreachable_pub,
    reason = "a test fails by panicking, compares counters exactly, and may print and format as it likes"
)]

mod answers;
mod cache;
mod callers;
mod callers_file;
mod codings;
mod collector;
mod connect_proxy;
mod connections;
mod credentials;
mod cut_errors;
mod directives;
mod errors;
mod fairness;
mod files;
mod flights;
mod ids;
mod leaks;
mod lifecycle;
mod limits;
mod lost_lines;
mod memory;
mod memory_limit;
mod openapi;
mod ops;
mod preload;
mod proxies;
mod purge;
mod ratelimit;
mod raw_zoom;
mod redis_forged;
mod redis_odd;
#[path = "../redis/relay.rs"]
mod redis_relay;
#[path = "../redis/server.rs"]
#[expect(dead_code, reason = "tests/redis needs more of it")]
mod redis_server;
mod refusals;
mod replicas;
mod replicas_chaos;
mod replicas_cost;
mod replicas_flights;
mod replicas_server;
mod replicas_token;
mod retries;
mod retry_after;
mod rolling;
mod rude_callers;
mod rude_redis;
mod rude_zoom;
mod rudeness;
mod service;
mod slices;
mod stale;
mod supervision;
mod tls_front;
mod traces;
mod unreachable;
mod validators;
mod words;
