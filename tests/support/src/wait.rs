//! Waits for conditions, and pauses for tests in which the passing of time matters.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Longer than a condition should take; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns the seconds until 00:00 UTC.
pub fn until_midnight() -> u64 {
    86_400 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400
}

/// Polls until the condition returns a value. Panics after [`PATIENCE`].
pub fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "the condition was never met");
        pause(POLL_INTERVAL);
    }
}

/// Like [`wait_for`], but for an asynchronous condition.
pub async fn settled<T, F: Future<Output = Option<T>>>(mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "the condition was never met");
        pause_async(POLL_INTERVAL).await;
    }
}

/// A pause that is itself part of the test, such as a slow peer, a caller's rate or a long outage. Use [`wait_for`] for
/// anything that can be observed.
#[expect(clippy::disallowed_methods, reason = "blocks a test's own thread, not a worker of the service")]
pub fn pause(time: Duration) {
    thread::sleep(time);
}

/// Like [`pause`], but lets the runtime's other tasks continue.
pub async fn pause_async(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits for a time that the code under test returned, such as the start of a permit's slot.
pub async fn reached(time: Instant) {
    tokio::time::sleep_until(time.into()).await;
}
