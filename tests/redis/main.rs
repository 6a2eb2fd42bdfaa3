//! The state that replicas share, against a real `redis-server` that each test starts on a free port and stops by its
//! id.
//!
//! A replica here is a handle of the library on its own thread, as in the service; `tests/api` has whole processes.
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
