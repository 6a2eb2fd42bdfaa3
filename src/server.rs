//! Binds the two listeners, and bounds what connections may use, such as time, open files and memory.

mod deadline;
mod framing;
mod guard;
mod head;
mod link;
mod meter;
mod open_connections;
mod open_files;
mod socket;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_rt::net::TcpStream;
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{ServiceFactory, ServiceFactoryExt as _, apply_fn_factory, fn_service, map_config};
use actix_web::{App as Routes, dev::AppConfig, web::Data};
use tokio::net::{TcpListener, TcpSocket};

pub use self::deadline::Timeouts;
use self::{guard::Guard, meter::ConnectionMeter, open_connections::OpenConnections};
use crate::http::{self, AppState, Listener};

/// The maximum number of connections that the kernel queues until they are accepted, if its `somaxconn` is not lower.
const BACKLOG: u32 = 4096;
/// The number of blocking threads of each HTTP worker. They decompress bodies.
const WORKER_BLOCKING_THREADS: usize = 2;
/// The maximum number of the operators' connections. They have a limit of their own, so that callers cannot block probes.
const OPERATORS_CONNECTIONS: usize = 128;
/// actix adds the next part of a body to a connection's write buffer only while the buffer holds fewer bytes than this.
/// The rest of a part and the next part therefore fit into the same allocation.
const WRITE_BUFFER: usize = 4 * 1024;
/// The maximum time that a connection stays open after its last response, to read and discard bytes that still arrive.
/// If it were closed immediately, the kernel could reset it, and the client could lose the response.
const LINGER: Duration = Duration::from_secs(1);

/// The listeners and their limits.
pub struct ServerConfig {
    /// The address of the callers' listener.
    pub listen: SocketAddr,
    /// The address of the operators' listener, for health, metrics, status and purges.
    pub ops_listen: SocketAddr,
    /// The number of HTTP worker threads for callers. Operators have one more.
    pub workers: usize,
    /// How long new connections are still accepted after SIGTERM.
    pub drain_delay: Duration,
    /// How long requests and flights in progress may take after the drain.
    pub shutdown_timeout: Duration,
    /// The maximum number of concurrent connections of callers; fewer if the limit of open files is too low. More
    /// connections wait in the kernel's queue.
    pub max_connections: u32,
    /// The timeouts of the connections of both listeners.
    pub timeouts: Timeouts,
}

/// A listener could not be started at its address.
#[derive(Debug, thiserror::Error)]
#[error("{key} {address}: {source}{hint}")]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
    hint: &'static str,
}

/// The two listeners, whose addresses are bound.
pub(crate) struct Listeners {
    pub(crate) callers: Server,
    pub(crate) operators: Server,
    /// The callers' address, with the actual port.
    pub(crate) listen: SocketAddr,
    /// The operators' address, with the actual port.
    pub(crate) ops_listen: SocketAddr,
}

impl Listeners {
    pub(crate) fn bind(config: &ServerConfig, state: &Data<AppState>) -> Result<Self, BindError> {
        let most = open_files::reserve_for(config.max_connections);
        // actix limits the connections of each worker. For example, 2,048 connections and 3 workers make 682 for
        // each worker.
        let workers = config.workers.min(most).max(1);
        let (callers, listen) = bind(Listener::Callers, workers, most / workers, config, state)?;
        let (operators, ops_listen) = bind(Listener::Operators, 1, OPERATORS_CONNECTIONS, config, state)?;
        Ok(Self { callers, operators, listen, ops_listen })
    }
}

fn bind(
    listener: Listener,
    workers: usize,
    connections_each: usize,
    config: &ServerConfig,
    state: &Data<AppState>,
) -> Result<(Server, SocketAddr), BindError> {
    let (key, address) = match listener {
        Listener::Callers => ("server.listen", config.listen),
        Listener::Operators => ("server.ops_listen", config.ops_listen),
    };
    let failed = |source| BindError { key, address, hint: hint(&source), source };
    let socket = listen(address).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let timeout = config.shutdown_timeout;
    // actix takes whole seconds. Rounding down would end requests too early.
    let whole_seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections_each)
        .worker_max_blocking_threads(WORKER_BLOCKING_THREADS)
        .shutdown_timeout(whole_seconds)
        .disable_signals();
    let (stopping, timeouts, state) = (builder.graceful_shutdown_signal(), config.timeouts, state.clone());
    // This closure runs once for each worker, so everything that workers share is made outside.
    let open = OpenConnections::default();
    let factory = move || connections(listener, &state, timeouts, (&open, &stopping));
    let server = socket.into_std().and_then(|socket| builder.listen(key, socket, factory)).map_err(failed)?;
    Ok((server.run(), bound))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 require a privilege: choose a higher one",
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: use 0.0.0.0 for all of its addresses"
        }
        _ => "",
    }
}

/// Returns the service for each connection: actix's HTTP/1.1, which reads and writes through the guard.
fn connections(
    listener: Listener,
    state: &Data<AppState>,
    timeouts: Timeouts,
    (open, stopping): (&OpenConnections, &GracefulShutdownSignal),
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<>
{
    let routes = Routes::new().configure(http::routes(listener, state));
    let service = apply_fn_factory(map_config(routes, |()| AppConfig::default()), link::watch);
    let (open, stopping) = (open.clone(), stopping.clone());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        // The guard has the timers. actix's own timers either apply only to the first head or are reset for each
        // request.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LINGER)
        .h1_write_buffer_size(WRITE_BUFFER)
        .on_connect_ext(move |guard: &Guard<TcpStream>, extensions| {
            extensions.insert(Rc::clone(&guard.link));
            if listener == Listener::Callers {
                http::watch_connection(&guard.socket, extensions);
            }
        })
        .h1(service);
    let metrics = Arc::clone(&state.metrics);
    fn_service(move |stream: TcpStream| {
        let peer = stream.peer_addr().ok();
        // Without this, the end of a response can wait 40 ms until the client acknowledges its beginning.
        drop(stream.set_nodelay(true));
        let guard = Guard::new(stream, timeouts, ConnectionMeter::new(&metrics, listener.as_str(), &open));
        async move { Ok((guard, peer)) }
    })
    .and_then(http)
}
