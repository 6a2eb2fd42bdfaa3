//! Purge: what is cached is forgotten, and what is in the air does not bring it back.
//!
//! One step on the fetcher's thread, where alone snapshots land: no flight can land between its two halves. What was
//! learnt of Zoom, and not of a meeting, stays: holds, cool-downs, the day's count.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::core::Core;
use crate::{
    cluster::keys::Subject,
    meeting_id::MeetingId,
    snapshot::{MeetingType, SnapshotKey},
};

/// What is to be forgotten.
#[derive(Debug, Clone, Copy)]
pub enum Purge {
    /// Everything.
    All,
    /// One meeting.
    Meeting {
        /// Which.
        meeting: MeetingId,
        /// Which view of it; `None`: both.
        meeting_type: Option<MeetingType>,
    },
}

impl Purge {
    /// What the other replicas are told; nothing in it means everything.
    fn subjects(self) -> Vec<Subject> {
        match self {
            Self::All => Vec::new(),
            Self::Meeting { meeting, meeting_type } => {
                views(meeting, meeting_type).map(|key| Subject::meeting(&key)).collect()
            }
        }
    }

    /// What another replica was told to forget; `None`: nothing that is kept here.
    pub(super) fn heard(of: Option<&str>) -> Option<Self> {
        let Some(of) = of else { return Some(Self::All) };
        let SnapshotKey { meeting, meeting_type } = Subject::key_of(of)?;
        Some(Self::Meeting { meeting, meeting_type: Some(meeting_type) })
    }
}

/// A meeting's view, or both.
fn views(meeting: MeetingId, only: Option<MeetingType>) -> impl Iterator<Item = SnapshotKey> {
    let views = MeetingType::ALL.into_iter().filter(move |view| only.is_none_or(|one| one == *view));
    views.map(move |meeting_type| SnapshotKey { meeting, meeting_type })
}

impl Core {
    /// Here at once, and then by all replicas: while Redis is away those are told later. Says so when it is done.
    pub(super) fn purge_everywhere(self: &Rc<Self>, what: Purge, done: oneshot::Sender<()>) {
        self.purge(what);
        let this = Rc::clone(self);
        let tell = async move {
            if let Some(shared) = &this.shared {
                shared.purge(&what.subjects()).await;
                // Who looked into Redis meanwhile may have brought it back.
                this.forget(what);
            }
            // Whether or not somebody still waits to hear it.
            done.send(()).ok();
        };
        drop(actix_rt::spawn(tell));
    }

    /// Forgets snapshots and remembered refusals, and sets the flights to them aside: they end for those who wait for
    /// them already, are not kept, and nobody boards them any more. One that nobody waits for makes no more calls.
    pub(super) fn purge(&self, what: Purge) {
        let (entries, flights_set_aside) = self.forget(what);
        match what {
            Purge::All => tracing::info!(meeting = "all", entries, flights_set_aside, "purged"),
            Purge::Meeting { meeting, meeting_type } => {
                let meeting_type = meeting_type.map_or("both", MeetingType::as_str);
                tracing::info!(%meeting, meeting_type, entries, flights_set_aside, "purged");
            }
        }
    }

    /// How many entries, and how many flights set aside.
    fn forget(&self, what: Purge) -> (u64, usize) {
        self.purges.set(self.purges.get() + 1);
        let Purge::Meeting { meeting, meeting_type } = what else {
            let entries = self.cache.entry_count();
            self.cache.purge_all();
            return (entries, self.flights.set_all_aside());
        };
        let (mut entries, mut set_aside) = (0, 0);
        for key in views(meeting, meeting_type) {
            entries += u64::from(self.cache.purge(&key));
            set_aside += usize::from(self.flights.set_aside(&key));
        }
        (entries, set_aside)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::{
        failure::Reason,
        fetcher::{Credentials, Fetcher},
        quota::QuotaStatus,
    };

    #[test]
    fn a_fetcher_that_ends_reports_that_nothing_was_purged() {
        for gone_before in [true, false] {
            let (mailbox, mut letters) = mpsc::unbounded_channel();
            let (_accepted, credentials) = watch::channel(Credentials::Accepted);
            let (_close, closed) = watch::channel(None);
            let (_publish, quota) = watch::channel(QuotaStatus::default());
            let wait = std::time::Duration::ZERO;
            let fetcher = Fetcher { mailbox, credentials, closed, quota, redis: None, wait };
            let told = actix_rt::System::new().block_on(async move {
                if gone_before {
                    drop(letters);
                } else {
                    drop(actix_rt::spawn(async move { drop(letters.recv().await) }));
                }
                fetcher.purge(Purge::All).await
            });
            assert_eq!(told.unwrap_err().reason, Reason::ShuttingDown);
        }
    }
}
