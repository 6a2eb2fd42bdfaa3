//! Meetings as records that other replicas read. What takes time is done off the fetcher's thread.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    blocking::off_this_thread,
    cluster::{
        Shared,
        bounds::AHEAD_AT_MOST,
        clock::ServerClock,
        keys::Subject,
        record::{self, Kind, Record},
        words,
    },
    failure::Failure,
    snapshot::{Bounds, Snapshot, SnapshotKey},
};

/// What a record holds that is of a meeting.
pub(super) enum Content {
    Snapshot(Arc<Snapshot>),
    /// Until when it is to be remembered, and when Zoom said it.
    Refusal(Failure, Instant, Instant),
}

/// `None`: nothing, or nothing that can be understood here.
pub(super) async fn read(
    shared: &Shared,
    key: SnapshotKey,
    of: &Subject,
    record: Option<Vec<u8>>,
) -> Option<Content> {
    let (bytes, clock) = (record?, shared.clock()?);
    let fresh_at_most = shared.fresh_at_most();
    let (sealer, of) = (shared.sealer(), of.clone());
    let is_foreign = record::is_foreign(sealer.as_deref(), &bytes);
    let work = move || {
        let Record { kind, had, body } = record::read(sealer.as_deref(), &of, &bytes)?;
        let now = Instant::now();
        match kind {
            Kind::Snapshot => {
                let had = clock.when(had).ok()?.min(now);
                let bounds = Bounds { fetched_before: clock.wall(now) + AHEAD_AT_MOST, fresh_at_most };
                let snapshot = Snapshot::from_bytes(key, &body, had, &bounds)?;
                Some(Content::Snapshot(Arc::new(snapshot)))
            }
            Kind::Refusal => {
                let mut failure = words::read(std::str::from_utf8(&body).ok()?, &clock, now)?;
                let until = failure.retry_at.take()?;
                Some(Content::Refusal(failure, until, clock.when(had).ok()?.min(now)))
            }
            Kind::AccessToken => None,
        }
    };
    let content = off_this_thread(work).await;
    if content.is_none() && !is_foreign {
        shared.record_rejected();
    }
    content
}

/// `None`: it cannot be written now.
pub(super) async fn of_snapshot(
    shared: &Shared,
    clock: ServerClock,
    of: &Subject,
    snapshot: Arc<Snapshot>,
) -> Option<Vec<u8>> {
    let (sealer, of) = (shared.sealer(), of.clone());
    let had = clock.at(snapshot.fetched_instant);
    let work = move || record::write(sealer.as_deref(), &of, Kind::Snapshot, had, &snapshot.to_bytes());
    off_this_thread(work).await
}

/// A refusal that is remembered for so long. `None`: it cannot be written now.
pub(super) fn of_refusal(
    shared: &Shared,
    clock: ServerClock,
    of: &Subject,
    failure: &Failure,
    keep: Duration,
) -> Option<Vec<u8>> {
    let now = Instant::now();
    let words = words::write(&failure.clone().retry_at(now + keep), &clock)?;
    record::write(shared.sealer().as_deref(), of, Kind::Refusal, clock.at(now), words.as_bytes())
}
