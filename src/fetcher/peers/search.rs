//! Before a flight calls Zoom, searches for a record of the meeting, or for another replica that is fetching it.
//!
//! Two steps alternate until one of them decides:
//!
//! 1. Look up the record. If every caller that waits accepts it, it is the result.
//! 2. Claim the fetch. If the claim is granted, this replica fetches. If another replica holds the claim, wait for the event
//!    that ends its flight. If that flight stored a record, start over. If it announced a failure, this is the result. If no
//!    event comes, claim again.
//!
//! Example: replicas A and B miss the same meeting 5 ms apart, and neither finds a record. A's claim is granted, with
//! fencing number 100 (it orders claims, see [`crate::cluster`]); B's is not, so B waits. After 900 ms A stores its
//! record, an event wakes B, and B reads the record: every page was fetched once. If A dies instead, no event comes; B
//! claims again every second, and gets the claim once A's last heartbeat is more than 3 s ago.

use std::{sync::Arc, time::Instant};

use super::{
    backend::RedisPeers,
    claim::HeldClaim,
    records::{self, Content},
    subscriptions::{FlightOutcome, Subscription},
};
use crate::{
    cache::Entry,
    cluster::{ClaimResult, StoredRecord, Unavailable, failure_codec, keys::RecordKey},
    failure::{Failure, Reason},
    fetcher::{
        command::FetchSource,
        flights::{Flight, FlightEntry},
    },
    snapshot::{MeetingKind, Snapshot, SnapshotKey},
};

pub(in crate::fetcher) enum PeerResult {
    /// Nothing was found, so this replica fetches. `None` if Redis is not configured or unavailable. Other replicas may
    /// then fetch the same meeting.
    FetchHere(Option<HeldClaim>),
    /// A snapshot that every waiting caller accepts.
    Found(Arc<Snapshot>, FetchSource),
    /// Zoom's refusal of another replica's call, and the time until which it is cached.
    Refusal(Failure, Instant),
    /// The other replica's flight failed.
    PeerFailed(Failure),
    /// This flight stopped waiting for the other replica's: its deadline passed, or no caller waits any more.
    GaveUp(Failure),
}

enum WaitResult {
    /// There is a newer record.
    Recorded,
    Decided(PeerResult),
}

pub(super) async fn find(peers: &RedisPeers, flight: &Flight) -> PeerResult {
    // After the process starts, waits until Redis has replied or failed, because another replica may have the meeting.
    // The flight loses no time, because the quota permits no call before that.
    peers.cluster.wait_until_known().await;
    // Subscribes before the first look-up, so that no event between the look-up and the wait is missed.
    let mut subscription = peers.subscriptions.subscribe(flight.key);
    let key = RecordKey::meeting(&flight.key);
    let mut source = FetchSource::Record;
    let result = loop {
        let stored = peers.cluster.retrying(async || peers.cluster.look_up(&key).await).await;
        let Ok(StoredRecord { fence, record }) = stored else { break PeerResult::FetchHere(None) };
        let content = records::read(&peers.cluster, flight.key, &key, record).await;
        if let Some(result) = content.and_then(|content| accept_or_keep(peers, flight, content, source)) {
            break result;
        }
        match claim_or_wait(peers, flight, (&key, fence), &mut subscription).await {
            WaitResult::Recorded => source = FetchSource::OthersFlight,
            WaitResult::Decided(result) => break result,
        }
    };
    peers.flights.end_wait(flight);
    result
}

/// Returns the record as the result if it is a refusal that still counts, or a snapshot that every waiting caller
/// accepts. Any other snapshot may be cached; see [`keep_as_fallback`].
pub(super) fn accept_or_keep(
    peers: &RedisPeers,
    flight: &Flight,
    content: Content,
    source: FetchSource,
) -> Option<PeerResult> {
    match content {
        Content::Refusal { failure, until, at } => {
            // Cached for no longer than a refusal of this replica's own call would be.
            let keep = peers.cache.failure_ttl(flight.key, &failure, at).unwrap_or_default();
            let until = until.min(at + keep);
            let counts = until > Instant::now() || shows_other_kind(peers, flight, &failure, at);
            counts.then_some(PeerResult::Refusal(failure, until))
        }
        Content::Snapshot(snapshot) => {
            let serves = peers
                .flights
                .read(flight, |entry| entry.all_accept(&snapshot, peers.cache.policy(), Instant::now()));
            if serves && peers.is_latest(&snapshot) {
                return Some(PeerResult::Found(snapshot, source));
            }
            keep_as_fallback(peers, flight, snapshot);
            None
        }
    }
}

/// Returns whether an expired refusal still counts because it shows that the id is a webinar's. That saves this flight
/// a refused call. The refusal does not count if, for example, a caller named the kind, or the webinar endpoint has
/// also refused the id. The flight must then call the meeting endpoint.
fn shows_other_kind(peers: &RedisPeers, flight: &Flight, failure: &Failure, at: Instant) -> bool {
    let has_snapshot = || matches!(peers.cache.get(&flight.key, Instant::now()), Some(Entry::Snapshot(_)));
    is_kept_for_kind(flight.key, failure)
        && peers.cache.accepts_kind_of(at, &flight.key.meeting)
        && peers.flights.read(flight, FlightEntry::all_accept_other_kind)
        && !has_snapshot()
}

/// Returns whether the failure's record is kept longer than the failure itself, because it shows that the id is a
/// webinar's.
pub(super) fn is_kept_for_kind(key: SnapshotKey, failure: &Failure) -> bool {
    key.kind == MeetingKind::Meeting && failure.reason == Reason::NotAMeeting
}

/// Caches a snapshot that was not accepted, because it can still be served stale if Zoom fails. Does nothing if the
/// cache has a newer snapshot or a refusal, or if the flight is detached.
fn keep_as_fallback(peers: &RedisPeers, flight: &Flight, snapshot: Arc<Snapshot>) {
    let now = Instant::now();
    let is_newer = match peers.cache.get(&flight.key, now) {
        Some(Entry::Snapshot(cached)) => {
            snapshot.tag != cached.tag && snapshot.fetched_instant > cached.fetched_instant
        }
        Some(Entry::Refusal(_)) => false,
        None => true,
    };
    if is_newer && !peers.flights.is_detached(flight) {
        let (cached, _) = peers.cache.insert(snapshot);
        cached.record_refresh_attempt(now);
    }
}

/// Claims the fetch. While another replica holds the claim, waits for that replica's result. Tries to claim again every
/// second, in case that replica has died.
async fn claim_or_wait(
    peers: &RedisPeers,
    flight: &Flight,
    (key, known): (&RecordKey, u64),
    subscription: &mut Subscription<'_>,
) -> WaitResult {
    use WaitResult::{Decided, Recorded};
    loop {
        let held = match peers.cluster.claim(key, known).await {
            Ok(ClaimResult::Granted(claim)) => {
                let claim = HeldClaim::new(&peers.cluster, claim);
                return Decided(PeerResult::FetchHere(Some(claim)));
            }
            Err(Unavailable) => return Decided(PeerResult::FetchHere(None)),
            Ok(ClaimResult::Recorded(_)) => return Recorded,
            Ok(ClaimResult::Held(fence)) => fence,
        };
        let is_abandoned = peers.flights.detach_if_abandoned(flight.number);
        if is_abandoned || peers.flights.deadline(flight).is_some_and(|at| at <= Instant::now()) {
            return Decided(PeerResult::GaveUp(Failure::new(Reason::StillFetching)));
        }
        // A cool-down also stops the other replica's calls, so callers that cannot wait for its end get the failure
        // immediately. `find` calls `end_wait`.
        peers.flights.begin_wait(flight, peers.scheduler.blocked_until().as_ref());
        match subscription.next().await {
            Some(FlightOutcome::Recorded) => return Recorded,
            // A lower fencing number belongs to an earlier claim than the one that this replica waits for.
            Some(FlightOutcome::Failed { fence, encoded_failure }) if fence >= held => {
                if let Some(failure) = failure_of(peers, flight, &encoded_failure) {
                    return Decided(PeerResult::PeerFailed(failure));
                }
            }
            Some(FlightOutcome::Failed { .. }) | None => {}
        }
    }
}

/// Returns the failure of the other replica's flight if this flight would probably fail for the same reason.
fn failure_of(peers: &RedisPeers, flight: &Flight, encoded: &str) -> Option<Failure> {
    let now = Instant::now();
    let mut failure = failure_codec::decode(encoded, &peers.cluster.clock()?, now)?;
    if !holds_for_peers(failure.reason) {
        return None;
    }
    // Cached for no longer than a failure of this replica would be.
    let keep = peers.cache.failure_ttl(flight.key, &failure, now).unwrap_or_default();
    failure.retry_at = failure.retry_at.map(|at| at.min(now + keep));
    Some(failure)
}

/// Returns whether the waiting replicas would probably get the same failure after the same retries. This includes "not
/// found" responses that are not cached. Other failures may be specific to one replica (a longer queue, older
/// credentials), so the waiting replicas try to fetch for themselves.
pub(super) fn holds_for_peers(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ZoomFailed
            | Reason::ZoomTimedOut
            | Reason::MeetingNotFound
            | Reason::NotAMeeting
            | Reason::MeetingTooOld
    )
}
