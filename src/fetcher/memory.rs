//! How a flight waits for memory before its next page.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::{ASK_AGAIN_AFTER, core::Core, flights::Flight};
use crate::{
    failure::{Failure, Lasting, Reason},
    zoom::FlightMemory,
};

/// While it waits, a flight looks this often whether anybody still waits for it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a flight fails that finds no memory.
pub(super) fn overloaded() -> Failure {
    Failure::new(Reason::Overloaded).retry_at(Instant::now() + ASK_AGAIN_AFTER)
}

/// Returns when there is room for the flight's next page.
///
/// # Errors
/// When there is none and will be none, when `limits.max_queued` flights wait already, or when nobody waits for the
/// flight any more.
pub(super) async fn room(core: &Core, flight: &Flight, memory: &FlightMemory) -> Result<(), Failure> {
    let Some(mut told) = memory.request_page() else {
        tracing::warn!("a meeting is larger than limits.max_fetch_bytes: refused");
        return Err(Failure::lasting(Lasting::TooLarge));
    };
    let mut waits = false;
    loop {
        let goes_on = if waits {
            tokio::time::timeout(LOOK_AGAIN_AFTER, &mut told).await.ok()
        } else {
            (&mut told).now_or_never()
        };
        match goes_on {
            Some(Ok(true)) => break,
            Some(_) => return Err(overloaded()),
            None => {}
        }
        // Calls and flights that wait are bounded together. A flight that has begun is paid for.
        let waiting = core.memory.waiting_to_begin() + core.scheduler.queued();
        if !waits && !core.flights.has_begun(flight) && waiting > core.scheduler.max_queued() {
            return Err(overloaded());
        }
        waits = true;
        let now = Instant::now();
        if core.flights.gives_up(flight.number)
            || core.flights.gives_up_at(flight).is_some_and(|at| at <= now)
        {
            return Err(overloaded());
        }
        // Callers with a stale snapshot have it at once.
        core.flights.queues(flight, Some(&(now, overloaded())));
    }
    core.flights.queues_no_more(flight);
    Ok(())
}
