//! All pages of one meeting, in turn, each paid for with a permit; whole in the end, or nothing.

mod drafting;

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

pub(super) use self::drafting::OneAtATime;
use self::drafting::{clean_into, finish};
use super::{
    core::Core,
    flights::Flight,
    memory::{overloaded, room},
    traces::Traces,
};
use crate::{
    clean::NotAPage,
    failure::{Failure, Lasting, LimitKind, Reason, ZoomError},
    metrics::{CallResult, Cause},
    quota::Permit,
    scheduler::fair_queue::Priority,
    snapshot::{Snapshot, SnapshotBuilder},
    zoom::{
        self, BodyBytes, CallOutcome, FlightMemory,
        error::CallError,
        oauth::{AccessToken, TokenError},
    },
};

/// Repetitions of a call that failed in a way that may pass, each with a permit of its own.
const RETRIES: u32 = 2;
/// A call refused this often by a rate limit gives up, though each time the pause was waited for.
const RATE_LIMITED_AT_MOST: u32 = 3;
/// A pause that Zoom gives no end for: 1 s and up to half of that, so that replicas do not come back in step.
const PAUSE_UNSAID_MS: std::ops::RangeInclusive<u64> = 1_000..=1_500;
/// Pages beyond those that `total_records` promises: a live meeting may grow by a hundred rows while it is fetched. An
/// upstream whose pages do not end must not eat the day.
const MORE_PAGES: usize = 10;
/// However many rows the first page promises: 50,000 of them.
const MOST_PAGES: usize = 5_000;
/// Where Zoom does not say how many rows there are: 5,000 of them.
const PAGES_UNSAID: usize = 500;
/// What Zoom puts on a page.
const ROWS_A_PAGE: u64 = 10;
/// Bytes of a page token: Zoom's are some ten, and one that is longer than this may not fit into a request line.
const LONGEST_PAGE_TOKEN: usize = 4 * 1024;
/// Pages without a row that promise another: Zoom has no reason to send any.
const EMPTY_PAGES_IN_A_ROW: u32 = 10;
/// The longest pause of the second's limit, and how far beyond the end of the day one of the day's may go: a
/// `Retry-After` that says more is wrong.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Every page, or the reason why there is no snapshot.
pub(super) async fn fetch_meeting(core: &Core, flight: &Flight) -> Result<Snapshot, Failure> {
    match fetch_pages(core, flight).await {
        // The page tokens ran out under way: from the start, once.
        Err(Stop::PageTokenRefused(_)) => fetch_pages(core, flight).await,
        result => result,
    }
    .map_err(Stop::into_failure)
}

/// Why the pages end early.
enum Stop {
    PageTokenRefused(Failure),
    Failed(Failure),
}

impl Stop {
    fn into_failure(self) -> Failure {
        match self {
            Self::PageTokenRefused(failure) | Self::Failed(failure) => failure,
        }
    }
}

async fn fetch_pages(core: &Core, flight: &Flight) -> Result<Snapshot, Stop> {
    let (mut builder, mut next) = (SnapshotBuilder::default(), None);
    let memory = core.memory.begin(flight.number);
    // Hashes, as a token may be long. Two tokens that share one would end the flight: once in 10^12 meetings of 5,000 pages.
    let (hasher, mut tokens_seen) = (RandomState::new(), HashSet::new());
    let mut empty_in_a_row = 0;
    let mut most_pages = PAGES_UNSAID;
    while tokens_seen.len() < most_pages && empty_in_a_row < EMPTY_PAGES_IN_A_ROW {
        let asked_with: Option<String> = next;
        let rows_before = builder.rows();
        room(core, flight, &memory).await.map_err(Stop::Failed)?;
        let (zoom_error, total_records, counted);
        (builder, next, total_records, zoom_error, counted) =
            fetch_page(core, flight, &memory, asked_with.as_deref(), builder).await?;
        memory.keep(builder.weight(), counted);
        if let (None, Some(total)) = (&asked_with, total_records) {
            most_pages = most_pages_of(total);
        }
        match &next {
            None => return Ok(finish(core, flight.key, builder).await),
            Some(token) if token.len() > LONGEST_PAGE_TOKEN => {
                tracing::warn!(meeting = %flight.key.meeting, bytes = token.len(), "Zoom's page token is too long");
                return Err(Stop::Failed(Failure::lasting(Lasting::PageToken).with_zoom_error(zoom_error)));
            }
            Some(token) if !tokens_seen.insert(hasher.hash_one(token)) => {
                tracing::warn!(meeting = %flight.key.meeting, "Zoom repeats a page token");
                return Err(Stop::Failed(
                    Failure::lasting(Lasting::EndlessPages).with_zoom_error(zoom_error),
                ));
            }
            Some(_) if builder.rows() == rows_before => empty_in_a_row += 1,
            Some(_) => empty_in_a_row = 0,
        }
    }
    tracing::warn!(meeting = %flight.key.meeting, pages = tokens_seen.len(), "Zoom's pages do not end");
    Err(Stop::Failed(Failure::lasting(Lasting::EndlessPages)))
}

/// The most pages that a meeting is read for whose first page promises so many rows.
fn most_pages_of(total_records: u64) -> usize {
    let promised = usize::try_from(total_records.div_ceil(ROWS_A_PAGE)).unwrap_or(usize::MAX);
    promised.saturating_add(MORE_PAGES).min(MOST_PAGES)
}

/// The builder with one page more, the next page's token, how many rows the page says there are, which answer it came in, and
/// what counts that answer's body.
type Fetched = (SnapshotBuilder, Option<String>, Option<u64>, ZoomError, BodyBytes);

/// One page into the builder, with all the patience that a page deserves.
async fn fetch_page(
    core: &Core,
    flight: &Flight,
    memory: &FlightMemory,
    page_token: Option<&str>,
    mut builder: SnapshotBuilder,
) -> Result<Fetched, Stop> {
    let (mut retried, mut renewed, mut rate_limited) = (0, false, 0);
    loop {
        let (permit, access_token) = may_call(core, flight).await.map_err(Stop::Failed)?;
        core.flights.begins(flight);
        let called = Instant::now();
        flight.reservation.record_call(called);
        let span = core.traces.call(flight, retried);
        let traceparent = span.context().traceparent();
        let CallOutcome { answer, unspent, account_has_left } =
            core.zoom.page(permit, &access_token, &flight.key, page_token, traceparent, memory.body()).await;
        match &answer {
            Ok(answer) => Traces::called(span, Some(answer.zoom_error().status), None),
            Err(error) => {
                Traces::called(
                    span,
                    error.zoom_error().map(|zoom_error| zoom_error.status),
                    Some(result_of(error)),
                );
            }
        }
        core.metrics.zoom_call_duration.observe(called.elapsed().as_secs_f64());
        match unspent {
            Some(permit) => {
                core.scheduler.release(permit);
                flight.reservation.refund_call(called);
            }
            None => core.metrics.caller_call(flight.caller.name.as_str()),
        }
        if let Some(calls) = account_has_left {
            core.scheduler.report_remaining(calls, called);
        }
        let error = match answer {
            Err(error) => error,
            Ok(answer) => {
                let cleaned;
                (builder, cleaned) = clean_into(core, builder, answer.body.clone(), flight.key.meeting).await;
                match cleaned {
                    Ok(page) => {
                        core.metrics.zoom_call(CallResult::Ok);
                        for (field, count) in page.unparsed.iter() {
                            core.metrics.unparsed(field.as_str(), count);
                        }
                        let zoom_error = answer.zoom_error();
                        return Ok((
                            builder,
                            page.next_page_token,
                            page.total_records,
                            zoom_error,
                            answer.counted,
                        ));
                    }
                    Err(NotAPage::AnotherMeeting) => {
                        tracing::warn!(
                            meeting = %flight.key.meeting,
                            "Zoom answered with another meeting's page: refused, and all connections are closed"
                        );
                        // Answers on one of them may have fallen behind their requests.
                        core.zoom.forget_connections();
                        CallError::Broken(answer.zoom_error())
                    }
                    Err(reason) => {
                        tracing::debug!(%reason, "answer from Zoom is not a page");
                        answer.not_a_page().await
                    }
                }
            }
        };
        core.metrics.zoom_call(result_of(&error));
        match error {
            CallError::TimedOut
            | CallError::NotReached(_)
            | CallError::CutShort(_)
            | CallError::Broken(_)
                if retried < RETRIES =>
            {
                retried += 1;
                tokio::time::sleep(zoom::backoff(retried)).await;
            }
            // Beyond the wait nobody who asked would still be there.
            CallError::Unavailable { zoom_error, retry_after }
                if retried < RETRIES && retry_after <= core.wait =>
            {
                retried += 1;
                // Later than it says, by chance: clients that it told the same must not come back in step.
                pause_flight(core, flight, retry_after + zoom::backoff(retried), zoom_error).await;
            }
            CallError::AccessTokenRefused(_) if !renewed => {
                renewed = true;
                core.access_tokens.discard(&access_token);
            }
            CallError::RateLimited { kind, retry_after, zoom_error } => {
                rate_limited += 1;
                let failure = pause(core, kind, retry_after, zoom_error);
                if rate_limited == RATE_LIMITED_AT_MOST {
                    return Err(Stop::Failed(failure));
                }
            }
            error => return Err(give_up(core, page_token, error)),
        }
    }
}

/// A permit, and the access token to use it with. The queue gives out permits while there is a token; between that and
/// here another call may have been told that it is no longer good.
async fn may_call(core: &Core, flight: &Flight) -> Result<(Permit, AccessToken), Failure> {
    loop {
        let permit = permit(core, flight).await?;
        match core.access_tokens.for_call(Instant::now()) {
            Some(access_token) => return Ok((permit, access_token)),
            None => core.scheduler.release(permit),
        }
    }
}

async fn permit(core: &Core, flight: &Flight) -> Result<Permit, Failure> {
    core.flights.queues(flight, core.scheduler.blocked_until().as_ref());
    let give_up = core.flights.gives_up_at(flight);
    let priority = if core.flights.is_awaited(flight) { Priority::Foreground } else { Priority::Background };
    let wanted_by = core.flights.wanted_by(flight);
    let makes_way = |flight| core.flights.makes_way(flight);
    let mut span = core.traces.wait_for_permit(flight, priority);
    let permit = core.scheduler.acquire((priority, flight.number), &wanted_by, give_up, makes_way).await;
    permit.as_ref().err().into_iter().for_each(|failure| span.fail(failure.reason.as_str()));
    drop(span);
    core.flights.queues_no_more(flight);
    permit
}

pub(super) fn no_access_token(error: TokenError) -> Failure {
    match error {
        TokenError::Refused { until, zoom_error } => {
            Failure::new(Reason::ZoomRejectedCredentials).retry_at(until).with_zoom_error(zoom_error)
        }
        TokenError::TimedOut => Failure::new(Reason::ZoomTimedOut),
        TokenError::Failed { until, zoom_error } => {
            let failure = Failure { retry_at: until, ..Failure::new(Reason::ZoomFailed) };
            with_words(failure, zoom_error)
        }
    }
}

/// Stops all calls, says so to those who cannot wait that long, and tells why.
fn pause(core: &Core, kind: LimitKind, retry_after: Option<Duration>, zoom_error: ZoomError) -> Failure {
    let unsaid = || match kind {
        LimitKind::PerSecond => Instant::now() + Duration::from_millis(fastrand::u64(PAUSE_UNSAID_MS)),
        LimitKind::PerDay => core.scheduler.midnight(),
    };
    let latest = match kind {
        LimitKind::PerSecond => Instant::now() + LONGEST_PAUSE,
        LimitKind::PerDay => core.scheduler.midnight() + LONGEST_PAUSE,
    };
    let until = retry_after.map_or_else(unsaid, |after| (Instant::now() + after).min(latest));
    tracing::warn!(
        kind = kind.as_str(),
        pause_seconds = until.saturating_duration_since(Instant::now()).as_secs_f64(),
        "Zoom refuses calls by rate limit: all calls pause"
    );
    let reason = match kind {
        LimitKind::PerSecond => Reason::ZoomRateLimited,
        LimitKind::PerDay => Reason::ZoomDailyQuotaSpent,
    };
    let failure = Failure::new(reason).retry_at(until).with_zoom_error(zoom_error);
    core.scheduler.start_cooldown(kind, until, failure.clone());
    core.flights.pause(until, &failure);
    failure
}

/// Waits before the next try of a call that Zoom could not answer. Callers who have a stale snapshot, or cannot wait that
/// long, are told at once.
async fn pause_flight(core: &Core, flight: &Flight, pause: Duration, zoom_error: ZoomError) {
    let until = Instant::now() + pause;
    let failure = Failure::new(Reason::ZoomFailed).retry_at(until).with_zoom_error(zoom_error);
    core.flights.pauses(flight, until, failure);
    tokio::time::sleep(pause).await;
}

/// The end of the retries, or an error that none would help.
fn give_up(core: &Core, page_token: Option<&str>, error: CallError) -> Stop {
    let failed = |reason, zoom_error| Stop::Failed(Failure::new(reason).with_zoom_error(zoom_error));
    match error {
        CallError::AccessTokenRefused(zoom_error) | CallError::CredentialsRejected(zoom_error) => {
            let failure = no_access_token(core.access_tokens.reject(&zoom_error));
            // Those who wait for permits need not wait to hear the same.
            core.scheduler.reject_all(&failure);
            Stop::Failed(failure)
        }
        CallError::MeetingNotFound(zoom_error) => failed(Reason::MeetingNotFound, zoom_error),
        CallError::NotAMeeting(zoom_error) => failed(Reason::NotAMeeting, zoom_error),
        CallError::MeetingTooOld(zoom_error) => failed(Reason::MeetingTooOld, zoom_error),
        CallError::PageTokenRefused(zoom_error) if page_token.is_some() => {
            Stop::PageTokenRefused(Failure::lasting(Lasting::Refused).with_zoom_error(zoom_error))
        }
        CallError::PageTokenRefused(zoom_error) | CallError::Refused(zoom_error) => {
            Stop::Failed(Failure::lasting(Lasting::Refused).with_zoom_error(zoom_error))
        }
        CallError::NoRoom => Stop::Failed(overloaded()),
        CallError::TooLarge(zoom_error) => {
            Stop::Failed(Failure::lasting(Lasting::TooLarge).with_zoom_error(zoom_error))
        }
        CallError::CutShort(zoom_error) | CallError::Broken(zoom_error) => {
            failed(Reason::ZoomFailed, zoom_error)
        }
        CallError::Unavailable { zoom_error, retry_after } => {
            let until = Instant::now() + retry_after.min(LONGEST_PAUSE);
            Stop::Failed(Failure::new(Reason::ZoomFailed).retry_at(until).with_zoom_error(zoom_error))
        }
        CallError::TimedOut | CallError::NotReached(Cause::Timeout) => {
            Stop::Failed(Failure::new(Reason::ZoomTimedOut))
        }
        CallError::NotReached(_) => Stop::Failed(Failure::new(Reason::ZoomFailed)),
        CallError::RateLimited { zoom_error, .. } => failed(Reason::ZoomRateLimited, zoom_error),
    }
}

fn with_words(failure: Failure, zoom_error: Option<ZoomError>) -> Failure {
    match zoom_error {
        Some(zoom_error) => failure.with_zoom_error(zoom_error),
        None => failure,
    }
}

fn result_of(error: &CallError) -> CallResult {
    match error {
        CallError::AccessTokenRefused(_) | CallError::CredentialsRejected(_) => CallResult::Unauthorized,
        CallError::RateLimited { .. } => CallResult::RateLimited,
        CallError::MeetingNotFound(_) | CallError::NotAMeeting(_) | CallError::MeetingTooOld(_) => {
            CallResult::NotFound
        }
        CallError::PageTokenRefused(_) => CallResult::PageTokenRefused,
        CallError::TimedOut => CallResult::TimedOut,
        CallError::NotReached(cause) => CallResult::NotReached(*cause),
        CallError::CutShort(_) => CallResult::NotReached(Cause::Broken),
        CallError::Broken(_)
        | CallError::Unavailable { .. }
        | CallError::Refused(_)
        | CallError::TooLarge(_)
        | CallError::NoRoom => CallResult::Failed,
    }
}
