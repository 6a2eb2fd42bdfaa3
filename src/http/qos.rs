//! `GET /qos/{meetingId}`: who asks for what, from the cache or by a flight.

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use futures_util::FutureExt as _;

use super::{
    State,
    answer::{self, How},
    decide::{Decision, Why, decide, serves_on_error},
    directives::Directives,
    problem::Problem,
};
use crate::{
    cache::Entry,
    failure::{Failure, Reason},
    fetcher::{Landed, Via, Wanted},
    meeting_id::MeetingId,
    snapshot::{MeetingType, Snapshot, SnapshotKey},
};

/// Slices are cut from the cached snapshot; the range is Zoom's own.
pub(super) const PAGE_SIZES: std::ops::RangeInclusive<u16> = 1..=300;

pub(super) async fn get(request: HttpRequest, state: Data<State>) -> HttpResponse {
    // A panic would close the connection without a word.
    match AssertUnwindSafe(answer(&request, &state)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.respond(&request),
        Err(_) => Problem::Internal.respond(&request),
    }
}

async fn answer(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let key = asked_for(request)?;
    let now = Instant::now();
    let kept = match state.cache.get(&key, now) {
        Some(Entry::Refusal(refusal)) => return Err(Problem::NoSnapshot(refusal.failure.clone())),
        Some(Entry::Snapshot(snapshot)) => Some(snapshot),
        None => None,
    };
    let asked = Directives::of(request.headers());
    let with = |snapshot: &Snapshot, how| Ok(answer::with(state, request, snapshot, how));
    match (decide(kept.as_deref(), asked, state.cache.stale(), now), kept) {
        (Decision::Hit, Some(kept)) => with(&kept, How::Hit),
        (Decision::HitAndRefresh, Some(kept)) => {
            if let Some(reason) = state.fetcher.refuses(now) {
                return with(&kept, How::Instead(reason));
            }
            state.fetcher.refresh(key);
            with(&kept, How::Revalidating)
        }
        (Decision::Fetch(why), kept) => fetch(request, state, key, why, kept).await,
        (_, _) => Err(Problem::NoSnapshot(Failure::new(Reason::NotCached))),
    }
}

/// From Zoom; and where that fails, what is kept, as long as it serves.
async fn fetch(
    request: &HttpRequest,
    state: &State,
    key: SnapshotKey,
    why: Why,
    kept: Option<Arc<Snapshot>>,
) -> Result<HttpResponse, Problem> {
    let rules = state.cache.stale();
    let fallback =
        |kept: Option<Arc<Snapshot>>| kept.filter(|kept| serves_on_error(kept, rules, Instant::now()));
    let wanted = Wanted {
        newer_than: kept.as_ref().map(|kept| kept.landed),
        has_fallback: fallback(kept.clone()).is_some(),
    };
    match state.fetcher.fetch(key, wanted).await {
        Ok(Landed { snapshot, via, stored }) => {
            let how = match via {
                Via::Cache => How::Hit,
                Via::OwnFlight => How::Flight { why, collapsed: false, stored },
                Via::OthersFlight => How::Flight { why, collapsed: true, stored },
            };
            Ok(answer::with(state, request, &snapshot, how))
        }
        Err(failure) if Problem::is_covered_by_stale(failure.reason) => match fallback(kept) {
            Some(kept) => Ok(answer::with(state, request, &kept, How::Instead(failure.reason))),
            None => Err(Problem::NoSnapshot(failure)),
        },
        Err(failure) => Err(Problem::NoSnapshot(failure)),
    }
}

/// The meeting and the view of it. From the raw path: actix's own decoding is half of one level.
fn asked_for(request: &HttpRequest) -> Result<SnapshotKey, Problem> {
    let raw = request.uri().path().strip_prefix("/qos/").ok_or(Problem::NotFound)?;
    let meeting = MeetingId::parse(raw).map_err(Problem::InvalidMeetingId)?;
    let meeting_type = meeting_type(request.uri().query().unwrap_or_default())?;
    Ok(SnapshotKey { meeting, meeting_type })
}

/// Unknown keys are ignored; ours have to be right, and given once.
fn meeting_type(query: &str) -> Result<MeetingType, Problem> {
    let (mut asked, mut page_size, mut page_token) = (None, None, None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*key {
            "type" => &mut asked,
            "page_size" => &mut page_size,
            "next_page_token" => &mut page_token,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(invalid(format!("{key} is given twice; give it once.")));
        }
    }
    let meeting_type = match asked.as_deref() {
        None | Some("live") => MeetingType::Live,
        Some("past") => MeetingType::Past,
        Some(_) => return Err(invalid("type must be live or past.")),
    };
    if page_size.as_ref().is_some_and(|size| !is_page_size(size)) {
        return Err(invalid("page_size must be a whole number from 1 to 300."));
    }
    if page_token.as_ref().is_some_and(|token| token.is_empty()) {
        return Err(invalid("next_page_token must not be empty; leave it out to begin at the first slice."));
    }
    if page_size.is_some() || page_token.is_some() {
        // Ignoring them would hand out the whole meeting as if it were a slice.
        return Err(invalid(
            "page_size and next_page_token are not served by this version; leave them out to get the whole meeting.",
        ));
    }
    Ok(meeting_type)
}

fn is_page_size(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain && text.parse().is_ok_and(|size| PAGE_SIZES.contains(&size))
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::InvalidQuery(detail.into())
}
