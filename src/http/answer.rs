//! A snapshot as a `200`: its bytes as they are, and the headers that say how old and how fresh they are.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    http::header::{
        AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, HeaderName, HeaderValue, HttpDate, LAST_MODIFIED, VARY,
    },
};
use bytes::Bytes;

use super::State;
use crate::{
    fetcher::{Landed, Via},
    metrics::Outcome,
    snapshot::Snapshot,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// actix copies a body into the connection's write buffer: a large one goes there in parts, as the caller reads.
const PART: usize = 64 * 1024;

/// actix reads the clock for `Date` so seldom.
const DATE_TICK: Duration = Duration::from_secs(1);

/// From the cache, fresh.
pub(super) fn hit(state: &State, snapshot: &Snapshot) -> HttpResponse {
    let now = Instant::now();
    state.metrics.calls_saved.inc_by(u64::from(snapshot.pages));
    let status = format!("zoom-qos-proxy; hit; ttl={}", fresh_seconds(snapshot, now));
    ok(state, snapshot, now, &status, Outcome::Hit)
}

/// By a flight: this request's own, or one that was under way.
pub(super) fn landed(state: &State, landed: &Landed) -> HttpResponse {
    let (collapsed, outcome) = match landed.via {
        Via::Cache => return hit(state, &landed.snapshot),
        Via::OthersFlight => ("; collapsed", Outcome::Collapsed),
        Via::OwnFlight => ("", Outcome::Miss),
    };
    if outcome == Outcome::Collapsed {
        state.metrics.calls_saved.inc_by(u64::from(landed.snapshot.pages));
    }
    let stored = if landed.stored { "; stored" } else { "" };
    let status = format!("zoom-qos-proxy; fwd=uri-miss; fwd-status=200{stored}{collapsed}");
    ok(state, &landed.snapshot, Instant::now(), &status, outcome)
}

fn ok(
    state: &State,
    snapshot: &Snapshot,
    now: Instant,
    cache_status: &str,
    outcome: Outcome,
) -> HttpResponse {
    let age = snapshot.age(now);
    state.metrics.snapshot_age.observe(age.as_secs_f64());
    let fresh = format!("private, max-age={}", fresh_seconds(snapshot, now));
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((CACHE_CONTROL, fresh))
        .insert_header((AGE, age.as_secs()))
        .insert_header((VARY, HeaderValue::from_static("Accept-Encoding")))
        .insert_header((CACHE_STATUS, cache_status));
    for (name, value) in [(ETAG, &snapshot.etag), (LAST_MODIFIED, &snapshot.last_modified)] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value.clone()) {
            response.insert_header((name, value));
        }
    }
    if age < DATE_TICK {
        // A snapshot must not look younger than its answer.
        response.insert_header((DATE, HttpDate::from(SystemTime::now())));
    }
    let body = snapshot.body.clone();
    let mut response = if body.len() > PART { response.body(InParts(body)) } else { response.body(body) };
    response.extensions_mut().insert(outcome);
    response
}

fn fresh_seconds(snapshot: &Snapshot, now: Instant) -> u64 {
    snapshot.fresh_left(now).as_ref().map_or(0, Duration::as_secs)
}

/// A body that is handed over part by part; the parts share the snapshot's memory.
struct InParts(Bytes);

impl MessageBody for InParts {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len().try_into().unwrap_or(u64::MAX))
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let part = PART.min(self.0.len());
        Poll::Ready((part > 0).then(|| Ok(self.0.split_to(part))))
    }
}
