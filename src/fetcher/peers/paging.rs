//! Shares the snapshots that callers page through. The next page may be requested from any replica, so every replica
//! must be able to get the snapshot that the page token belongs to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backend::RedisPeers,
    records::{self, Content},
};
use crate::{
    cache::PAGED_FOR,
    cluster::{PutResult, keys::RecordKey},
    fetcher::command::PUBLISH_PAGED_EVERY,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// The minimum time between a failure to publish a snapshot and the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Stores the snapshot under its tag, so that neither an older nor a newer record of the meeting replaces it.
pub(super) async fn publish(peers: &RedisPeers, snapshot: Arc<Snapshot>) {
    if try_publish(peers, &snapshot).await.is_none() {
        // Until the next attempt, a caller whose next request reaches another replica may have to start from the first
        // page.
        snapshot.publish_again_at(Instant::now() + RETRY_AFTER);
    }
}

async fn try_publish(peers: &RedisPeers, snapshot: &Arc<Snapshot>) -> Option<PutResult> {
    let (record_key, clock) = (RecordKey::paged(&snapshot.key, snapshot.tag), peers.cluster.clock()?);
    let record = records::of_snapshot(&peers.cluster, clock, &record_key, Arc::clone(snapshot)).await?;
    peers.cluster.put_unclaimed(&record_key, &record, PAGED_FOR).await.ok()
}

/// Returns the snapshot of this meeting with this tag, if another replica has published it and it may still be served.
pub(super) async fn fetch(peers: &RedisPeers, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
    let purges = peers.purger.purge_count();
    let snapshot = match published(peers, key, tag).await {
        Some(snapshot) => {
            // Reading the record has normally extended its lifetime in Redis, so it need not be published again yet.
            snapshot.publish_again_at(Instant::now() + PUBLISH_PAGED_EVERY);
            snapshot
        }
        // The meeting's own record may have this tag, for example if the snapshot was not yet published under its tag.
        None => match peers.record(key).await? {
            Content::Snapshot(latest) if latest.tag == tag => latest,
            _ => return None,
        },
    };
    snapshot.mark_paged();
    let is_of_use = snapshot.age(Instant::now()) < peers.cache.policy().useful_for(&snapshot);
    if purges == peers.purger.purge_count() && is_of_use {
        peers.cache.insert_paged(&snapshot);
    }
    is_of_use.then_some(snapshot)
}

async fn published(peers: &RedisPeers, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
    let (record_key, clock) = (RecordKey::paged(&key, tag), peers.cluster.clock()?);
    let (record, purged) =
        peers.cluster.get_unclaimed(&record_key, &RecordKey::meeting(&key), PAGED_FOR).await.ok()?;
    match records::read(&peers.cluster, key, &record_key, record).await? {
        Content::Snapshot(snapshot) if clock.at(snapshot.fetched_instant) > purged => Some(snapshot),
        _ => None,
    }
}
