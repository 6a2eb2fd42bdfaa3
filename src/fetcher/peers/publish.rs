//! Publishes the result of a flight to the other replicas: as the meeting's record, or as an event.

use std::{sync::Arc, time::Instant};

use super::{
    backend::RedisPeers,
    claim::HeldClaim,
    records,
    search::{holds_for_peers, is_kept_for_kind},
};
use crate::{
    cache::{Entry, KIND_REMEMBERED_FOR, ends_snapshot},
    cluster::{PutResult, Unavailable, clock::ServerClock, failure_codec, keys::RecordKey},
    failure::Failure,
    fetcher::flights::Flight,
    snapshot::Snapshot,
};

/// A flight's result after it was published.
pub(in crate::fetcher) struct PublishResult {
    /// This replica's result, unless another replica's later fetch supersedes it.
    pub(in crate::fetcher) result: Result<Arc<Snapshot>, Failure>,
    /// Whether the meeting was purged meanwhile. If so, the result must not be cached.
    pub(in crate::fetcher) purged: bool,
}

impl PublishResult {
    fn cacheable(result: Result<Arc<Snapshot>, Failure>) -> Self {
        Self { result, purged: false }
    }
}

pub(super) async fn publish(
    peers: &RedisPeers,
    claim: HeldClaim,
    flight: &Flight,
    result: Result<Arc<Snapshot>, Failure>,
) -> PublishResult {
    let is_detached = peers.flights.is_detached(flight);
    let Some(clock) = peers.cluster.clock().filter(|_| !is_detached) else {
        // Dropping the claim releases it.
        return PublishResult::cacheable(result);
    };
    let key = RecordKey::meeting(&flight.key);
    let (record, keep) = match &result {
        Ok(snapshot) => {
            let keep = peers.cache.useful_for(snapshot);
            (records::of_snapshot(&peers.cluster, clock, &key, Arc::clone(snapshot)).await, keep)
        }
        Err(failure) => {
            let now = Instant::now();
            let keep = peers.cache.failure_ttl(flight.key, failure, now).filter(|keep| !keep.is_zero());
            if let Some(keep) = keep.filter(|_| belongs_in_record(peers, flight, failure)) {
                let record = records::of_refusal(&peers.cluster, clock, &key, failure, keep);
                let is_kept = is_kept_for_kind(flight.key, failure);
                (record, if is_kept { keep.max(KIND_REMEMBERED_FOR) } else { keep })
            } else {
                let announced = Failure { retry_at: keep.map(|keep| now + keep), ..failure.clone() };
                claim.release(&announcement(&announced, &clock)).await;
                return PublishResult::cacheable(result);
            }
        }
    };
    let Some(record) = record else { return PublishResult::cacheable(result) };
    match peers.cluster.retrying(async || claim.put(&record, keep).await).await {
        Ok(PutResult::Purged) => PublishResult { result, purged: true },
        // This process stalled until another replica took over its claim, so the result of the later claim counts.
        Ok(PutResult::Superseded) => {
            let latest = peers.latest(flight.key).await;
            let latest = latest.filter(|latest| latest.fresh_left(Instant::now()).is_some());
            PublishResult::cacheable(latest.map_or(result, Ok))
        }
        Ok(PutResult::Stored) | Err(Unavailable) => PublishResult::cacheable(result),
    }
}

/// Returns whether a failure is stored as the meeting's record. All other failures are only announced to the replicas
/// that run now: a record would overwrite the snapshot, which other replicas may still serve stale.
fn belongs_in_record(peers: &RedisPeers, flight: &Flight, failure: &Failure) -> bool {
    let has_snapshot = || matches!(peers.cache.get(&flight.key, Instant::now()), Some(Entry::Snapshot(_)));
    ends_snapshot(failure) || (failure.lasting.is_some() && !has_snapshot())
}

/// Returns the encoded failure for the event; empty if the other replicas should try for themselves.
fn announcement(failure: &Failure, clock: &ServerClock) -> String {
    let encoded = holds_for_peers(failure.reason).then(|| failure_codec::encode(failure, clock));
    encoded.flatten().unwrap_or_default()
}
