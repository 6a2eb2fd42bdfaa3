//! Work that takes milliseconds, off the thread that keeps the pace of calls. For flights, and the answers they wait for.

/// A panic in there is one of the flight, and is caught where it ends. Only at a forced stop is work cancelled: then
/// nothing is left to be done.
pub(crate) async fn off_this_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match actix_rt::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
