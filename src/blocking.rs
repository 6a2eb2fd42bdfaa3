//! Runs work that takes milliseconds on a blocking thread, so that the fetcher's thread can keep starting calls on time.

/// A panic in `work` continues on the calling task, as if it ran there. Work is cancelled only when the runtime stops; then
/// this never returns, and its task is dropped.
pub(crate) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match actix_rt::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
