//! Builds the `200` or `304` response with a snapshot: its bytes, and the headers about its age and freshness.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    context::RequestContext,
    exchange::Exchange,
    media_type::{HTML, MediaType},
    pages::content_security_policy,
    preconditions,
    problem::Problem,
    provenance::{FreshHit, Provenance, cache_control, header_value},
    representation::{Representation, RequestedForm},
};
use crate::{metrics::Outcome, snapshot::Snapshot};
use actix_web::{
    HttpResponse,
    http::{
        Method, StatusCode,
        header::{
            AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            DATE, ETAG, HeaderMap, HeaderName, HeaderValue, HttpDate, LAST_MODIFIED, TryIntoHeaderValue as _,
            VARY,
        },
    },
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The age below which a snapshot's `Last-Modified` could be later than actix's own `Date`, whose clock is updated every
/// 500 ms; with some slack.
const DATE_TICK: Duration = Duration::from_secs(1);

/// Builds the response with this snapshot, or with a part or form of it.
pub(super) fn build<'a>(
    exchange: Exchange<'a>,
    (snapshot, provenance): (&'a Arc<Snapshot>, &Provenance),
    form: RequestedForm,
) -> Result<impl Future<Output = Result<HttpResponse, Problem>> + use<'a>, Problem> {
    let Exchange { request, state, .. } = exchange;
    // The head is built outside the future, so that the future needs no room for variables that only the head needs.
    let (response, representation) = head(exchange, (snapshot, provenance), form)?;
    let is_modified = response.status() != StatusCode::NOT_MODIFIED;
    let etag = || response.headers().get(ETAG).map_or(&b""[..], HeaderValue::as_bytes);
    // A caller that sends this tag has normally received the view before. After any other match, the participant may
    // not exist, and then the response is 404 instead of 304.
    let needs_body =
        is_modified || (representation.may_be_missing() && !preconditions::names(request.headers(), etag()));
    let length_only = !is_modified || request.method() == Method::HEAD;
    Ok(async move {
        if !needs_body {
            return Ok(response);
        }
        let body = representation.body(state, snapshot, length_only).await?;
        Ok(if is_modified { response.set_body(body) } else { response })
    })
}

/// Builds the head: a `304` if the caller has this representation.
fn head(
    exchange: Exchange<'_>,
    (snapshot, provenance): (&Arc<Snapshot>, &Provenance),
    mut form: RequestedForm,
) -> Result<(HttpResponse, Representation), Problem> {
    let Exchange { request, state, context } = exchange;
    // Whether a request is a hit is decided for the time of its arrival, so a hit's age is computed for that time. Other
    // requests may have waited since they arrived, so the age is computed now.
    let now = if provenance.is_cached() { context.received } else { Instant::now() };
    // Computed once, because the difference of two instants takes as many instructions as a header.
    let age = snapshot.age(now);
    let fresh_left = snapshot.fresh_left_at(age);
    let outcome = provenance.outcome(fresh_left.is_some());
    // Without the cache, the first slice would have cost a flight, and later slices would have been part of it.
    if outcome != Outcome::Miss && form.is_first() {
        state.metrics.calls_saved.inc_by(u64::from(snapshot.pages));
    }
    if let Some(detail) = provenance.detail().filter(|_| fresh_left.is_none()) {
        state.metrics.stale_answers.with_label_values(&[detail]).inc();
    }
    state.metrics.snapshot_age.observe(age.as_secs_f64());

    if let RequestedForm::Page(page) = &mut form {
        page.stale = provenance.stale_reason(fresh_left.is_some());
    }
    let redaction = state.redaction(&context.identity);
    let representation = Representation::select(snapshot, form, request.headers(), redaction)?;
    let etag = representation.etag(snapshot);
    let not_modified = preconditions::not_modified(request.headers(), &etag, snapshot.fetched_at);
    let mut response =
        HttpResponse::new(if not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    let headers = response.headers_mut();
    add_cache_headers(headers, snapshot, provenance, age);
    headers.append(VARY, vary(context, representation.is_negotiated()));
    for (name, value) in [(ETAG, etag), (LAST_MODIFIED, snapshot.last_modified())] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.append(name, value);
        }
    }
    context.outcome.set(Some(if not_modified { Outcome::NotModified } else { outcome }));
    if not_modified {
        return Ok((response, representation));
    }
    add_media_type(headers, representation.media_type(), snapshot);
    if let Some(coding) = representation.content_encoding() {
        headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    Ok((response, representation))
}

fn add_media_type(headers: &mut HeaderMap, media: Option<MediaType>, snapshot: &Snapshot) {
    let Some(media) = media else {
        headers.append(CONTENT_TYPE, HeaderValue::from_static(HTML));
        headers.append(CONTENT_SECURITY_POLICY, content_security_policy());
        return;
    };
    headers.append(CONTENT_TYPE, media.content_type());
    if media != MediaType::Json {
        headers.append(CONTENT_DISPOSITION, attachment(snapshot, media));
    }
}

fn add_cache_headers(headers: &mut HeaderMap, snapshot: &Snapshot, provenance: &Provenance, age: Duration) {
    let fresh_left = snapshot.fresh_left_at(age);
    let max_age = fresh_left.as_ref().map_or(0, Duration::as_secs);
    let (cache_control, cache_status) = match (provenance, &fresh_left) {
        (Provenance::Hit | Provenance::LateHit, Some(_)) => {
            let FreshHit { cache_control, cache_status, .. } = FreshHit::of(max_age);
            (cache_control, cache_status)
        }
        _ => (cache_control(max_age), provenance.cache_status(ttl(snapshot, age))),
    };
    headers.append(CACHE_CONTROL, cache_control);
    headers.append(AGE, age.as_secs().into());
    headers.append(CACHE_STATUS, cache_status);
    if age < DATE_TICK {
        // actix's own `Date` could be earlier than `Last-Modified`: for example, a meeting is fetched at 10:00:05.0 and
        // served at 10:00:05.1, while actix's clock still shows 10:00:04.
        if let Ok(date) = HttpDate::from(SystemTime::now()).try_into_value() {
            headers.append(DATE, date);
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

/// Returns a `Content-Disposition` with the name of the file in which a browser saves rows. The name keeps only the
/// letters and digits of a UUID, because other characters are not safe in every file system.
fn attachment(snapshot: &Snapshot, media: MediaType) -> HeaderValue {
    let id = snapshot.key.meeting.to_string();
    let id = id.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
    header_value(&["attachment; filename=\"qos-", &id, ".", media.format(), "\""])
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
