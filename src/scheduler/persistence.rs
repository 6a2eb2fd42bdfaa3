//! Keeps the file of the day's count ahead of the permits that are given out. What is in it is `quota/daily.rs`.

use std::time::{Duration, Instant};

use super::Permits;
use crate::quota::{
    Now,
    daily::{Due, Save},
};

/// A full disk is not asked at every call.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(2);

impl Permits {
    /// Writes the exact count of the day, when no more calls will be made.
    pub async fn save_final_count(&self) {
        self.0.all_saved.set(true);
        let _writing = self.0.file.lock().await;
        let save = self.0.budget.borrow_mut().final_save(Now::read());
        if let Some(save) = save {
            write(save).await;
        }
    }

    /// The state file has to say more calls than were made. Only a first call waits for that.
    pub(super) async fn keep_file_ahead(&self) {
        let now = Now::read();
        if self.0.all_saved.get() || self.0.save_again_from.get().is_some_and(|from| now.instant < from) {
            return;
        }
        let calls_wait = !self.0.queue.borrow().is_empty();
        let due = self.0.budget.borrow_mut().due_save(now, calls_wait);
        let Some(Due { save, first }) = due else { return };
        let this = self.clone();
        let written = actix_rt::spawn(async move {
            let _writing = this.0.file.lock().await;
            if this.0.all_saved.get() {
                return;
            }
            let succeeded = write(save.clone()).await;
            this.0.metrics.state_file_ok.set(i64::from(succeeded));
            this.0.save_again_from.set((!succeeded).then(|| Instant::now() + SAVE_AGAIN_AFTER));
            let mut budget = this.0.budget.borrow_mut();
            if succeeded { budget.save_done(&save) } else { budget.save_failed() }
        });
        if first {
            drop(written.await);
        }
    }
}

/// Whether it is on the disk.
async fn write(save: Save) -> bool {
    match actix_rt::task::spawn_blocking(move || save.write()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(
                error = %error,
                "limits.state_file cannot be written: a restart now would count fewer calls than were made today"
            );
            false
        }
        Err(_) => false,
    }
}
