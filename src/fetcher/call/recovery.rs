//! Handles a failed call: decides whether the flight retries, pauses, or ends.

use std::time::{Duration, Instant};

use crate::{
    failure::{Failure, Lasting, LimitKind, Reason, ZoomError},
    fetcher::{flights::Flight, memory::overloaded, state::FetcherState},
    metrics::{CallResult, Cause},
    snapshot::MeetingKind,
    zoom::{
        self,
        error::{CallError, Lack},
        oauth::AccessToken,
    },
};

/// The maximum number of retries after transient failures of one page's call. Each retry takes another permit.
const MAX_RETRIES: u32 = 2;
/// A page fails when Zoom has rate-limited this many of its calls, although the flight paused after each of them but
/// the last.
const MAX_RATE_LIMITED: u32 = 3;
/// The pause after a per-second 429 without a usable `Retry-After`, in milliseconds. It is random, so that replicas do
/// not resume in step.
const DEFAULT_PAUSE_MS: std::ops::RangeInclusive<u64> = 1_000..=1_500;
/// The longest pause after a 429 of the per-second limit. After a 429 of the daily limit, the pause ends at most this
/// long after midnight. A longer `Retry-After` is probably wrong, and is shortened. This also applies to the
/// `Retry-After` of a server error that callers get.
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub(in crate::fetcher) enum PagesError {
    PageTokenRefused(Failure),
    Failed(Failure),
}

impl PagesError {
    pub(in crate::fetcher) fn into_failure(self) -> Failure {
        match self {
            Self::PageTokenRefused(failure) | Self::Failed(failure) => failure,
        }
    }
}

/// The failures of one page's calls so far, by kind.
#[derive(Default)]
pub(super) struct Attempts {
    pub(super) retried: u32,
    token_renewed: bool,
    rate_limited: u32,
}

/// Prepares another attempt at a failed call: waits, discards the refused access token, or starts a cool-down.
///
/// # Errors
/// No retries are left, or a retry would not help or would come too late.
pub(super) async fn recover(
    state: &FetcherState,
    flight: &Flight,
    attempts: &mut Attempts,
    (page_token, access_token): (Option<&str>, &AccessToken),
    error: CallError,
) -> Result<(), PagesError> {
    let may_retry = attempts.retried < MAX_RETRIES;
    match error {
        CallError::TimedOut | CallError::NotReached(_) | CallError::CutShort(_) | CallError::Broken(_)
            if may_retry =>
        {
            attempts.retried += 1;
            tokio::time::sleep(zoom::backoff(attempts.retried)).await;
        }
        // After a pause of more than `server.wait`, the callers that wait now would be gone.
        CallError::Unavailable { zoom_error, retry_after } if may_retry && retry_after <= state.wait => {
            attempts.retried += 1;
            // The random backoff is added so that clients that got the same `Retry-After` do not retry in step.
            pause_flight(state, flight, retry_after + zoom::backoff(attempts.retried), zoom_error).await;
        }
        CallError::AccessTokenRefused(_) if !attempts.token_renewed => {
            attempts.token_renewed = true;
            state.access_tokens.discard(access_token);
        }
        CallError::RateLimited { kind, retry_after, zoom_error } => {
            attempts.rate_limited += 1;
            let failure = pause_all(state, kind, retry_after, zoom_error);
            if attempts.rate_limited == MAX_RATE_LIMITED {
                return Err(PagesError::Failed(failure));
            }
        }
        error => return Err(give_up(state, flight, (page_token, access_token), error)),
    }
    Ok(())
}

/// Waits for `pause` before the next attempt at a call. Callers that have a cached snapshot or cannot wait that long
/// get the failure immediately.
async fn pause_flight(state: &FetcherState, flight: &Flight, pause: Duration, zoom_error: ZoomError) {
    let until = Instant::now() + pause;
    let failure = Failure::new(Reason::ZoomFailed).retry_at(until).with_zoom_error(zoom_error);
    state.flights.begin_pause(flight, until, failure);
    tokio::time::sleep(pause).await;
}

/// Starts a cool-down: stops all calls for the time that Zoom demands, or for a default time. Returns the failure.
/// Callers that have a cached snapshot or cannot wait that long get it immediately.
fn pause_all(
    state: &FetcherState,
    kind: LimitKind,
    retry_after: Option<Duration>,
    zoom_error: ZoomError,
) -> Failure {
    let now = Instant::now();
    let (reason, default, latest) = match kind {
        LimitKind::PerSecond => {
            let default = now + Duration::from_millis(fastrand::u64(DEFAULT_PAUSE_MS));
            (Reason::ZoomRateLimited, default, now + MAX_PAUSE)
        }
        LimitKind::PerDay => {
            let midnight = state.scheduler.midnight();
            (Reason::ZoomDailyQuotaSpent, midnight, midnight + MAX_PAUSE)
        }
    };
    let until = retry_after.map_or(default, |after| (now + after).min(latest));
    tracing::warn!(
        kind = kind.as_str(),
        pause_seconds = until.saturating_duration_since(Instant::now()).as_secs_f64(),
        "Zoom refuses calls by rate limit: all calls pause"
    );
    let failure = Failure::new(reason).retry_at(until).with_zoom_error(zoom_error);
    state.scheduler.start_cooldown(kind, until, failure.clone());
    state.flights.begin_cooldown(until, &failure);
    failure
}

/// Converts an error after which the call is not retried. Marks the credentials as rejected, or webinars as refused, if
/// that is the cause.
fn give_up(
    state: &FetcherState,
    flight: &Flight,
    (page_token, access_token): (Option<&str>, &AccessToken),
    error: CallError,
) -> PagesError {
    let refused = |zoom_error| Failure::lasting(Lasting::Refused).with_zoom_error(zoom_error);
    let failed = |reason, zoom_error| Failure::new(reason).with_zoom_error(zoom_error);
    PagesError::Failed(match error {
        CallError::AccessTokenRefused(zoom_error) => reject_credentials(state, &zoom_error, None),
        CallError::CredentialsRejected { lack, zoom_error } => match (flight.key.kind, lack) {
            (MeetingKind::Webinar, _) => {
                let replace_token = || state.access_tokens.replace(access_token);
                state.webinars.refuse(&flight.key, (lack, zoom_error), replace_token)
            }
            (kind @ MeetingKind::Meeting, Lack::Scope) => {
                reject_credentials(state, &zoom_error, Some(lack.detail(kind)))
            }
            (MeetingKind::Meeting, Lack::Plan) => reject_credentials(state, &zoom_error, None),
        },
        CallError::MeetingNotFound(zoom_error) => failed(Reason::MeetingNotFound, zoom_error),
        CallError::OtherKind(zoom_error) => failed(Reason::NotAMeeting, zoom_error),
        CallError::MeetingTooOld(zoom_error) => failed(Reason::MeetingTooOld, zoom_error),
        CallError::PageTokenRefused(zoom_error) if page_token.is_some() => {
            return PagesError::PageTokenRefused(refused(zoom_error));
        }
        CallError::PageTokenRefused(zoom_error) | CallError::Refused(zoom_error) => refused(zoom_error),
        CallError::NoRoom => overloaded(),
        CallError::TooLarge(zoom_error) => Failure::lasting(Lasting::TooLarge).with_zoom_error(zoom_error),
        CallError::CutShort(zoom_error) | CallError::Broken(zoom_error) => {
            failed(Reason::ZoomFailed, zoom_error)
        }
        CallError::Unavailable { zoom_error, retry_after } => {
            let until = Instant::now() + retry_after.min(MAX_PAUSE);
            failed(Reason::ZoomFailed, zoom_error).retry_at(until)
        }
        CallError::TimedOut | CallError::NotReached(Cause::Timeout) => Failure::new(Reason::ZoomTimedOut),
        CallError::NotReached(_) => Failure::new(Reason::ZoomFailed),
        CallError::RateLimited { zoom_error, .. } => failed(Reason::ZoomRateLimited, zoom_error),
    })
}

/// Marks the credentials as rejected, which stops all calls. Returns the failure for callers.
fn reject_credentials(state: &FetcherState, zoom_error: &ZoomError, scope: Option<&str>) -> Failure {
    let failure = state.access_tokens.reject(zoom_error, scope);
    // Queued calls would fail for the same reason, so they are rejected now.
    state.scheduler.reject_all(&failure);
    failure
}

pub(super) fn result_of(error: &CallError) -> CallResult {
    match error {
        CallError::AccessTokenRefused(_) | CallError::CredentialsRejected { .. } => CallResult::Unauthorized,
        CallError::RateLimited { .. } => CallResult::RateLimited,
        CallError::MeetingNotFound(_) | CallError::OtherKind(_) | CallError::MeetingTooOld(_) => {
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
