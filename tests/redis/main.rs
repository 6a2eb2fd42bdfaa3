//! What replicas have in common, against a real `redis-server` that each test starts on a free port and stops by its id.
//!
//! The replicas here are handles of the library, each on a thread of its own, as in the service; `tests/api` has whole
//! processes. What is measured is printed: `cargo test --test redis -- --nocapture`.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, and may print"
)]

mod access;
mod board;
mod faults;
mod quota;
