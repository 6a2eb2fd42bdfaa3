//! `GET /qos/{meetingId}`: serves a snapshot from the cache, or from a flight.

use std::{sync::Arc, time::Instant};

use actix_web::HttpResponse;

use super::{
    cache_control,
    context::RequestContext,
    disconnect::disconnected,
    exchange::Exchange,
    paging::PageToken,
    params::{Portion, QosRequest},
    problem::Problem,
    provenance::Provenance,
    rate_limit,
    representation::RequestedForm,
    response,
    state::AppState,
};
use crate::{
    cache::{
        Entry,
        policy::{Decision, Directives, FetchReason, FetchRequirement, is_covered_by_stale},
    },
    callers::Caller,
    failure::{Failure, Reason},
    fetcher::{FetchSource, Fetched},
    snapshot::{RequestedKey, Snapshot, SnapshotKey},
    trace::FlightLink,
    view::visible::Redaction,
};

pub(super) async fn get(exchange: Exchange<'_>) -> Result<HttpResponse, Problem> {
    // Checked first, so that an unknown caller learns nothing about its request or the cache.
    let identity = &exchange.context.identity;
    let caller = identity.caller()?;
    // If this caller may not see all fields, the redaction hides the others. The keys of the redaction also encrypt
    // the caller's page tokens.
    let redaction = exchange.state.redaction(identity);
    let keys = redaction.as_ref().map(Redaction::keys);
    let QosRequest { requested, portion } = QosRequest::parse(exchange, keys)?;
    let form = match portion {
        Portion::Whole => RequestedForm::Whole,
        Portion::FirstSlice(slice) => RequestedForm::Slice(slice),
        Portion::View(view) => RequestedForm::View(view),
        Portion::NextSlice(token) => return next_slice(exchange, requested, token).await,
    };
    respond(exchange, (caller, requested), form).await
}

/// Finds a snapshot, and responds with it in this form.
pub(super) async fn respond(
    exchange: Exchange<'_>,
    (caller, requested): (&Arc<Caller>, RequestedKey),
    form: RequestedForm,
) -> Result<HttpResponse, Problem> {
    match find(exchange, caller, requested).await {
        Ok((snapshot, provenance)) => {
            let found = (&snapshot, &provenance);
            let is_slice = matches!(form, RequestedForm::Slice(_));
            let mut response = response::build(exchange, found, form)?.await?;
            if is_slice {
                exchange.state.fetcher.publish_paged(&snapshot);
            }
            match &provenance {
                Provenance::Hit | Provenance::LateHit | Provenance::Revalidating => {}
                Provenance::Flight { .. } => add_rate_limit(exchange.state, caller, None, &mut response),
                Provenance::StaleInstead(failure) => {
                    add_rate_limit(exchange.state, caller, Some(failure), &mut response);
                }
            }
            Ok(response)
        }
        Err(NoSnapshot { failure, asked_fetcher: false }) => Err(Problem::NoSnapshot(failure)),
        Err(NoSnapshot { failure, asked_fetcher: true }) => {
            let mut response = Problem::NoSnapshot(failure.clone()).respond(exchange.context);
            add_rate_limit(exchange.state, caller, Some(&failure), &mut response);
            Ok(response)
        }
    }
}

/// Responds with a slice of the snapshot that the token names, however old the snapshot is.
async fn next_slice(
    exchange: Exchange<'_>,
    requested: RequestedKey,
    token: PageToken,
) -> Result<HttpResponse, Problem> {
    let snapshot = paged_snapshot(exchange, requested, &token).await?;
    let (found, slice) = ((&snapshot, &Provenance::Hit), RequestedForm::Slice(token.slice));
    response::build(exchange, found, slice)?.await
}

/// Returns the snapshot that the token names, from this replica or another replica.
pub(super) async fn paged_snapshot(
    exchange: Exchange<'_>,
    requested: RequestedKey,
    token: &PageToken,
) -> Result<Arc<Snapshot>, Problem> {
    let is_of_kind = requested.kind.is_none_or(|kind| kind == token.kind);
    if !is_of_kind || requested.meeting_type != token.meeting_type {
        return Err(Problem::InvalidPageToken);
    }
    let key = requested.of_kind(token.kind);
    let snapshot = match exchange.state.cache.snapshot(&key, token.tag, exchange.context.received) {
        None => Box::pin(exchange.state.fetcher.fetch_paged(key, token.tag)).await,
        Some(cached) => {
            cached.record_request();
            Some(cached)
        }
    };
    let snapshot = snapshot.filter(|snapshot| token.slice.offset() < snapshot.rows());
    snapshot.ok_or(Problem::InvalidPageToken)
}

/// Adds the `RateLimit` fields to a response that cost a Zoom call or was refused one.
fn add_rate_limit(state: &AppState, caller: &Caller, failure: Option<&Failure>, response: &mut HttpResponse) {
    if failure.is_some_and(|failure| !rate_limit::applies_to(failure.reason)) {
        return;
    }
    rate_limit::add(response.headers_mut(), state.fetcher.quota(), caller, failure);
}

/// Records for log and metrics which limit refused the call, if one did.
fn record_refusal(context: &RequestContext, found: &Result<(Arc<Snapshot>, Provenance), NoSnapshot>) {
    let (Ok((_, Provenance::StaleInstead(failure))) | Err(NoSnapshot { failure, asked_fetcher: true })) =
        found
    else {
        return;
    };
    if let Some(by) = failure.refused_by() {
        context.refused_by.set(Some(by));
    }
}

pub(super) struct NoSnapshot {
    pub(super) failure: Failure,
    /// Whether the request reached the fetcher. It does not if the failure is cached, or if the caller sent
    /// `only-if-cached`.
    pub(super) asked_fetcher: bool,
}

impl NoSnapshot {
    fn cached(failure: Failure) -> Self {
        Self { failure, asked_fetcher: false }
    }

    fn fetched(failure: Failure) -> Self {
        Self { failure, asked_fetcher: true }
    }
}

pub(super) async fn find(
    exchange: Exchange<'_>,
    caller: &Arc<Caller>,
    requested: RequestedKey,
) -> Result<(Arc<Snapshot>, Provenance), NoSnapshot> {
    let Exchange { request, state, context } = exchange;
    let flight_link = || context.flight_link.as_deref().cloned().unwrap_or_default();
    let (directives, now) = (cache_control::parse(request.headers()), context.received);
    let (key, entry) = state.cache.find(requested, now);
    let cached = match entry {
        // A cached failure that will not change soon, such as an unknown meeting.
        Some(Entry::Refusal(refusal)) => return Err(NoSnapshot::cached(refusal.failure.clone())),
        Some(Entry::Snapshot(snapshot)) => {
            caller.record_found();
            snapshot.record_request();
            Some(snapshot)
        }
        None => match state.cache.failure(&key, now) {
            Some(failure) => return Err(NoSnapshot::cached(failure)),
            None => None,
        },
    };
    match (state.cache.policy().decide(cached.as_deref(), directives, now), cached) {
        (Decision::Serve, Some(snapshot)) => {
            if !directives.only_if_cached {
                snapshot.record_demand(now);
            }
            Ok((snapshot, Provenance::Hit))
        }
        (Decision::ServeAndRefresh, Some(snapshot)) => {
            let provenance = refresh(state, (caller, flight_link()), key, now);
            let found = Ok((snapshot, provenance));
            record_refusal(context, &found);
            found
        }
        // Boxed, so that the future of a hit needs no room for this one.
        (Decision::Fetch(why), cached) => {
            let disconnected = disconnected(request, context);
            let asked = (requested, directives, now);
            let found = Box::pin(fetch_or_fall_back(
                state,
                disconnected,
                (caller, flight_link()),
                asked,
                why,
                cached,
            ))
            .await;
            record_refusal(context, &found);
            found
        }
        (_, _) => Err(NoSnapshot::cached(Failure::new(Reason::NotCached))),
    }
}

/// Starts a refresh in the background, unless no call may be made for this meeting or this caller now. Returns the
/// provenance of the stale response.
fn refresh(
    state: &AppState,
    (caller, flight_link): (&Arc<Caller>, FlightLink),
    key: SnapshotKey,
    now: Instant,
) -> Provenance {
    if let Some(failure) = state.fetcher.refuses(&key, now).or_else(|| state.cache.failure(&key, now)) {
        return Provenance::StaleInstead(failure);
    }
    if let Some((until, limit)) = caller.over_limit(now) {
        return Provenance::StaleInstead(Failure::caller_over_limit(limit, until));
    }
    state.fetcher.refresh(key, Arc::clone(caller), flight_link.request());
    Provenance::Revalidating
}

/// Waits for the fetcher. If it fails, falls back to the cached snapshot as long as the policy permits that.
async fn fetch_or_fall_back(
    state: &AppState,
    disconnected: impl Future<Output = ()>,
    (caller, flight_link): (&Arc<Caller>, FlightLink),
    (requested, directives, requested_at): (RequestedKey, Directives, Instant),
    why: FetchReason,
    cached: Option<Arc<Snapshot>>,
) -> Result<(Arc<Snapshot>, Provenance), NoSnapshot> {
    let policy = state.cache.policy();
    let usable = |snapshot: &Arc<Snapshot>| policy.may_stand_in(snapshot, Instant::now());
    // The cached snapshot may be stale, and can still be served if the flight fails.
    let has_fallback = cached.as_ref().is_some_and(usable);
    let requirement = FetchRequirement { directives, requested_at, has_fallback };
    match state.fetcher.fetch(requested, requirement, Arc::clone(caller), flight_link, disconnected).await {
        Ok(Fetched { snapshot, source, stored }) => {
            let provenance = match source {
                FetchSource::Cache | FetchSource::Record => Provenance::LateHit,
                FetchSource::OwnFlight => Provenance::Flight { why, collapsed: false, stored },
                FetchSource::OthersFlight => Provenance::Flight { why, collapsed: true, stored },
            };
            Ok((snapshot, provenance))
        }
        Err(failure) if is_covered_by_stale(failure.reason) => {
            // The flight may have cached another replica's snapshot that was too old for this caller, so the cache
            // is searched again.
            let newest = match state.cache.find(requested, Instant::now()) {
                (_, Some(Entry::Snapshot(snapshot))) => Some(snapshot),
                // If the key has changed, the cached snapshot is of the wrong kind: since it was found, Zoom has
                // said that the id is not of that kind.
                (key, Some(Entry::Refusal(_)) | None) => cached.filter(|cached| cached.key == key),
            };
            match newest.filter(usable) {
                Some(snapshot) => Ok((snapshot, Provenance::StaleInstead(failure))),
                None => Err(NoSnapshot::fetched(failure)),
            }
        }
        Err(failure) => Err(NoSnapshot::fetched(failure)),
    }
}
