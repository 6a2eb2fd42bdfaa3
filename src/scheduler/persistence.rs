//! Keeps the count in the state file ahead of the permits that are granted. `quota/state_file.rs` decides when to
//! write, and what.

use std::time::{Duration, Instant};

use super::Scheduler;
use crate::quota::{
    Now,
    state_file::{PendingSave, SaveJob},
};

/// The pause after a failed write, for example to a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Writes the exact count of the day. Call this when no more calls will be made.
    pub(crate) async fn save_final_count(&self) {
        let saving = &self.0.saving;
        saving.is_final.set(true);
        let _writing = saving.writing.lock().await;
        let job = self.0.dispatcher.borrow_mut().quota.local_mut().final_save(Now::read());
        if let Some(job) = job {
            write(job).await;
        }
    }

    /// Starts the write that is due, if there is one. Waits until it is done only if no call may be made before.
    pub(super) async fn save_ahead(&self) {
        let (now, saving) = (Now::read(), &self.0.saving);
        if saving.is_final.get() || saving.retry_at.get().is_some_and(|at| now.instant < at) {
            return;
        }
        let pending = {
            let mut dispatcher = self.0.dispatcher.borrow_mut();
            let calls_wait = !dispatcher.queue.is_empty();
            dispatcher.quota.local_mut().next_save(now, calls_wait)
        };
        let Some(PendingSave { job, blocks_calls }) = pending else { return };
        let written = actix_rt::spawn(self.clone().save(job));
        if blocks_calls {
            drop(written.await);
        }
    }

    async fn save(self, job: SaveJob) {
        let saving = &self.0.saving;
        let _writing = saving.writing.lock().await;
        if saving.is_final.get() {
            return;
        }
        let succeeded = write(job.clone()).await;
        self.0.metrics.state_file_ok.set(i64::from(succeeded));
        saving.retry_at.set((!succeeded).then(|| Instant::now() + RETRY_AFTER));
        self.0.dispatcher.borrow_mut().quota.local_mut().daily.on_save(&job, succeeded);
    }
}

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
