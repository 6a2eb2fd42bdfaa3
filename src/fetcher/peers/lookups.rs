//! Replies to callers for whom no flight starts, because the service is stopping or they are over their limit. They get
//! another replica's snapshot if there is one, because that costs no call.
//!
//! Look-ups of the same snapshot are coalesced. Otherwise, a caller over its limit that retries in a tight loop would
//! make Redis send a whole meeting for each request.

use std::{panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

use futures_util::FutureExt as _;

use super::{backend::RedisPeers, records::Content};
use crate::{
    failure::{Failure, Reason},
    fetcher::{
        command::{FetchSource, Fetched},
        flights::Waiter,
    },
    snapshot::SnapshotKey,
};

/// Replies to a caller with another replica's snapshot, or with `failure` if there is none that it accepts.
pub(super) fn answer(peers: &Rc<RedisPeers>, key: SnapshotKey, waiter: Waiter, failure: Failure) {
    let is_first = {
        let mut pending = peers.lookups.borrow_mut();
        let waiting = pending.entry(key).or_default();
        waiting.push((waiter, failure));
        waiting.len() == 1
    };
    if is_first {
        drop(actix_rt::spawn(look_up(Rc::clone(peers), key)));
    }
}

async fn look_up(peers: Rc<RedisPeers>, key: SnapshotKey) {
    let purges = peers.purger.purge_count();
    // A panic must not leave the callers waiting.
    let (found, is_other_kind) =
        match AssertUnwindSafe(peers.record(key)).catch_unwind().await.unwrap_or_default() {
            Some(Content::Snapshot(found)) => (Some(found), false),
            Some(Content::Refusal { failure, .. }) => (None, failure.reason == Reason::NotAMeeting),
            None => (None, false),
        };
    let found = found.filter(|found| peers.is_latest(found) && purges == peers.purger.purge_count());
    let (now, mut cached) = (Instant::now(), None);
    let waiting = peers.lookups.borrow_mut().remove(&key).unwrap_or_default();
    for (mut waiter, failure) in waiting {
        if is_other_kind && let Some(kind) = waiter.other_kind.take() {
            answer(&peers, SnapshotKey { kind, ..key }, waiter, failure);
            continue;
        }
        let answer = match &found {
            Some(snapshot) if peers.cache.policy().accepts(snapshot, waiter.requirement, now) => {
                let (snapshot, stored) =
                    cached.get_or_insert_with(|| peers.cache.insert(Arc::clone(snapshot)));
                let snapshot = Arc::clone(snapshot);
                Ok(Fetched { snapshot, source: FetchSource::Record, stored: *stored })
            }
            _ => Err(failure),
        };
        // Fails only if the caller no longer waits: it has disconnected, or its deadline has passed.
        drop(waiter.reply.send(answer));
    }
}
