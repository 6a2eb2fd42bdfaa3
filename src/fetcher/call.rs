//! Fetches one page: waits for a permit and an access token, makes the call, handles its result, and retries a few
//! times if a retry can help.

mod recovery;

use std::time::Instant;

use bytes::Bytes;

pub(super) use self::recovery::PagesError;
use self::recovery::{Attempts, recover, result_of};
use super::{
    assembly,
    flights::{Flight, FlightEntry},
    memory::wait_for_memory,
    state::FetcherState,
};
use crate::{
    clean::{CheckedPage, NotAPage},
    failure::{Failure, ZoomError},
    metrics::CallResult,
    quota::Permit,
    scheduler::{NewCall, fair_queue::Priority},
    zoom::{BodyBytes, CallOutcome, FlightMemory, WholeResponse, error::CallError, oauth::AccessToken},
};

pub(super) struct FetchedPage {
    pub(super) page: CheckedPage,
    pub(super) body: Bytes,
    pub(super) zoom_error: ZoomError,
    /// Counts the body's memory until it is dropped.
    pub(super) counted: BodyBytes,
}

/// Waits until there is memory for one page, and fetches it.
pub(super) async fn fetch_page(
    state: &FetcherState,
    flight: &Flight,
    memory: &FlightMemory,
    page_token: Option<&str>,
) -> Result<FetchedPage, PagesError> {
    wait_for_memory(state, flight, memory).await.map_err(PagesError::Failed)?;
    let mut attempts = Attempts::default();
    loop {
        let (permit, access_token) = permit_and_token(state, flight).await.map_err(PagesError::Failed)?;
        let resent = attempts.retried;
        let fetched = match send(state, flight, memory, (permit, &access_token), page_token, resent).await {
            Ok(answer) => check(state, flight, answer).await,
            Err(error) => Err(error),
        };
        let error = match fetched {
            Ok(page) => {
                // A page of a webinar shows that the app may read webinars.
                state.webinars.grant(&flight.key);
                return Ok(page);
            }
            Err(error) => error,
        };
        let result = result_of(&error);
        state.metrics.zoom_call(result);
        if result == CallResult::NotFound {
            state.webinars.grant(&flight.key);
        }
        recover(state, flight, &mut attempts, (page_token, &access_token), error).await?;
    }
}

/// Waits for a permit, and returns it with the access token. The queue grants permits only while there is an access
/// token, but by now Zoom may have refused another call with that token. This call then releases its permit and queues
/// again.
async fn permit_and_token(state: &FetcherState, flight: &Flight) -> Result<(Permit, AccessToken), Failure> {
    loop {
        state.webinars.check(&flight.key)?;
        let permit = wait_for_permit(state, flight).await?;
        if let Err(failure) = state.webinars.check(&flight.key) {
            state.scheduler.release(permit);
            return Err(failure);
        }
        match state.access_tokens.for_call(Instant::now()) {
            Some(access_token) => return Ok((permit, access_token)),
            None => state.scheduler.release(permit),
        }
    }
}

async fn wait_for_permit(state: &FetcherState, flight: &Flight) -> Result<Permit, Failure> {
    state.flights.begin_wait(flight, state.scheduler.blocked_until().as_ref());
    let deadline = state.flights.deadline(flight);
    let is_awaited = state.flights.read(flight, FlightEntry::has_been_awaited);
    let priority = if is_awaited { Priority::Foreground } else { Priority::Background };
    let weights = state.flights.read(flight, FlightEntry::weights);
    let call = NewCall { priority, flight: flight.number, wanted_by: &weights, deadline };
    let evict = |flight| state.flights.detach_if_unwanted(flight);
    let mut span = state.spans.wait_for_permit(flight, priority);
    let permit = state.scheduler.acquire(&call, evict).await;
    if let Err(failure) = &permit {
        span.fail(failure.reason.as_str());
    }
    drop(span);
    state.flights.end_wait(flight);
    permit
}

/// Makes the call. Records it in the flight table, in the caller's accounts, in the metrics and in a span.
async fn send(
    state: &FetcherState,
    flight: &Flight,
    memory: &FlightMemory,
    (permit, access_token): (Permit, &AccessToken),
    page_token: Option<&str>,
    resent: u32,
) -> Result<WholeResponse, CallError> {
    state.flights.mark_called(flight);
    let called = Instant::now();
    // The amount that the call took from the caller's reserve, in case it has to be refunded.
    let draw = flight.calls.record_call(called);
    let mut span = state.spans.begin_call(flight, resent);
    let traceparent = span.context().traceparent();
    let CallOutcome { answer, unspent, account_has_left } =
        state.zoom.page(permit, access_token, &flight.key, page_token, traceparent, memory.body()).await;
    let status = match &answer {
        Ok(answer) => Some(answer.zoom_error().status),
        Err(error) => error.zoom_error().map(|zoom_error| zoom_error.status),
    };
    if let Some(status) = status {
        span.set("http.response.status_code", i64::from(status));
    }
    if let Err(error) = &answer {
        span.fail(result_of(error).as_str());
    }
    drop(span);
    state.metrics.zoom_call_duration.observe(called.elapsed().as_secs_f64());
    match unspent {
        // The request was not sent, so it counts neither for the account nor for the caller.
        Some(permit) => {
            state.scheduler.release(permit);
            flight.calls.refund_call(called, draw);
        }
        None => state.metrics.caller_calls.with_label_values(&[flight.caller.name.as_str()]).inc(),
    }
    if let Some(calls) = account_has_left {
        state.scheduler.report_remaining(calls, called);
    }
    answer
}

/// Checks that the response is a page of the meeting.
async fn check(
    state: &FetcherState,
    flight: &Flight,
    answer: WholeResponse,
) -> Result<FetchedPage, CallError> {
    let meeting = flight.key.meeting;
    match assembly::check(answer.body.clone(), meeting).await {
        Ok(page) => {
            state.metrics.zoom_call(CallResult::Ok);
            let zoom_error = answer.zoom_error();
            Ok(FetchedPage { page, zoom_error, body: answer.body, counted: answer.counted })
        }
        Err(NotAPage::AnotherMeeting) => {
            tracing::warn!(
                %meeting,
                "Zoom answered with another meeting's page: refused, and all connections are closed"
            );
            // A connection may be out of step, so that each of its responses belongs to the previous request.
            state.zoom.upstream.api.forget_connections();
            Err(CallError::Broken(answer.zoom_error()))
        }
        Err(reason) => {
            tracing::debug!(%reason, "Zoom's response is not a page");
            Err(answer.not_a_page().await)
        }
    }
}
