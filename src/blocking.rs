//! Runs work that takes milliseconds on a blocking thread, so that the fetcher's thread can keep starting calls on time.

/// Runs `work` on a blocking thread and returns its result. A panic in `work` resumes in the calling task.
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
