//! Watches the callers' file, replaces the list of callers when the file changes, and fetches the keys of issuers.

use std::{
    panic::resume_unwind,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};

use super::{
    directory::{CallerRegistry, Callers},
    file::{self, ChangeDetector},
    oidc::{Issuer, KeyFetcher, KeySet, fetch},
    parser::{FileEntries, Issue},
};
use crate::metrics::Metrics;

/// A change takes effect after two equal reads, which is about 2 s. The documentation promises 5 s.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of problems of an invalid file that the log and `/status` show.
const MAX_PROBLEMS_SHOWN: usize = 20;

/// Keeps the callers up to date with their file while the service runs.
pub struct FileWatcher {
    pub(super) path: PathBuf,
    pub(super) detector: ChangeDetector,
    pub(super) registry: CallerRegistry,
    pub(super) fetcher: KeyFetcher,
    pub(super) callers: Callers,
    pub(super) metrics: Arc<Metrics>,
}

impl FileWatcher {
    /// Watches the file, and never returns.
    pub(crate) async fn run(mut self) {
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut fetches = JoinSet::new();
        loop {
            self.begin_fetches(&mut fetches);
            tokio::select! {
                _ = interval.tick() => self.check_file().await,
                () = self.callers.keys_wanted() => {}
                Some(ended) = fetches.join_next() => end_fetch(ended),
            }
        }
    }

    async fn check_file(&mut self) {
        let path = self.path.clone();
        // On a blocking thread, because reading from a mounted volume can hang.
        if let Ok(contents) = actix_rt::task::spawn_blocking(move || file::read_contents(&path)).await
            && let Some(changed) = self.detector.update(contents)
        {
            let validated = file::validate(changed);
            self.apply(validated);
        }
    }

    /// Starts the fetches of keys that are due, each on a thread of its own, so that a slow issuer delays nothing else.
    fn begin_fetches(&self, fetches: &mut JoinSet<KeyFetch>) {
        let now = Instant::now();
        for issuer in self.registry.issuers.iter().filter(|issuer| issuer.begin_fetch(now)) {
            let (issuer, client) = (Arc::clone(issuer), self.fetcher.clone());
            fetches.spawn_blocking(move || {
                let keys = fetch(&client, &issuer.entry.url, &issuer.entry.keys);
                (issuer, keys)
            });
        }
    }

    /// Replaces all callers with those of a valid file. If the file is invalid, reports its problems and keeps the
    /// current callers.
    pub(super) fn apply(&mut self, validated: Result<FileEntries, Vec<Issue>>) {
        let problems = match validated {
            Ok(entries) => {
                if let Some(message) = entries.warning() {
                    tracing::warn!("callers.file: {message}");
                }
                let count = entries.callers.len();
                self.callers.replace(self.registry.directory(entries, &self.metrics));
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

/// An issuer, and the result of a fetch of its keys.
type KeyFetch = (Arc<Issuer>, Result<KeySet, String>);

fn end_fetch(ended: Result<KeyFetch, JoinError>) {
    match ended {
        Ok((issuer, keys)) => issuer.end_fetch(keys, Instant::now()),
        // A panic ends this task, and with it the process. There is no other error, because no fetch is cancelled.
        Err(failed) => resume_unwind(failed.into_panic()),
    }
}
