//! Runs one flight: obtains a snapshot from another replica or from Zoom, caches it, and replies to the callers waiting
//! for it.

use std::{panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

use futures_util::FutureExt as _;

use super::{
    command::FetchSource,
    flights::{Flight, Redirected},
    pages::fetch_meeting,
    peers::PeerResult,
    state::FetcherState,
};
use crate::{
    cache::ends_snapshot,
    failure::{Failure, Reason, ZoomError},
    snapshot::{Snapshot, SnapshotKey},
    trace::Span,
};

struct FlightResult {
    result: Result<Arc<Snapshot>, Failure>,
    /// Set if the flight relied on another replica: where the callers' result came from. `None` if this replica was to
    /// fetch it itself.
    source_if_peer: Option<FetchSource>,
    /// Whether the result may be cached, unless the flight is detached. `false` if Redis reports a purge during the
    /// fetch, or a newer result of another replica.
    may_cache: bool,
    /// The time until which a failure is cached; `None` if it is not cached.
    remember_until: Option<Instant>,
}

/// Runs one flight to its end. A panic fails the flight, so its callers still get a reply.
pub(super) async fn fly(state: Rc<FetcherState>, mut flight: Flight, span: Span) {
    let started = Instant::now();
    loop {
        let obtained = AssertUnwindSafe(obtain(&state, &mut flight)).catch_unwind().await;
        let obtained = obtained.unwrap_or_else(|_| {
            FlightResult::with_ttl(&state, &flight, Err(Failure::new(Reason::ZoomFailed)))
        });
        // The rest of this iteration has no `await`, so a purge runs either before it or after it. Before it, the purge
        // detaches the flight, and nothing is cached. After it, the purge removes the cached result.
        let source_if_peer = obtained.source_if_peer;
        record_answer(&state, &flight, &obtained.result);
        let result = remember(&state, &flight, obtained);
        if let Err(failure) = &result
            && goes_on(&state, &mut flight, failure)
        {
            continue;
        }
        state.metrics.flights_active.dec();
        if source_if_peer.is_none() {
            state.metrics.flight_duration.observe(started.elapsed().as_secs_f64());
        }
        state.spans.end_flight(&flight, span, result.as_ref().map(|(snapshot, _)| &**snapshot));
        return state.flights.complete(&flight, &result, source_if_peer);
    }
}

/// Obtains the snapshot from another replica if one has it or is fetching it. Otherwise fetches it from Zoom, and
/// publishes the result to the other replicas.
async fn obtain(state: &FetcherState, flight: &mut Flight) -> FlightResult {
    let claim = match state.peers.find(flight, &state.spans).await {
        PeerResult::FetchHere(claim) => claim,
        PeerResult::Found(snapshot, source) => {
            let with_ttl = FlightResult::with_ttl(state, flight, Ok(snapshot));
            return FlightResult { source_if_peer: Some(source), ..with_ttl };
        }
        PeerResult::Refusal(failure, until) => {
            let (source_if_peer, remember_until) = (Some(FetchSource::Record), Some(until));
            return FlightResult { result: Err(failure), source_if_peer, may_cache: true, remember_until };
        }
        PeerResult::PeerFailed(failure) | PeerResult::GaveUp(failure) => {
            let source_if_peer = Some(FetchSource::OthersFlight);
            return FlightResult { source_if_peer, ..FlightResult::with_ttl(state, flight, Err(failure)) };
        }
    };
    // A flight that has made a call, and now goes on at the other endpoint, completes even if its caller has reached a
    // ceiling.
    let has_called = state.flights.read(flight, |entry| entry.has_called);
    if !has_called && let Err(failure) = confirm_or_hand_over(state, flight).await {
        // The failure is not published, because other callers, at other replicas, may be within their limits. Dropping
        // the claim releases it. There is no `await` from here to the end of the flight, so no caller can join it and
        // get another caller's failure.
        drop(claim);
        return FlightResult::with_ttl(state, flight, Err(failure));
    }
    let result = fetch_meeting(state, flight).await.map(Arc::new);
    // The result is published before it is cached and sent to the callers, because another replica may have fetched or
    // purged the meeting since. The wait for the record to be stored ends shortly before the first caller's deadline.
    let (result, may_cache) = state.peers.publish(claim, flight, result).await;
    FlightResult { may_cache, ..FlightResult::with_ttl(state, flight, result) }
}

/// Asks Redis whether the flight may make calls for its caller. If the caller has reached a ceiling (`calls_per_minute`
/// or `calls_per_day`), its own requests get that failure. The flight is then handed over to another caller that waits
/// for it, if there is one.
async fn confirm_or_hand_over(state: &FetcherState, flight: &mut Flight) -> Result<(), Failure> {
    let mut over_limit = flight.caller.id;
    let mut confirmed = flight.calls.confirm().await;
    while let Err(failure) = confirmed {
        let next = state.flights.reject_waiters_of(flight, over_limit, &failure);
        over_limit = next.ok_or_else(|| failure.clone())?;
        // A caller that is no longer in the callers' file gets the same failure.
        let caller = state.accounts.caller(over_limit).ok_or(failure);
        confirmed = match caller.and_then(|caller| {
            let calls = state.accounts.reserve_first_call(&caller, Instant::now())?;
            state.flights.hand_over(flight, &caller, calls);
            Ok(())
        }) {
            Ok(()) => flight.calls.confirm().await,
            Err(failure) => Err(failure),
        };
    }
    confirmed
}

/// Caches the result if it may be cached. Returns the result, and whether the cache holds the snapshot.
fn remember(
    state: &FetcherState,
    flight: &Flight,
    obtained: FlightResult,
) -> Result<(Arc<Snapshot>, bool), Failure> {
    let FlightResult { result, source_if_peer, may_cache, remember_until } = obtained;
    let may_cache = may_cache && !state.flights.is_detached(flight);
    match result {
        Ok(snapshot) => {
            let (snapshot, stored) = if may_cache { state.cache.insert(snapshot) } else { (snapshot, false) };
            if source_if_peer.is_none() {
                state.metrics.flight_pages.observe(f64::from(snapshot.pages));
            }
            log_success(flight.key, &snapshot, stored, source_if_peer);
            Ok((snapshot, stored))
        }
        Err(mut failure) => {
            if let Some(until) = remember_until.filter(|_| may_cache) {
                if !ends_snapshot(failure.reason) {
                    // The cached failure is served until then, so callers should not retry earlier, even if Zoom named
                    // another time.
                    failure.retry_at = Some(until);
                }
                state.cache.insert_failure(flight.key, &failure, until);
            }
            log_failure(flight.key, &failure);
            Err(failure)
        }
    }
}

/// Records whether the caller requested a meeting that exists, if the result shows it.
fn record_answer(state: &FetcherState, flight: &Flight, result: &Result<Arc<Snapshot>, Failure>) {
    let exists = match result.as_ref().map_err(|failure| failure.reason) {
        Ok(_) | Err(Reason::MeetingTooOld) => true,
        Err(Reason::MeetingNotFound | Reason::NotAMeeting) => false,
        Err(_) => return,
    };
    state.scheduler.record_answer(flight.caller.name.as_str(), exists);
}

/// If the id is not of this kind, redirects the flight to the other kind for the callers that named no kind. Returns
/// whether the flight continues, with a new key, at Zoom's other endpoint.
fn goes_on(state: &FetcherState, flight: &mut Flight, failure: &Failure) -> bool {
    if failure.reason != Reason::NotAMeeting {
        return false;
    }
    let known = |key: &SnapshotKey, requirement| {
        state.without_flight(key, state.cache.get(key, Instant::now()), requirement)
    };
    match state.flights.redirect(flight, failure, known) {
        Redirected::GoesOn => true,
        Redirected::Joined(number, waiters) => {
            for (weight, deadline) in waiters {
                state.scheduler.add_waiter(number, weight, deadline);
            }
            false
        }
        Redirected::Ends => false,
    }
}

impl FlightResult {
    /// Makes a result that may be cached, and decides how long it is cached if it is a failure.
    fn with_ttl(state: &FetcherState, flight: &Flight, result: Result<Arc<Snapshot>, Failure>) -> Self {
        let failure = result.as_ref().err().filter(|failure| state.flights.concerns_meeting(flight, failure));
        let now = Instant::now();
        let keep = failure.and_then(|failure| state.cache.failure_ttl(flight.key, failure, now));
        Self { result, source_if_peer: None, may_cache: true, remember_until: keep.map(|keep| now + keep) }
    }
}

fn log_success(key: SnapshotKey, snapshot: &Snapshot, stored: bool, source_if_peer: Option<FetchSource>) {
    tracing::debug!(
        meeting = %key.meeting,
        meeting_type = key.meeting_type.as_str(),
        pages = snapshot.pages,
        bytes = snapshot.length,
        kept_bytes = snapshot.memory_bytes(),
        stored,
        by_another_replica = source_if_peer.is_some(),
        "meeting fetched"
    );
}

/// Logs failures of Zoom as warnings for operators. Other failures, such as a request for an unknown meeting, are
/// logged at `debug`.
fn log_failure(key: SnapshotKey, failure: &Failure) {
    let zoom = failure.zoom.as_deref();
    let (status, code) =
        (zoom.map(|zoom_error| zoom_error.status), zoom.and_then(|zoom_error| zoom_error.code));
    let tracking_id = zoom.and_then(ZoomError::tracking_id);
    let (reason, meeting) = (failure.reason, key.meeting);
    match failure.reason {
        Reason::ZoomFailed | Reason::ZoomTimedOut => {
            tracing::warn!(code = reason.as_str(), %meeting, zoom_status = status, zoom_code = code, tracking_id, "flight failed");
        }
        _ => {
            tracing::debug!(code = reason.as_str(), %meeting, zoom_status = status, zoom_code = code, tracking_id, "flight ended");
        }
    }
}
