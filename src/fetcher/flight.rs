//! One flight: from other replicas where they have it, from Zoom otherwise, and into the cache and to those who wait.

use std::{panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

use futures_util::FutureExt as _;

use super::{
    Via,
    core::Core,
    flights::Flight,
    pages::fetch_meeting,
    peers::{self, How, Told, Turn},
};
use crate::{
    cache::ends_snapshot,
    failure::{Failure, Reason, ZoomError},
    snapshot::{Snapshot, SnapshotKey},
    trace::Span,
};

/// What a flight brings, and whence.
struct Brought {
    result: Result<Arc<Snapshot>, Failure>,
    /// From another replica, and how.
    elsewhere: Option<How>,
    /// Nobody is to have it any more.
    purged: bool,
    /// How long a refusal is remembered.
    until: Option<Instant>,
}

impl Brought {
    fn of_zoom(core: &Core, flight: &Flight, result: Result<Arc<Snapshot>, Failure>) -> Self {
        let failure = result.as_ref().err();
        // Trouble of a flight that has made no call, such as with the access token, is not this meeting's.
        let failure = failure.filter(|failure| {
            failure.lasting.is_some() || ends_snapshot(failure) || core.flights.has_begun(flight)
        });
        let now = Instant::now();
        let keep = failure.and_then(|failure| core.cache.failure_ttl(flight.key, failure, now));
        let until = keep.map(|keep| now + keep);
        Self { result, elsewhere: None, purged: false, until }
    }

    fn of_another(result: Result<Arc<Snapshot>, Failure>, how: How, until: Option<Instant>) -> Self {
        Self { result, elsewhere: Some(how), purged: false, until }
    }
}

/// Flies, and lands in the cache and with the callers; a panic on the way is a failure and not a hanging flight.
pub(super) async fn fly(core: Rc<Core>, flight: Flight, span: Span) {
    let took_off = Instant::now();
    let brought = AssertUnwindSafe(bring(&core, &flight)).catch_unwind().await;
    let Brought { result, elsewhere, purged, until } =
        brought.unwrap_or_else(|_| Brought::of_zoom(&core, &flight, Err(Failure::new(Reason::ZoomFailed))));
    core.metrics.flights_active.dec();
    if elsewhere.is_none() {
        core.metrics.flight_duration.observe(took_off.elapsed().as_secs_f64());
    }
    // Decided here and done below without a pause: a purge comes before it or after it.
    let kept = !purged && !core.flights.is_set_aside(&flight);
    let result = match result {
        Ok(snapshot) => {
            let (snapshot, stored) = if kept { core.cache.insert(snapshot) } else { (snapshot, false) };
            if elsewhere.is_none() {
                core.metrics.flight_pages.observe(f64::from(snapshot.pages));
            }
            tracing::debug!(
                meeting = %flight.key.meeting,
                meeting_type = flight.key.meeting_type.as_str(),
                pages = snapshot.pages,
                bytes = snapshot.length,
                kept_bytes = snapshot.weight(),
                stored,
                by_another_replica = elsewhere.is_some(),
                "meeting fetched"
            );
            Ok((snapshot, stored))
        }
        Err(mut failure) => {
            if let Some(until) = until.filter(|_| kept) {
                if !ends_snapshot(&failure) {
                    // Before that nobody asks Zoom, whatever it said itself.
                    failure.retry_at = Some(until);
                }
                core.cache.insert_failure(flight.key, &failure, until);
            }
            say(flight.key, &failure);
            Err(failure)
        }
    };
    core.traces.land(&flight, span, result.as_ref().map(|(snapshot, _)| &**snapshot));
    let via = elsewhere.map(|how| match how {
        How::Found => Via::Cache,
        How::Followed => Via::OthersFlight,
    });
    core.flights.land(&flight, &result, via);
}

/// From another replica, where one has it or is about to; from Zoom otherwise, for all of them.
async fn bring(core: &Core, flight: &Flight) -> Brought {
    let by_ourselves = |result| Brought::of_zoom(core, flight, result);
    let Some(shared) = &core.shared else {
        return by_ourselves(fetch_meeting(core, flight).await.map(Arc::new));
    };
    let span = core.traces.look_around(flight);
    let turn = peers::look_around(core, shared, flight).await;
    drop(span);
    let right = match turn {
        Turn::Ours(right) => right,
        Turn::Landed(snapshot, how) => return Brought::of_another(Ok(snapshot), how, None),
        Turn::Refused(failure, until) => return Brought::of_another(Err(failure), How::Found, Some(until)),
        Turn::Failed(failure) => {
            return Brought { elsewhere: Some(How::Followed), ..by_ourselves(Err(failure)) };
        }
    };
    let result = fetch_meeting(core, flight).await.map(Arc::new);
    let Some(right) = right else { return by_ourselves(result) };
    match peers::tell(core, right, flight, result).await {
        Told::Ours(result) => by_ourselves(result),
        Told::Purged(result) => Brought { purged: true, ..by_ourselves(result) },
        Told::Later(snapshot) => by_ourselves(Ok(snapshot)),
    }
}

/// What went wrong at Zoom is for operators to see; what callers asked wrongly is not.
fn say(key: SnapshotKey, failure: &Failure) {
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
