//! Makes views of snapshots on blocking threads: each view once at a time, and at most as many views as there are CPUs.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use actix_web::web;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::{
    cache::{Cache, ViewBody, ViewKey},
    failure::{Failure, Reason},
    snapshot::{BodyWriter, Coding, Snapshot, WrittenBody},
    view::snapshot_view::View,
};

/// An uncompressed view of more participants than this many bytes is kept as gzip and decompressed for each reader.
const LARGE: u64 = 1024 * 1024;
/// When a caller whose view could not be made should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The views that are being made.
pub struct ViewMaker {
    /// One permit for each CPU.
    permits: Arc<Semaphore>,
    /// A lock for each view that is being made or waited for.
    in_progress: Mutex<HashMap<ViewKey, Weak<tokio::sync::Mutex<()>>>>,
    wait: Duration,
}

impl ViewMaker {
    /// At most `parallel` views are made at once; callers wait up to `wait` for their turn.
    #[must_use]
    pub fn new(parallel: usize, wait: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(parallel.max(1)));
        Self { permits, in_progress: Mutex::default(), wait }
    }

    /// The lock of this view.
    fn lock_of(&self, key: &ViewKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = in_progress.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        in_progress.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        in_progress.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// A view in the coding in which it is kept.
pub(super) struct MadeView {
    pub(super) body: ViewBody,
    pub(super) coding: Coding,
}

/// The view, from the cache or made now. [`Problem::ParticipantNotFound`] if it shows a participant whom the meeting lacks.
pub(super) async fn get(
    (cache, maker): (&Cache, &ViewMaker),
    snapshot: &Arc<Snapshot>,
    view: &View,
    coding: Coding,
) -> Result<MadeView, Problem> {
    let coding = match coding {
        Coding::Identity if view.input_length(snapshot) > LARGE => Coding::Gzip,
        coding => coding,
    };
    let key = ViewKey { tag: snapshot.tag, name: view.name().into(), coding };
    if let Some(body) = cache.view(&key) {
        return Ok(MadeView { body, coding });
    }
    let deadline = Instant::now() + maker.wait;
    let lock = maker.lock_of(&key);
    let turn = tokio::time::timeout_at(deadline.into(), lock.lock_owned()).await.map_err(|_| overloaded())?;
    if let Some(body) = cache.view(&key) {
        return Ok(MadeView { body, coding });
    }
    let permit = Arc::clone(&maker.permits).acquire_owned();
    let permit = tokio::time::timeout_at(deadline.into(), permit).await;
    let Ok(Ok(permit)) = permit else { return Err(overloaded()) };
    let (cache, snapshot, view) = (cache.clone(), Arc::clone(snapshot), view.clone());
    let work = move || {
        // Held until the view is cached, even if the caller disconnects meanwhile.
        let _held = (turn, permit);
        let plain = cache.plain_body(&snapshot);
        let made = make(&snapshot, &view, plain.as_ref(), coding).map_err(|_| Problem::Internal)?;
        let made = made.ok_or(Problem::ParticipantNotFound)?;
        cache.insert_view(key, made).ok_or_else(overloaded)
    };
    // `block` panics if it needs a first thread and the system has none.
    let Ok(made) = catch_unwind(AssertUnwindSafe(|| web::block(work))) else { return Err(overloaded()) };
    let body = made.await.map_err(|_| Problem::Internal)??;
    Ok(MadeView { body, coding })
}

fn make(
    snapshot: &Snapshot,
    view: &View,
    plain: Option<&Bytes>,
    coding: Coding,
) -> io::Result<Option<WrittenBody>> {
    let mut writer = BodyWriter::new(coding)?;
    let found = view.write(snapshot, plain, &mut writer)?;
    if found { writer.finish().map(Some) } else { Ok(None) }
}

fn overloaded() -> Problem {
    Problem::NoSnapshot(Failure::new(Reason::Overloaded).retry_at(Instant::now() + RETRY_AFTER))
}
