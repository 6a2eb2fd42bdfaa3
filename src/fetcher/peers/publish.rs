//! Publishes the result of a flight to the other replicas: as the meeting's record, or as an event.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backend::RedisPeers,
    claim::HeldClaim,
    records,
    search::{PeerResult, accept_or_keep, holds_for_peers, is_kept_for_kind},
};
use crate::{
    cache::{Entry, KIND_REMEMBERED_FOR, ends_snapshot},
    cluster::{PutResult, Unavailable, clock::ServerClock, failure_codec, keys::RecordKey},
    failure::Failure,
    fetcher::{
        command::FetchSource,
        flights::{Flight, FlightEntry},
    },
    snapshot::Snapshot,
};

/// The result must be sent to the waiting callers this long before the earliest of their deadlines.
const ANSWER_BEFORE: Duration = Duration::from_millis(50);

/// Publishes the result. Returns the result for the callers, and whether this replica may cache it. If another replica
/// has fetched the meeting since, see [`superseded`]. If the meeting was purged after the claim, the result may not be
/// cached.
pub(super) async fn publish(
    peers: &RedisPeers,
    claim: HeldClaim,
    flight: &Flight,
    result: Result<Arc<Snapshot>, Failure>,
) -> (Result<Arc<Snapshot>, Failure>, bool) {
    let is_detached = peers.flights.is_detached(flight);
    let Some(clock) = peers.cluster.clock().filter(|_| !is_detached) else {
        // Nothing is published, and dropping the claim releases it. If the flight is detached, `flight::remember` does
        // not cache its result either.
        return (result, true);
    };
    let key = RecordKey::meeting(&flight.key);
    let (record, keep) = match &result {
        Ok(snapshot) => {
            let keep = peers.cache.policy().useful_for(snapshot);
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
                let is_theirs = peers.flights.concerns_meeting(flight, failure);
                let announcement = if is_theirs { announcement(&announced, &clock) } else { String::new() };
                claim.release(&announcement).await;
                return (result, true);
            }
        }
    };
    let Some(record) = record else { return (result, true) };
    peers.log_if_too_large(flight.key, &record);
    match put_in_time(peers, flight, (claim, record, keep)).await {
        Ok(PutResult::Purged) => (result, false),
        Ok(PutResult::Superseded) => superseded(peers, flight, result).await,
        Ok(PutResult::Stored | PutResult::Refused) | Err(Unavailable) => (result, true),
    }
}

/// Stores the record, but returns before the earliest deadline of the waiting callers. If the record is not stored by
/// then, the attempts continue in the background, because the other replicas still need it.
async fn put_in_time(
    peers: &RedisPeers,
    flight: &Flight,
    (claim, record, keep): (HeldClaim, Vec<u8>, Duration),
) -> Result<PutResult, Unavailable> {
    let cluster = peers.cluster.clone();
    let put = async move { cluster.retrying(async || claim.put(&record, keep).await).await };
    let Some(deadline) = peers.flights.read(flight, FlightEntry::first_deadline) else { return put.await };
    let time = deadline.saturating_duration_since(Instant::now()).saturating_sub(ANSWER_BEFORE);
    match tokio::time::timeout(time, actix_rt::spawn(put)).await {
        Ok(Ok(put)) => put,
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

/// Handles a result that came too late: for example, this process was paused, and another replica took over the claim
/// and stored its own result. Returns the other replica's result if it is a refusal that still counts, or if every
/// waiting caller accepts it. Otherwise returns this replica's result, which may not be cached.
async fn superseded(
    peers: &RedisPeers,
    flight: &Flight,
    result: Result<Arc<Snapshot>, Failure>,
) -> (Result<Arc<Snapshot>, Failure>, bool) {
    let content = peers.record(flight.key).await;
    match content.and_then(|content| accept_or_keep(peers, flight, content, FetchSource::Record)) {
        Some(PeerResult::Found(snapshot, _)) => (Ok(snapshot), true),
        Some(PeerResult::Refusal(failure, _)) => (Err(failure), true),
        _ => (result, false),
    }
}

/// Returns whether a failure is stored as the meeting's record. Other failures are at most announced to the replicas
/// that run now, because a record would overwrite the snapshot, which other replicas may still serve stale.
fn belongs_in_record(peers: &RedisPeers, flight: &Flight, failure: &Failure) -> bool {
    let has_snapshot = || matches!(peers.cache.get(&flight.key, Instant::now()), Some(Entry::Snapshot(_)));
    ends_snapshot(failure.reason) || (failure.lasting.is_some() && !has_snapshot())
}

/// Returns the encoded failure for the event; empty if the waiting replicas should try to fetch for themselves.
fn announcement(failure: &Failure, clock: &ServerClock) -> String {
    let encoded = holds_for_peers(failure.reason).then(|| failure_codec::encode(failure, clock));
    encoded.flatten().unwrap_or_default()
}
