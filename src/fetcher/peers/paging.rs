//! Snapshots that callers page through: whichever replica the next slice is asked of has to have them.

use std::{rc::Rc, sync::Arc, time::Instant};

use super::{
    newest,
    records::{self, Content},
};
use crate::{
    cache::PAGED_FOR,
    cluster::{Shared, keys::Subject},
    fetcher::core::Core,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// Gives it to the others, beside whatever they have or will have of the meeting.
pub(in crate::fetcher) async fn lay_down(core: Rc<Core>, snapshot: Arc<Snapshot>) {
    let Some(shared) = &core.shared else { return };
    let Some(clock) = shared.clock() else { return };
    let of = Subject::paged(&snapshot.key, snapshot.tag);
    if let Some(written) = records::of_snapshot(shared, clock, &of, snapshot).await {
        // Where that fails a caller who comes to another replica has to begin anew.
        shared.lay_down(&of, &written, PAGED_FOR).await.ok();
    }
}

/// The snapshot of this meeting with this tag, if another replica has it.
pub(in crate::fetcher) async fn pick_up(core: &Core, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
    let shared = core.shared.as_ref()?;
    let purges = core.purges.get();
    let snapshot = match laid_down(shared, key, tag).await {
        Some(snapshot) => snapshot,
        // A moment after the first slice, or where nothing newer has landed.
        None => newest(core, key).await.filter(|newest| newest.tag == tag)?,
    };
    // It is there: whoever gave the token away saw to that.
    snapshot.mark_paged();
    let _told_already = snapshot.claim_publication();
    let is_of_use = snapshot.age(Instant::now()) < core.cache.useful_for(&snapshot);
    if purges == core.purges.get() && is_of_use {
        core.cache.insert_paged(&snapshot);
    }
    is_of_use.then_some(snapshot)
}

async fn laid_down(shared: &Shared, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
    let (of, clock) = (Subject::paged(&key, tag), shared.clock()?);
    let (record, purged) = shared.pick_up(&of, &Subject::meeting(&key), PAGED_FOR).await.ok()?;
    match records::read(shared, key, &of, record).await? {
        Content::Snapshot(snapshot) if clock.at(snapshot.fetched_instant) > purged => Some(snapshot),
        _ => None,
    }
}
