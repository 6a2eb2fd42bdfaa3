//! The state that all parts of [`super`] share: the connection to Redis, and this replica's cache and flights.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Instant,
};

use super::{
    records::{self, Content},
    subscriptions::Subscriptions,
};
use crate::{
    cache::{Cache, Entry},
    cluster::{Cluster, bounds::LARGEST_RECORD, keys::RecordKey},
    failure::Failure,
    fetcher::{
        flights::{Flights, Waiter},
        purge::Purger,
    },
    scheduler::Scheduler,
    snapshot::{Snapshot, SnapshotKey},
};

/// The callers that wait for one look-up. Each has the failure that it gets if the look-up finds no snapshot for it.
type WaitingCallers = Vec<(Waiter, Failure)>;

pub(in crate::fetcher) struct RedisPeers {
    pub(super) cluster: Cluster,
    pub(super) cache: Cache,
    pub(super) flights: Rc<Flights>,
    pub(super) purger: Rc<Purger>,
    pub(super) scheduler: Scheduler,
    pub(super) subscriptions: Subscriptions,
    pub(super) lookups: RefCell<HashMap<SnapshotKey, WaitingCallers, foldhash::fast::RandomState>>,
    pub(super) has_logged_too_large: Cell<bool>,
}

impl RedisPeers {
    /// Logs that a record is too large for Redis, but only the first time.
    pub(super) fn log_if_too_large(&self, key: SnapshotKey, record: &[u8]) {
        if record.len() > LARGEST_RECORD && !self.has_logged_too_large.replace(true) {
            tracing::warn!(
                meeting = %key.meeting,
                bytes = record.len(),
                "a meeting is too large to share over Redis: each replica fetches it for itself; later ones are not logged"
            );
        }
    }

    pub(super) async fn record(&self, key: SnapshotKey) -> Option<Content> {
        let record_key = RecordKey::meeting(&key);
        let stored = self.cluster.look_up(&record_key).await.ok()?;
        records::read(&self.cluster, key, &record_key, stored.record).await
    }

    /// Returns whether this replica's cache has no newer snapshot of the meeting. It has one if, for example, this
    /// replica fetched while Redis was unavailable. Callers of this replica must not get an older snapshot after a
    /// newer one.
    pub(super) fn is_latest(&self, snapshot: &Snapshot) -> bool {
        match self.cache.get(&snapshot.key, Instant::now()) {
            Some(Entry::Snapshot(cached)) => {
                snapshot.tag == cached.tag || snapshot.fetched_instant > cached.fetched_instant
            }
            Some(Entry::Refusal(_)) | None => true,
        }
    }
}
