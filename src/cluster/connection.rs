//! The two connections to one Redis node, which are opened and closed together.
//!
//! Operations that transfer records use one connection, and all others use the other, so that a large record hardly
//! delays them. Every operation has a time limit. The circuit breaker decides whether an operation may run, and the
//! heartbeat decides when to reconnect.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, InfoDict, PushInfo, RedisError, aio::MultiplexedConnection,
};
use tokio::sync::mpsc;

pub(super) use super::op_error::OpError;
use super::{
    address::Address,
    bounds,
    clock::ServerClock,
    keys::Keys,
    op_error::message,
    wire::{self, Driver},
};
use crate::failure::Redactor;

/// The minimum of the time limit for connecting, because connecting takes several round trips, and even more with TLS.
const CONNECT_AT_LEAST: Duration = Duration::from_secs(1);
/// The maximum size of a reply to [`Traffic::Control`], in bytes, for example the names of a thousand purges or
/// callers.
const LARGEST_CONTROL: usize = 1 << 20;
/// The maximum size of a reply to [`Traffic::Bulk`], in bytes: a record and a few numbers.
const LARGEST_BULK: usize = 17 << 20;
/// The maximum number of redirects between the nodes of a Redis Cluster while connecting.
const MAX_REDIRECTS: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(super) enum Traffic {
    /// Small and urgent operations, such as those on the quota and claims, and events.
    Control,
    /// Operations that send or receive a record.
    Bulk,
}

pub(super) struct RedisClient {
    address: RefCell<Address>,
    /// Removes the user and the password of every address that was used.
    redactor: Redactor,
    timeout: Duration,
    pushes: mpsc::UnboundedSender<PushInfo>,
    connections: RefCell<Option<Connections>>,
    /// The number of the last connection, so that an error on an old connection does not close a newer one.
    generation: Cell<u64>,
}

struct Connections {
    control: MultiplexedConnection,
    bulk: MultiplexedConnection,
    run_id: String,
    generation: u64,
    _drivers: [Driver; 2],
}

/// The facts about the server that [`RedisClient::connect`] learns.
pub(super) struct Connected {
    pub(super) clock: ServerClock,
    /// Whether the server's run id was malformed. It is then treated as missing.
    pub(super) is_server_odd: bool,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("{0}")]
    Impossible(&'static str),
}

impl RedisClient {
    pub(super) fn new(address: Address, timeout: Duration, pushes: mpsc::UnboundedSender<PushInfo>) -> Self {
        Self {
            address: RefCell::new(address),
            redactor: Redactor::default(),
            timeout,
            pushes,
            connections: RefCell::default(),
            generation: Cell::default(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connections.borrow().is_some()
    }

    pub(super) fn host(&self) -> String {
        self.address.borrow().host()
    }

    pub(super) fn set_address(&self, address: Address) {
        *self.address.borrow_mut() = address;
    }

    /// Returns the run id of the server, which is different for each server and after each restart. It is empty if the
    /// server has none, and `None` without a connection.
    pub(super) fn run_id(&self) -> Option<String> {
        self.connections.borrow().as_ref().map(|connections| connections.run_id.clone())
    }

    pub(super) fn disconnect(&self) {
        self.connections.borrow_mut().take();
    }

    /// Connects, subscribes to events, and reads the server's clock. Returns the reason for the log if this fails.
    pub(super) async fn connect(&self, keys: &Keys) -> Result<Connected, String> {
        let limit = CONNECT_AT_LEAST.max(self.timeout * 4);
        match tokio::time::timeout(limit, self.try_connect(keys)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(ConnectError::Redis(error))) => Err(message(&error, &self.redactor)),
            Ok(Err(ConnectError::Impossible(reason))) => Err(reason.to_owned()),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }

    async fn try_connect(&self, keys: &Keys) -> Result<Connected, ConnectError> {
        let address = self.address.borrow().clone();
        for secret in [address.login().password(), address.login().username()].into_iter().flatten() {
            self.redactor.learn(secret);
        }
        let node = match &address.master {
            None => address.first().clone(),
            Some(master) => self.ask_sentinel(&address, master).await?,
        };
        let (node, mut control, control_driver) = self.connect_to_owner(&address, node, keys).await?;
        control.subscribe(&*keys.events).await?;
        let info: InfoDict = redis::cmd("INFO").arg("server").query_async(&mut control).await?;
        let run_id = info.get::<String>("run_id").unwrap_or_default();
        let (run_id, is_server_odd) = bounds::run_id(&run_id).map_or(("", true), |run_id| (run_id, false));
        let sent = Instant::now();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut control).await?;
        let clock = bounds::server_time(seconds, micros)
            .and_then(|there| ServerClock::observe(sent, Instant::now(), there))
            .map_err(|_| {
                ConnectError::Impossible(
                    "the server's clock shows an impossible time: check the clock of Redis's host",
                )
            })?;
        let (bulk, bulk_driver) =
            wire::connect(&address, &node, address.login(), LARGEST_BULK, self.config(false)).await?;
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        let (drivers, run_id) = ([control_driver, bulk_driver], run_id.to_owned());
        *self.connections.borrow_mut() =
            Some(Connections { control, bulk, run_id, generation, _drivers: drivers });
        Ok(Connected { clock, is_server_odd })
    }

    async fn ask_sentinel(&self, address: &Address, master: &str) -> Result<ConnectionAddr, ConnectError> {
        let login = Address::sentinel_login();
        let config = self.config(false);
        let (mut sentinel, _driver) =
            wire::connect(address, address.first(), &login, LARGEST_CONTROL, config).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let (host, port): (String, u16) = command.query_async(&mut sentinel).await?;
        let host = bounds::host(&host).map_err(|_| ConnectError::Impossible("Sentinel names no address"))?;
        Ok(address.node(host, port))
    }

    /// Connects to a node and follows redirects to the node that owns the keys. All keys have the same hash tag, so one
    /// node owns all of them.
    async fn connect_to_owner(
        &self,
        address: &Address,
        mut node: ConnectionAddr,
        keys: &Keys,
    ) -> Result<(ConnectionAddr, MultiplexedConnection, Driver), RedisError> {
        let mut redirects = 0;
        loop {
            let (mut control, driver) =
                wire::connect(address, &node, address.login(), LARGEST_CONTROL, self.config(true)).await?;
            let asked: Result<bool, _> =
                redis::cmd("EXISTS").arg(&*keys.quota).query_async(&mut control).await;
            let Err(error) = asked else { return Ok((node, control, driver)) };
            let to = error.redirect_node().and_then(|(to, _)| to.rsplit_once(':'));
            let to = to.and_then(|(host, port)| {
                Some((bounds::host(host.trim_matches(['[', ']'])).ok()?, port.parse().ok()?))
            });
            let Some((host, port)) = to.filter(|_| redirects < MAX_REDIRECTS) else { return Err(error) };
            node = address.node(host, port);
            redirects += 1;
        }
    }

    fn config(&self, subscribes: bool) -> AsyncConnectionConfig {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(self.timeout));
        if subscribes { config.set_push_sender(self.pushes.clone()) } else { config }
    }

    /// Runs an operation within the time limit. Closes the connections if the operation finds them broken.
    pub(super) async fn run<T>(
        &self,
        traffic: Traffic,
        operation: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, OpError> {
        let (connection, generation) = {
            let connections = self.connections.borrow();
            let connections = connections.as_ref().ok_or(OpError::Broken)?;
            let connection = match traffic {
                Traffic::Control => &connections.control,
                Traffic::Bulk => &connections.bulk,
            };
            (connection.clone(), connections.generation)
        };
        let error = match tokio::time::timeout(self.timeout, operation(connection)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => OpError::of(&error, &self.redactor),
            Err(_) => OpError::TimedOut,
        };
        if matches!(error, OpError::Broken) {
            self.connections.borrow_mut().take_if(|connections| connections.generation == generation);
        }
        Err(error)
    }
}
