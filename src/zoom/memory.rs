//! Bounds the memory of all meetings being fetched: decides which bodies are read further, which flights fetch their
//! next page, which wait, and which must fail.
//!
//! Counts bodies as they arrive, and the pages that a flight keeps until its last page. A flight that waits needs no
//! timer: each change wakes the flights that can continue. The rules are in `memory/ledger.rs`.

mod ledger;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::sync::oneshot;

use self::ledger::{FlightId, MemoryLedger};
use crate::metrics::Metrics;

/// The memory of all flights. Clones share it; belongs to one thread.
#[derive(Clone)]
pub(crate) struct FetchMemory(Rc<MemoryState>);

struct MemoryState {
    most: usize,
    ledger: RefCell<MemoryLedger>,
    metrics: Arc<Metrics>,
}

impl FetchMemory {
    /// `most` is the bound in bytes; one body at a time may exceed it.
    pub(crate) fn new(most: usize, metrics: &Arc<Metrics>) -> Self {
        Self(Rc::new(MemoryState { most, ledger: RefCell::default(), metrics: Arc::clone(metrics) }))
    }

    /// Registers a flight that starts to fetch its pages. A lower number means an older flight.
    pub(crate) fn begin(&self, number: FlightId) -> FlightMemory {
        self.0.ledger.borrow_mut().begin(number);
        FlightMemory { memory: self.clone(), number }
    }

    pub(crate) fn waiting_to_begin(&self) -> usize {
        self.0.ledger.borrow().first_page.len()
    }

    /// Changes the ledger, and wakes the flights that can go on.
    fn change<T>(&self, change: impl FnOnce(&mut MemoryLedger) -> T) -> T {
        let mut ledger = self.0.ledger.borrow_mut();
        let result = change(&mut ledger);
        ledger.wake_waiting(self.0.most);
        self.0.metrics.fetch_bytes.set(i64::try_from(ledger.in_use).unwrap_or(i64::MAX));
        result
    }
}

/// The bytes that one flight holds, counted until this is dropped.
pub(crate) struct FlightMemory {
    memory: FetchMemory,
    number: FlightId,
}

impl FlightMemory {
    /// Requests memory for the flight's next page. The receiver gets `true` when there is memory, and `false` if the flight
    /// must fail. Returns `None` if this flight alone has reached the bound. Wait for the result before the next request.
    pub(crate) fn request_page(&self) -> Option<oneshot::Receiver<bool>> {
        let most = self.memory.0.most;
        self.memory.change(|ledger| ledger.wait_for_page(self.number, most))
    }

    /// Returns the counter for the body of the flight's next page. A flight reads one body at a time.
    pub(crate) fn body(&self) -> BodyBytes {
        BodyBytes(Some((self.memory.clone(), self.number)))
    }

    /// Records that the flight keeps `bytes` of pages now, including the page that arrived in this body.
    pub(crate) fn keep(&self, bytes: usize, body: BodyBytes) {
        // Both changes are one step; otherwise, a waiting flight could take the body's memory before the page is
        // counted.
        self.memory.change(|ledger| {
            ledger.free_body(self.number);
            ledger.keep(self.number, bytes);
        });
        drop(body);
    }

    /// Records that the pages that the flight keeps have been packed into `bytes`.
    pub(crate) fn repack(&self, bytes: usize) {
        self.memory.change(|ledger| ledger.repack(self.number, bytes));
    }

    /// Returns whether so little memory is in use that a page may stay unpacked while the next one is requested.
    pub(crate) fn is_ample(&self) -> bool {
        self.memory.0.ledger.borrow().in_use <= self.memory.0.most / 4
    }
}

impl Drop for FlightMemory {
    fn drop(&mut self) {
        self.memory.change(|ledger| ledger.end(self.number));
    }
}

/// The flight must fail, so that others get memory.
pub(crate) struct NoRoom;

/// Counts the memory of one body until it is dropped.
pub(crate) struct BodyBytes(Option<(FetchMemory, FlightId)>);

impl BodyBytes {
    /// Returns a counter that counts nothing, for a small body that belongs to no flight.
    pub(crate) fn uncounted() -> Self {
        Self(None)
    }

    /// Takes `bytes` more, and waits until there is memory for them.
    ///
    /// # Errors
    /// Every flight waits, and this is the youngest that holds memory.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let Some((memory, number)) = &self.0 else { return Ok(()) };
        let most = memory.0.most;
        match memory.change(|ledger| ledger.wait_for_body(*number, bytes, most)) {
            None => Ok(()),
            Some(woken) => woken.await.ok().filter(|goes_on| *goes_on).map(|_| ()).ok_or(NoRoom),
        }
    }

    /// Gives back `bytes` that were not needed.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some((memory, number)) = self.0.as_ref().filter(|_| bytes > 0) {
            memory.change(|ledger| ledger.shrink_body(*number, bytes));
        }
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        if let Some((memory, number)) = &self.0 {
            memory.change(|ledger| ledger.free_body(*number));
        }
    }
}

#[cfg(test)]
mod tests;
