//! `GET /qos/{meetingId}`: who asks for what, from the cache or by a flight.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use futures_util::FutureExt as _;

use super::{
    State,
    answer::{self, How},
    asked::{Asked, Part},
    caller::Who,
    decide::{Decision, Why, decide, serves_on_error},
    directives::Directives,
    problem::Problem,
    slice::PageToken,
};
use crate::{
    cache::Entry,
    callers::Caller,
    failure::{Failure, Reason},
    fetcher::{Landed, Via, Wanted},
    snapshot::{Snapshot, SnapshotKey},
};

pub(super) async fn get(request: HttpRequest, state: Data<State>) -> HttpResponse {
    // A panic would close the connection without a word.
    match AssertUnwindSafe(answer(&request, &state)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.respond(&request),
        Err(_) => Problem::Internal.respond(&request),
    }
}

async fn answer(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    // Before anything else: to the unknown nothing is said of what they ask for, and nothing is shown of what is kept.
    let caller = Who::of(request).caller()?;
    let Asked { key, part } = Asked::of(request)?;
    let now = Instant::now();
    let slice = match part {
        Part::Whole => None,
        Part::First(slice) => Some(slice),
        Part::Next(PageToken { tag, slice }) => {
            let paged = state.cache.snapshot(&key, tag, now);
            let paged = paged.filter(|snapshot| slice.offset() < snapshot.rows());
            let snapshot = paged.ok_or(Problem::InvalidPageToken)?;
            return Ok(answer::with(state, request, &snapshot, How::Hit, Some(slice), now).await);
        }
    };
    let (snapshot, how) = find(state, &caller, key, Directives::of(request.headers()), now).await?;
    // What was decided at one instant is told as of that instant; who waited has a later one.
    let now = if matches!(how, How::Hit | How::Revalidating) { now } else { Instant::now() };
    Ok(answer::with(state, request, &snapshot, how, slice, now).await)
}

/// The snapshot that is the answer, and how it was come by.
async fn find(
    state: &State,
    caller: &Arc<Caller>,
    key: SnapshotKey,
    asked: Directives,
    now: Instant,
) -> Result<(Arc<Snapshot>, How), Problem> {
    let kept = match state.cache.get(&key, now) {
        Some(Entry::Refusal(refusal)) => return Err(Problem::NoSnapshot(refusal.failure.clone())),
        Some(Entry::Snapshot(snapshot)) => Some(snapshot),
        None => None,
    };
    match (decide(kept.as_deref(), asked, state.cache.stale(), now), kept) {
        (Decision::Hit, Some(kept)) => {
            if !asked.only_if_cached {
                kept.note_wanted(now);
            }
            Ok((kept, How::Hit))
        }
        (Decision::HitAndRefresh, Some(kept)) => {
            if let Some(reason) = state.fetcher.refuses(now) {
                return Ok((kept, How::Instead(reason)));
            }
            if caller.over_limit_until(now).is_some() {
                return Ok((kept, How::Instead(Reason::CallerOverLimit)));
            }
            state.fetcher.refresh(key, Arc::clone(caller));
            Ok((kept, How::Revalidating))
        }
        (Decision::Fetch(why), kept) => fetch(state, caller, key, why, kept).await,
        (_, _) => Err(Problem::NoSnapshot(Failure::new(Reason::NotCached))),
    }
}

/// From Zoom; and where that fails, what is kept, as long as it serves.
async fn fetch(
    state: &State,
    caller: &Arc<Caller>,
    key: SnapshotKey,
    why: Why,
    kept: Option<Arc<Snapshot>>,
) -> Result<(Arc<Snapshot>, How), Problem> {
    let rules = state.cache.stale();
    let fallback =
        |kept: Option<Arc<Snapshot>>| kept.filter(|kept| serves_on_error(kept, rules, Instant::now()));
    let wanted = Wanted {
        newer_than: kept.as_ref().map(|kept| kept.landed),
        has_fallback: fallback(kept.clone()).is_some(),
    };
    match state.fetcher.fetch(key, wanted, Arc::clone(caller)).await {
        Ok(Landed { snapshot, via, stored }) => {
            let how = match via {
                Via::Cache => How::Hit,
                Via::OwnFlight => How::Flight { why, collapsed: false, stored },
                Via::OthersFlight => How::Flight { why, collapsed: true, stored },
            };
            Ok((snapshot, how))
        }
        Err(failure) if Problem::is_covered_by_stale(failure.reason) => match fallback(kept) {
            Some(kept) => Ok((kept, How::Instead(failure.reason))),
            None => Err(Problem::NoSnapshot(failure)),
        },
        Err(failure) => Err(Problem::NoSnapshot(failure)),
    }
}
