//! Flights that wait for those of other replicas, and the events that wake them.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use tokio::sync::watch;

use crate::{
    cluster::{events::Event, keys::Subject},
    snapshot::SnapshotKey,
};

/// For events that get lost with a connection, and for a replica that died: its claim is free 3 s after it was last heard of.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

type Ends = watch::Sender<Option<End>>;

/// The end of another replica's flight, as an event told it.
#[derive(Clone)]
pub(super) enum End {
    Landed,
    Failed { fence: u64, words: String },
}

/// Flights that wait for those of other replicas.
#[derive(Default)]
pub(in crate::fetcher) struct Followers(RefCell<HashMap<SnapshotKey, Ends, foldhash::fast::RandomState>>);

impl Followers {
    /// Another replica's flight ended.
    pub(in crate::fetcher) fn hear(&self, event: Event) {
        let (of, end) = match event {
            Event::Landed { of, .. } => (of, End::Landed),
            Event::Failed { of, fence, words } => (of, End::Failed { fence, words }),
            Event::CoolDown { .. } | Event::Purged { .. } => return,
        };
        if let Some(key) = Subject::key_of(&of)
            && let Some(tell) = self.0.borrow().get(&key)
        {
            tell.send_replace(Some(end));
        }
    }

    pub(super) fn listen(&self, key: SnapshotKey) -> Listening<'_> {
        let mut all = self.0.borrow_mut();
        let tell = all.entry(key).or_insert_with(|| watch::Sender::new(None));
        Listening { followers: self, key, ends: Some(tell.subscribe()) }
    }
}

/// Hears of one meeting, for as long as it is held.
pub(super) struct Listening<'a> {
    followers: &'a Followers,
    key: SnapshotKey,
    ends: Option<watch::Receiver<Option<End>>>,
}

impl Listening<'_> {
    /// The next that is heard; `None` when nothing is for a while.
    pub(super) async fn end(&mut self) -> Option<End> {
        let ends = self.ends.as_mut()?;
        tokio::time::timeout(LOOK_AGAIN_AFTER, ends.changed()).await.ok()?.ok()?;
        ends.borrow_and_update().clone()
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.ends = None;
        let mut all = self.followers.0.borrow_mut();
        if all.get(&self.key).is_some_and(|tell| tell.receiver_count() == 0) {
            all.remove(&self.key);
        }
    }
}
