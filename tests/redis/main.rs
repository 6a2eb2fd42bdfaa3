//! Tests of the state that replicas share. Each test starts a real `redis-server` on a free port.
//!
//! Here, a replica is a handle of the library. The tests in `tests/api` run whole processes instead.
//! Measurements are printed: `cargo test --test redis -- --nocapture`.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, and may print"
)]

mod access;
mod claims;
mod fair_day;
mod faults;
mod quota;
