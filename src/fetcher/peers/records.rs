//! Converts a meeting's snapshot or refusal to a record that other replicas read, and back. Snapshots are encoded, and
//! all records decoded, on the blocking pool.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    blocking::spawn_blocking,
    cluster::{
        Cluster,
        bounds::AHEAD_AT_MOST,
        clock::ServerClock,
        failure_codec,
        keys::RecordKey,
        record_codec::{self, Record, RecordKind},
    },
    failure::Failure,
    snapshot::{Bounds, Snapshot, SnapshotKey},
};

pub(super) enum Content {
    Snapshot(Arc<Snapshot>),
    /// Zoom's refusal, which was recorded at `at` and is cached until `until`.
    Refusal {
        failure: Failure,
        until: Instant,
        at: Instant,
    },
}

/// Decodes a record. Returns `None` if there is no record, or if this replica cannot read it, for example because the
/// encryption keys differ.
pub(super) async fn read(
    cluster: &Cluster,
    key: SnapshotKey,
    record_key: &RecordKey,
    record: Option<Vec<u8>>,
) -> Option<Content> {
    let (bytes, clock) = (record?, cluster.clock()?);
    let fresh_at_most = cluster.fresh_at_most();
    let (cipher, record_key) = (cluster.cipher(), record_key.clone());
    let is_foreign = record_codec::is_foreign(cipher.as_deref(), &bytes);
    let work = move || {
        let Record { kind, fetched_at, content } =
            record_codec::decode(cipher.as_deref(), &record_key, &bytes)?;
        let now = Instant::now();
        match kind {
            RecordKind::Snapshot => {
                let fetched_at = clock.when(fetched_at).ok()?.min(now);
                let bounds = Bounds { fetched_before: clock.wall(now) + AHEAD_AT_MOST, fresh_at_most };
                let snapshot = Snapshot::from_bytes(key, &content, fetched_at, &bounds)?;
                Some(Content::Snapshot(Arc::new(snapshot)))
            }
            RecordKind::Refusal => {
                let mut failure = failure_codec::decode(std::str::from_utf8(&content).ok()?, &clock, now)?;
                let until = failure.retry_at.take()?;
                Some(Content::Refusal { failure, until, at: clock.when(fetched_at).ok()?.min(now) })
            }
            RecordKind::AccessToken => None,
        }
    };
    let content = spawn_blocking(work).await;
    if content.is_none() && !is_foreign {
        cluster.record_rejected();
    }
    content
}

/// Encodes a snapshot as a record. Returns `None` if the system has no random numbers to encrypt with.
pub(super) async fn of_snapshot(
    cluster: &Cluster,
    clock: ServerClock,
    record_key: &RecordKey,
    snapshot: Arc<Snapshot>,
) -> Option<Vec<u8>> {
    let (cipher, record_key) = (cluster.cipher(), record_key.clone());
    let fetched_at = clock.at(snapshot.fetched_instant);
    let work = move || {
        record_codec::encode(
            cipher.as_deref(),
            &record_key,
            RecordKind::Snapshot,
            fetched_at,
            &snapshot.to_bytes(),
        )
    };
    spawn_blocking(work).await
}

/// Encodes a refusal that is cached for `keep`. Returns `None` if this kind of failure is not encoded for other
/// replicas, or if the system has no random numbers to encrypt with.
pub(super) fn of_refusal(
    cluster: &Cluster,
    clock: ServerClock,
    record_key: &RecordKey,
    failure: &Failure,
    keep: Duration,
) -> Option<Vec<u8>> {
    let now = Instant::now();
    // Other replicas reject a time that is more than `AHEAD_AT_MOST` ahead. Half, because clocks may differ.
    let until = now + keep.min(AHEAD_AT_MOST / 2);
    let encoded = failure_codec::encode(&failure.clone().retry_at(until), &clock)?;
    record_codec::encode(
        cluster.cipher().as_deref(),
        record_key,
        RecordKind::Refusal,
        clock.at(now),
        encoded.as_bytes(),
    )
}
