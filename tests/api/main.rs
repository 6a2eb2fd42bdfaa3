//! Tests of the service from outside: the real binary on real sockets, against the simulator on a free port.
//!
//! Most tests check which calls the simulator received. At its end, a test normally checks that the service logged no
//! WARN or ERROR that the test did not expect.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::format_collect,
    reason = "a test fails by panicking, compares counters exactly, and may print and format as it likes"
)]

mod answers;
mod audit;
mod cache;
mod callers;
mod callers_file;
mod check_config;
mod codings;
mod connections;
mod credentials;
mod cut_errors;
mod directives;
mod errors;
mod fair_day;
mod fairness;
mod files;
mod flights;
mod hiding;
mod hiding_forms;
mod hiding_replicas;
mod ids;
mod kinds;
mod leaks;
mod lifecycle;
mod limits;
mod lost_lines;
mod memory;
mod memory_connections;
mod memory_limit;
mod openapi;
mod openapi_types;
mod ops;
mod ops_key;
mod pages;
mod priorities;
mod proxies;
mod purge;
mod ratelimit;
mod redis_forged;
mod redis_forged_callers;
mod redis_odd;
mod refusals;
mod replicas;
mod replicas_callers;
mod replicas_chaos;
mod replicas_cost;
mod replicas_flights;
mod replicas_kinds;
mod replicas_records;
mod replicas_server;
mod replicas_token;
mod retries;
mod retry_after;
mod rolling;
mod rude_callers;
mod rude_redis;
mod rude_zoom;
mod selections;
mod slices;
mod stale;
mod summaries;
mod supervision;
mod tokens;
mod tokens_keys;
mod traces;
mod unreachable;
mod validators;
mod webinar_scopes;
mod words;
mod zoom_api;
mod zoom_token;
