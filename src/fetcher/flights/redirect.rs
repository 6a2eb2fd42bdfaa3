//! Redirects a flight. When Zoom says that an id is not of the flight's kind, the flight continues at the other
//! endpoint, for the callers that named no kind.
//!
//! Example: 20 callers request an id that is a webinar's, and two of them send `kind=meeting`. The meeting endpoint
//! refuses one call. The two callers get `not_a_meeting`, and the same flight fetches the webinar's pages for the other
//! 18. If another caller has sent `kind=webinar`, a flight for the webinar may already be in progress. The 18 callers
//! then join that flight.

use std::time::Instant;

use super::{Flight, Flights, Table};
use crate::{
    cache::policy::FetchRequirement,
    failure::Failure,
    fetcher::command::Fetched,
    scheduler::fair_queue::{CallerWeight, FlightNumber},
    snapshot::SnapshotKey,
};

/// How a flight ends or continues if its id is of the other kind.
pub(in crate::fetcher) enum Redirected {
    /// The flight ends: no caller still needs the other kind, or the flight is detached and its callers have
    /// disconnected.
    Ends,
    /// The flight ends, and its remaining callers, with these weights and deadlines, have joined another flight.
    Joined(FlightNumber, Vec<(CallerWeight, Instant)>),
    GoesOn,
}

impl Flights {
    /// Replies with `failure` to the callers that do not accept the other kind. Replies to those for which `known`
    /// returns a result of the other kind. The remaining callers now wait for the other kind. This includes
    /// disconnected callers, because the flight has already spent a call.
    pub(in crate::fetcher) fn redirect(
        &self,
        flight: &mut Flight,
        failure: &Failure,
        known: impl Fn(&SnapshotKey, FetchRequirement) -> Option<Result<Fetched, Failure>>,
    ) -> Redirected {
        let other = SnapshotKey { kind: flight.key.kind.other(), ..flight.key };
        let Table { in_progress, joinable } = &mut *self.table.borrow_mut();
        let is_detached = joinable.get(&flight.key) != Some(&flight.number);
        let Some(entry) = in_progress.get_mut(&flight.number) else { return Redirected::Ends };
        let is_awaited = entry.answer_some(|waiter| match waiter.other_kind.take() {
            None => Some(Err(failure.clone())),
            Some(_) => known(&other, waiter.requirement),
        });
        // A detached flight continues only for callers that are still connected.
        if !is_awaited || (is_detached && entry.waiting() == 0) {
            return Redirected::Ends;
        }
        if let Some(number) = joinable.get(&other).copied() {
            let waiters: Vec<_> = entry.take_waiters().collect();
            let places = waiters.iter().map(|waiter| (waiter.weight, waiter.deadline)).collect();
            if let Some(joined) = in_progress.get_mut(&number) {
                for waiter in waiters {
                    joined.join(waiter);
                }
            }
            return Redirected::Joined(number, places);
        }
        (entry.key, entry.pause) = (other, None);
        if !is_detached {
            joinable.remove(&flight.key);
        }
        joinable.insert(other, flight.number);
        flight.key = other;
        if failure.zoom.is_some() {
            self.remember_refusal(failure);
        }
        Redirected::GoesOn
    }
}
