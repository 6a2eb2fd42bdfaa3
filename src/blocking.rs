//! Threads for work that takes milliseconds or may block, such as cleaning, compressing, and making views.
//!
//! They yield the processor to the threads that serve hits: on one CPU, a hit would otherwise wait for up to several
//! milliseconds whenever a page is compressed (docs/adr/0040).

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};

/// The amount by which blocking threads are nicer than other threads. A worker that needs the same CPU gets about nine
/// times as much of it, so a flight still makes progress beside workers that are never idle.
const NICER_BY: i32 = 10;
/// How long an idle blocking thread is kept: practically forever; see [`runtime`].
const THREAD_KEEP_ALIVE: Duration = Duration::from_hours(24 * 365);

/// Builds a runtime for the current thread that has up to `threads` blocking threads. Only the blocking threads have
/// a low priority.
///
/// The first blocking thread starts here and never ends. Without it, tokio would panic if the system had no thread
/// left for later work. With it, later work waits for that thread instead.
pub(crate) fn runtime(threads: usize) -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(threads)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .on_thread_start(lower_priority)
        .enable_all()
        .build()?;
    if catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ()))).is_err() {
        // Dropping `runtime` would wait for its threads, and that panics if this thread is inside another runtime.
        runtime.shutdown_background();
        return Err(io::Error::other("no thread is left for blocking work"));
    }
    Ok(runtime)
}

/// Lowers the priority of this thread alone: Linux has a priority for each thread, and lowering it needs no
/// privilege.
fn lower_priority() {
    let this = Some(rustix::thread::gettid());
    // Linux reduces a sum above its maximum, 19, to 19.
    let lowered = getpriority_process(this).and_then(|now| setpriority_process(this, now + NICER_BY));
    if let Err(error) = lowered {
        tracing::warn!(%error, "cannot lower the priority of a thread: hits may wait while pages are packed");
    }
}

/// A pool of blocking threads with a runtime of its own, so that tasks of any other runtime can use it.
pub(crate) struct BlockingPool(Option<Runtime>);

impl BlockingPool {
    /// Makes a pool of up to `threads` threads.
    ///
    /// # Errors
    /// The system refuses the first thread or another resource of the runtime.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        runtime(threads).map(|runtime| Self(Some(runtime)))
    }

    /// Runs `work` on a thread of the pool. Returns `None` if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.0.as_ref()?.spawn_blocking(work).await.ok()
    }
}

impl Drop for BlockingPool {
    /// Does not wait for work in progress, because its callers are gone. Waiting would panic inside another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` on a blocking thread of this runtime and returns its result. A panic in `work` resumes in the calling task.
///
/// If the runtime stops before `work` starts, this never returns; the runtime then drops the calling task.
pub(crate) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match actix_rt::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        getpriority_process(Some(rustix::thread::gettid())).unwrap()
    }

    #[tokio::test]
    async fn only_the_threads_of_a_pool_have_a_low_priority() {
        let before = niceness();
        let pool = BlockingPool::new(2).unwrap();
        let (one, other) = tokio::join!(pool.run(niceness), pool.run(niceness));
        assert_eq!([one, other], [Some((before + NICER_BY).min(19)); 2]);
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn work_that_panics_has_no_result_and_leaves_the_pool_usable() {
        let pool = BlockingPool::new(1).unwrap();
        assert_eq!(pool.run::<()>(|| std::panic::resume_unwind(Box::new(()))).await, None);
        assert_eq!(pool.run(|| 7).await, Some(7));
    }
}
