//! The handlers of the operators' listener: liveness, readiness, metrics, status and purges.

mod status;

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL};
use serde_json::{Value, json};

pub(super) use self::status::status;
use super::{
    context::RequestContext, credentials::Credential, exchange::Exchange, params, problem::Problem,
    route::RouteHandler, state::AppState,
};
use crate::{
    fetcher::{Credentials, Purge, RedisStatus},
    metrics::CallerGauges,
};

/// How long `/metrics` waits for the fetcher, which normally replies within milliseconds.
const FETCHER_TIMEOUT: Duration = Duration::from_secs(1);

/// Responds with 200 while the process runs. Depends on nothing else, so that an outage of Zoom does not restart any
/// pod.
pub(super) fn health() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({ "status": "alive" }))
}

/// Responds with 503 and every reason why this replica should get no requests, or with 200 if there is no reason.
/// While Redis is unavailable or Zoom refuses webinars, the service is degraded but ready.
pub(super) fn readiness(state: &AppState) -> HttpResponse {
    let mut reasons = Vec::new();
    if state.is_draining() {
        reasons.push(json!({ "code": "shutting_down", "detail": "this process is shutting down" }));
    }
    if let Credentials::Refused(message) = state.fetcher.credentials() {
        let detail = format!("Zoom rejects the credentials, their scopes or the plan: {message}");
        reasons.push(json!({ "code": "zoom_rejected_credentials", "detail": detail }));
    }
    if !state.fetcher.is_running() {
        let detail = "the thread that calls Zoom has ended: this is a bug";
        reasons.push(json!({ "code": "internal_error", "detail": detail }));
    }
    let (mut response, status) = if reasons.is_empty() {
        reasons = degradations(state);
        (HttpResponse::Ok(), if reasons.is_empty() { "ready" } else { "degraded" })
    } else {
        (HttpResponse::ServiceUnavailable(), "not_ready")
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(json!({ "status": status, "reasons": reasons }))
}

/// Returns the reasons why some requests fail or are slow. They do not make this replica unready, because other
/// replicas would probably do no better.
fn degradations(state: &AppState) -> Vec<Value> {
    let mut degradations = Vec::new();
    if state.fetcher.redis() == Some(RedisStatus::Unavailable) {
        let detail = "Redis is unavailable: this process continues within its own share of the limits";
        degradations.push(json!({ "code": "redis_away", "detail": detail }));
    }
    if let Some(detail) = state.fetcher.webinar_refusal() {
        let detail = format!("webinars: {detail}");
        degradations.push(json!({ "code": "zoom_rejected_credentials", "detail": detail }));
    }
    degradations
}

/// Responds with all metrics in Prometheus's text format.
pub(super) async fn metrics(state: &AppState, context: &RequestContext) -> HttpResponse {
    state.update_gauges();
    state
        .metrics
        .set_issuers(state.callers.issuers().iter().map(|issuer| (issuer.name.as_str(), issuer.keys)));
    // If the fetcher does not reply in time, these metrics keep their last values.
    if let Ok(Some(status)) = tokio::time::timeout(FETCHER_TIMEOUT, state.fetcher.status()).await {
        let (callers, now) = (state.callers.all(), Instant::now());
        state.metrics.set_callers(callers.iter().map(|caller| {
            let depth = status::depth_of(caller.id, &status.scheduler.depths);
            let oldest = depth.oldest.map(|since| now.saturating_duration_since(since));
            let day = status.caller_days.get(&caller.id).copied().unwrap_or_default();
            CallerGauges {
                name: caller.name.as_str(),
                waiting: depth.waiting,
                oldest: oldest.unwrap_or_default(),
                day_calls: (day.used, day.reserved, day.share),
            }
        }));
    }
    match state.metrics.exposition() {
        Some(text) => HttpResponse::Ok()
            // Without this, a cache could choose a lifetime of its own.
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type("text/plain; version=0.0.4; charset=utf-8")
            .body(text),
        None => Problem::Internal.respond(context),
    }
}

/// Purges one meeting, one type of it, or the complete cache. Responds with 204 whether or not there was anything to
/// purge.
pub(super) async fn purge(exchange: Exchange<'_>) -> Result<HttpResponse, Problem> {
    check_key(exchange.request, exchange.state)?;
    exchange.state.fetcher.purge(parse_purge(exchange)?).await.map_err(Problem::NoSnapshot)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Rejects a purge without the operators' key, if they have set one. Probes and scrapes never need it.
fn check_key(request: &HttpRequest, state: &AppState) -> Result<(), Problem> {
    let Some(key) = &state.operators_key else { return Ok(()) };
    match Credential::of(request.headers()) {
        Some(Credential::Bearer(sent) | Credential::ApiKey(sent)) if key.admits(sent) => Ok(()),
        _ => Err(Problem::UnknownOperator),
    }
}

fn parse_purge(exchange: Exchange<'_>) -> Result<Purge, Problem> {
    let Exchange { request, context, .. } = exchange;
    if context.route.is_some_and(|route| route.handler == RouteHandler::PurgeAll) {
        return match params::single_valued(request, ["type"])? {
            [None] => Ok(Purge::All),
            // Ignoring the type would purge more than the operator asked for.
            [Some(_)] => Err(Problem::invalid(
                "type",
                "type goes with one meeting, /cache/{meetingId}; leave it out to purge everything.",
            )),
        };
    }
    let meeting = params::meeting(exchange)?;
    let [meeting_type] = params::single_valued(request, ["type"])?;
    Ok(Purge::Meeting { meeting, meeting_type: params::meeting_type(meeting_type.as_deref())? })
}
