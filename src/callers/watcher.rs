//! Watches the callers' file and replaces the list of callers when the file changes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    directory::{Callers, LedgerRegistry},
    file::{self, ChangeDetector},
    parser::{CallerEntry, Issue},
};
use crate::metrics::Metrics;

/// A change takes effect after two equal reads, which is about 2 s. The documentation promises 5 s.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of problems of an invalid file that the log and `/status` show.
const MAX_PROBLEMS_SHOWN: usize = 20;

/// Keeps the callers up to date with their file while the service runs.
pub struct FileWatcher {
    pub(super) path: PathBuf,
    pub(super) detector: ChangeDetector,
    pub(super) ledgers: LedgerRegistry,
    pub(super) callers: Callers,
    pub(super) metrics: Arc<Metrics>,
}

impl FileWatcher {
    /// Watches the file, and never returns.
    pub(crate) async fn run(mut self) {
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let path = self.path.clone();
            // On a blocking thread, because reading from a mounted volume can hang.
            if let Ok(contents) = actix_rt::task::spawn_blocking(move || file::read_contents(&path)).await
                && let Some(changed) = self.detector.update(contents)
            {
                let validated = file::validate(changed);
                self.apply(validated);
            }
        }
    }

    /// Replaces all callers by those of a valid file. Reports an invalid file, and keeps the callers.
    pub(super) fn apply(&mut self, validated: Result<Vec<CallerEntry>, Vec<Issue>>) {
        let problems = match validated {
            Ok(entries) => {
                let count = entries.len();
                self.callers.replace(self.ledgers.directory(entries, &self.metrics));
                tracing::info!(callers = count, "callers.file has changed and is in use");
                Vec::new()
            }
            Err(issues) => {
                let problems: Vec<_> =
                    issues.iter().take(MAX_PROBLEMS_SHOWN).map(ToString::to_string).collect();
                tracing::error!(
                    problems = problems.join("; "),
                    count = issues.len(),
                    "callers.file has changed and cannot be used: keeping the previous callers"
                );
                problems
            }
        };
        self.metrics.callers_file_ok.set(i64::from(problems.is_empty()));
        self.callers.set_problems(problems);
    }
}
