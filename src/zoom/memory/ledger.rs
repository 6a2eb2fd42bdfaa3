//! The rules by which flights share the memory, without clocks or I/O.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

/// The expected size of a flight's first page, and the minimum for later ones, in bytes: a few participants for an hour.
const FIRST_PAGE: usize = 64 * 1024;

/// Orders flights by age: the lowest is the oldest.
pub(super) type FlightId = u64;
/// Wakes a waiting flight: `true` to go on, `false` to fail so that the others can.
pub(super) type Wake = oneshot::Sender<bool>;

#[derive(Default)]
pub(super) struct MemoryLedger {
    flights: BTreeMap<FlightId, HeldBytes>,
    /// Flights that keep pages.
    keepers: BTreeSet<FlightId>,
    /// Bytes of all bodies and all kept pages.
    pub(super) in_use: usize,
    /// Bytes that the pages now being fetched are expected to take.
    pub(super) expected: usize,
    /// Flights that wait for memory for their first page.
    pub(super) first_page: BTreeMap<FlightId, Wake>,
    /// Flights that keep pages and wait for memory for another page.
    next_page: BTreeMap<FlightId, Wake>,
    /// Bodies that wait for this many more bytes.
    pub(super) bodies: BTreeMap<FlightId, (usize, Wake)>,
    /// The flight whose body may exceed the bound.
    beyond: Option<FlightId>,
}

/// The memory that one flight holds, in bytes.
#[derive(Default)]
struct HeldBytes {
    kept: usize,
    body: usize,
    /// The bytes that its last page added to `kept`.
    last_page: usize,
    /// The expected size of the page that it fetches now.
    expected: usize,
}

impl MemoryLedger {
    pub(super) fn begin(&mut self, number: FlightId) {
        self.flights.insert(number, HeldBytes::default());
    }

    pub(super) fn end(&mut self, number: FlightId) {
        self.free_body(number);
        self.keep(number, 0);
        self.flights.remove(&number);
        self.first_page.remove(&number);
        self.next_page.remove(&number);
    }

    /// Queues the flight for its next page. Returns `None` if this flight alone has reached the bound.
    pub(super) fn wait_for_page(&mut self, number: FlightId, most: usize) -> Option<oneshot::Receiver<bool>> {
        let kept = self.flights.get(&number).map_or(0, |flight| flight.kept);
        if kept >= most {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        let queue = if kept == 0 { &mut self.first_page } else { &mut self.next_page };
        queue.insert(number, wake);
        Some(woken)
    }

    /// Queues the flight's body for `bytes` more; returns `None` if it gets them immediately.
    pub(super) fn wait_for_body(
        &mut self,
        number: FlightId,
        bytes: usize,
        most: usize,
    ) -> Option<oneshot::Receiver<bool>> {
        if self.try_grow(number, bytes, most) {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        self.bodies.insert(number, (bytes, wake));
        Some(woken)
    }

    /// Gives the flight's body `bytes` more if there is memory for them, and returns whether there is.
    ///
    /// One body at a time may exceed the bound, as long as the others are within it. For example, with a bound of
    /// 100 and 99 in use, one body may grow until it is complete, even to 160 in use. Every other body that needs
    /// more waits.
    fn try_grow(&mut self, number: FlightId, bytes: usize, most: usize) -> bool {
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

    pub(super) fn shrink_body(&mut self, number: FlightId, bytes: usize) {
        if let Some(flight) = self.flights.get_mut(&number) {
            let bytes = bytes.min(flight.body);
            flight.body -= bytes;
            self.in_use -= bytes;
        }
    }

    pub(super) fn free_body(&mut self, number: FlightId) {
        if let Some(flight) = self.flights.get_mut(&number) {
            self.in_use -= std::mem::take(&mut flight.body);
        }
        self.bodies.remove(&number);
        self.beyond.take_if(|beyond| *beyond == number);
    }

    /// Records that the flight keeps `bytes` of pages now.
    pub(super) fn keep(&mut self, number: FlightId, bytes: usize) {
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

    /// Records that the pages that the flight keeps take only `bytes` now. Its body and the expected page stay as they are.
    pub(super) fn repack(&mut self, number: FlightId, bytes: usize) {
        let Some(flight) = self.flights.get_mut(&number) else { return };
        self.in_use = self.in_use - flight.kept + bytes;
        flight.last_page = (flight.last_page + bytes).saturating_sub(flight.kept);
        flight.kept = bytes;
    }

    /// Wakes the waiting flights that can continue. If every flight still waits, fails one. Call this after each change.
    pub(super) fn wake_waiting(&mut self, most: usize) {
        self.wake_bodies(most);
        self.wake_pages(most);
        self.fail_one_if_all_wait();
    }

    /// Wakes waiting bodies, the oldest flight's first, and stops at the first that must wait longer.
    fn wake_bodies(&mut self, most: usize) {
        while let Some((&number, &(bytes, _))) = self.bodies.first_key_value() {
            if !self.try_grow(number, bytes, most) {
                break;
            }
            if let Some((_, waiting)) = self.bodies.remove(&number) {
                waiting.send(true).ok();
            }
        }
    }

    /// Wakes flights that wait for a page. Flights that keep pages go first, and the oldest of them may use the last
    /// quarter of the memory, so that it can reach its end and free its pages. For example, with a bound of 100 and 80 in
    /// use, only the oldest fetches another page.
    fn wake_pages(&mut self, most: usize) {
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
    }

    /// If every flight waits, fails the youngest flight that holds memory. Otherwise nothing would free memory,
    /// except for pages that are being packed. The failed flight no longer waits, so no other flight fails before
    /// this one has freed its memory.
    fn fail_one_if_all_wait(&mut self) {
        if self.bodies.len() + self.next_page.len() + self.first_page.len() < self.flights.len() {
            return;
        }
        let holds = |number: &&FlightId| self.flights.get(number).is_some_and(|it| it.kept + it.body > 0);
        let youngest = self.bodies.keys().rev().find(holds).max(self.next_page.keys().next_back()).copied();
        let Some(youngest) = youngest else { return };
        let body = self.bodies.remove(&youngest).map(|(_, waiting)| waiting);
        if let Some(waiting) = body.or_else(|| self.next_page.remove(&youngest)) {
            waiting.send(false).ok();
        }
    }
}
