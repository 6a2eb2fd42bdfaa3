//! Applies the events that other replicas send over Redis, and tells the other threads whether Redis is in use.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};

use super::backend::RedisPeers;
use crate::{
    cache::ends_snapshot,
    cluster::{circuit_breaker::RedisStatus, clock::Micros, events::Event, failure_codec, keys::RecordKey},
    failure::{Failure, LimitKind},
    fetcher::command::Purge,
    metrics::Metrics,
    snapshot::{MeetingKind, SnapshotKey},
    zoom::oauth::AccessTokens,
};

pub(super) async fn forward_status(
    peers: Rc<RedisPeers>,
    metrics: Arc<Metrics>,
    to: watch::Sender<RedisStatus>,
) {
    let mut from = peers.cluster.status();
    loop {
        let status = *from.borrow_and_update();
        metrics.redis_up(status == RedisStatus::Up);
        to.send_replace(status);
        peers.scheduler.wake();
        if from.changed().await.is_err() {
            return;
        }
    }
}

pub(super) async fn apply_all(
    peers: Rc<RedisPeers>,
    mut events: mpsc::UnboundedReceiver<Event>,
    access_tokens: AccessTokens,
) {
    while let Some(event) = events.recv().await {
        access_tokens.on_event(&event);
        match event {
            Event::CoolDown { kind, until, encoded_failure } => {
                begin_cooldown(&peers, kind, until, &encoded_failure);
            }
            Event::Purged { key, .. } => {
                if let Some(what) = purged(key.as_deref()) {
                    peers.purger.purge(what);
                }
            }
            Event::Failed { ref key, ref encoded_failure, .. } => {
                remember_failure(&peers, key, encoded_failure);
                peers.subscriptions.notify(event);
            }
            // Wakes the flights that wait for this record. If there are none, this replica reads the record at its next
            // miss.
            Event::Recorded { .. } => peers.subscriptions.notify(event),
        }
    }
}

/// Starts a cool-down here, because Zoom rate-limited a call, usually of another replica.
fn begin_cooldown(peers: &RedisPeers, kind: LimitKind, until: Micros, encoded_failure: &str) {
    let Some(clock) = peers.cluster.clock() else { return };
    let now = Instant::now();
    let Some(until) = clock.when(until).ok().filter(|until| *until > now) else { return };
    // A replica of a later version may encode failures in a way that this version cannot decode.
    let failure = failure_codec::decode(encoded_failure, &clock, now)
        .unwrap_or_else(|| Failure::new(failure_codec::cooldown_reason(kind)));
    let failure = failure.retry_at(until);
    peers.scheduler.apply_cooldown(kind, until, failure.clone());
    peers.flights.begin_cooldown(until, &failure);
}

/// Returns what a purge event purges, where no key means everything; `None` if this event purges nothing here.
fn purged(key: Option<&str>) -> Option<Purge> {
    let Some(key) = key else { return Some(Purge::All) };
    let SnapshotKey { meeting, kind, meeting_type } = RecordKey::snapshot_key(key)?;
    // A purge sends one event for each kind. The event for the meeting already purges both kinds here, so the event for
    // the webinar is ignored.
    (kind == MeetingKind::Meeting).then_some(Purge::Meeting { meeting, meeting_type: Some(meeting_type) })
}

/// Caches another replica's failure here. A caller that retries in a loop may reach every replica, and otherwise each
/// of them would repeat the failing calls.
fn remember_failure(peers: &RedisPeers, key: &str, encoded_failure: &str) {
    let (Some(key), Some(clock)) = (RecordKey::snapshot_key(key), peers.cluster.clock()) else { return };
    let now = Instant::now();
    let failure =
        failure_codec::decode(encoded_failure, &clock, now).filter(|failure| !ends_snapshot(failure.reason));
    let Some(failure) = failure else { return };
    if let Some(keep) = peers.cache.failure_ttl(key, &failure, now)
        && let Some(until) = failure.retry_at
    {
        // Cached for no longer than a failure of this replica would be.
        let until = until.min(now + keep);
        peers.cache.insert_failure(key, &failure.retry_at(until), until);
    }
}
