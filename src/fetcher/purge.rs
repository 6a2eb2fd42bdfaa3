//! Purges the cache, and keeps flights in progress from bringing purged snapshots back.
//!
//! A purge is one step on the fetcher's thread. Flights complete on the same thread, so none can complete in the middle
//! of a purge. State that is not about a meeting stays: rejected credentials, cool-downs, the day's count.

use std::{cell::Cell, rc::Rc};

use super::{command::Purge, flights::Flights};
use crate::{cache::Cache, snapshot::MeetingType};

pub(super) struct Purger {
    cache: Cache,
    flights: Rc<Flights>,
    purge_count: Cell<u64>,
}

impl Purger {
    pub(super) fn new(cache: Cache, flights: Rc<Flights>) -> Self {
        Self { cache, flights, purge_count: Cell::default() }
    }

    /// Returns the number of purges so far. If it has changed while a task read Redis, the task must not cache its
    /// result.
    pub(super) fn purge_count(&self) -> u64 {
        self.purge_count.get()
    }

    /// Like [`Self::forget`], but logs the purge.
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

    /// Removes snapshots and cached failures, and detaches the flights for them. A detached flight still completes for
    /// the callers already waiting, but its result is not cached, and new callers do not join it. Returns about how
    /// many entries were removed, and how many flights were detached.
    pub(super) fn forget(&self, what: Purge) -> (u64, usize) {
        self.purge_count.set(self.purge_count.get() + 1);
        let Some(keys) = what.keys() else {
            let entries = self.cache.entry_count();
            self.cache.purge_all();
            return (entries, self.flights.detach_all());
        };
        (self.cache.purge(&keys), keys.iter().filter(|key| self.flights.detach(key)).count())
    }
}
