//! Replies to callers for whom no flight starts, because the service is stopping or they are over their limit. Another
//! replica's snapshot costs no call, so they get that if there is one.
//!
//! Look-ups of the same snapshot are coalesced. A caller over its limit in a tight loop would otherwise make Redis send
//! a whole meeting for each of its requests.

use std::{cell::RefCell, collections::HashMap, panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

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

/// The callers waiting for one look-up, each with the failure that it gets if the look-up finds nothing for it.
type WaitingCallers = Vec<(Waiter, Failure)>;

/// Look-ups in progress.
pub(in crate::fetcher) struct PendingLookups {
    peers: Rc<RedisPeers>,
    pending: RefCell<HashMap<SnapshotKey, WaitingCallers, foldhash::fast::RandomState>>,
}

impl PendingLookups {
    pub(super) fn new(peers: Rc<RedisPeers>) -> Self {
        Self { peers, pending: RefCell::default() }
    }

    /// Replies to a caller with another replica's snapshot, or with `failure` if there is none.
    pub(super) fn answer(self: Rc<Self>, key: SnapshotKey, waiter: Waiter, failure: Failure) {
        let is_first = {
            let mut pending = self.pending.borrow_mut();
            let waiting = pending.entry(key).or_default();
            waiting.push((waiter, failure));
            waiting.len() == 1
        };
        if is_first {
            drop(actix_rt::spawn(async move { self.look_up(key).await }));
        }
    }

    async fn look_up(self: Rc<Self>, key: SnapshotKey) {
        let peers = &self.peers;
        let purges = peers.purger.generation();
        // A panic must not leave the callers waiting.
        let (found, is_other_kind) =
            match AssertUnwindSafe(peers.record(key)).catch_unwind().await.unwrap_or_default() {
                Some(Content::Snapshot(found)) => (Some(found), false),
                Some(Content::Refusal { failure, .. }) => (None, failure.reason == Reason::NotAMeeting),
                None => (None, false),
            };
        let found = found.filter(|found| peers.is_latest(found) && purges == peers.purger.generation());
        let (now, mut cached) = (Instant::now(), None);
        let waiting = self.pending.borrow_mut().remove(&key).unwrap_or_default();
        for (mut waiter, failure) in waiting {
            if is_other_kind && let Some(kind) = waiter.other_kind.take() {
                Rc::clone(&self).answer(SnapshotKey { kind, ..key }, waiter, failure);
                continue;
            }
            let answer = match &found {
                Some(snapshot) if peers.cache.policy().accepts(snapshot, waiter.wanted, now) => {
                    let (snapshot, stored) =
                        cached.get_or_insert_with(|| peers.cache.insert(Arc::clone(snapshot)));
                    let snapshot = Arc::clone(snapshot);
                    Ok(Fetched { snapshot, source: FetchSource::Cache, stored: *stored })
                }
                _ => Err(failure),
            };
            // Fails if the caller has disconnected.
            drop(waiter.reply.send(answer));
        }
    }
}
