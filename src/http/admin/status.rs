//! `GET /status`: budget, queue, cache, flights and callers at this moment, as JSON.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    callers::Caller,
    failure::{Failure, Reason},
    fetcher::{Credentials, FetcherStatus, Standing, queue::Load},
    http::{context::RequestContext, problem::Problem, state::AppState},
};

#[derive(Serialize)]
struct StatusJson {
    version: &'static str,
    budget: BudgetJson,
    queue: QueueJson,
    cache: CacheJson,
    flights: FlightsJson,
    callers: Vec<CallerJson>,
    callers_file: Option<CallersFileJson>,
    zoom: ZoomJson,
    /// Only with Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<RedisJson>,
}

#[derive(Serialize)]
struct RedisJson {
    up: bool,
    /// As of the last contact, this one included.
    replicas: u64,
}

#[derive(Serialize)]
struct BudgetJson {
    day_calls_used: u64,
    day_calls_taken_by_others: u64,
    day_calls_limit: u64,
    pace_calls_per_hour: f64,
    forecast_calls_at_midnight: f64,
    spent_at: Option<String>,
    stretch: f64,
    cooldowns: Vec<CooldownJson>,
}

#[derive(Serialize)]
struct CooldownJson {
    kind: &'static str,
    seconds_left: f64,
}

#[derive(Serialize)]
struct QueueJson {
    calls_waiting: usize,
}

#[derive(Serialize)]
struct CacheJson {
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct FlightsJson {
    active: usize,
    requests_waiting: usize,
}

#[derive(Serialize)]
struct CallerJson {
    name: String,
    weight: u32,
    calls_per_minute: Option<NonZeroU32>,
    calls_last_minute: usize,
    calls_today: u64,
    /// Queued for a permit.
    calls_waiting: usize,
    oldest_wait_seconds: Option<f64>,
}

/// The state of `callers.file`, if it is configured.
#[derive(Serialize)]
struct CallersFileJson {
    ok: bool,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct ZoomJson {
    credentials_refused: bool,
    last_refusal: Option<LastRefusalJson>,
    last_failure: Option<LastFailureJson>,
}

/// A call without a connection, or without a whole answer.
#[derive(Serialize)]
struct LastFailureJson {
    seconds_ago: f64,
    host: String,
    cause: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct LastRefusalJson {
    seconds_ago: f64,
    reason: &'static str,
    status: Option<u16>,
    code: Option<i64>,
    message: Option<String>,
    tracking_id: Option<String>,
}

pub(in crate::http) async fn status(state: &AppState, context: &RequestContext) -> HttpResponse {
    let Some(fetcher) = state.fetcher.status().await else {
        return Problem::NoSnapshot(Failure::new(Reason::ShuttingDown)).respond(context);
    };
    let status = StatusJson {
        version: env!("CARGO_PKG_VERSION"),
        budget: budget(&fetcher),
        queue: QueueJson { calls_waiting: fetcher.budget.queued },
        cache: CacheJson { entries: state.cache.entry_count(), bytes: state.cache.bytes() },
        flights: FlightsJson { active: fetcher.flights, requests_waiting: fetcher.waiting },
        callers: callers(state, &fetcher.budget.loads),
        callers_file: state.callers.need_keys().then(|| {
            let problems = state.callers.problems().to_vec();
            CallersFileJson { ok: problems.is_empty(), problems }
        }),
        zoom: zoom(&fetcher, state.fetcher.credentials() != Credentials::Accepted),
        redis: fetcher
            .replicas
            .map(|replicas| RedisJson { up: state.fetcher.redis() == Some(Standing::Up), replicas }),
    };
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(status)
}

fn budget(fetcher: &FetcherStatus) -> BudgetJson {
    let (budget, outlook) = (&fetcher.budget, &fetcher.budget.outlook);
    let used = f64::from(u32::try_from(budget.day_used).unwrap_or(u32::MAX));
    let cooldowns = budget.cooldowns.iter().filter_map(|(kind, left)| {
        Some(CooldownJson { kind: kind.as_str(), seconds_left: left.as_ref()?.as_secs_f64() })
    });
    BudgetJson {
        day_calls_used: budget.day_used,
        day_calls_taken_by_others: budget.day_taken_by_others,
        day_calls_limit: budget.day_limit,
        pace_calls_per_hour: (outlook.calls_per_second * 3_600.0).round(),
        forecast_calls_at_midnight: used + outlook.calls_to_come.round(),
        spent_at: outlook.spent_in.and_then(utc_after),
        stretch: (outlook.stretch * 100.0).round() / 100.0,
        cooldowns: cooldowns.collect(),
    }
}

fn zoom(fetcher: &FetcherStatus, credentials_refused: bool) -> ZoomJson {
    let last_refusal = fetcher.last_refusal.as_ref().map(|(ago, failure)| {
        let answer = failure.zoom.as_deref();
        LastRefusalJson {
            seconds_ago: ago.as_secs_f64(),
            reason: failure.reason.as_str(),
            status: answer.map(|answer| answer.status),
            code: answer.and_then(|answer| answer.code),
            message: answer.and_then(|answer| answer.message.as_ref()).map(ToString::to_string),
            tracking_id: answer.and_then(|answer| answer.tracking_id()).map(str::to_owned),
        }
    });
    let last_failure = fetcher.last_failure.as_ref().map(|failure| LastFailureJson {
        seconds_ago: failure.at.elapsed().as_secs_f64(),
        host: failure.host.to_string(),
        cause: failure.cause.as_str(),
        detail: failure.detail.clone(),
    });
    ZoomJson { credentials_refused, last_refusal, last_failure }
}

fn callers(state: &AppState, loads: &[(u32, Load)]) -> Vec<CallerJson> {
    let now = Instant::now();
    state.callers.all().iter().map(|caller| caller_json(caller, load_of(caller.id, loads), now)).collect()
}

fn caller_json(caller: &Caller, load: Load, now: Instant) -> CallerJson {
    let spent = caller.usage(now);
    CallerJson {
        name: caller.name.to_string(),
        weight: caller.weight,
        calls_per_minute: caller.calls_per_minute,
        calls_last_minute: spent.last_minute,
        calls_today: spent.today,
        calls_waiting: load.waiting,
        oldest_wait_seconds: load.oldest.map(|since| now.saturating_duration_since(since).as_secs_f64()),
    }
}

/// One caller's part of the queue.
pub(super) fn load_of(caller: u32, loads: &[(u32, Load)]) -> Load {
    loads.iter().find_map(|(id, load)| (*id == caller).then_some(*load)).unwrap_or_default()
}

/// The time in this long, in UTC and to the second.
fn utc_after(wait: Duration) -> Option<String> {
    let time = Timestamp::try_from(SystemTime::now() + wait).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
