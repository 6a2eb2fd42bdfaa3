//! Makes views of snapshots on blocking threads. One request makes a view, and other requests for the same view wait
//! for its result. The number of views made at the same time is limited.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::{problem::Problem, rendering::Rendering};
use crate::{
    blocking::BlockingPool,
    cache::{Cache, ViewBody, ViewKey},
    failure::{Failure, Reason},
    snapshot::{BodyWriter, Coding, Snapshot, WrittenBody},
    view::visible::{Redaction, VisibleMeeting},
};

/// A view made from more bytes than this is never made uncompressed. For a client that wants it uncompressed, its gzip
/// is decompressed.
const LARGE: u64 = 2 * 1024 * 1024;
/// Views made from more bytes than this are made one at a time.
const VERY_LARGE: u64 = 64 * 1024 * 1024;
/// The `Retry-After` for a caller whose view could not be made for lack of time or memory.
const RETRY_AFTER: Duration = Duration::from_secs(5);

type ViewLock = tokio::sync::Mutex<Option<ViewBody>>;

/// Limits and coordinates the making of views.
pub struct ViewMaker {
    /// Each thread makes one view at a time.
    threads: BlockingPool,
    /// One permit for each thread.
    permits: Arc<Semaphore>,
    /// The only permit for views made from more than [`VERY_LARGE`] bytes. The page of such a meeting can take
    /// hundreds of megabytes while it is made.
    very_large: Arc<Semaphore>,
    /// A lock for each view that is being made or waited for. The finished view is left in it for the waiting requests.
    in_progress: Mutex<HashMap<ViewKey, Weak<ViewLock>>>,
    wait: Duration,
}

impl ViewMaker {
    /// Allows `parallel` views at the same time. Requests wait up to `wait` for a free thread.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn new(parallel: usize, wait: Duration) -> io::Result<Self> {
        let parallel = parallel.max(1);
        let (threads, permits) = (BlockingPool::new(parallel)?, Arc::new(Semaphore::new(parallel)));
        let very_large = Arc::new(Semaphore::new(1));
        Ok(Self { threads, permits, very_large, in_progress: Mutex::default(), wait })
    }

    /// Returns the lock of this view. The request that makes the view holds the lock.
    fn lock_of(&self, key: &ViewKey) -> Arc<ViewLock> {
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

/// Returns the view without the fields that the redaction hides, from the cache or made now, and the coding of its
/// bytes. Fails, for example, with [`Problem::ParticipantNotFound`] if the view is of a participant that the meeting
/// does not have.
pub(super) async fn get(
    (cache, maker): (&Cache, &ViewMaker),
    snapshot: &Arc<Snapshot>,
    (view, redaction): (&Rendering, Option<&Redaction>),
    coding: Coding,
) -> Result<(ViewBody, Coding), Problem> {
    let coding = match coding {
        Coding::Identity if view.input_length(snapshot) > LARGE => Coding::Gzip,
        coding => coding,
    };
    let key = ViewKey { tag: snapshot.tag, name: view.name_for(redaction).into(), coding };
    if let Some(body) = cache.views.get(&key) {
        return Ok((body, coding));
    }
    let deadline = Instant::now() + maker.wait;
    let lock = maker.lock_of(&key);
    let turn = tokio::time::timeout_at(deadline.into(), lock.lock_owned()).await;
    let mut turn = turn.map_err(|_| overloaded())?;
    // A large view may not be cached, but the requests that waited while it was made get it.
    if let Some(body) = turn.clone().or_else(|| cache.views.get(&key)) {
        return Ok((body, coding));
    }
    let is_very_large = view.input_length(snapshot) > VERY_LARGE;
    let permits = async {
        let alone =
            if is_very_large { Some(Arc::clone(&maker.very_large).acquire_owned().await) } else { None };
        (alone, Arc::clone(&maker.permits).acquire_owned().await)
    };
    let Ok(permits) = tokio::time::timeout_at(deadline.into(), permits).await else {
        return Err(overloaded());
    };
    let (cache, snapshot) = (cache.clone(), Arc::clone(snapshot));
    let (view, redaction) = (view.clone(), redaction.cloned());
    let work = move || {
        // Held until the view is made, even if the caller disconnects.
        let _permits = permits;
        let plain = cache.bodies.plain(&snapshot);
        let meeting = VisibleMeeting::new(&snapshot, plain.as_ref(), redaction.as_ref());
        let made = make(&view, &meeting, coding).map_err(|_| Problem::Internal)?;
        let made = made.ok_or(Problem::ParticipantNotFound)?;
        let body = cache.views.insert(key, made).ok_or_else(overloaded)?;
        *turn = Some(body.clone());
        Ok(body)
    };
    let body = maker.threads.run(work).await.ok_or(Problem::Internal)??;
    Ok((body, coding))
}

fn make(view: &Rendering, meeting: &VisibleMeeting<'_>, coding: Coding) -> io::Result<Option<WrittenBody>> {
    let mut writer = BodyWriter::new(coding, view.effort())?;
    let found = view.write(meeting, &mut writer)?;
    if found { writer.finish().map(Some) } else { Ok(None) }
}

fn overloaded() -> Problem {
    Problem::NoSnapshot(Failure::new(Reason::Overloaded).retry_at(Instant::now() + RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::tests::cache,
        snapshot::{SnapshotBuilder, tests::finish},
        view::snapshot_view::{View, ViewPage},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn snapshot(participant: &str) -> Arc<Snapshot> {
        let mut builder = SnapshotBuilder::default();
        builder.begin_page().extend_from_slice(participant.as_bytes());
        builder.end_page(std::slice::from_ref(&(0..participant.len())), None);
        Arc::new(finish(builder, SECOND))
    }

    fn page() -> Rendering {
        Rendering::View(View::ZoomPage(ViewPage { offset: 0, size: 1, next_page_token: None }))
    }

    fn reason<T>(made: Result<T, Problem>) -> Option<Reason> {
        match made {
            Err(Problem::NoSnapshot(failure)) => Some(failure.reason),
            _ => None,
        }
    }

    #[actix_web::test]
    async fn a_view_waits_for_its_turn_only_so_long() {
        let (cache, snapshot) = (cache(1 << 24), snapshot("{}"));
        let maker = ViewMaker::new(1, Duration::from_millis(20)).unwrap();
        let permit = Arc::clone(&maker.permits).acquire_owned().await.unwrap();
        let late = get((&cache, &maker), &snapshot, (&page(), None), Coding::Identity).await;
        assert_eq!(reason(late), Some(Reason::Overloaded));
        drop(permit);
        let made = get((&cache, &maker), &snapshot, (&page(), None), Coding::Identity).await;
        assert!(made.is_ok_and(|(body, _)| body.bytes.ends_with(b"\"participants\":[{}]}")));
    }

    #[actix_web::test]
    async fn two_requests_for_one_view_have_one_lock() {
        let maker = ViewMaker::new(2, SECOND).unwrap();
        let key =
            |name: &str| ViewKey { tag: crate::snapshot::Tag(1), name: name.into(), coding: Coding::Gzip };
        let first = maker.lock_of(&key("a"));
        assert!(Arc::ptr_eq(&first, &maker.lock_of(&key("a"))));
        assert!(!Arc::ptr_eq(&first, &maker.lock_of(&key("b"))));
        drop(first);
        maker.lock_of(&key("c"));
        assert_eq!(maker.in_progress.lock().unwrap().len(), 1, "locks that nobody holds are dropped");
    }

    #[actix_web::test]
    async fn waiting_requests_get_a_view_too_large_to_be_cached() {
        // Views may take 1/32 of the cache, and one view at most half of that: here 128 bytes. This view is larger.
        let (cache, snapshot) = (cache(8 * 1024), snapshot(&format!("{{\"id\":\"{}\"}}", "x".repeat(300))));
        let maker = ViewMaker::new(1, SECOND).unwrap();
        let view = page();
        let made = || get((&cache, &maker), &snapshot, (&view, None), Coding::Identity);
        let (first, second, third) = tokio::join!(made(), made(), made());
        let bytes = [first, second, third].map(|made| made.ok().unwrap().0.bytes);
        assert!(bytes.iter().all(|other| other.as_ptr() == bytes[0].as_ptr()), "made once");
        assert!(made().await.ok().unwrap().0.bytes.as_ptr() != bytes[0].as_ptr(), "not cached");
    }
}
