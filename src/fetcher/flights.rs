//! The table of flights: one per snapshot that callers board, each with those who wait for it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Landed, Reply, Via, weight_of};
use crate::{
    cache::policy::{CachePolicy, FetchRequirement},
    callers::{CallReservation, Caller},
    failure::{Failure, Reason},
    scheduler::fair_queue::{CallerWeight, FlightNumber},
    snapshot::{Snapshot, SnapshotKey},
};

/// A caller who waits.
pub(super) struct Waiter {
    pub(super) reply: Reply,
    pub(super) deadline: Instant,
    pub(super) weight: CallerWeight,
    /// With a stale snapshot to fall back on it is told of every pause at once.
    pub(super) wanted: FetchRequirement,
    /// Its connection sends no more; it may still listen.
    pub(super) hung_up: Arc<AtomicBool>,
}

impl Waiter {
    /// Whether anybody is surely there to hear the answer.
    fn is_there(&self) -> bool {
        !self.reply.is_closed() && !self.hung_up.load(Ordering::Relaxed)
    }
}

/// A new flight: what it is called, and for whom it flies.
pub(super) struct Flight {
    pub(super) key: SnapshotKey,
    pub(super) number: FlightNumber,
    /// Whose request started it, as the callers' file described that caller then.
    pub(super) caller: Arc<Caller>,
    /// Its calls, in that caller's ledger.
    pub(super) reservation: CallReservation,
}

/// What became of a caller who came for a snapshot.
pub(super) enum Boarded {
    /// Waits for a flight that was there.
    UnderWay(FlightNumber),
    /// Is the first of a new flight, which has to be started now.
    TakesOff(Flight),
    /// Starts no flight: none starts any more, or not for this caller now.
    Refused(Waiter, Failure),
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

#[derive(Default)]
pub(super) struct Flights {
    table: RefCell<Table>,
    last_number: Cell<FlightNumber>,
    closed: Cell<bool>,
    landed: Notify,
    last_refusal: RefCell<Option<(Instant, Failure)>>,
}

#[derive(Default)]
struct Table {
    /// Everything in the air.
    under_way: Map<FlightNumber, Passengers>,
    /// Which of them a newcomer boards. One that was set aside is not in here.
    boarding: Map<SnapshotKey, FlightNumber>,
}

struct Passengers {
    key: SnapshotKey,
    /// In the order of their arrival.
    waiters: Vec<Option<Waiter>>,
    /// Whether the first waiter's request started the flight.
    first_waiter_started_it: bool,
    /// The latest of the waiters' deadlines.
    wanted_until: Instant,
    /// Of the caller who started it.
    weight: CallerWeight,
    /// Whether its next call waits for a permit.
    queued: bool,
    /// Whether it made a call: then it is finished, whoever is left.
    begun: bool,
    /// Until when Zoom has it wait with its next call, and why.
    pause: Option<(Instant, Failure)>,
}

impl Passengers {
    fn new(flight: &Flight, wanted_until: Instant) -> Self {
        Self {
            key: flight.key,
            waiters: Vec::new(),
            first_waiter_started_it: false,
            wanted_until,
            weight: weight_of(&flight.caller),
            queued: false,
            begun: false,
            pause: None,
        }
    }

    /// One who comes during a pause that is too long for it is told so at once.
    fn add(&mut self, waiter: Waiter) {
        self.wanted_until = self.wanted_until.max(waiter.deadline);
        self.waiters.push(Some(waiter));
        if let Some((until, failure)) = self.pause.clone().filter(|(until, _)| *until > Instant::now()) {
            self.refuse_impatient(until, &failure);
        }
    }

    /// Those who were not told anything yet, and did not hang up.
    fn waiting(&self) -> usize {
        self.waiters.iter().flatten().filter(|waiter| waiter.is_there()).count()
    }

    /// Tells those who cannot wait until `at` why it is in vain. The flight goes on for the others.
    fn refuse_impatient(&mut self, at: Instant, failure: &Failure) {
        for waiter in &mut self.waiters {
            if let Some(impatient) =
                waiter.take_if(|waiter| waiter.wanted.has_fallback || waiter.deadline <= at)
            {
                drop(impatient.reply.send(Err(failure.clone())));
            }
        }
    }
}

impl Table {
    /// Who is on the flight that a newcomer boards.
    fn open_to_newcomers(&mut self, key: &SnapshotKey) -> Option<(FlightNumber, &mut Passengers)> {
        let number = *self.boarding.get(key)?;
        Some((number, self.under_way.get_mut(&number)?))
    }

    fn take_off(&mut self, flight: &Flight, passengers: Passengers) {
        self.boarding.insert(flight.key, flight.number);
        self.under_way.insert(flight.number, passengers);
    }
}

impl Flights {
    /// On a flight that is there everybody may go; a new one has to be within its caller's ceiling.
    pub(super) fn board(
        &self,
        key: SnapshotKey,
        waiter: Waiter,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Boarded {
        let mut table = self.table.borrow_mut();
        if let Some((number, passengers)) = table.open_to_newcomers(&key) {
            passengers.add(waiter);
            return Boarded::UnderWay(number);
        }
        if self.closed.get() {
            return Boarded::Refused(waiter, Failure::new(Reason::ShuttingDown));
        }
        let flight = match self.next_flight(key, caller, now) {
            Ok(flight) => flight,
            Err(until) => {
                return Boarded::Refused(waiter, Failure::new(Reason::CallerOverLimit).retry_at(until));
            }
        };
        let mut passengers = Passengers::new(&flight, waiter.deadline);
        passengers.first_waiter_started_it = true;
        passengers.add(waiter);
        table.take_off(&flight, passengers);
        Boarded::TakesOff(flight)
    }

    /// A new flight that nobody waits for; `None` if one is under way, or none starts any more or for this caller now.
    pub(super) fn in_background(
        &self,
        key: SnapshotKey,
        wanted_until: Instant,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Option<Flight> {
        let mut table = self.table.borrow_mut();
        if self.closed.get() || table.boarding.contains_key(&key) {
            return None;
        }
        let flight = self.next_flight(key, caller, now).ok()?;
        table.take_off(&flight, Passengers::new(&flight, wanted_until));
        Some(flight)
    }

    /// Or until when this caller's ceiling is reached.
    fn next_flight(&self, key: SnapshotKey, caller: &Arc<Caller>, now: Instant) -> Result<Flight, Instant> {
        let reservation = caller.reserve(now)?;
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        Ok(Flight { key, number, caller: Arc::clone(caller), reservation })
    }

    /// Whether somebody waits for this flight, or has waited.
    pub(super) fn is_awaited(&self, flight: &Flight) -> bool {
        let table = self.table.borrow();
        table.under_way.get(&flight.number).is_some_and(|passengers| !passengers.waiters.is_empty())
    }

    /// Whether all who wait for this flight can use a snapshot that it did not fetch.
    pub(super) fn all_take(
        &self,
        flight: &Flight,
        snapshot: &Snapshot,
        policy: CachePolicy,
        now: Instant,
    ) -> bool {
        let table = self.table.borrow();
        let waiters = table.under_way.get(&flight.number).map_or(&[][..], |passengers| &passengers.waiters);
        let mut waiters = waiters.iter().flatten().peekable();
        match waiters.peek() {
            None => policy.accepts(snapshot, FetchRequirement::any_fresh(now), now),
            Some(_) => waiters.all(|waiter| policy.accepts(snapshot, waiter.wanted, now)),
        }
    }

    /// When this flight gives up, as long as nobody has come who waits longer; `None` for one that has begun: it is finished.
    pub(super) fn gives_up_at(&self, flight: &Flight) -> Option<Instant> {
        let table = self.table.borrow();
        table.under_way.get(&flight.number).filter(|it| !it.begun).map(|it| it.wanted_until)
    }

    /// The callers who want this flight: the one that started it, and those who still wait for it.
    pub(super) fn wanted_by(&self, flight: &Flight) -> Vec<CallerWeight> {
        let table = self.table.borrow();
        let Some(passengers) = table.under_way.get(&flight.number) else { return Vec::new() };
        let mut callers = vec![passengers.weight];
        for waiter in passengers.waiters.iter().flatten().filter(|waiter| waiter.is_there()) {
            if callers.iter().all(|known| known.caller != waiter.weight.caller) {
                callers.push(waiter.weight);
            }
        }
        callers
    }

    /// This flight's next call waits for a permit. `closed` is what refuses all calls, if anything does.
    pub(super) fn queues(&self, flight: &Flight, closed: Option<&(Instant, Failure)>) {
        self.change(flight, |passengers| {
            passengers.queued = true;
            if let Some((at, failure)) = closed {
                passengers.refuse_impatient(*at, failure);
            }
        });
    }

    /// Zoom has this flight wait with its next call. Those who cannot wait that long are told so, also those who come later.
    pub(super) fn pauses(&self, flight: &Flight, until: Instant, failure: Failure) {
        self.change(flight, |passengers| {
            passengers.queued = true;
            passengers.refuse_impatient(until, &failure);
            passengers.pause = Some((until, failure));
        });
    }

    /// It has one, or will not get one.
    pub(super) fn queues_no_more(&self, flight: &Flight) {
        self.change(flight, |passengers| passengers.queued = false);
    }

    /// A call of this flight's is made now.
    pub(super) fn begins(&self, flight: &Flight) {
        self.change(flight, |passengers| passengers.begun = true);
    }

    /// Whether this flight made a call.
    pub(super) fn has_begun(&self, flight: &Flight) -> bool {
        self.table.borrow().under_way.get(&flight.number).is_some_and(|passengers| passengers.begun)
    }

    fn change(&self, flight: &Flight, how: impl FnOnce(&mut Passengers)) {
        if let Some(passengers) = self.table.borrow_mut().under_way.get_mut(&flight.number) {
            how(passengers);
        }
    }

    /// A pause began: whoever waits for a flight that needs a permit, and cannot wait that long, is told so at once.
    pub(super) fn pause(&self, at: Instant, failure: &Failure) {
        *self.last_refusal.borrow_mut() = Some((Instant::now(), failure.clone()));
        let mut table = self.table.borrow_mut();
        for passengers in table.under_way.values_mut().filter(|passengers| passengers.queued) {
            passengers.refuse_impatient(at, failure);
        }
    }

    /// From now on nobody boards the flight to this snapshot, and it is not kept. Whether there was one.
    pub(super) fn set_aside(&self, key: &SnapshotKey) -> bool {
        self.table.borrow_mut().boarding.remove(key).is_some()
    }

    /// The same for every flight under way. How many there were.
    pub(super) fn set_all_aside(&self) -> usize {
        self.table.borrow_mut().boarding.drain().count()
    }

    pub(super) fn is_set_aside(&self, flight: &Flight) -> bool {
        self.table.borrow().boarding.get(&flight.key) != Some(&flight.number)
    }

    /// Whether nobody is left who waits for this flight, and it has not begun, or nobody would see what it brought. Then
    /// it is set aside: who comes now must not board a flight that is about to end.
    pub(super) fn gives_up(&self, number: FlightNumber) -> bool {
        // Callers who waited to the end were told that it goes on, and will ask again.
        self.ends_if(number, |passengers| Instant::now() < passengers.wanted_until)
    }

    /// The same, before somebody who does wait is refused: then also one whose callers waited to the end.
    pub(super) fn makes_way(&self, number: FlightNumber) -> bool {
        self.ends_if(number, |_| true)
    }

    /// `gone` is asked about a flight that has not begun, and that callers waited for and no longer do.
    fn ends_if(&self, number: FlightNumber, gone: impl FnOnce(&Passengers) -> bool) -> bool {
        let mut table = self.table.borrow_mut();
        let Some(passengers) = table.under_way.get(&number) else { return false };
        let (key, nobody_waits) = (passengers.key, passengers.waiting() == 0);
        let is_refresh = passengers.waiters.is_empty();
        let set_aside = table.boarding.get(&key) != Some(&number);
        let ends = nobody_waits && (set_aside || (!is_refresh && !passengers.begun && gone(passengers)));
        if ends && !set_aside {
            table.boarding.remove(&key);
        }
        ends
    }

    /// Ends a flight and wakes everybody who waits for it. `via`: how all of them come to it, where that is not by this flight.
    pub(super) fn land(
        &self,
        flight: &Flight,
        result: &Result<(Arc<Snapshot>, bool), Failure>,
        via: Option<Via>,
    ) {
        let mut table = self.table.borrow_mut();
        if table.boarding.get(&flight.key) == Some(&flight.number) {
            table.boarding.remove(&flight.key);
        }
        let Some(passengers) = table.under_way.remove(&flight.number) else {
            return;
        };
        drop(table);
        if let Err(failure) = result
            && failure.zoom.is_some()
        {
            *self.last_refusal.borrow_mut() = Some((Instant::now(), failure.clone()));
        }
        for (place, waiter) in passengers.waiters.into_iter().enumerate() {
            let Some(waiter) = waiter else { continue };
            let own = place == 0 && passengers.first_waiter_started_it;
            let via = via.unwrap_or(if own { Via::OwnFlight } else { Via::OthersFlight });
            let answer = match result {
                Ok((snapshot, stored)) => Ok(Landed { snapshot: Arc::clone(snapshot), via, stored: *stored }),
                Err(failure) => Err(failure.clone()),
            };
            // A caller who hung up is no longer there to be told.
            drop(waiter.reply.send(answer));
        }
        self.landed.notify_waiters();
    }

    pub(super) fn no_more_take_offs(&self) {
        self.closed.set(true);
    }

    pub(super) async fn all_landed(&self) {
        loop {
            let landed = self.landed.notified();
            if self.table.borrow().under_way.is_empty() {
                return;
            }
            landed.await;
        }
    }

    /// Flights, and callers who wait for them.
    pub(super) fn count(&self) -> (usize, usize) {
        let under_way = &self.table.borrow().under_way;
        (under_way.len(), under_way.values().map(Passengers::waiting).sum())
    }

    pub(super) fn last_refusal(&self) -> Option<(Duration, Failure)> {
        self.last_refusal.borrow().as_ref().map(|(at, failure)| (at.elapsed(), failure.clone()))
    }
}
