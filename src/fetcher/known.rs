//! Replies to requests that need no flight.

use std::time::Instant;

use super::{
    command::{FetchSource, Fetched},
    state::FetcherState,
};
use crate::{
    cache::{Entry, policy::FetchRequirement},
    failure::Failure,
    snapshot::SnapshotKey,
};

/// Returns the result for a caller that needs no flight; `None` if it needs one. `entry` is the newest one in the
/// cache.
pub(super) fn without_flight(
    state: &FetcherState,
    key: &SnapshotKey,
    entry: Option<Entry>,
    wanted: FetchRequirement,
) -> Option<Result<Fetched, Failure>> {
    let now = Instant::now();
    match entry {
        Some(Entry::Refusal(refusal)) => return Some(Err(refusal.failure.clone())),
        Some(Entry::Snapshot(snapshot)) if state.cache.policy().accepts(&snapshot, wanted, now) => {
            return Some(Ok(Fetched { snapshot, source: FetchSource::Cache, stored: true }));
        }
        Some(Entry::Snapshot(_)) | None => {}
    }
    if let Some(failure) = state.cache.failure(key, now) {
        return Some(Err(failure));
    }
    // A caller with a fallback does not wait for the end of a cool-down, however short, unless another replica may have
    // a newer snapshot, which costs no call.
    if wanted.has_fallback
        && !state.peers.may_have_snapshots()
        && let Some((_, failure)) = state.scheduler.blocked_until()
    {
        return Some(Err(failure));
    }
    None
}
