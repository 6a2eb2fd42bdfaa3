//! Composition root: the only file that depends on every part. Wires the parts, binds the listeners, and stops
//! everything in order.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_rt::Arbiter;
use actix_web::{dev::ServerHandle, web::Data};

use crate::{
    blocking,
    cache::Cache,
    callers::{Callers, FileWatcher},
    config::Config,
    fetcher::{Dependencies, Fetcher, FetcherTask},
    hiding::CurrentKeys,
    http::{AppState, TokenThread, ViewMaker},
    metrics::Metrics,
    quota::LocalQuota,
    server::{BindError, Listeners, ServerConfig},
    supervisor::Supervisor,
    telemetry::{self, DroppedLines},
    trace::{self, TracerGuard},
    zoom::secret::SecretSource,
};

/// The number of the fetcher's blocking threads: two for cleaning and compressing pages, and two for work that a slow
/// disk or name server can block, such as writing the state file. More threads would hardly be faster, and the
/// allocator keeps memory for each thread.
const FETCHER_BLOCKING_THREADS: usize = 4;
/// How long a stopping replica tries to return its share of the quota to the others.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the cache drops expired entries and the gauges are updated.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// An error that keeps the service from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The state file cannot be used.
    #[error(transparent)]
    StateFile(#[from] io::Error),
    /// The system refused to start a thread.
    #[error("the service cannot start its threads: {0}")]
    NoThread(io::Error),
    /// Zoom's client secret cannot be read, or no keys can be derived from it.
    #[error("zoom.client_secret_file: {0}")]
    ClientSecret(io::Error),
}

/// An error that ends the service without a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system refused to start a thread.
    #[error("the service cannot start its threads: {0}")]
    NoThread(#[from] io::Error),
    /// A task that the service cannot do without has ended, usually because of a bug or a thread that could not start.
    #[error("{0} ended unexpectedly")]
    TaskEnded(&'static str),
}

/// The service, bound and ready to run. Create and run it inside an actix `System`.
pub struct App {
    state: Data<AppState>,
    fetcher_task: FetcherTask,
    client_secret: SecretSource,
    callers_file_watcher: Option<FileWatcher>,
    listeners: Listeners,
    tracer_guard: TracerGuard,
    server: ServerConfig,
}

impl App {
    /// Wires all parts and binds both listeners. When this returns, the kernel already accepts connections.
    ///
    /// # Errors
    /// An address cannot be bound, the state file or the client secret cannot be used, or the system refuses to
    /// start a thread.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        // Fails if the process already has a provider. That is harmless: tests start several services in one process.
        drop(rustls::crypto::ring::default_provider().install_default());
        let metrics = Arc::new(Metrics::default());
        let (tracer, tracer_guard) = trace::start(&config.trace);
        let cache = Cache::new(config.cache, &metrics);
        let quota = LocalQuota::open(&config.quota, &metrics)?;
        let (known, callers_file_watcher) = Callers::open(config.callers, config.anonymous_hide, &metrics);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let (server, wait) = (config.server, config.fetcher.wait);
        let views = ViewMaker::new(server.workers.min(cpus), wait).map_err(StartError::NoThread)?;
        let token_thread = TokenThread::start().map_err(StartError::NoThread)?;
        let client_secret = config.zoom.client_secret.clone();
        let hiding_keys = hiding_keys(&client_secret).map_err(StartError::ClientSecret)?;
        let dependencies = Dependencies {
            config: config.fetcher,
            zoom: config.zoom,
            freshness: config.freshness,
            quota,
            cluster: config.cluster,
            callers: known.clone(),
            cache: cache.clone(),
            metrics: Arc::clone(&metrics),
            tracer: tracer.clone(),
        };
        let (fetcher, fetcher_task) = Fetcher::prepare(dependencies);
        let draining = AtomicBool::new(false);
        let is_open_to_network = !known.need_keys() && !server.listen.ip().is_loopback();
        let state = Data::new(AppState {
            is_open_to_network,
            callers: known,
            cache,
            fetcher,
            hiding_keys,
            views,
            token_thread,
            operators_key: config.operators_key,
            summary_limits: config.summary,
            log_meeting_ids: config.telemetry.log_meeting_ids,
            metrics,
            tracer,
            draining,
        });

        let listeners = Listeners::bind(&server, &state)?;
        Ok(Self { state, fetcher_task, client_secret, callers_file_watcher, listeners, tracer_guard, server })
    }

    /// Returns the address of the callers' listener, with the port that was bound.
    pub fn listen(&self) -> SocketAddr {
        self.listeners.listen
    }

    /// Returns the address of the operators' listener, with the port that was bound.
    pub fn ops_listen(&self) -> SocketAddr {
        self.listeners.ops_listen
    }

    /// Serves until `stop` completes, then drains: reports not ready, keeps accepting connections for
    /// `server.drain_delay`, and waits for requests and flights for at most `server.shutdown_timeout`.
    ///
    /// # Errors
    /// The system refuses to start a thread, or a task that the service cannot do without has ended.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        dropped_lines: Option<DroppedLines>,
    ) -> Result<(), RunError> {
        let (supervisor, mut ends) = Supervisor::new();
        // Started only after both listeners are bound: a process that cannot serve must not call Zoom.
        let fetcher_thread = Arbiter::try_with_tokio_rt(|| blocking::runtime(FETCHER_BLOCKING_THREADS))?;
        self.fetcher_task.spawn_on(&fetcher_thread, supervisor.clone());
        let Listeners { callers: serving, operators: serving_operators, listen, ops_listen } = self.listeners;
        let (callers, operators) = (serving.handle(), serving_operators.handle());
        drop(actix_rt::spawn(supervisor.watch("the callers' listener", serving)));
        drop(actix_rt::spawn(supervisor.watch("the operators' listener", serving_operators)));
        let maintenance = run_maintenance(self.state.clone(), dropped_lines);
        drop(actix_rt::spawn(supervisor.watch("the maintenance of cache and metrics", maintenance)));
        if let Some(watcher) = self.callers_file_watcher {
            drop(actix_rt::spawn(supervisor.watch("the watch on callers.file", watcher.run())));
        }
        if matches!(self.client_secret, SecretSource::File(_)) {
            let keys = self.state.hiding_keys.clone();
            let watch = self.client_secret.watch(move |secret| keys.replace(secret.expose()));
            drop(actix_rt::spawn(supervisor.watch("the watch on zoom.client_secret_file", watch)));
        }
        tracing::info!(
            %listen,
            %ops_listen,
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        tokio::select! {
            () = stop => {}
            Some(task) = ends.recv() => return Err(RunError::TaskEnded(task)),
        }
        self.state.draining.store(true, Ordering::Relaxed);
        tracing::info!(drain_delay_seconds = self.server.drain_delay.as_secs_f64(), "stopping: draining");
        tokio::time::sleep(self.server.drain_delay).await;
        let deadline = Instant::now() + self.server.shutdown_timeout;
        self.state.fetcher.stop_starting();
        let in_time = finish(&self.state.fetcher, &callers, deadline).await;
        // Leaves the cluster even with flights in progress, so that the other replicas can use this replica's share
        // of the quota.
        drop(tokio::time::timeout(LEAVE_TIMEOUT, self.state.fetcher.leave()).await);
        operators.stop(false).await;
        fetcher_thread.stop();
        drop(actix_rt::task::spawn_blocking(|| self.tracer_guard.shut_down()).await);
        if in_time {
            tracing::info!("stopped");
        } else {
            tracing::warn!(
                "stopped before all requests and flights finished: server.shutdown_timeout elapsed"
            );
        }
        Ok(())
    }
}

fn hiding_keys(client_secret: &SecretSource) -> io::Result<CurrentKeys> {
    CurrentKeys::derive(client_secret.read()?.expose()).map_err(io::Error::other)
}

/// Waits for the requests, then for the flights. Returns whether all of them ended before the deadline.
async fn finish(fetcher: &Fetcher, callers: &ServerHandle, deadline: Instant) -> bool {
    telemetry::expect_late_connections();
    let served = tokio::time::timeout_at(deadline.into(), callers.stop(true)).await.is_ok();
    let idle = tokio::time::timeout_at(deadline.into(), fetcher.idle()).await.is_ok();
    served && idle
}

/// Frees expired cache entries and updates the gauges at a fixed interval, so that requests spend little time on it.
async fn run_maintenance(state: Data<AppState>, dropped_lines: Option<DroppedLines>) {
    let mut interval = tokio::time::interval(MAINTENANCE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let cache = state.cache.clone();
        drop(actix_rt::task::spawn_blocking(move || cache.run_maintenance()).await);
        state.update_gauges();
        if let Some(lines) = &dropped_lines {
            let counted = &state.metrics.log_lines_dropped;
            counted.inc_by(lines.count().saturating_sub(counted.get()));
        }
    }
}
