//! Waits for memory before a flight's next page.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::{command::RETRY_AFTER, flights::Flight, state::FetcherState};
use crate::{
    failure::{Failure, Lasting, Reason},
    zoom::FlightMemory,
};

/// How often a waiting flight checks whether any caller still waits for it.
const CHECK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn overloaded() -> Failure {
    Failure::new(Reason::Overloaded).retry_at(Instant::now() + RETRY_AFTER)
}

/// Returns when there is memory for the flight's next page.
///
/// # Errors
/// - The meeting alone takes all the memory, or other meetings need the memory.
/// - More than `limits.max_queued` calls and flights wait, and this flight has made no call.
/// - No caller waits for the flight any more, or its deadline has passed.
pub(super) async fn wait_for_memory(
    state: &FetcherState,
    flight: &Flight,
    memory: &FlightMemory,
) -> Result<(), Failure> {
    let Some(mut verdict) = memory.request_page() else {
        tracing::warn!("a meeting is larger than limits.max_fetch_bytes: refused");
        return Err(Failure::lasting(Lasting::TooLarge));
    };
    let mut waits = false;
    loop {
        let goes_on = if waits {
            tokio::time::timeout(CHECK_EVERY, &mut verdict).await.ok()
        } else {
            (&mut verdict).now_or_never()
        };
        match goes_on {
            Some(Ok(true)) => break,
            Some(_) => return Err(overloaded()),
            None => {}
        }
        // Waiting calls and waiting flights share the bound `limits.max_queued`. A flight that has made a call is
        // exempt, because its calls would be wasted.
        let waiting = state.memory.waiting_to_begin() + state.scheduler.queued();
        if !waits
            && !state.flights.read(flight, |entry| entry.has_called)
            && waiting > state.scheduler.max_queued()
        {
            return Err(overloaded());
        }
        waits = true;
        let now = Instant::now();
        if state.flights.detach_if_abandoned(flight.number)
            || state.flights.deadline(flight).is_some_and(|at| at <= now)
        {
            return Err(overloaded());
        }
        // Callers with a cached snapshot do not wait for memory.
        state.flights.begin_wait(flight, Some(&(now, overloaded())));
    }
    state.flights.end_wait(flight);
    Ok(())
}
