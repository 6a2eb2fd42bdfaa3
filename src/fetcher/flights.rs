//! The flight table: the flights in progress, with the callers that wait for each. New callers can join at most one
//! flight per snapshot.
//!
//! A purge *detaches* a flight. A detached flight continues for the callers that already wait for it, but no other
//! caller joins it, and its result is not cached. If it is redirected to the other kind, it is joinable again. A flight
//! whose callers all disconnect before its first call is also detached, and ends.

mod entry;
mod redirect;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub(super) use self::{
    entry::{Flight, FlightEntry, Waiter, weight_of},
    redirect::Redirected,
};
use super::{caller_accounts::FlightCalls, command::FetchSource};
use crate::{
    cache::ends_snapshot,
    callers::Caller,
    failure::{Failure, Reason},
    scheduler::fair_queue::FlightNumber,
    snapshot::{Snapshot, SnapshotKey},
};

pub(super) enum Joined {
    /// The caller waits for a flight in progress.
    InProgress(FlightNumber),
    /// The caller waits for a new flight, whose task must be started now.
    Started(Flight),
    /// No flight starts: the service is stopping, or the caller is over its limit.
    Rejected(Waiter, Failure),
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Default)]
pub(super) struct Flights {
    table: RefCell<Table>,
    last_number: Cell<FlightNumber>,
    stopped: Cell<bool>,
    completed: Notify,
    last_refusal: RefCell<Option<(Instant, Failure)>>,
}

#[derive(Default)]
struct Table {
    in_progress: Map<FlightNumber, FlightEntry>,
    /// The flights that new callers can join: all but the detached ones.
    joinable: Map<SnapshotKey, FlightNumber>,
}

impl Table {
    fn joinable(&mut self, key: &SnapshotKey) -> Option<(FlightNumber, &mut FlightEntry)> {
        let number = *self.joinable.get(key)?;
        Some((number, self.in_progress.get_mut(&number)?))
    }

    fn insert(&mut self, flight: &Flight, entry: FlightEntry) {
        self.joinable.insert(flight.key, flight.number);
        self.in_progress.insert(flight.number, entry);
    }

    fn is_detached(&self, key: &SnapshotKey, number: FlightNumber) -> bool {
        self.joinable.get(key) != Some(&number)
    }
}

impl Flights {
    /// Joins the flight in progress, or starts one if `reserve` succeeds and the service is not stopping. A caller's
    /// limits apply to starting a flight, so any caller may join one.
    pub(super) fn join_or_start(
        &self,
        key: SnapshotKey,
        waiter: Waiter,
        caller: &Arc<Caller>,
        reserve: impl FnOnce() -> Result<FlightCalls, Failure>,
    ) -> Joined {
        let mut table = self.table.borrow_mut();
        if let Some((number, entry)) = table.joinable(&key) {
            entry.join(waiter);
            return Joined::InProgress(number);
        }
        if self.stopped.get() {
            return Joined::Rejected(waiter, Failure::new(Reason::ShuttingDown));
        }
        match reserve().map(|calls| self.next_flight(key, caller, calls)) {
            Ok(flight) => {
                table.insert(&flight, FlightEntry::request(&flight, waiter));
                Joined::Started(flight)
            }
            Err(failure) => Joined::Rejected(waiter, failure),
        }
    }

    /// Starts a flight that no caller waits for. Returns `None` if callers can join a flight for this snapshot, if the
    /// service is stopping, or if `reserve` fails.
    pub(super) fn start_refresh(
        &self,
        key: SnapshotKey,
        deadline: Instant,
        caller: &Arc<Caller>,
        reserve: impl FnOnce() -> Result<FlightCalls, Failure>,
    ) -> Option<Flight> {
        let mut table = self.table.borrow_mut();
        if self.stopped.get() || table.joinable.contains_key(&key) {
            return None;
        }
        let flight = self.next_flight(key, caller, reserve().ok()?);
        table.insert(&flight, FlightEntry::refresh(&flight, deadline));
        Some(flight)
    }

    fn next_flight(&self, key: SnapshotKey, caller: &Arc<Caller>, calls: FlightCalls) -> Flight {
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        Flight { key, number, caller: Arc::clone(caller), calls }
    }

    /// Reads the entry of a flight; returns the default once the flight has ended.
    pub(super) fn read<T: Default>(&self, flight: &Flight, read: impl FnOnce(&FlightEntry) -> T) -> T {
        self.table.borrow().in_progress.get(&flight.number).map(read).unwrap_or_default()
    }

    fn change(&self, flight: &Flight, change: impl FnOnce(&mut FlightEntry)) {
        if let Some(entry) = self.table.borrow_mut().in_progress.get_mut(&flight.number) {
            change(entry);
        }
    }

    /// Returns whether there is a flight for this snapshot that callers can join, and whose next call waits.
    pub(super) fn call_waits(&self, key: &SnapshotKey) -> bool {
        self.table.borrow_mut().joinable(key).is_some_and(|(_, entry)| entry.call_waits)
    }

    /// Returns the time at which this flight gives up, unless a caller with a later deadline joins it. `None` once the
    /// flight has made a call, because no caller's deadline ends it after that.
    pub(super) fn deadline(&self, flight: &Flight) -> Option<Instant> {
        self.read(flight, |entry| (!entry.has_called).then_some(entry.deadline))
    }

    pub(super) fn mark_called(&self, flight: &Flight) {
        self.change(flight, |entry| entry.has_called = true);
    }

    /// Records that this flight's next call waits. `blocked` is the earliest time of that call, and the failure for
    /// callers that have a fallback or cannot wait until then.
    pub(super) fn begin_wait(&self, flight: &Flight, blocked: Option<&(Instant, Failure)>) {
        self.change(flight, |entry| {
            entry.call_waits = true;
            if let Some((at, failure)) = blocked {
                entry.reject_impatient(*at, failure);
            }
        });
    }

    pub(super) fn end_wait(&self, flight: &Flight) {
        self.change(flight, |entry| entry.call_waits = false);
    }

    /// Records that this flight may not make its next call before `until`. Callers that have a fallback or cannot wait
    /// until then get `failure`, even if they join during the pause.
    pub(super) fn begin_pause(&self, flight: &Flight, until: Instant, failure: Failure) {
        self.change(flight, |entry| {
            entry.call_waits = true;
            entry.reject_impatient(until, &failure);
            entry.pause = Some((until, failure));
        });
    }

    /// Records that no flight may call before `until`. If a flight's next call waits, its callers that have a fallback
    /// or cannot wait until then get `failure`.
    pub(super) fn begin_cooldown(&self, until: Instant, failure: &Failure) {
        self.remember_refusal(failure);
        let mut table = self.table.borrow_mut();
        for entry in table.in_progress.values_mut().filter(|entry| entry.call_waits) {
            entry.reject_impatient(until, failure);
        }
    }

    /// Detaches the flight for this snapshot: new callers do not join it, and its result is not cached. Returns whether
    /// there was such a flight.
    pub(super) fn detach(&self, key: &SnapshotKey) -> bool {
        self.table.borrow_mut().joinable.remove(key).is_some()
    }

    /// Like [`Self::detach`], but detaches all flights. Returns how many flights were detached.
    pub(super) fn detach_all(&self) -> usize {
        self.table.borrow_mut().joinable.drain().count()
    }

    pub(super) fn is_detached(&self, flight: &Flight) -> bool {
        self.table.borrow().is_detached(&flight.key, flight.number)
    }

    /// Returns whether this flight should end without a further call, because no caller waits for it any more. A
    /// detached flight then ends in any case. Another flight ends if it has made no call and its callers disconnected
    /// before the latest deadline. It is then detached, so that no new caller joins it.
    pub(super) fn detach_if_abandoned(&self, number: FlightNumber) -> bool {
        // A caller that waited until its deadline got `still_fetching` and may retry, so the flight continues for it.
        self.detach_if(number, |entry| Instant::now() < entry.deadline)
    }

    /// Like [`Self::detach_if_abandoned`], but also returns true if the callers waited until their deadlines. The
    /// scheduler calls this before it rejects a new call.
    pub(super) fn detach_if_unwanted(&self, number: FlightNumber) -> bool {
        self.detach_if(number, |_| true)
    }

    /// Detaches a flight that should end, and returns whether it should end. If the flight has made no call and all its
    /// callers are gone, the result of `is_unwanted` decides.
    fn detach_if(&self, number: FlightNumber, is_unwanted: impl FnOnce(&FlightEntry) -> bool) -> bool {
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.in_progress.get(&number) else { return false };
        let key = entry.key;
        let is_detached = table.is_detached(&key, number);
        let is_awaited_request = entry.has_been_awaited() && !entry.has_called;
        let ends = entry.waiting() == 0 && (is_detached || (is_awaited_request && is_unwanted(entry)));
        if ends && !is_detached {
            table.joinable.remove(&key);
        }
        ends
    }

    /// Rejects the waiters of this caller with `failure`. Returns another connected caller of the flight, if there is
    /// one, so that the flight can continue for that caller.
    pub(super) fn reject_waiters_of(&self, flight: &Flight, caller: u32, failure: &Failure) -> Option<u32> {
        let mut table = self.table.borrow_mut();
        let entry = table.in_progress.get_mut(&flight.number)?;
        entry.answer_some(|waiter| (waiter.weight.caller == caller).then(|| Err(failure.clone())));
        entry.connected().map(|waiter| waiter.weight.caller).find(|other| *other != caller)
    }

    /// Returns whether a failure of the flight is about its meeting. A failure before the first call usually is not: for
    /// example, there was no access token. It counts only if its kind shows that another attempt would not help.
    pub(super) fn concerns_meeting(&self, flight: &Flight, failure: &Failure) -> bool {
        let has_called = || self.read(flight, |entry| entry.has_called);
        failure.lasting.is_some() || ends_snapshot(failure.reason) || has_called()
    }

    /// Makes the flight's calls count for this caller from now on.
    pub(super) fn hand_over(&self, flight: &mut Flight, caller: &Arc<Caller>, calls: FlightCalls) {
        (flight.caller, flight.calls) = (Arc::clone(caller), calls);
        self.change(flight, |entry| entry.weight = weight_of(caller));
    }

    /// Ends a flight and replies to its callers. `source` is set if the flight relied on another replica.
    pub(super) fn complete(
        &self,
        flight: &Flight,
        result: &Result<(Arc<Snapshot>, bool), Failure>,
        source: Option<FetchSource>,
    ) {
        let entry = {
            let mut table = self.table.borrow_mut();
            if !table.is_detached(&flight.key, flight.number) {
                table.joinable.remove(&flight.key);
            }
            table.in_progress.remove(&flight.number)
        };
        let Some(entry) = entry else { return };
        if let Err(failure) = result
            && failure.zoom.is_some()
        {
            self.remember_refusal(failure);
        }
        entry.answer(result, source);
        self.completed.notify_waiters();
    }

    pub(super) fn stop_starting(&self) {
        self.stopped.set(true);
    }

    pub(super) async fn idle(&self) {
        loop {
            let completed = self.completed.notified();
            if self.table.borrow().in_progress.is_empty() {
                return;
            }
            completed.await;
        }
    }

    /// Returns the number of flights in progress, and the number of connected callers that wait for them.
    pub(super) fn counts(&self) -> (usize, usize) {
        let in_progress = &self.table.borrow().in_progress;
        (in_progress.len(), in_progress.values().map(FlightEntry::waiting).sum())
    }

    fn remember_refusal(&self, failure: &Failure) {
        *self.last_refusal.borrow_mut() = Some((Instant::now(), failure.clone()));
    }

    pub(super) fn last_refusal(&self) -> Option<(Duration, Failure)> {
        self.last_refusal.borrow().as_ref().map(|(at, failure)| (at.elapsed(), failure.clone()))
    }
}
