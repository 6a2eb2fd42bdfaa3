//! `GET /qos/{meetingId}`: who asks for what, from the cache or by a flight.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{HttpRequest, HttpResponse};
use futures_util::FutureExt as _;

use super::{
    State,
    access_log::Notes,
    cache_control::Directives,
    decide::{Decision, Why, decide, serves_on_error, wanted},
    disconnect::hang_up,
    paging::PageToken,
    params::{Asked, Part},
    problem::Problem,
    rate_limit,
    response::{self, How},
};
use crate::{
    cache::Entry,
    callers::Caller,
    failure::{Failure, Reason},
    fetcher::{Landed, Via},
    snapshot::{Snapshot, SnapshotKey},
    trace::Trail,
};

/// What stands before the meeting.
pub(super) const PREFIX: &str = "/qos/";

pub(super) async fn get(request: &HttpRequest, state: &State, notes: &Notes) -> HttpResponse {
    // A panic would close the connection without a word.
    match AssertUnwindSafe(answer(request, state, notes)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.respond(notes),
        Err(_) => Problem::Internal.respond(notes),
    }
}

async fn answer(request: &HttpRequest, state: &State, notes: &Notes) -> Result<HttpResponse, Problem> {
    // Before anything else: to the unknown nothing is said of what they ask for, and nothing is shown of what is kept.
    let caller = notes.who.caller()?;
    let Asked { key, part } = Asked::of(request)?;
    let now = notes.began;
    let slice = match part {
        Part::Whole => None,
        Part::First(slice) => Some(slice),
        Part::Next(PageToken { tag, slice }) => {
            let paged = match state.cache.snapshot(&key, tag, now) {
                None => Box::pin(state.fetcher.find_paged(key, tag)).await,
                here => here,
            };
            let paged = paged.filter(|snapshot| slice.offset() < snapshot.rows());
            let snapshot = paged.ok_or(Problem::InvalidPageToken)?;
            return Ok(response::with(state, request, notes, (&snapshot, &How::Hit), Some(slice), now).await);
        }
    };
    let trail = notes.trail.clone().unwrap_or_default();
    let found = find(state, request, notes, (caller, trail), key).await;
    match found {
        Ok((snapshot, how)) => {
            // What was decided at one instant is told as of that instant; who waited has a later one.
            let now = if matches!(how, How::Hit | How::Revalidating) { now } else { Instant::now() };
            let mut response = response::with(state, request, notes, (&snapshot, &how), slice, now).await;
            if slice.is_some() {
                state.fetcher.paged(&snapshot);
            }
            match &how {
                How::Hit | How::Revalidating => {}
                How::Flight { .. } => tell_limits(state, notes, caller, None, &mut response),
                How::Instead(failure) => tell_limits(state, notes, caller, Some(failure), &mut response),
            }
            Ok(response)
        }
        Err(Nothing::Remembered(failure)) => Err(Problem::NoSnapshot(failure)),
        Err(Nothing::Fetched(failure)) => {
            let mut response = Problem::NoSnapshot(failure.clone()).respond(notes);
            tell_limits(state, notes, caller, Some(&failure), &mut response);
            Ok(response)
        }
    }
}

/// On what cost a call or was refused one: the limits, and who refused.
fn tell_limits(
    state: &State,
    notes: &Notes,
    caller: &Caller,
    failure: Option<&Failure>,
    response: &mut HttpResponse,
) {
    if failure.is_some_and(|failure| !rate_limit::is_told_with(failure.reason)) {
        return;
    }
    rate_limit::tell(response.headers_mut(), state.fetcher.quota(), caller, failure);
    if let Some(by) = failure.and_then(Failure::refused_by) {
        notes.refused_by.set(Some(by));
    }
}

/// Why there is no snapshot, and whether that was known without asking for Zoom.
enum Nothing {
    /// From the cache, or not asked for.
    Remembered(Failure),
    /// On the way to Zoom, or there.
    Fetched(Failure),
}

/// The snapshot that is the answer, and how it was come by.
async fn find(
    state: &State,
    request: &HttpRequest,
    notes: &Notes,
    (caller, trail): (&Arc<Caller>, Trail),
    key: SnapshotKey,
) -> Result<(Arc<Snapshot>, How), Nothing> {
    let (asked, now) = (Directives::of(request.headers()), notes.began);
    let kept = match state.cache.get(&key, now) {
        Some(Entry::Refusal(refusal)) => return Err(Nothing::Remembered(refusal.failure.clone())),
        Some(Entry::Snapshot(snapshot)) => Some(snapshot),
        None => match state.cache.failure(&key, now) {
            Some(failure) => return Err(Nothing::Remembered(failure)),
            None => None,
        },
    };
    match (decide(kept.as_deref(), asked, state.cache.stale(), now), kept) {
        (Decision::Hit, Some(kept)) => {
            if !asked.only_if_cached {
                kept.note_wanted(now);
            }
            Ok((kept, How::Hit))
        }
        (Decision::HitAndRefresh, Some(kept)) => {
            if let Some(failure) = state.fetcher.refuses(now).or_else(|| state.cache.failure(&key, now)) {
                return Ok((kept, How::Instead(failure)));
            }
            if let Some(until) = caller.over_limit_until(now) {
                let failure = Failure::new(Reason::CallerOverLimit).retry_at(until);
                return Ok((kept, How::Instead(failure)));
            }
            state.fetcher.refresh(key, Arc::clone(caller), trail.request());
            Ok((kept, How::Revalidating))
        }
        // In a box: a hit would carry the room for all of this along.
        (Decision::Fetch(why), kept) => {
            let hung_up = hang_up(request, notes);
            Box::pin(fetch(state, hung_up, (caller, trail), (key, asked, now), why, kept)).await
        }
        (_, _) => Err(Nothing::Remembered(Failure::new(Reason::NotCached))),
    }
}

/// From Zoom; and where that fails, what is kept, as long as it serves.
async fn fetch(
    state: &State,
    hung_up: impl Future<Output = ()>,
    (caller, trail): (&Arc<Caller>, Trail),
    (key, asked, now): (SnapshotKey, Directives, Instant),
    why: Why,
    kept: Option<Arc<Snapshot>>,
) -> Result<(Arc<Snapshot>, How), Nothing> {
    let rules = state.cache.stale();
    let fallback =
        |kept: Option<Arc<Snapshot>>| kept.filter(|kept| serves_on_error(kept, rules, Instant::now()));
    let cached = || match state.cache.get(&key, Instant::now())? {
        Entry::Snapshot(snapshot) => Some(snapshot),
        Entry::Refusal(_) => None,
    };
    let wanted = wanted(asked, rules, now, fallback(kept.clone()).is_some());
    match state.fetcher.fetch(key, wanted, Arc::clone(caller), trail, hung_up).await {
        Ok(Landed { snapshot, via, stored }) => {
            let how = match via {
                Via::Cache => How::Hit,
                Via::OwnFlight => How::Flight { why, collapsed: false, stored },
                Via::OthersFlight => How::Flight { why, collapsed: true, stored },
            };
            Ok((snapshot, how))
        }
        // The flight may have found one that is too old for anything else.
        Err(failure) if Problem::is_covered_by_stale(failure.reason) => match fallback(cached().or(kept)) {
            Some(kept) => Ok((kept, How::Instead(failure))),
            None => Err(Nothing::Fetched(failure)),
        },
        Err(failure) => Err(Nothing::Fetched(failure)),
    }
}
