//! The memory of all meetings that are being fetched: which body is read on, which flight fetches its next page, and which
//! of them wait.
//!
//! Counted are bodies as they arrive, and the pages that flights keep until their last one. From three quarters of the
//! bound on only the oldest flight that keeps pages fetches another one; at the bound it waits, too. A body that finds no
//! room is not read on until there is some, but for one at a time: while the others are within the bound, one body may go
//! beyond it, come to its end, and be packed. When every flight waits, nothing would ever be freed: then the youngest that
//! holds anything fails.
//!
//! Each change settles who goes on and tells exactly those flights. No flight has to look by itself.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// What a first page is expected to take, in bytes: a few participants for an hour.
const FIRST_PAGE: usize = 64 * 1024;

/// Orders flights by their age: the lowest is the oldest.
type Number = u64;
/// Whether the flight goes on; `false`: it has to fail, for the others.
type GoesOn = oneshot::Sender<bool>;

/// The memory of all flights. Clones share it; belongs to one thread.
#[derive(Clone)]
pub struct FetchMemory(Rc<Inner>);

struct Inner {
    /// In bytes.
    most: usize,
    ledger: RefCell<Ledger>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Ledger {
    flights: BTreeMap<Number, Flight>,
    /// Flights that keep pages.
    keepers: BTreeSet<Number>,
    /// Bytes of all bodies and all kept pages.
    in_use: usize,
    /// Bytes that pages are expected to take which are being fetched.
    expected: usize,
    /// Flights that wait for room for their first page, or for another one.
    first_page: BTreeMap<Number, GoesOn>,
    next_page: BTreeMap<Number, GoesOn>,
    /// Bodies that wait to be read on, and by how many bytes.
    bodies: BTreeMap<Number, (usize, GoesOn)>,
    /// The one whose body may go beyond the bound.
    beyond: Option<Number>,
}

/// What one flight holds, in bytes.
#[derive(Default)]
struct Flight {
    kept: usize,
    body: usize,
    /// By how much its last page made `kept` grow.
    last_page: usize,
    /// What the page that it fetches now is expected to take.
    expected: usize,
}

impl FetchMemory {
    /// Room for `most` bytes, and for one body beyond them.
    #[must_use]
    pub fn new(most: usize, metrics: &Arc<Metrics>) -> Self {
        Self(Rc::new(Inner { most, ledger: RefCell::default(), metrics: Arc::clone(metrics) }))
    }

    /// For a flight that begins to fetch its pages.
    #[must_use]
    pub fn begin(&self, number: Number) -> FlightMemory {
        self.0.ledger.borrow_mut().flights.insert(number, Flight::default());
        FlightMemory { memory: self.clone(), number }
    }

    /// How many flights wait for room for their first page.
    #[must_use]
    pub fn waiting_to_begin(&self) -> usize {
        self.0.ledger.borrow().first_page.len()
    }

    /// Changes what is held, and settles who goes on.
    fn change<T>(&self, how: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.0.ledger.borrow_mut();
        let done = how(&mut ledger);
        ledger.settle(self.0.most);
        self.0.metrics.fetch_bytes.set(i64::try_from(ledger.in_use).unwrap_or(i64::MAX));
        done
    }
}

impl Ledger {
    fn settle(&mut self, most: usize) {
        // In the order of age, so that the oldest has the room that the others waited for.
        while let Some((&number, &(bytes, _))) = self.bodies.first_key_value() {
            if !self.grows(number, bytes, most) {
                break;
            }
            if let Some((_, waiting)) = self.bodies.remove(&number) {
                waiting.send(true).ok();
            }
        }
        loop {
            let next = self.next_page.first_key_value().or_else(|| self.first_page.first_key_value());
            let Some((&number, _)) = next else { break };
            let is_oldest = self.keepers.first().is_none_or(|oldest| *oldest == number);
            if self.in_use + self.expected >= if is_oldest { most } else { most / 4 * 3 } {
                break;
            }
            if let Some(flight) = self.flights.get_mut(&number) {
                flight.expected = flight.last_page.max(FIRST_PAGE.min(most / 16));
                self.expected += flight.expected;
            }
            let waiting = self.next_page.remove(&number).or_else(|| self.first_page.remove(&number));
            if let Some(waiting) = waiting {
                waiting.send(true).ok();
            }
        }
        // A flight that was told to fail goes on until it has let go of everything: one at a time fails.
        if self.bodies.len() + self.next_page.len() + self.first_page.len() == self.flights.len() {
            let held = |number: &&Number| self.flights.get(number).is_some_and(|it| it.kept + it.body > 0);
            let youngest =
                self.bodies.keys().rev().find(held).max(self.next_page.keys().next_back()).copied();
            let Some(youngest) = youngest else { return };
            let body = self.bodies.remove(&youngest).map(|(_, waiting)| waiting);
            if let Some(waiting) = body.or_else(|| self.next_page.remove(&youngest)) {
                waiting.send(false).ok();
            }
        }
    }

    /// Whether this flight's body has room for so many bytes more. It then has them.
    fn grows(&mut self, number: Number, bytes: usize, most: usize) -> bool {
        let fits = self.beyond == Some(number) || self.in_use.saturating_add(bytes) <= most;
        if !fits && (self.beyond.is_some() || self.in_use > most) {
            return false;
        }
        if !fits {
            self.beyond = Some(number);
        }
        if let Some(flight) = self.flights.get_mut(&number) {
            flight.body += bytes;
            self.in_use += bytes;
        }
        true
    }

    /// The flight's body needs so many bytes less.
    fn shrinks(&mut self, number: Number, bytes: usize) {
        if let Some(flight) = self.flights.get_mut(&number) {
            let bytes = bytes.min(flight.body);
            flight.body -= bytes;
            self.in_use -= bytes;
        }
    }

    /// The flight's body is no longer there.
    fn frees_body(&mut self, number: Number) {
        if let Some(flight) = self.flights.get_mut(&number) {
            self.in_use -= std::mem::take(&mut flight.body);
        }
        self.bodies.remove(&number);
        self.beyond.take_if(|beyond| *beyond == number);
    }

    /// The flight keeps so many bytes of pages.
    fn keeps(&mut self, number: Number, bytes: usize) {
        let Some(flight) = self.flights.get_mut(&number) else { return };
        self.in_use = self.in_use - flight.kept + bytes;
        self.expected -= std::mem::take(&mut flight.expected);
        flight.last_page = bytes.saturating_sub(flight.kept);
        flight.kept = bytes;
        if bytes > 0 {
            self.keepers.insert(number);
        } else {
            self.keepers.remove(&number);
        }
    }
}

/// What one flight holds, counted until this is dropped.
pub struct FlightMemory {
    memory: FetchMemory,
    number: Number,
}

impl FlightMemory {
    /// Asks for room for the flight's next page. The answer is there at once where there is room, and `false` when the
    /// flight has to fail. `None`: it has reached the bound by itself. To be asked again only after the answer.
    #[must_use]
    pub fn page(&self) -> Option<oneshot::Receiver<bool>> {
        let (goes_on, told) = oneshot::channel();
        let most = self.memory.0.most;
        self.memory.change(|ledger| {
            let kept = ledger.flights.get(&self.number).map_or(0, |flight| flight.kept);
            if kept >= most {
                return None;
            }
            let line = if kept == 0 { &mut ledger.first_page } else { &mut ledger.next_page };
            line.insert(self.number, goes_on);
            Some(told)
        })
    }

    /// For the body of the flight's next page, one at a time.
    #[must_use]
    pub fn body(&self) -> BodyBytes {
        BodyBytes(Some((self.memory.clone(), self.number)))
    }

    /// The flight keeps so many bytes of pages now, the one that came in this body among them.
    pub fn keeps(&self, bytes: usize, body: BodyBytes) {
        // Both at once: what waits must not take the body's room before the page has it.
        self.memory.change(|ledger| {
            ledger.frees_body(self.number);
            ledger.keeps(self.number, bytes);
        });
        drop(body);
    }
}

impl Drop for FlightMemory {
    fn drop(&mut self) {
        self.memory.change(|ledger| {
            ledger.frees_body(self.number);
            ledger.keeps(self.number, 0);
            ledger.flights.remove(&self.number);
            ledger.first_page.remove(&self.number);
            ledger.next_page.remove(&self.number);
        });
    }
}

/// The flight has to fail, so that others find room.
pub struct NoRoom;

/// The memory of one body, freed when it is dropped.
pub struct BodyBytes(Option<(FetchMemory, Number)>);

impl BodyBytes {
    /// Of a body that belongs to no flight, and is small.
    #[must_use]
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// Takes so many bytes more, and waits until it can.
    ///
    /// # Errors
    /// When every flight waits, and this is the youngest.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let Some((memory, number)) = &self.0 else { return Ok(()) };
        let most = memory.0.most;
        let told = memory.change(|ledger| {
            if ledger.grows(*number, bytes, most) {
                return None;
            }
            let (goes_on, told) = oneshot::channel();
            ledger.bodies.insert(*number, (bytes, goes_on));
            Some(told)
        });
        let Some(told) = told else { return Ok(()) };
        told.await.ok().filter(|goes_on| *goes_on).map(|_| ()).ok_or(NoRoom)
    }

    /// Gives back so many bytes that were not needed.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some((memory, number)) = self.0.as_ref().filter(|_| bytes > 0) {
            memory.change(|ledger| ledger.shrinks(*number, bytes));
        }
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        if let Some((memory, number)) = &self.0 {
            memory.change(|ledger| ledger.frees_body(*number));
        }
    }
}

#[cfg(test)]
mod tests;
