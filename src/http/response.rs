//! A snapshot as a `200` or a `304`: its bytes as they are, and the headers that say how old and how fresh they are.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::{
        Method, StatusCode,
        header::{
            AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, ETAG, HeaderName, HeaderValue,
            HttpDate, LAST_MODIFIED, TryIntoHeaderValue as _, VARY,
        },
    },
};
use bytes::Bytes;

use super::{
    State,
    access_log::Notes,
    decide::Why,
    paging::Slice,
    preconditions,
    problem::Problem,
    representation::{Body, Form},
};
use crate::{
    failure::Failure,
    metrics::Outcome,
    snapshot::{Coding, Snapshot},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// actix reads the clock for `Date` so seldom.
const DATE_TICK: Duration = Duration::from_secs(1);

/// How a request came to its snapshot.
pub(super) enum How {
    /// From the cache; nothing is started.
    Hit,
    /// From the cache, stale; a refresh is under way.
    Revalidating,
    /// From the cache, because Zoom failed or may not be asked.
    Instead(Failure),
    /// By a flight.
    Flight {
        /// Why Zoom was asked.
        why: Why,
        /// Whether it was another request's flight.
        collapsed: bool,
        /// Whether the cache keeps it.
        stored: bool,
    },
}

impl How {
    /// The word for it in metric and log. A hit may be stale: the caller wanted nothing fetched.
    fn outcome(&self, is_fresh: bool) -> Outcome {
        match self {
            Self::Hit | Self::Instead(_) if is_fresh => Outcome::Hit,
            Self::Hit | Self::Revalidating | Self::Instead(_) => Outcome::Stale,
            Self::Flight { collapsed: true, .. } => Outcome::Collapsed,
            Self::Flight { collapsed: false, .. } => Outcome::Miss,
        }
    }

    /// Why a snapshot from the cache was not fresh enough: one word for header and metric.
    fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Revalidating => Some("revalidating"),
            Self::Instead(failure) => Some(Problem::code_of(failure.reason)),
            Self::Hit | Self::Flight { .. } => None,
        }
    }

    /// RFC 9211. `ttl` is negative past freshness.
    fn cache_status(&self, ttl: i64) -> HeaderValue {
        match self {
            Self::Hit | Self::Revalidating | Self::Instead(_) => {
                let mut digits = itoa::Buffer::new();
                let (separator, detail) = self.detail().map_or(("", ""), |detail| ("; detail=", detail));
                value(&["zoom-qos-proxy; hit; ttl=", digits.format(ttl), separator, detail])
            }
            Self::Flight { why, collapsed, stored } => {
                let stored = if *stored { "; stored" } else { "" };
                let collapsed = if *collapsed { "; collapsed" } else { "" };
                value(&["zoom-qos-proxy; fwd=", why.as_str(), "; fwd-status=200", stored, collapsed])
            }
        }
    }
}

/// The answer with this snapshot, or a slice of it: a `200`, or a `304` to a caller who has it.
pub(super) async fn with(
    state: &State,
    request: &HttpRequest,
    notes: &Notes,
    (snapshot, how): (&Arc<Snapshot>, &How),
    slice: Option<Slice>,
    now: Instant,
) -> HttpResponse {
    let (age, fresh_left) = (snapshot.age(now), snapshot.fresh_left(now));
    let mut outcome = how.outcome(fresh_left.is_some());
    // Of all slices only the first stands for a request that could have been a flight.
    if outcome != Outcome::Miss && slice.is_none_or(|slice| slice.offset == 0) {
        state.metrics.calls_saved.inc_by(u64::from(snapshot.pages));
    }
    if let Some(detail) = how.detail().filter(|_| fresh_left.is_none()) {
        state.metrics.stale_answer(detail);
    }
    state.metrics.snapshot_age.observe(age.as_secs_f64());

    let form = Form::of(snapshot, slice, request.headers());
    let etag = form.etag(snapshot);
    let has_it = preconditions::has_it(request.headers(), &etag, snapshot.fetched_at);
    let mut response = HttpResponse::new(if has_it { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    let headers = response.headers_mut();
    let max_age = fresh_left.as_ref().map_or(0, Duration::as_secs);
    headers.insert(CACHE_CONTROL, value(&["private, max-age=", itoa::Buffer::new().format(max_age)]));
    headers.insert(AGE, age.as_secs().into());
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CACHE_STATUS, how.cache_status(ttl(snapshot, fresh_left, now)));
    for (name, value) in [(ETAG, etag), (LAST_MODIFIED, snapshot.last_modified())] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
    if age < DATE_TICK {
        // A snapshot must not look younger than its answer.
        if let Ok(date) = HttpDate::from(SystemTime::now()).try_into_value() {
            headers.insert(DATE, date);
        }
    }
    if has_it {
        outcome = Outcome::NotModified;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Form::Whole(coding @ (Coding::Gzip | Coding::Zstd)) = form {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        }
        response = match form.body(state, snapshot, request.method() == Method::HEAD).await {
            Body::Small(bytes) => response.set_body(BoxBody::new(bytes)),
            Body::InParts(parts) => response.set_body(BoxBody::new(parts)),
        };
    }
    notes.outcome.set(Some(outcome));
    response
}

/// A header's value of these pieces. `format!` would take a hit as long as to find the snapshot.
fn value(pieces: &[&str]) -> HeaderValue {
    // All of them are texts in the code, and numbers: none has a letter that a header may not have.
    HeaderValue::from_maybe_shared(Bytes::from(pieces.concat())).unwrap_or(HeaderValue::from_static(""))
}

/// Seconds of freshness left; past freshness, seconds since then, rounded away from 0, so that stale is never `0`.
fn ttl(snapshot: &Snapshot, fresh_left: Option<Duration>, now: Instant) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    fresh_left.map_or_else(
        || -whole(snapshot.stale_for(now).as_secs().saturating_add(1)),
        |left| whole(left.as_secs()),
    )
}
