//! Finds the most calls in any second.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The time of each call, and the number of the replica that made it.
pub type Calls = Arc<Mutex<Vec<(Instant, usize)>>>;

/// The most calls in any second; a second includes its first instant and excludes its last.
pub fn most_in_a_second(calls: impl IntoIterator<Item = Instant>) -> usize {
    let calls: Vec<_> = calls.into_iter().collect();
    let within_a_second = |first: &Instant| {
        calls.iter().filter(|call| *call >= first && **call < *first + Duration::from_secs(1)).count()
    };
    calls.iter().map(within_a_second).max().unwrap_or_default()
}
