//! Flights that wait for those of other replicas, and the events that wake them.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use tokio::sync::watch;

use crate::{
    cluster::{events::Event, keys::RecordKey},
    snapshot::SnapshotKey,
};

/// How long to wait for an event before claiming again. Events get lost with a connection, and a replica that died
/// sends none: its claim is free 3 s after its last heartbeat.
const CHECK_EVERY: Duration = Duration::from_secs(1);

type Outcomes = watch::Sender<Option<FlightOutcome>>;

/// How another replica's flight ended.
#[derive(Clone)]
pub(super) enum FlightOutcome {
    Recorded,
    Failed { fence: u64, encoded_failure: String },
}

/// One channel for each meeting that some flight waits for.
#[derive(Default)]
pub(super) struct Subscriptions(RefCell<HashMap<SnapshotKey, Outcomes, foldhash::fast::RandomState>>);

impl Subscriptions {
    /// Wakes the flights that wait for this event, if any do.
    pub(super) fn notify(&self, event: Event) {
        let (key, outcome) = match event {
            Event::Recorded { key, .. } => (key, FlightOutcome::Recorded),
            Event::Failed { key, fence, encoded_failure } => {
                (key, FlightOutcome::Failed { fence, encoded_failure })
            }
            Event::CoolDown { .. } | Event::Purged { .. } => return,
        };
        if let Some(key) = RecordKey::snapshot_key(&key)
            && let Some(sender) = self.0.borrow().get(&key)
        {
            sender.send_replace(Some(outcome));
        }
    }

    pub(super) fn subscribe(&self, key: SnapshotKey) -> Subscription<'_> {
        let mut all = self.0.borrow_mut();
        let sender = all.entry(key).or_insert_with(|| watch::Sender::new(None));
        Subscription { all: self, key, outcomes: Some(sender.subscribe()) }
    }
}

/// Receives the outcomes for one meeting for as long as it is held.
pub(super) struct Subscription<'a> {
    all: &'a Subscriptions,
    key: SnapshotKey,
    outcomes: Option<watch::Receiver<Option<FlightOutcome>>>,
}

impl Subscription<'_> {
    /// Waits for the next outcome. Returns `None` if none has come for [`CHECK_EVERY`].
    pub(super) async fn next(&mut self) -> Option<FlightOutcome> {
        let outcomes = self.outcomes.as_mut()?;
        tokio::time::timeout(CHECK_EVERY, outcomes.changed()).await.ok()?.ok()?;
        outcomes.borrow_and_update().clone()
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.outcomes = None;
        let mut all = self.all.0.borrow_mut();
        if all.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            all.remove(&self.key);
        }
    }
}
