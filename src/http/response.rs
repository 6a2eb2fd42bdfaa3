//! Builds the `200` or `304` response with a snapshot: its bytes, and the headers about its age and freshness.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{
            AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            DATE, ETAG, HeaderMap, HeaderName, HeaderValue, HttpDate, LAST_MODIFIED, TryIntoHeaderValue as _,
            VARY,
        },
    },
};
use bytes::Bytes;

use super::{
    context::RequestContext,
    media_type::{HTML, MediaType},
    pages::{StaleReason, content_security_policy},
    preconditions,
    problem::Problem,
    representation::{Representation, Requested},
    state::AppState,
};
use crate::{cache::policy::FetchReason, failure::Failure, metrics::Outcome, snapshot::Snapshot};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The interval at which actix updates the clock behind its `Date` header.
const DATE_TICK: Duration = Duration::from_secs(1);

/// The origin of a response's snapshot.
pub(super) enum Provenance {
    /// The cache. No refresh was started.
    Hit,
    /// The cache or another replica's record, after the caller had waited for the fetcher: its age is of now.
    LateHit,
    /// The cache, stale; a refresh is in flight.
    Revalidating,
    /// The cache, because Zoom failed or may not be called.
    StaleInstead(Failure),
    /// A flight.
    Flight {
        /// The reason why the cache could not serve the request.
        why: FetchReason,
        /// Whether another request started the flight.
        collapsed: bool,
        /// Whether the cache keeps the snapshot.
        stored: bool,
    },
}

impl Provenance {
    /// Whether it was decided when the request arrived.
    pub(super) fn is_cached(&self) -> bool {
        matches!(self, Self::Hit | Self::Revalidating)
    }

    /// Returns the outcome for metrics and log. A hit can be stale: with `only-if-cached`, or as a slice of an older
    /// snapshot.
    fn outcome(&self, is_fresh: bool) -> Outcome {
        match self {
            Self::Hit | Self::LateHit | Self::StaleInstead(_) if is_fresh => Outcome::Hit,
            Self::Hit | Self::LateHit | Self::Revalidating | Self::StaleInstead(_) => Outcome::Stale,
            Self::Flight { collapsed: true, .. } => Outcome::Collapsed,
            Self::Flight { collapsed: false, .. } => Outcome::Miss,
        }
    }

    /// Returns the `detail` of `Cache-Status`, which is also the label that counts stale responses.
    fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Revalidating => Some("revalidating"),
            Self::StaleInstead(failure) => Some(failure.reason.as_str()),
            Self::Hit | Self::LateHit | Self::Flight { .. } => None,
        }
    }

    /// Returns why the snapshot is not the newest data, in words for a page.
    fn stale_reason(&self) -> Option<StaleReason> {
        let words = match self {
            Self::StaleInstead(failure) => format!("{}.", Problem::NoSnapshot(failure.clone()).row().title),
            _ => "A newer version is being fetched: reload the page in a few seconds.".to_owned(),
        };
        self.detail().map(|code| StaleReason { code, words })
    }

    /// Returns the value of `Cache-Status` (RFC 9211). `ttl` is negative past freshness.
    fn cache_status(&self, ttl: i64) -> HeaderValue {
        match self {
            Self::Hit | Self::LateHit | Self::Revalidating | Self::StaleInstead(_) => {
                let mut digits = itoa::Buffer::new();
                let (separator, detail) = self.detail().map_or(("", ""), |detail| ("; detail=", detail));
                header_value(&["zoom-qos-proxy; hit; ttl=", digits.format(ttl), separator, detail])
            }
            Self::Flight { why, collapsed, stored } => {
                let stored = if *stored { "; stored" } else { "" };
                let collapsed = if *collapsed { "; collapsed" } else { "" };
                header_value(&["zoom-qos-proxy; fwd=", why.as_str(), "; fwd-status=200", stored, collapsed])
            }
        }
    }
}

/// Builds the response with this snapshot, or with a slice of it, as of `now`.
pub(super) async fn build(
    state: &AppState,
    request: &HttpRequest,
    context: &RequestContext,
    (snapshot, provenance): (&Arc<Snapshot>, &Provenance),
    mut requested: Requested,
) -> Result<HttpResponse, Problem> {
    // A hit was decided as of the request's arrival, so its age is computed for that time, too. Other requests have waited
    // since.
    let now = if provenance.is_cached() { context.received } else { Instant::now() };
    // Computed once, because the difference of two instants takes as many instructions as a header.
    let age = snapshot.age(now);
    let fresh_left = snapshot.fresh_left_at(age);
    let outcome = provenance.outcome(fresh_left.is_some());
    // Without the cache, the first slice would have cost a flight, and later slices would have been part of it.
    if outcome != Outcome::Miss && requested.is_first() {
        state.metrics.calls_saved.inc_by(u64::from(snapshot.pages));
    }
    if let Some(detail) = provenance.detail().filter(|_| fresh_left.is_none()) {
        state.metrics.stale_answers.with_label_values(&[detail]).inc();
    }
    state.metrics.snapshot_age.observe(age.as_secs_f64());

    if let Requested::Page(page) = &mut requested {
        page.stale = provenance.stale_reason();
    }
    let redaction = state.redaction(&context.identity);
    let representation = Representation::select(snapshot, requested, request.headers(), redaction)?;
    let etag = representation.etag(snapshot);
    let not_modified = preconditions::not_modified(request.headers(), &etag, snapshot.fetched_at);
    if not_modified && representation.may_be_missing() && !preconditions::names(request.headers(), &etag) {
        // A caller that sends this tag has got the view before. After any other match, the participant may not exist,
        // and then the response is 404 instead of 304.
        representation.body(state, snapshot, true).await?;
    }
    let mut response =
        HttpResponse::new(if not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    let headers = response.headers_mut();
    add_cache_headers(headers, snapshot, provenance, age);
    headers.insert(VARY, vary(context, representation.is_negotiated()));
    for (name, value) in [(ETAG, etag), (LAST_MODIFIED, snapshot.last_modified())] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
    if not_modified {
        context.outcome.set(Some(Outcome::NotModified));
        return Ok(response);
    }
    context.outcome.set(Some(outcome));
    add_media_type(headers, representation.media_type(), snapshot);
    if let Some(coding) = representation.content_encoding() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    let is_head = request.method() == Method::HEAD;
    Ok(response.set_body(representation.body(state, snapshot, is_head).await?))
}

fn add_media_type(headers: &mut HeaderMap, media: Option<MediaType>, snapshot: &Snapshot) {
    let Some(media) = media else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
        headers.insert(CONTENT_SECURITY_POLICY, content_security_policy());
        return;
    };
    headers.insert(CONTENT_TYPE, media.content_type());
    if media != MediaType::Json {
        headers.insert(CONTENT_DISPOSITION, attachment(snapshot, media));
    }
}

fn add_cache_headers(headers: &mut HeaderMap, snapshot: &Snapshot, provenance: &Provenance, age: Duration) {
    let fresh_left = snapshot.fresh_left_at(age);
    let max_age = fresh_left.as_ref().map_or(0, Duration::as_secs);
    headers.insert(CACHE_CONTROL, header_value(&["private, max-age=", itoa::Buffer::new().format(max_age)]));
    headers.insert(AGE, age.as_secs().into());
    headers.insert(CACHE_STATUS, provenance.cache_status(ttl(snapshot, age)));
    if age < DATE_TICK {
        // actix's own `Date` could be earlier than `Last-Modified`: for example, a meeting is fetched at 10:00:05.0 and
        // served at 10:00:05.1, while actix's clock still shows 10:00:04.
        if let Ok(date) = HttpDate::from(SystemTime::now()).try_into_value() {
            headers.insert(DATE, date);
        }
    }
}

/// Returns the value of `Vary`: the request headers on which the response depends. If callers are configured, each may
/// get a different response.
fn vary(context: &RequestContext, is_negotiated: bool) -> HeaderValue {
    // Constants, because `from_static` checks each letter when it runs.
    const NEGOTIATED: HeaderValue = HeaderValue::from_static("Accept-Encoding, Accept");
    const NEGOTIATED_WITH_KEYS: HeaderValue =
        HeaderValue::from_static("Accept-Encoding, Accept, Authorization, X-Api-Key");
    const JSON: HeaderValue = HeaderValue::from_static("Accept-Encoding");
    const JSON_WITH_KEYS: HeaderValue = HeaderValue::from_static("Accept-Encoding, Authorization, X-Api-Key");
    match (is_negotiated, context.identity.is_anonymous()) {
        (true, true) => NEGOTIATED,
        (true, false) => NEGOTIATED_WITH_KEYS,
        (false, true) => JSON,
        (false, false) => JSON_WITH_KEYS,
    }
}

/// Names the file in which a browser saves rows. Of a UUID, only letters and digits are safe in every file system.
fn attachment(snapshot: &Snapshot, media: MediaType) -> HeaderValue {
    let id = snapshot.key.meeting.to_string();
    let id = id.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
    header_value(&["attachment; filename=\"qos-", &id, ".", media.format(), "\""])
}

/// Joins the parts of a header value. `format!` would take as long as the cache look-up of a hit.
fn header_value(parts: &[&str]) -> HeaderValue {
    // Every part is a constant, a number or made of letters and digits, so no character is invalid in a header.
    HeaderValue::from_maybe_shared(Bytes::from(parts.concat())).unwrap_or(HeaderValue::from_static(""))
}

/// Returns the seconds of freshness left. For a stale snapshot, returns the seconds since the end of freshness,
/// negative and rounded away from 0, so that `0` is never stale.
fn ttl(snapshot: &Snapshot, age: Duration) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match snapshot.fresh_left_at(age) {
        Some(left) => whole(left.as_secs()),
        None => -whole(age.saturating_sub(snapshot.fresh_for).as_secs().saturating_add(1)),
    }
}
