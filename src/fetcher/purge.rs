//! Purge: forgets what is cached, and keeps flights in progress from bringing it back.
//!
//! One step on the fetcher's thread, the only one where flights complete: none can complete between its two halves. Knowledge
//! about Zoom rather than a meeting stays: rejected credentials, cool-downs, the day's count.

use std::{cell::Cell, rc::Rc};

use super::{command::Purge, flights::Flights};
use crate::{cache::Cache, snapshot::MeetingType};

pub(super) struct Purger {
    cache: Cache,
    flights: Rc<Flights>,
    generation: Cell<u64>,
}

impl Purger {
    pub(super) fn new(cache: Cache, flights: Rc<Flights>) -> Self {
        Self { cache, flights, generation: Cell::default() }
    }

    /// Changes with every purge. A task that read Redis meanwhile must not cache what it read.
    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Forgets, and logs it.
    pub(super) fn purge(&self, what: Purge) {
        let (entries, flights_set_aside) = self.forget(what);
        match what {
            Purge::All => tracing::info!(meeting = "all", entries, flights_set_aside, "purged"),
            Purge::Meeting { meeting, meeting_type } => {
                let meeting_type = meeting_type.map_or("both", MeetingType::as_str);
                tracing::info!(%meeting, meeting_type, entries, flights_set_aside, "purged");
            }
        }
    }

    /// Forgets snapshots and remembered refusals, and detaches the flights to them: those still complete for the callers
    /// already waiting, but their results are not cached and new callers do not join them. Returns how many entries were
    /// forgotten, and how many flights detached.
    pub(super) fn forget(&self, what: Purge) -> (u64, usize) {
        self.generation.set(self.generation.get() + 1);
        let Some(keys) = what.keys() else {
            let entries = self.cache.entry_count();
            self.cache.purge_all();
            return (entries, self.flights.detach_all());
        };
        (self.cache.purge(&keys), keys.iter().filter(|key| self.flights.detach(key)).count())
    }
}
