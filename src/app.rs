//! Composition root: the only file that sees every part. Binds the listeners, wires the parts, and stops them in order.

use std::{
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_rt::Arbiter;
use actix_web::{dev::ServerHandle, web::Data};
use tokio::runtime::{Builder, Runtime};

use crate::{
    cache::Cache,
    callers::{Callers, FileWatcher},
    config::Config,
    fetcher::{Fetcher, Launch, Parts},
    http::AppState,
    metrics::Metrics,
    quota::{Budget, day::StateFileError},
    server::{BindError, Listeners, ServerConfig},
    supervisor::Supervisor,
    telemetry::DroppedLines,
    trace::{self, Sending},
};

/// Two for pages; and two for the state file and for names, which a slow disk and a slow name server can hold up.
const FETCHER_BLOCKING_THREADS: usize = 4;
/// As good as for ever: see [`fetcher_runtime`].
const KEPT_THREADS: Duration = Duration::from_hours(24 * 365);
/// How long saying goodbye to other replicas may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often the cache frees what has expired, and the gauges are made true.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The day's count cannot be kept.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
}

/// Why the service ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system has no thread left to give.
    #[error("the service cannot start its threads: {0}")]
    NoThread(#[from] io::Error),
    /// A task that runs for as long as the service does has ended: a bug, or a system without threads.
    #[error("{0} ended unexpectedly")]
    TaskEnded(&'static str),
}

/// The service, bound and ready to run. Must be made and run inside an actix `System`.
pub struct App {
    state: Data<AppState>,
    launch: Launch,
    callers_file_watcher: Option<FileWatcher>,
    listeners: Listeners,
    sending: Sending,
    drain_delay: Duration,
    shutdown_timeout: Duration,
}

impl App {
    /// Wires all parts and binds both listeners. From here on connections are accepted.
    ///
    /// # Errors
    /// When an address is taken, or the state file cannot be written.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        // A second start in one process, as tests do it, finds the same provider there already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let Config { server, fetcher, zoom, budget, freshness, cache, callers, shared, trace, .. } = config;
        let metrics = Arc::new(Metrics::default());
        let (tracer, sending) = trace::start(&trace);
        let cache = Cache::new(cache, &metrics);
        let budget = Budget::open(&budget, &metrics)?;
        let (known, callers_file_watcher) = Callers::open(callers, &metrics);
        let parts = Parts {
            config: fetcher,
            zoom,
            freshness,
            budget,
            shared,
            cache: cache.clone(),
            metrics: Arc::clone(&metrics),
            tracer: tracer.clone(),
        };
        let (fetcher, launch) = Fetcher::prepare(parts);
        let draining = AtomicBool::new(false);
        let state = Data::new(AppState { callers: known, cache, fetcher, metrics, tracer, draining });

        let listeners = Listeners::bind(&server, &state)?;
        let ServerConfig { drain_delay, shutdown_timeout, .. } = server;
        Ok(Self { state, launch, callers_file_watcher, listeners, sending, drain_delay, shutdown_timeout })
    }

    /// The callers' address, with the port that was really bound.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listeners.listen
    }

    /// The operators' address, with the port that was really bound.
    #[must_use]
    pub fn ops_listen(&self) -> SocketAddr {
        self.listeners.ops_listen
    }

    /// Serves until `stop` is ready, then drains: not ready at once, still answering for `server.drain_delay`, and
    /// finishing what is under way within `server.shutdown_timeout`.
    ///
    /// # Errors
    /// When the system has no thread left to give, or a task ends that runs for as long as the service does.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        dropped_lines: Option<DroppedLines>,
    ) -> Result<(), RunError> {
        let (supervisor, mut ends) = Supervisor::new();
        // Not before both listeners are ours: a process that cannot serve must not ask Zoom for anything.
        let fetcher_thread = Arbiter::try_with_tokio_rt(fetcher_runtime)?;
        self.launch.on(&fetcher_thread, supervisor.clone());
        let Listeners { callers: serving, operators: serving_operators, listen, ops_listen } = self.listeners;
        let (callers, operators) = (serving.handle(), serving_operators.handle());
        drop(actix_rt::spawn(supervisor.watch("the callers' listener", serving)));
        drop(actix_rt::spawn(supervisor.watch("the operators' listener", serving_operators)));
        let maintenance = tidy(self.state.clone(), dropped_lines);
        drop(actix_rt::spawn(supervisor.watch("the maintenance of cache and metrics", maintenance)));
        if let Some(watcher) = self.callers_file_watcher {
            drop(actix_rt::spawn(supervisor.watch("the watch on callers.file", watcher.run())));
        }
        tracing::info!(
            %listen,
            %ops_listen,
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        tokio::select! {
            () = stop => {}
            task = ends.next() => return Err(RunError::TaskEnded(task)),
        }
        self.state.draining.store(true, Ordering::Relaxed);
        tracing::info!(drain_delay_seconds = self.drain_delay.as_secs_f64(), "asked to stop: draining");
        tokio::time::sleep(self.drain_delay).await;
        let deadline = Instant::now() + self.shutdown_timeout;
        self.state.fetcher.no_more_take_offs();
        let in_time = finish(&self.state.fetcher, &callers, deadline).await;
        // Also with flights under way: the others must not do without this process's share.
        drop(tokio::time::timeout(GOODBYE, self.state.fetcher.leave()).await);
        operators.stop(false).await;
        fetcher_thread.stop();
        drop(actix_rt::task::spawn_blocking(|| self.sending.finish()).await);
        if in_time {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped with requests or flights under way: server.shutdown_timeout is over");
        }
        Ok(())
    }
}

/// The runtime of the fetcher's thread, with few threads to clean and compress on: more would not be faster, and each
/// that allocates keeps memory of its own.
///
/// They are kept, and the first is made at once: tokio panics when it needs a first thread and the system has none to give,
/// but while there is one, work waits for it.
fn fetcher_runtime() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(FETCHER_BLOCKING_THREADS)
        .thread_keep_alive(KEPT_THREADS)
        .enable_all()
        .build()?;
    let first = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ())));
    first.map_err(|_| io::Error::other("there is no thread left for blocking work"))?;
    Ok(runtime)
}

/// Lets requests end, then flights. `false` when the time was not enough.
async fn finish(fetcher: &Fetcher, callers: &ServerHandle, deadline: Instant) -> bool {
    let served = tokio::time::timeout_at(deadline.into(), callers.stop(true)).await.is_ok();
    let landed = tokio::time::timeout_at(deadline.into(), fetcher.all_landed()).await.is_ok();
    served && landed
}

/// Housekeeping that must not happen inside a caller's request.
async fn tidy(state: Data<AppState>, dropped_lines: Option<DroppedLines>) {
    let mut every = tokio::time::interval(TIDY_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let cache = state.cache.clone();
        drop(actix_rt::task::spawn_blocking(move || cache.tidy()).await);
        state.update_gauges();
        if let Some(lines) = &dropped_lines {
            let counted = &state.metrics.log_lines_dropped;
            counted.inc_by(lines.count().saturating_sub(counted.get()));
        }
    }
}
