//! Lets flights wait for other replicas' flights, and wakes them when an event tells the outcome.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use tokio::sync::watch;

use crate::{
    cluster::{events::Event, keys::RecordKey},
    snapshot::SnapshotKey,
};

/// How long to wait for an event before the claim is tried again. Events are lost when a connection breaks, and a
/// replica that has died sends none. Its claim becomes free 3 s after its last heartbeat.
const CHECK_EVERY: Duration = Duration::from_secs(1);

type Outcomes = watch::Sender<LatestOutcomes>;

/// The value of a `watch` channel, which keeps only the latest value. Counts the records, so that a later failure does
/// not hide a record that a receiver has not seen.
#[derive(Default)]
struct LatestOutcomes {
    last: Option<FlightOutcome>,
    records: u64,
}

#[derive(Clone)]
pub(super) enum FlightOutcome {
    Recorded,
    Failed { fence: u64, encoded_failure: String },
}

/// One channel for each meeting that a flight has subscribed to.
#[derive(Default)]
pub(super) struct Subscriptions(RefCell<HashMap<SnapshotKey, Outcomes, foldhash::fast::RandomState>>);

impl Subscriptions {
    /// Wakes the flights that wait for this event.
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
            sender.send_modify(|outcomes| {
                outcomes.records += u64::from(matches!(outcome, FlightOutcome::Recorded));
                outcomes.last = Some(outcome);
            });
        }
    }

    pub(super) fn subscribe(&self, key: SnapshotKey) -> Subscription<'_> {
        let mut all = self.0.borrow_mut();
        let sender = all.entry(key).or_default();
        let records = sender.borrow().records;
        Subscription { all: self, key, outcomes: Some(sender.subscribe()), records }
    }
}

/// Receives the outcomes for one meeting until it is dropped.
pub(super) struct Subscription<'a> {
    all: &'a Subscriptions,
    key: SnapshotKey,
    outcomes: Option<watch::Receiver<LatestOutcomes>>,
    /// The number of records that this subscription has seen.
    records: u64,
}

impl Subscription<'_> {
    /// Waits for the next outcome. If a record was stored since the last call, returns that, even if a failure
    /// followed. Returns `None` if no event arrives within [`CHECK_EVERY`].
    pub(super) async fn next(&mut self) -> Option<FlightOutcome> {
        let outcomes = self.outcomes.as_mut()?;
        tokio::time::timeout(CHECK_EVERY, outcomes.changed()).await.ok()?.ok()?;
        let latest = outcomes.borrow_and_update();
        let is_recorded = std::mem::replace(&mut self.records, latest.records) < latest.records;
        if is_recorded { Some(FlightOutcome::Recorded) } else { latest.last.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_later_failure_does_not_hide_a_record() {
        let name = "85746065432:live".to_owned();
        let key = RecordKey::snapshot_key(&name).unwrap();
        let failed = |fence| Event::Failed { key: name.clone(), fence, encoded_failure: String::new() };
        let subscriptions = Subscriptions::default();
        let mut subscription = subscriptions.subscribe(key);
        subscriptions.notify(Event::Recorded { key: name.clone(), fence: 1 });
        subscriptions.notify(failed(2));
        assert!(matches!(subscription.next().await, Some(FlightOutcome::Recorded)));
        subscriptions.notify(failed(3));
        assert!(matches!(subscription.next().await, Some(FlightOutcome::Failed { fence: 3, .. })));
    }
}
