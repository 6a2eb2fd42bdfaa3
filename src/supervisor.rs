//! Tasks that run for as long as the service does. If one of them ends, the process ends, too: without its fetcher or its
//! heartbeat it would look healthy and answer 503 for ever.

use tokio::sync::mpsc;

/// Watches tasks. Cheap to clone, and at home on any thread.
#[derive(Clone)]
pub struct Supervisor(mpsc::UnboundedSender<&'static str>);

/// Where the end of a watched task is reported.
pub struct TaskEnds(mpsc::UnboundedReceiver<&'static str>);

/// Reports the end of a task when it is dropped: a task that panics is dropped, too.
struct Report {
    task: &'static str,
    to: mpsc::UnboundedSender<&'static str>,
}

impl Supervisor {
    /// A supervisor, and where it reports.
    #[must_use]
    pub fn new() -> (Self, TaskEnds) {
        let (to, ends) = mpsc::unbounded_channel();
        (Self(to), TaskEnds(ends))
    }

    /// The same task, whose end is reported under this name. It counts as running from this call on, so that one that is never
    /// started is reported as well.
    pub fn watch<T>(&self, task: &'static str, future: T) -> impl Future<Output = T::Output> + use<T>
    where
        T: Future,
    {
        let report = Report { task, to: self.0.clone() };
        async move {
            let _report = report;
            future.await
        }
    }
}

impl TaskEnds {
    /// The name of the next task that ends.
    pub async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(task) => task,
            // Nobody watches anything any more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // Nobody listens while the process stops.
        self.to.send(self.task).ok();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_task_is_reported_when_it_ends_panics_or_is_never_started() {
        let (supervisor, mut ends) = Supervisor::new();
        actix_rt::System::new().block_on(async {
            drop(actix_rt::spawn(supervisor.watch("ends", async {})));
            assert_eq!(ends.next().await, "ends");
            drop(actix_rt::spawn(supervisor.watch("panics", async { panic!("on purpose") })));
            assert_eq!(ends.next().await, "panics");
            drop(supervisor.watch("is never started", async {}));
            assert_eq!(ends.next().await, "is never started");
            let running = supervisor.watch("runs", std::future::pending::<()>());
            assert!(ends.next().now_or_never().is_none());
            drop(running);
        });
    }
}
