//! Keeps the state file ahead of the permits that are given out; `quota/state_file.rs` decides on its content.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::dispatcher::Dispatcher;
use crate::{
    metrics::Metrics,
    quota::{
        Now,
        state_file::{PendingSave, SaveJob},
    },
};

/// After a failed write, for example to a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Writes the state file. Clones share everything.
#[derive(Clone)]
pub(super) struct StateWriter(Rc<DayWriter>);

struct DayWriter {
    dispatcher: Rc<RefCell<Dispatcher>>,
    /// Held by the write that is in progress.
    writing: Mutex<()>,
    retry_at: Cell<Option<Instant>>,
    /// The exact count is written, and must not be overwritten.
    is_final: Cell<bool>,
    metrics: Arc<Metrics>,
}

impl StateWriter {
    pub(super) fn new(dispatcher: &Rc<RefCell<Dispatcher>>, metrics: &Arc<Metrics>) -> Self {
        Self(Rc::new(DayWriter {
            dispatcher: Rc::clone(dispatcher),
            writing: Mutex::new(()),
            retry_at: Cell::default(),
            is_final: Cell::default(),
            metrics: Arc::clone(metrics),
        }))
    }

    /// Writes the exact count, when no more calls will be made.
    pub(super) async fn write_final(&self) {
        self.0.is_final.set(true);
        let _writing = self.0.writing.lock().await;
        let job = self.0.dispatcher.borrow_mut().quota.final_save(Now::read());
        if let Some(job) = job {
            write(job).await;
        }
    }

    /// Starts the write that is due, if one is. Returns after it only if no call may be made before.
    pub(super) async fn write_ahead(&self) {
        let now = Now::read();
        if self.0.is_final.get() || self.0.retry_at.get().is_some_and(|at| now.instant < at) {
            return;
        }
        let pending = {
            let mut dispatcher = self.0.dispatcher.borrow_mut();
            let calls_wait = !dispatcher.queue.is_empty();
            dispatcher.quota.next_save(now, calls_wait)
        };
        let Some(PendingSave { job, blocks_calls }) = pending else { return };
        let written = actix_rt::spawn(self.clone().write_one(job));
        if blocks_calls {
            drop(written.await);
        }
    }

    async fn write_one(self, job: SaveJob) {
        let _writing = self.0.writing.lock().await;
        if self.0.is_final.get() {
            return;
        }
        let succeeded = write(job.clone()).await;
        self.0.metrics.state_file_ok.set(i64::from(succeeded));
        self.0.retry_at.set((!succeeded).then(|| Instant::now() + RETRY_AFTER));
        self.0.dispatcher.borrow_mut().quota.on_save(&job, succeeded);
    }
}

/// Returns whether the state is on the disk.
async fn write(job: SaveJob) -> bool {
    match actix_rt::task::spawn_blocking(move || job.write()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(
                error = %error,
                "cannot write limits.state_file: a restart now would count fewer calls than were made today"
            );
            false
        }
        Err(_) => false,
    }
}
