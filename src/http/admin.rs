//! For operators: is it alive, may callers be sent to it, what does it count, what goes on; and to have it forget.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{HttpRequest, HttpResponse, http::header::CACHE_CONTROL, web::Data};
use jiff::Timestamp;
use serde::Serialize;

use super::{State, access_log::Notes, params, problem::Problem};
use crate::{
    failure::{Failure, Reason},
    fetcher::{Credentials, FetcherStatus, Purge, Standing, queue::Load},
};

/// The fetcher's thread never works for longer than moments at a stretch.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    reasons: Vec<NotReady>,
}

#[derive(Serialize)]
struct NotReady {
    code: &'static str,
    detail: String,
}

/// 200 while the process runs: it asks nobody, so that Zoom's trouble never restarts us.
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(serde_json::json!({ "status": "alive" }))
}

/// 200, or 503 with every reason why no caller should be sent here. Without Redis it is worse, and still 200.
pub(super) async fn readiness(state: Data<State>) -> HttpResponse {
    let mut reasons = Vec::new();
    if state.is_draining() {
        reasons.push(NotReady { code: "shutting_down", detail: "this process is about to stop".to_owned() });
    }
    if let Credentials::Refused(message) = state.fetcher.credentials() {
        let detail = format!("Zoom refuses the credentials, their scopes or the plan: {message}");
        reasons.push(NotReady { code: "zoom_rejected_credentials", detail });
    }
    if !state.fetcher.is_running() {
        let detail = "the thread that talks to Zoom has ended: a bug of this service".to_owned();
        reasons.push(NotReady { code: "internal_error", detail });
    }
    let (mut response, status) = if reasons.is_empty() && state.fetcher.redis() == Some(Standing::Away) {
        let detail =
            "Redis is away: this process goes on by itself, within its share of the limits".to_owned();
        reasons.push(NotReady { code: "redis_away", detail });
        (HttpResponse::Ok(), "degraded")
    } else if reasons.is_empty() {
        (HttpResponse::Ok(), "ready")
    } else {
        (HttpResponse::ServiceUnavailable(), "not_ready")
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(Readiness { status, reasons })
}

/// What each caller has in the queue.
fn show_queues(state: &State, loads: &[(u32, Load)]) {
    let (all, now) = (state.callers.all(), Instant::now());
    state.metrics.show_queues(all.iter().map(|caller| {
        let load = load_of(caller.id, loads);
        let oldest = load.oldest.map(|since| now.saturating_duration_since(since));
        (caller.name.as_str(), load.waiting, oldest.unwrap_or_default())
    }));
}

fn load_of(caller: u32, loads: &[(u32, Load)]) -> Load {
    loads.iter().find_map(|(id, load)| (*id == caller).then_some(*load)).unwrap_or_default()
}

/// Prometheus text.
pub(super) async fn metrics(request: HttpRequest, state: Data<State>) -> HttpResponse {
    state.show();
    // A fetcher that does not answer must not hide the rest.
    if let Ok(Some(status)) = tokio::time::timeout(ANSWERS_WITHIN, state.fetcher.status()).await {
        show_queues(&state, &status.budget.loads);
    }
    match state.metrics.exposition() {
        // Without a word a cache may invent one.
        Some(text) => HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type("text/plain; version=0.0.4; charset=utf-8")
            .body(text),
        None => Problem::Internal.respond(&Notes::of(&request)),
    }
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    budget: Budget,
    queue: Queue,
    cache: CacheStatus,
    flights: Flights,
    callers: Vec<Caller>,
    callers_file: Option<CallersFile>,
    zoom: Zoom,
    /// Where it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Redis>,
}

#[derive(Serialize)]
struct Redis {
    up: bool,
    /// That it last knew of, this one included.
    replicas: u64,
}

#[derive(Serialize)]
struct Budget {
    day_calls_used: u64,
    day_calls_taken_by_others: u64,
    day_calls_limit: u64,
    pace_calls_per_hour: f64,
    forecast_calls_at_midnight: f64,
    spent_at: Option<String>,
    stretch: f64,
    cooldowns: Vec<Cooldown>,
}

#[derive(Serialize)]
struct Cooldown {
    kind: &'static str,
    seconds_left: f64,
}

#[derive(Serialize)]
struct Queue {
    calls_waiting: usize,
}

#[derive(Serialize)]
struct CacheStatus {
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Flights {
    active: usize,
    requests_waiting: usize,
}

#[derive(Serialize)]
struct Caller {
    name: String,
    weight: u32,
    calls_per_minute: Option<NonZeroU32>,
    calls_last_minute: usize,
    calls_today: u64,
    /// In the queue for a permit.
    calls_waiting: usize,
    oldest_wait_seconds: Option<f64>,
}

/// Of `callers.file`, where there is one.
#[derive(Serialize)]
struct CallersFile {
    ok: bool,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Zoom {
    credentials_refused: bool,
    last_refusal: Option<LastRefusal>,
    last_failure: Option<LastFailure>,
}

/// A call that found no connection, or no whole answer.
#[derive(Serialize)]
struct LastFailure {
    seconds_ago: f64,
    host: String,
    cause: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct LastRefusal {
    seconds_ago: f64,
    reason: &'static str,
    status: Option<u16>,
    code: Option<i64>,
    message: Option<String>,
    tracking_id: Option<String>,
}

/// What goes on now, as JSON.
pub(super) async fn status(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let Some(FetcherStatus { flights, waiting, budget, last_refusal, last_failure, replicas }) =
        state.fetcher.status().await
    else {
        return Problem::NoSnapshot(Failure::new(Reason::ShuttingDown)).respond(&Notes::of(&request));
    };
    let outlook = budget.outlook;
    let used = f64::from(u32::try_from(budget.day_used).unwrap_or(u32::MAX));
    let cooldowns = budget
        .cooldowns
        .into_iter()
        .filter_map(|(kind, left)| Some(Cooldown { kind: kind.as_str(), seconds_left: left?.as_secs_f64() }));
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        budget: Budget {
            day_calls_used: budget.day_used,
            day_calls_taken_by_others: budget.day_taken_by_others,
            day_calls_limit: budget.day_limit,
            pace_calls_per_hour: (outlook.calls_per_second * 3_600.0).round(),
            forecast_calls_at_midnight: used + outlook.calls_to_come.round(),
            spent_at: outlook.spent_in.and_then(in_utc),
            stretch: (outlook.stretch * 100.0).round() / 100.0,
            cooldowns: cooldowns.collect(),
        },
        queue: Queue { calls_waiting: budget.queued },
        cache: CacheStatus { entries: state.cache.entry_count(), bytes: state.cache.bytes() },
        flights: Flights { active: flights, requests_waiting: waiting },
        callers: callers(&state, &budget.loads),
        callers_file: state.callers.need_keys().then(|| {
            let problems = state.callers.problems().to_vec();
            CallersFile { ok: problems.is_empty(), problems }
        }),
        redis: replicas.map(|replicas| Redis { up: state.fetcher.redis() == Some(Standing::Up), replicas }),
        zoom: Zoom {
            credentials_refused: state.fetcher.credentials() != Credentials::Accepted,
            last_refusal: last_refusal.map(|(ago, failure)| {
                let said = failure.zoom.as_deref().cloned().unwrap_or_default();
                LastRefusal {
                    seconds_ago: ago.as_secs_f64(),
                    reason: Problem::code_of(failure.reason),
                    status: failure.zoom.is_some().then_some(said.status),
                    code: said.code,
                    message: said.message.map(|words| words.to_string()),
                    tracking_id: said.tracking_id.map(|words| words.to_string()),
                }
            }),
            last_failure: last_failure.map(|failure| LastFailure {
                seconds_ago: failure.at.elapsed().as_secs_f64(),
                host: failure.host.to_string(),
                cause: failure.cause.as_str(),
                detail: failure.detail,
            }),
        },
    };
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(status)
}

fn callers(state: &State, loads: &[(u32, Load)]) -> Vec<Caller> {
    let now = Instant::now();
    let all = state.callers.all().into_iter().map(|caller| {
        let spent = caller.spent(now);
        let load = load_of(caller.id, loads);
        Caller {
            name: caller.name.to_string(),
            weight: caller.weight,
            calls_per_minute: caller.calls_per_minute,
            calls_last_minute: spent.last_minute,
            calls_today: spent.today,
            calls_waiting: load.waiting,
            oldest_wait_seconds: load.oldest.map(|since| now.saturating_duration_since(since).as_secs_f64()),
        }
    });
    all.collect()
}

/// The time that is so far ahead, to the second.
fn in_utc(ahead: Duration) -> Option<String> {
    let time = Timestamp::try_from(SystemTime::now() + ahead).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Has one meeting forgotten, or everything. 204 when it is done; and when there was nothing.
pub(super) async fn purge(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let purged = match to_forget(&request) {
        Ok(what) => state.fetcher.purge(what).await.map_err(Problem::NoSnapshot),
        Err(problem) => Err(problem),
    };
    match purged {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(problem) => problem.respond(&Notes::of(&request)),
    }
}

fn to_forget(request: &HttpRequest) -> Result<Purge, Problem> {
    if request.uri().path() == "/cache" {
        let [meeting_type] = params::once(request, ["type"])?;
        // Ignoring it would forget more than was asked for.
        return match meeting_type {
            None => Ok(Purge::All),
            Some(_) => Err(params::invalid(
                "type goes with one meeting, /cache/{meetingId}; leave it out to purge everything.",
            )),
        };
    }
    let meeting = params::meeting(request, "/cache/")?;
    let [meeting_type] = params::once(request, ["type"])?;
    Ok(Purge::Meeting { meeting, meeting_type: params::meeting_type(meeting_type.as_deref())? })
}
