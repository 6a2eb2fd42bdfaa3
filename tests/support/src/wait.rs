//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Asks again until there is an answer: a condition, not a sleep.
pub fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain");
        thread::park_timeout(Duration::from_millis(10));
    }
}
