//! The memory of all meetings that are being fetched: whose next page is fetched, and who waits until others are done.
//!
//! Counted are the bodies that are being read and the pages that flights keep until their last one. Near the bound only the
//! oldest flight that keeps pages goes on; at the bound it waits, too. When all of them wait, nobody would ever free
//! anything: then the youngest fails. A flight that reaches the bound by itself fails as too large.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{core::Core, flights::Flight, queue::FlightNumber};
use crate::{
    failure::{Failure, Lasting, Reason},
    zoom::BodyMemory,
};

/// Where nothing is freed, a flight looks this often whether anybody still waits for it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What a page is expected to take of which nothing is known: a few participants for an hour.
const FIRST_PAGE: usize = 64 * 1024;
/// When a caller is told to ask again: by then some flights have landed.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The memory of all flights. Belongs to the fetcher's thread.
pub(super) struct FetchMemory {
    bodies: BodyMemory,
    /// In bytes.
    most: usize,
    flights: RefCell<BTreeMap<FlightNumber, Pages>>,
}

/// What one flight keeps.
#[derive(Default)]
struct Pages {
    bytes: usize,
    /// By how much its last page made that grow.
    last_page: usize,
    /// What the page that it fetches now is expected to take.
    expected: usize,
    /// Whether it waits for room.
    waits: bool,
    /// Whether it has to end, for the others.
    must_end: bool,
}

/// What a flight that wants to go on is told.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Go,
    Wait,
    /// It is the youngest, and all wait.
    End,
    TooLarge,
}

impl FetchMemory {
    pub(super) fn new(bodies: BodyMemory, most: usize) -> Self {
        Self { bodies, most, flights: RefCell::default() }
    }

    /// For a flight that begins to fetch its pages.
    pub(super) fn begin(&self, number: FlightNumber) -> KeptPages<'_> {
        self.flights.borrow_mut().insert(number, Pages::default());
        KeptPages { memory: self, number }
    }

    fn verdict(&self, number: FlightNumber) -> Verdict {
        let most = self.most;
        let mut flights = self.flights.borrow_mut();
        // Calls that were let through may not have brought a byte yet.
        let expected: usize = flights.values().map(|pages| pages.expected).sum();
        let in_use = self.bodies.in_use() + expected;
        let oldest = flights.iter().find(|(_, pages)| pages.bytes > 0).map(|(number, _)| *number);
        let Some(own) = flights.get_mut(&number) else { return Verdict::End };
        if own.bytes >= most {
            return Verdict::TooLarge;
        }
        if own.must_end {
            return Verdict::End;
        }
        let bound = if oldest.is_none_or(|oldest| oldest == number) { most } else { most / 4 * 3 };
        own.waits = in_use >= bound;
        if !own.waits {
            own.expected = own.last_page.max(FIRST_PAGE.min(most / 16));
            return Verdict::Go;
        }
        let mut holders = flights.iter_mut().filter(|(_, pages)| pages.bytes > 0);
        let youngest = holders.next_back();
        let nobody_goes_on = in_use >= most && self.bodies.being_read() == 0;
        match youngest {
            Some((youngest, pages)) if nobody_goes_on && pages.waits && holders.all(|(_, it)| it.waits) => {
                pages.must_end = true;
                if *youngest == number {
                    return Verdict::End;
                }
                self.bodies.wake();
                Verdict::Wait
            }
            _ => Verdict::Wait,
        }
    }
}

/// The pages that one flight keeps, counted until this is dropped.
pub(super) struct KeptPages<'a> {
    memory: &'a FetchMemory,
    number: FlightNumber,
}

impl KeptPages<'_> {
    /// The flight keeps so many bytes now.
    pub(super) fn are(&self, bytes: usize) {
        if let Some(pages) = self.memory.flights.borrow_mut().get_mut(&self.number) {
            self.memory.bodies.kept_changes(pages.bytes, bytes);
            pages.last_page = bytes.saturating_sub(pages.bytes);
            pages.expected = 0;
            pages.bytes = bytes;
        }
    }

    /// Returns when there is room for the flight's next page.
    ///
    /// # Errors
    /// When there is none and will be none, or nobody waits for the flight any more.
    pub(super) async fn room(&self, core: &Core, flight: &Flight) -> Result<(), Failure> {
        let overloaded = || Failure::new(Reason::Overloaded).retry_at(Instant::now() + ASK_AGAIN_AFTER);
        loop {
            let freed = self.memory.bodies.freed();
            match self.memory.verdict(self.number) {
                Verdict::Go => break,
                Verdict::End => return Err(overloaded()),
                Verdict::TooLarge => {
                    let max_fetch_bytes = self.memory.most;
                    tracing::warn!(
                        max_fetch_bytes,
                        "a meeting is larger than limits.max_fetch_bytes: refused"
                    );
                    return Err(Failure::lasting(Lasting::TooLarge));
                }
                Verdict::Wait => {}
            }
            let now = Instant::now();
            if core.flights.gives_up(flight.number)
                || core.flights.gives_up_at(flight).is_some_and(|at| at <= now)
            {
                return Err(overloaded());
            }
            // Callers with a stale snapshot have it at once.
            core.flights.queues(flight, Some(&(now, overloaded())));
            tokio::time::timeout(LOOK_AGAIN_AFTER, freed).await.ok();
        }
        core.flights.queues_no_more(flight);
        Ok(())
    }
}

impl Drop for KeptPages<'_> {
    fn drop(&mut self) {
        self.are(0);
        self.memory.flights.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    fn memory() -> FetchMemory {
        FetchMemory::new(BodyMemory::new(1_000, 100, &Arc::new(Metrics::default())), 100)
    }

    #[test]
    fn near_the_bound_the_oldest_goes_on_and_the_others_wait() {
        let memory = memory();
        let (old, young, new) = (memory.begin(1), memory.begin(2), memory.begin(3));
        old.are(40);
        young.are(40);
        let verdicts = || [1, 2, 3].map(|number| memory.verdict(number));
        assert_eq!(verdicts(), [Verdict::Go, Verdict::Wait, Verdict::Wait]);
        drop(old);
        assert_eq!(memory.verdict(2), Verdict::Go);
        assert_eq!(
            memory.verdict(3),
            Verdict::Wait,
            "the other's next page is expected to be as large as its last"
        );
        young.are(45);
        assert_eq!(memory.verdict(3), Verdict::Go);
        drop((young, new));
        assert_eq!(memory.bodies.in_use(), 0);
    }

    #[test]
    fn when_all_wait_the_youngest_that_keeps_pages_ends() {
        let memory = memory();
        let (old, young, _new) = (memory.begin(1), memory.begin(2), memory.begin(3));
        old.are(60);
        young.are(50);
        assert_eq!(memory.verdict(3), Verdict::Wait, "it frees nothing by ending");
        assert_eq!(memory.verdict(2), Verdict::Wait, "the oldest has not said that it waits");
        assert_eq!(memory.verdict(1), Verdict::Wait);
        assert_eq!(memory.verdict(2), Verdict::End);
        drop(young);
        assert_eq!(memory.verdict(1), Verdict::Go);
    }

    #[test]
    fn a_flight_that_reaches_the_bound_by_itself_is_too_large() {
        let memory = memory();
        let (old, young) = (memory.begin(1), memory.begin(2));
        old.are(10);
        young.are(100);
        assert_eq!(memory.verdict(2), Verdict::TooLarge);
    }
}
