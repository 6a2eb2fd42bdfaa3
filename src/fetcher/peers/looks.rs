//! Callers who start no flight, because none starts any more or their calls are spent: what another replica has costs no
//! call. Of all who ask for one meeting at the same time one looks, or a caller beyond its ceiling would make Redis send a
//! meeting for each of its requests.

use std::{cell::RefCell, collections::HashMap, panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Instant};

use futures_util::FutureExt as _;

use super::{is_newest, newest};
use crate::{
    failure::Failure,
    fetcher::{Landed, Via, core::Core, flights::Waiter},
    snapshot::SnapshotKey,
};

/// Who waits for a look, and what they are told where it finds nothing for them.
type Waiting = Vec<(Waiter, Failure)>;

/// Looks under way.
#[derive(Default)]
pub(in crate::fetcher) struct Looks(RefCell<HashMap<SnapshotKey, Waiting, foldhash::fast::RandomState>>);

impl Looks {
    /// Whether this one is the first, and has to look.
    fn join(&self, key: SnapshotKey, waiter: Waiter, failure: Failure) -> bool {
        let mut all = self.0.borrow_mut();
        let waiting = all.entry(key).or_default();
        waiting.push((waiter, failure));
        waiting.len() == 1
    }

    fn end(&self, key: &SnapshotKey) -> Waiting {
        self.0.borrow_mut().remove(key).unwrap_or_default()
    }

    /// What there is for a caller without a flight, or why there is nothing.
    pub(in crate::fetcher) fn instead(core: &Rc<Core>, key: SnapshotKey, waiter: Waiter, failure: Failure) {
        if core.looks.join(key, waiter, failure) {
            drop(actix_rt::spawn(look(Rc::clone(core), key)));
        }
    }
}

async fn look(core: Rc<Core>, key: SnapshotKey) {
    let purges = core.purges.get();
    // Whatever happens, those who wait are told.
    let found = AssertUnwindSafe(newest(&core, key)).catch_unwind().await.unwrap_or_default();
    let found = found.filter(|found| is_newest(&core, found) && purges == core.purges.get());
    let (now, mut kept) = (Instant::now(), None);
    for (waiter, failure) in core.looks.end(&key) {
        let answer = match &found {
            Some(snapshot) if core.cache.policy().accepts(snapshot, waiter.wanted, now) => {
                let (snapshot, stored) = kept.get_or_insert_with(|| core.cache.insert(Arc::clone(snapshot)));
                Ok(Landed { snapshot: Arc::clone(snapshot), via: Via::Cache, stored: *stored })
            }
            _ => Err(failure),
        };
        // A caller who hung up is no longer there to be told.
        drop(waiter.reply.send(answer));
    }
}
