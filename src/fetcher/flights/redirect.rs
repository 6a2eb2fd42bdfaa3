//! Zoom says that an id is of the other kind: the flight goes on at the other endpoint, for the callers who named no kind.
//!
//! Example: 20 callers want an id that is a webinar's, and two of them said `kind=meeting`. One call at the meeting endpoint is
//! refused. The two get `not_a_meeting`; the same flight fetches the webinar's pages for the other 18. If a flight to the webinar
//! is in progress already, because some caller said `kind=webinar`, the 18 join that one.

use std::time::Instant;

use super::{Flight, Flights, Table};
use crate::{
    cache::policy::FetchRequirement,
    failure::Failure,
    fetcher::command::Fetched,
    scheduler::fair_queue::{CallerWeight, FlightNumber},
    snapshot::SnapshotKey,
};

/// The course of a flight whose id is of the other kind.
pub(in crate::fetcher) enum Redirected {
    /// Nobody wants the other kind: it ends.
    Ends,
    /// It ends, and these callers wait for another one.
    Joined(FlightNumber, Vec<(CallerWeight, Instant)>),
    /// It goes on under its new key.
    GoesOn,
}

impl Flights {
    /// Answers the callers who get this failure, and those for whom `known` has an answer about the other kind. The others wait
    /// for the other kind from now on, also those who have disconnected: the flight's call is spent.
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
            Some(_) => known(&other, waiter.wanted),
        });
        // Nobody reads or caches what a detached flight brings to callers who have gone.
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
        entry.redirect(other);
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
