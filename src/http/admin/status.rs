//! `GET /status`: the state of the service at this moment, such as its budget, queue, cache, flights and callers, as JSON.

use std::time::{Duration, Instant, SystemTime};

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    failure::{Failure, Reason},
    fetcher::{Credentials, FetcherStatus, RedisStatus},
    http::{context::RequestContext, problem::Problem, state::AppState},
    scheduler::{SchedulerStatus, fair_queue::QueueDepth},
};

pub(crate) async fn status(state: &AppState, context: &RequestContext) -> HttpResponse {
    let Some(fetcher) = state.fetcher.status().await else {
        return Problem::NoSnapshot(Failure::new(Reason::ShuttingDown)).respond(context);
    };
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "budget": budget(&fetcher.scheduler),
        "queue": { "calls_waiting": fetcher.scheduler.queued },
        "cache": { "entries": state.cache.entry_count(), "bytes": state.cache.bytes() },
        "flights": { "active": fetcher.flights, "requests_waiting": fetcher.waiting },
        "callers": callers(state, &fetcher),
        "callers_file": callers_file(state),
        "issuers": issuers(state),
        "open_to_network": state.is_open_to_network,
        "zoom": {
            "credentials_refused": state.fetcher.credentials() != Credentials::Accepted,
            "webinars_refused": state.fetcher.webinar_refusal(),
            "last_refusal": last_refusal(&fetcher),
            "last_failure": last_failure(&fetcher),
        },
    });
    // Present only with Redis. `replicas` is the number at the last contact with Redis, this replica included.
    if let (Some(replicas), Some(members)) = (fetcher.replicas, status.as_object_mut()) {
        let is_up = state.fetcher.redis() == Some(RedisStatus::Up);
        members.insert("redis".to_owned(), json!({ "up": is_up, "replicas": replicas }));
    }
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(status)
}

fn budget(scheduler: &SchedulerStatus) -> Value {
    let SchedulerStatus { quota, forecast, .. } = scheduler;
    let used = f64::from(u32::try_from(quota.day_used).unwrap_or(u32::MAX));
    let cooldowns = scheduler.cooldowns.iter().filter_map(|(kind, left)| {
        Some(json!({ "kind": kind.as_str(), "seconds_left": left.as_ref()?.as_secs_f64() }))
    });
    json!({
        "day_calls_used": quota.day_used,
        "day_calls_taken_by_others": quota.day_taken_by_others,
        "day_calls_limit": quota.per_day,
        "pace_calls_per_hour": (forecast.calls_per_second * 3_600.0).round(),
        "forecast_calls_at_midnight": used + forecast.calls_to_come.round(),
        "spent_at": forecast.spent_in.and_then(utc_after),
        "stretch": (forecast.stretch * 100.0).round() / 100.0,
        "cooldowns": cooldowns.collect::<Vec<_>>(),
    })
}

fn callers(state: &AppState, fetcher: &FetcherStatus) -> Vec<Value> {
    let now = Instant::now();
    let all = state.callers.all().into_iter().map(|caller| {
        let (usage, depth) = (caller.usage(now), depth_of(caller.id, &fetcher.scheduler.depths));
        // `null` if the scheduler has no account of this caller, for example without a callers' file.
        let day = fetcher.caller_days.get(&caller.id).map(|day| json!({
            "calls_used": day.used,
            "calls_reserved": day.reserved.floor(),
            "calls_share": day.share.floor(),
            "is_held_for_404s": day.is_held,
        }));
        json!({
            "name": caller.name.as_str(),
            "weight": caller.weight,
            "calls_per_minute": caller.calls_per_minute,
            "calls_per_day": caller.calls_per_day,
            "day": day,
            "requests_refused_today": usage.refused,
            "calls_last_minute": usage.last_minute,
            "calls_today": usage.today,
            "calls_waiting": depth.waiting,
            "oldest_wait_seconds": depth.oldest.map(|since| now.saturating_duration_since(since).as_secs_f64()),
        })
    });
    all.collect()
}

/// Returns the state of the callers' file; `None` if `callers.file` is not configured.
fn callers_file(state: &AppState) -> Option<Value> {
    let problems = state.callers.need_keys().then(|| state.callers.problems())?;
    Some(json!({ "ok": problems.is_empty(), "problems": *problems }))
}

fn issuers(state: &AppState) -> Vec<Value> {
    let seconds_ago = |at: Instant| at.elapsed().as_secs_f64();
    let all = state.callers.issuers().into_iter().map(|issuer| {
        json!({
            "name": issuer.name,
            "keys": issuer.keys,
            "fetched_seconds_ago": issuer.keys_from.map(seconds_ago),
            "last_failure": issuer.last_failure,
        })
    });
    all.collect()
}

fn last_refusal(fetcher: &FetcherStatus) -> Option<Value> {
    let (ago, failure) = fetcher.last_refusal.as_ref()?;
    let answer = failure.zoom.as_deref();
    Some(json!({
        "seconds_ago": ago.as_secs_f64(),
        "reason": failure.reason.as_str(),
        "status": answer.map(|answer| answer.status),
        "code": answer.and_then(|answer| answer.code),
        "message": answer.and_then(|answer| answer.message.as_ref()).map(ToString::to_string),
        "tracking_id": answer.and_then(|answer| answer.tracking_id()),
    }))
}

/// Describes the last failure of a connection to Zoom, or of a response over it.
fn last_failure(fetcher: &FetcherStatus) -> Option<Value> {
    let failure = fetcher.last_failure.as_ref()?;
    Some(json!({
        "seconds_ago": failure.at.elapsed().as_secs_f64(),
        "host": &*failure.host,
        "cause": failure.cause.as_str(),
        "detail": failure.detail,
    }))
}

pub(super) fn depth_of(caller: u32, depths: &[(u32, QueueDepth)]) -> QueueDepth {
    depths.iter().find_map(|(id, depth)| (*id == caller).then_some(*depth)).unwrap_or_default()
}

/// Returns the time after `wait`, in UTC and in whole seconds.
fn utc_after(wait: Duration) -> Option<String> {
    let time = Timestamp::try_from(SystemTime::now() + wait).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
