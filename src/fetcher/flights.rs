//! The flight table: at most one flight per snapshot that new callers can join, each with the callers waiting for it.

mod entry;
mod redirect;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::entry::FlightEntry;
pub(super) use self::{
    entry::{Flight, Waiter, weight_of},
    redirect::Redirected,
};
use super::command::FetchSource;
use crate::{
    cache::policy::CachePolicy,
    callers::Caller,
    failure::{Failure, Reason},
    scheduler::fair_queue::{CallerWeight, FlightNumber},
    snapshot::{Snapshot, SnapshotKey},
};

/// The answer to a caller's request.
pub(super) enum Joined {
    /// It waits for a flight in progress.
    InProgress(FlightNumber),
    /// It is the first of a new flight, which the caller of this function must start now.
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
    /// The flight that new callers join; a detached one is not in here.
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
    /// Anybody may join a flight in progress; a new one must be within its caller's limit.
    pub(super) fn join_or_start(
        &self,
        key: SnapshotKey,
        waiter: Waiter,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Joined {
        let mut table = self.table.borrow_mut();
        if let Some((number, entry)) = table.joinable(&key) {
            entry.join(waiter);
            return Joined::InProgress(number);
        }
        if self.stopped.get() {
            return Joined::Rejected(waiter, Failure::new(Reason::ShuttingDown));
        }
        match self.next_flight(key, caller, now) {
            Ok(flight) => {
                table.insert(&flight, FlightEntry::request(&flight, waiter));
                Joined::Started(flight)
            }
            Err(until) => Joined::Rejected(waiter, Failure::new(Reason::CallerOverLimit).retry_at(until)),
        }
    }

    /// A new flight that nobody waits for; `None` if one is in progress, or none may start.
    pub(super) fn start_refresh(
        &self,
        key: SnapshotKey,
        deadline: Instant,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Option<Flight> {
        let mut table = self.table.borrow_mut();
        if self.stopped.get() || table.joinable.contains_key(&key) {
            return None;
        }
        let flight = self.next_flight(key, caller, now).ok()?;
        table.insert(&flight, FlightEntry::refresh(&flight, deadline));
        Some(flight)
    }

    /// # Errors
    /// The caller is over its limit: until when.
    fn next_flight(&self, key: SnapshotKey, caller: &Arc<Caller>, now: Instant) -> Result<Flight, Instant> {
        let reservation = caller.reserve(now)?;
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        Ok(Flight { key, number, caller: Arc::clone(caller), reservation })
    }

    fn read<T>(&self, flight: &Flight, read: impl FnOnce(&FlightEntry) -> T) -> Option<T> {
        self.table.borrow().in_progress.get(&flight.number).map(read)
    }

    fn change(&self, flight: &Flight, change: impl FnOnce(&mut FlightEntry)) {
        if let Some(entry) = self.table.borrow_mut().in_progress.get_mut(&flight.number) {
            change(entry);
        }
    }

    pub(super) fn has_been_awaited(&self, flight: &Flight) -> bool {
        self.read(flight, FlightEntry::has_been_awaited).unwrap_or_default()
    }

    pub(super) fn all_accept(
        &self,
        flight: &Flight,
        snapshot: &Snapshot,
        policy: CachePolicy,
        now: Instant,
    ) -> bool {
        self.read(flight, |entry| entry.all_accept(snapshot, policy, now)).unwrap_or_default()
    }

    pub(super) fn all_accept_other_kind(&self, flight: &Flight) -> bool {
        self.read(flight, FlightEntry::all_accept_other_kind).unwrap_or_default()
    }

    /// Whether the flight that a new caller would join waits for a permit, here or at another replica.
    pub(super) fn is_queued(&self, key: &SnapshotKey) -> bool {
        self.table.borrow_mut().joinable(key).is_some_and(|(_, entry)| entry.queued)
    }

    pub(super) fn weights(&self, flight: &Flight) -> Vec<CallerWeight> {
        self.read(flight, FlightEntry::weights).unwrap_or_default()
    }

    /// When this flight gives up, unless a caller who waits longer joins it; `None` once it has made a call: then it is
    /// finished.
    pub(super) fn deadline(&self, flight: &Flight) -> Option<Instant> {
        self.read(flight, |entry| (!entry.started).then_some(entry.deadline))?
    }

    /// The earliest deadline of those who wait; `None` if nobody does.
    pub(super) fn first_deadline(&self, flight: &Flight) -> Option<Instant> {
        self.read(flight, FlightEntry::first_deadline)?
    }

    pub(super) fn has_started(&self, flight: &Flight) -> bool {
        self.read(flight, |entry| entry.started).unwrap_or_default()
    }

    /// This flight makes a call now.
    pub(super) fn mark_started(&self, flight: &Flight) {
        self.change(flight, |entry| entry.started = true);
    }

    /// This flight's next call waits from now on. `blocked`: until when no flight may call, and why, if so.
    pub(super) fn begin_wait(&self, flight: &Flight, blocked: Option<&(Instant, Failure)>) {
        self.change(flight, |entry| {
            entry.queued = true;
            if let Some((at, failure)) = blocked {
                entry.reject_impatient(*at, failure);
            }
        });
    }

    /// This flight's call waits no more.
    pub(super) fn end_wait(&self, flight: &Flight) {
        self.change(flight, |entry| entry.queued = false);
    }

    /// Zoom makes this flight wait before its next call. Callers who cannot wait that long get the reason, and so do those who
    /// join later.
    pub(super) fn begin_pause(&self, flight: &Flight, until: Instant, failure: Failure) {
        self.change(flight, |entry| {
            entry.queued = true;
            entry.reject_impatient(until, &failure);
            entry.pause = Some((until, failure));
        });
    }

    /// No flight may call until then. Callers of queued flights who cannot wait that long get the reason.
    pub(super) fn begin_cooldown(&self, until: Instant, failure: &Failure) {
        self.remember_refusal(failure);
        let mut table = self.table.borrow_mut();
        for entry in table.in_progress.values_mut().filter(|entry| entry.queued) {
            entry.reject_impatient(until, failure);
        }
    }

    /// From now on nobody joins the flight to this snapshot, and its result is not cached. Whether there was one.
    pub(super) fn detach(&self, key: &SnapshotKey) -> bool {
        self.table.borrow_mut().joinable.remove(key).is_some()
    }

    /// The same for every flight in progress. How many there were.
    pub(super) fn detach_all(&self) -> usize {
        self.table.borrow_mut().joinable.drain().count()
    }

    pub(super) fn is_detached(&self, flight: &Flight) -> bool {
        self.table.borrow().is_detached(&flight.key, flight.number)
    }

    /// Whether this flight should end without a call, because all its callers have gone before their deadline. It is then
    /// detached: a new caller must not join a flight that is about to end.
    pub(super) fn detach_if_abandoned(&self, number: FlightNumber) -> bool {
        // A caller who waited until its deadline got `still_fetching`, and will ask again.
        self.detach_if(number, |entry| Instant::now() < entry.deadline)
    }

    /// The same before another caller is rejected for want of room: then also if its callers waited until their deadline.
    pub(super) fn detach_if_unwanted(&self, number: FlightNumber) -> bool {
        self.detach_if(number, |_| true)
    }

    /// `is_unwanted` decides about a flight that has made no call and that no caller waits for any more.
    fn detach_if(&self, number: FlightNumber, is_unwanted: impl FnOnce(&FlightEntry) -> bool) -> bool {
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.in_progress.get(&number) else { return false };
        let key = entry.key;
        let is_detached = table.is_detached(&key, number);
        let is_awaited_request = entry.has_been_awaited() && !entry.started;
        let ends = entry.waiting() == 0 && (is_detached || (is_awaited_request && is_unwanted(entry)));
        if ends && !is_detached {
            table.joinable.remove(&key);
        }
        ends
    }

    /// Ends a flight and answers its callers. `source`: where the snapshot came from, if not from this flight.
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

    /// Returns when no flight is in progress.
    pub(super) async fn idle(&self) {
        loop {
            let completed = self.completed.notified();
            if self.table.borrow().in_progress.is_empty() {
                return;
            }
            completed.await;
        }
    }

    /// Flights in progress, and callers waiting for them.
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
