//! Composition root: the only file that sees every part. Binds the listeners, wires the parts, and stops them in order.

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
use actix_web::{
    App as Routes, HttpServer,
    dev::{Server, ServerHandle},
    web::Data,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::{
    budget::{Budget, day::StateFileError},
    cache::Cache,
    callers::{Callers, Keeper},
    config::Config,
    fetcher::{Fetcher, Launch, Parts},
    http::{self, Listener, State},
    metrics::Metrics,
    telemetry::DroppedLines,
    trace::{self, Sending},
};

/// Callers in a cluster pool their connections; actix's 5 s would close them under a request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that the kernel holds until they are accepted; it takes no more than its own `somaxconn`.
const BACKLOG: u32 = 4096;
/// Two for pages; and two for the state file and for names, which a slow disk and a slow name server can hold up.
const FETCHER_BLOCKING_THREADS: usize = 4;
/// For each HTTP worker: they unpack bodies.
const WORKER_BLOCKING_THREADS: usize = 2;
/// How long saying goodbye to other replicas may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often the cache frees what has expired, and the gauges are made true.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// The listeners, and how they stop.
pub struct ServerConfig {
    /// Callers' listener.
    pub listen: SocketAddr,
    /// Health, metrics, status.
    pub ops_listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// After SIGTERM: how long new connections are still answered.
    pub drain_delay: Duration,
    /// After the drain: how long requests under way may take.
    pub shutdown_timeout: Duration,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("{key} {address}: {source}{hint}")]
    Bind {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The day's count cannot be kept.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
}

/// The service, bound and ready to run. Must be made and run inside an actix `System`.
pub struct App {
    state: Data<State>,
    launch: Launch,
    keeper: Option<Keeper>,
    callers: Server,
    operators: Server,
    sending: Sending,
    listen: SocketAddr,
    ops_listen: SocketAddr,
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
        let (known, keeper) = Callers::open(callers, &metrics);
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
        let state = Data::new(State { callers: known, cache, fetcher, metrics, tracer, draining });

        take_all_open_files();
        let timeout = server.shutdown_timeout;
        let (callers, listen) =
            bind("server.listen", server.listen, server.workers, timeout, &state, Listener::Callers)?;
        let (operators, ops_listen) =
            bind("server.ops_listen", server.ops_listen, 1, timeout, &state, Listener::Operators)?;
        let ServerConfig { drain_delay, shutdown_timeout, .. } = server;
        Ok(Self {
            state,
            launch,
            keeper,
            callers,
            operators,
            sending,
            listen,
            ops_listen,
            drain_delay,
            shutdown_timeout,
        })
    }

    /// The callers' address, with the port that was really bound.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The operators' address, with the port that was really bound.
    #[must_use]
    pub fn ops_listen(&self) -> SocketAddr {
        self.ops_listen
    }

    /// Serves until `stop` is ready, then drains: not ready at once, still answering for `server.drain_delay`, and
    /// finishing what is under way within `server.shutdown_timeout`.
    ///
    /// # Errors
    /// When a listener fails while it runs, or the system has no thread left to give.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        dropped_lines: Option<DroppedLines>,
    ) -> io::Result<()> {
        // Not before both listeners are ours: a process that cannot serve must not ask Zoom for anything.
        let fetcher_thread = Arbiter::try_with_tokio_rt(fetcher_runtime)?;
        self.launch.on(&fetcher_thread);
        let (callers, operators) = (self.callers.handle(), self.operators.handle());
        let mut serving = actix_rt::spawn(self.callers);
        drop(actix_rt::spawn(self.operators));
        drop(actix_rt::spawn(tidy(self.state.clone(), dropped_lines)));
        drop(self.keeper.map(|keeper| actix_rt::spawn(keeper.keep())));
        tracing::info!(
            listen = %self.listen,
            ops_listen = %self.ops_listen,
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        tokio::select! {
            () = stop => {}
            ended = &mut serving => return ended.unwrap_or_else(|panicked| Err(io::Error::other(panicked))),
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
fn fetcher_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().max_blocking_threads(FETCHER_BLOCKING_THREADS).enable_all().build()
}

/// Lets requests end, then flights. `false` when the time was not enough.
async fn finish(fetcher: &Fetcher, callers: &ServerHandle, deadline: Instant) -> bool {
    let served = tokio::time::timeout_at(deadline.into(), callers.stop(true)).await.is_ok();
    let landed = tokio::time::timeout_at(deadline.into(), fetcher.all_landed()).await.is_ok();
    served && landed
}

/// A connection of a caller's takes two. Shells and service managers start a process with 1,024, for the sake of
/// programs that use `select`, and leave it to the others to take what they may have.
fn take_all_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the number of open files stays as it was");
    }
}

fn bind(
    key: &'static str,
    address: SocketAddr,
    workers: usize,
    shutdown_timeout: Duration,
    state: &Data<State>,
    listener: Listener,
) -> Result<(Server, SocketAddr), StartError> {
    let state = state.clone();
    // Runs once per worker: everything shared is made outside.
    let factory = move || Routes::new().app_data(state.clone()).configure(http::routes(listener, &state));
    let failed = |source: io::Error| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one",
            io::ErrorKind::AddrNotAvailable => {
                "; this machine has no such address: 0.0.0.0 means all of its own"
            }
            _ => "",
        };
        StartError::Bind { key, address, source, hint }
    };
    // actix counts whole seconds; less than asked for would cut requests off.
    let whole_seconds = shutdown_timeout.as_secs() + u64::from(shutdown_timeout.subsec_nanos() > 0);
    let server = HttpServer::new(factory)
        .workers(workers)
        .worker_max_blocking_threads(WORKER_BLOCKING_THREADS)
        .backlog(BACKLOG)
        .keep_alive(KEEP_ALIVE)
        .on_connect(http::watch_for_hang_up)
        // The end of an answer must not wait for the caller to acknowledge its beginning: 40 ms.
        .tcp_nodelay(true)
        .shutdown_timeout(whole_seconds)
        .disable_signals()
        .bind(address)
        .map_err(failed)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), bound))
}

/// Housekeeping that must not happen inside a caller's request.
async fn tidy(state: Data<State>, dropped_lines: Option<DroppedLines>) {
    let mut every = tokio::time::interval(TIDY_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let cache = state.cache.clone();
        drop(actix_rt::task::spawn_blocking(move || cache.tidy()).await);
        state.show();
        if let Some(lines) = &dropped_lines {
            state.metrics.log_lines_dropped.set(i64::try_from(lines.count()).unwrap_or(i64::MAX));
        }
    }
}
