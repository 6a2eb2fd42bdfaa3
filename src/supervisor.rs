//! Watches the tasks that must run as long as the service. If a task ends, the process ends. Without its fetcher,
//! for example, the process would stay alive and fail the requests that its cache cannot answer.

use tokio::sync::mpsc;

/// Watches tasks. Cheap to clone; usable on any thread.
#[derive(Clone)]
pub(crate) struct Supervisor(mpsc::UnboundedSender<&'static str>);

/// Reports the end of a task when it is dropped. The task's future owns it, so it also reports a task that panicked.
struct EndGuard {
    task: &'static str,
    to: mpsc::UnboundedSender<&'static str>,
}

impl Supervisor {
    /// Returns a supervisor, and the receiver of the names of watched tasks that ended.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (to, ends) = mpsc::unbounded_channel();
        (Self(to), ends)
    }

    /// Wraps a task so that its end is reported under this name, even if the task is dropped before it starts.
    pub(crate) fn watch<T>(&self, task: &'static str, future: T) -> impl Future<Output = T::Output> + use<T>
    where
        T: Future,
    {
        let guard = EndGuard { task, to: self.0.clone() };
        async move {
            let _guard = guard;
            future.await
        }
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // Fails during shutdown, when the receiver is gone.
        self.to.send(self.task).ok();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_task_that_ends_panics_or_never_starts_is_reported() {
        let (supervisor, mut ends) = Supervisor::new();
        actix_rt::System::new().block_on(async {
            drop(actix_rt::spawn(supervisor.watch("ends", async {})));
            assert_eq!(ends.recv().await, Some("ends"));
            drop(actix_rt::spawn(supervisor.watch("panics", async { panic!("on purpose") })));
            assert_eq!(ends.recv().await, Some("panics"));
            drop(supervisor.watch("is never started", async {}));
            assert_eq!(ends.recv().await, Some("is never started"));
            let running = supervisor.watch("runs", std::future::pending::<()>());
            assert!(ends.recv().now_or_never().is_none());
            drop(running);
        });
    }
}
