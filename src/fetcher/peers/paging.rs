//! Snapshots that callers page through: the next page may be requested from any replica, so every replica must be able to get
//! the snapshot that the page token belongs to.

use std::{sync::Arc, time::Instant};

use super::{
    backend::RedisPeers,
    records::{self, Content},
};
use crate::{
    cache::PAGED_FOR,
    cluster::keys::RecordKey,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// Stores the snapshot under its tag, beside the meeting's own record.
pub(super) async fn publish(peers: &RedisPeers, snapshot: Arc<Snapshot>) {
    let Some(clock) = peers.cluster.clock() else { return };
    let record_key = RecordKey::paged(&snapshot.key, snapshot.tag);
    if let Some(record) = records::of_snapshot(&peers.cluster, clock, &record_key, snapshot).await {
        // If this fails, a caller whose next request reaches another replica has to start from the first page.
        peers.cluster.put_unclaimed(&record_key, &record, PAGED_FOR).await.ok();
    }
}

/// Returns the snapshot of this meeting with this tag, if another replica has published it.
pub(super) async fn fetch(peers: &RedisPeers, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
    let purges = peers.purger.generation();
    let snapshot = match published(peers, key, tag).await {
        Some(snapshot) => snapshot,
        // The meeting's record may be that very snapshot: the first page has just been served, or nothing newer exists.
        None => peers.latest(key).await.filter(|latest| latest.tag == tag)?,
    };
    // The replica that issued the token has published it; this one need not.
    snapshot.mark_paged();
    let _published = snapshot.claim_publication();
    let is_of_use = snapshot.age(Instant::now()) < peers.cache.useful_for(&snapshot);
    if purges == peers.purger.generation() && is_of_use {
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
