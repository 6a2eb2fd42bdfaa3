//! The queue of calls that wait for a permit. It decides which call gets the next permit. Pure: no clock, no channel,
//! no quota.
//!
//! Callers share the permits by weight. Each caller has a flow of its own, and start-time fair queueing (Goyal, Vin and
//! Cheng, 1996) serves the flow that has had the fewest permits for its weight ([`flow`]). An idle caller does not
//! accumulate permits. A caller that is alone gets all permits. Within a flow, the flight that started first is served
//! first, even at a later page, so that older meetings are finished first.
//!
//! Flights that callers wait for (foreground) are served before refreshes (background), but refreshes get one permit in
//! twenty. A flight has at most one call waiting. Adding and serving a call takes O(log n), with n waiting calls, if
//! one caller waits for it.

mod flow;
mod types;

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use self::flow::{Flows, WaitingCall};
pub use self::types::{CallerWeight, Priority};
pub(crate) use self::types::{FlightNumber, QueueDepth};

/// While refreshes wait, at most this many permits in a row go to the foreground.
const FOREGROUND_IN_A_ROW: u32 = 19;

/// Calls that wait for a permit.
pub struct FairQueue<T> {
    foreground: Flows<T>,
    background: Flows<T>,
    places: HashMap<FlightNumber, (Priority, u32), foldhash::fast::RandomState>,
    deadlines: BTreeSet<(Instant, FlightNumber)>,
    foreground_in_a_row: u32,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            foreground: Flows::default(),
            background: Flows::default(),
            places: HashMap::default(),
            deadlines: BTreeSet::new(),
            foreground_in_a_row: 0,
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds a call to the flow of one of the callers in `wanted_by`: the flow in which the call is served first.
    /// `deadline` is the time after which no caller wants the call; `None` for a flight that has made a call.
    pub fn push(
        &mut self,
        (priority, flight): (Priority, FlightNumber),
        wanted_by: &[CallerWeight],
        now: Instant,
        deadline: Option<Instant>,
        item: T,
    ) {
        let flows = self.flows(priority);
        let weight = flows.earliest(flight, wanted_by).unwrap_or(CallerWeight::ANONYMOUS);
        flows.push(weight, flight, WaitingCall { since: now, deadline, item });
        self.places.insert(flight, (priority, weight.caller));
        self.deadlines.extend(deadline.map(|at| (at, flight)));
    }

    /// Records that another caller waits for this flight until `deadline`. If the call would be served earlier in that
    /// caller's flow, moves it there. A refresh moves to the foreground.
    pub(crate) fn add_waiter(&mut self, flight: FlightNumber, by: CallerWeight, deadline: Instant) {
        let Some(&(priority, caller)) = self.places.get(&flight) else { return };
        let moves = priority == Priority::Background || self.foreground.is_earlier(flight, by, caller);
        let Some(mut call) = self.flows(priority).remove(caller, flight) else { return };
        if let Some(earlier) = call.deadline.filter(|earlier| *earlier < deadline) {
            self.deadlines.remove(&(earlier, flight));
            self.deadlines.insert((deadline, flight));
            call.deadline = Some(deadline);
        }
        let weight = if moves { by } else { self.foreground.weight_of(caller) };
        self.foreground.push(weight, flight, call);
        self.places.insert(flight, (Priority::Foreground, weight.caller));
    }

    pub(crate) fn first(&self) -> Option<FlightNumber> {
        match self.next()? {
            Priority::Foreground => self.foreground.first(),
            Priority::Background => self.background.first(),
        }
    }

    /// Removes the call that is served next, and charges its flow one permit.
    pub fn pop(&mut self) -> Option<T> {
        let priority = self.next()?;
        let is_foreground = priority == Priority::Foreground;
        self.foreground_in_a_row = if is_foreground { self.foreground_in_a_row + 1 } else { 0 };
        let (flight, call) = self.flows(priority).pop()?;
        Some(self.forget(flight, call))
    }

    /// Removes the call of this flight without serving it.
    pub fn remove(&mut self, flight: FlightNumber) -> Option<T> {
        let &(priority, caller) = self.places.get(&flight)?;
        let call = self.flows(priority).remove(caller, flight)?;
        Some(self.forget(flight, call))
    }

    pub(crate) fn take_all(&mut self) -> Vec<T> {
        let flights: Vec<_> = self.flights().collect();
        flights.into_iter().filter_map(|flight| self.remove(flight)).collect()
    }

    /// Removes the calls whose deadline is not after `now`.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(deadline, flight)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            expired.extend(self.remove(flight));
        }
        expired
    }

    /// Gives the calls whose deadline is not after `now` the new deadline `until`.
    pub(crate) fn extend_expired(&mut self, now: Instant, until: Instant) {
        while let Some(&(deadline, flight)) = self.deadlines.first()
            && deadline <= now
            && now < until
        {
            self.deadlines.pop_first();
            if let Some(&(priority, caller)) = self.places.get(&flight)
                && let Some(call) = self.flows(priority).get_mut(caller, flight)
            {
                call.deadline = Some(until);
                self.deadlines.insert((until, flight));
            }
        }
    }

    /// Removes all calls that cannot get a permit before their deadline. `served_at` returns the earliest time at which
    /// the call in a place of the queue, counted from 0, is served. The deadline of a flight that has made a call is
    /// `begun_deadline`. Scans the whole queue.
    ///
    /// If a call is removed, the calls behind it move up by one place before they are checked.
    pub(crate) fn take_unreachable(
        &mut self,
        served_at: impl Fn(usize) -> Instant,
        begun_deadline: Instant,
    ) -> Vec<T> {
        let in_order = self.foreground.in_order().chain(self.background.in_order());
        let foreground = self.foreground.len();
        let mut place = 0;
        let unreachable: Vec<_> = in_order
            .enumerate()
            .filter_map(|(number, (flight, deadline))| {
                let refreshes = if number < foreground { self.refreshes_between(place) } else { 0 };
                let misses = served_at(place + refreshes) >= deadline.unwrap_or(begun_deadline);
                place += usize::from(!misses);
                misses.then_some(flight)
            })
            .collect();
        unreachable.into_iter().filter_map(|flight| self.remove(flight)).collect()
    }

    /// Estimates how many calls are served before a new flight of this caller.
    pub(crate) fn ahead_of(&self, priority: Priority, weight: CallerWeight) -> usize {
        match priority {
            Priority::Foreground => {
                let others = self.foreground.ahead_of(weight);
                others + self.refreshes_between(others)
            }
            Priority::Background => {
                let refreshes = self.background.ahead_of(weight);
                let foreground = (refreshes + 1).saturating_mul(FOREGROUND_IN_A_ROW as usize);
                refreshes + self.foreground.len().min(foreground)
            }
        }
    }

    /// Makes room for a new flight of this caller. Evicts a refresh or, if there is none, the newest flight of the most
    /// loaded caller, unless that caller is no more loaded than this one. Flights that have made a call are not evicted.
    pub(crate) fn evict_for(&mut self, weight: CallerWeight) -> Option<T> {
        let flight = self.background.newest_of_most_loaded(None);
        let flight = flight.or_else(|| self.foreground.newest_of_most_loaded(Some(weight)))?;
        self.remove(flight)
    }

    /// Returns all flights that have a call waiting, in no particular order.
    pub(crate) fn flights(&self) -> impl Iterator<Item = FlightNumber> {
        self.places.keys().copied()
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn callers(&self) -> BTreeSet<u32> {
        self.foreground.callers().chain(self.background.callers()).collect()
    }

    pub(crate) fn depth(&self, caller: u32) -> QueueDepth {
        let (foreground, background) = (self.foreground.depth(caller), self.background.depth(caller));
        QueueDepth {
            waiting: foreground.waiting + background.waiting,
            oldest: foreground.oldest.into_iter().chain(background.oldest).min(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns how many refreshes are served among this many foreground calls.
    fn refreshes_between(&self, foreground: usize) -> usize {
        self.background.len().min(foreground / FOREGROUND_IN_A_ROW as usize)
    }

    fn flows(&mut self, priority: Priority) -> &mut Flows<T> {
        match priority {
            Priority::Foreground => &mut self.foreground,
            Priority::Background => &mut self.background,
        }
    }

    fn next(&self) -> Option<Priority> {
        let is_background_due = self.foreground_in_a_row >= FOREGROUND_IN_A_ROW;
        match (self.foreground.len(), self.background.len()) {
            (0, 0) => None,
            (1.., 0) => Some(Priority::Foreground),
            (1.., 1..) if !is_background_due => Some(Priority::Foreground),
            (_, 1..) => Some(Priority::Background),
        }
    }

    fn forget(&mut self, flight: FlightNumber, call: WaitingCall<T>) -> T {
        self.places.remove(&flight);
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, flight));
        }
        call.item
    }
}

#[cfg(test)]
mod tests;
