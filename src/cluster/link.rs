//! The connections to Redis: two of them to one node, made together and given up together.
//!
//! Permits, claims and events go over one, records over the other, so that a large one holds up nobody. Every operation is
//! bounded. It decides nothing: whether to ask at all is the breaker's business, and when to connect again its owner's.

use std::{
    cell::{Cell, RefCell},
    fmt,
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue, InfoDict, Pipeline, PushInfo, RedisError,
    ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::sync::mpsc;

use super::{
    address::Address,
    bounds,
    clock::ServerClock,
    keys::Keys,
    script::ScriptCall,
    wire::{self, Driver},
};
use crate::failure::Redactor;

/// To connect takes some exchanges, with TLS a few more.
const CONNECT_AT_LEAST: Duration = Duration::from_secs(1);
/// Bytes of one reply: numbers, the names of a thousand purges, and events ...
const LARGEST_CONTROL: usize = 1 << 20;
/// ... and a record, with what is said about it.
const LARGEST_BULK: usize = 17 << 20;
/// Nodes of a cluster that direct us to one another.
const HOPS: usize = 4;
/// What Redis says before it repeats what it was asked with, cut where we cannot know.
const REPEATED: &str = ", with args beginning with";

/// Why an operation did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no connection, or it broke.
    Broken,
    /// No answer in time; whether it took effect is not known.
    TimedOut,
    /// The server refused it, and so it had no effect: the reason.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("no connection"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Refused(words) => f.write_str(words),
        }
    }
}

/// Which of the two connections.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// For what is small and urgent.
    Control,
    /// For records.
    Bulk,
}

pub(super) struct Link {
    address: RefCell<Address>,
    /// Knows the user and the password of every address that was used.
    redactor: Redactor,
    timeout: Duration,
    pushes: mpsc::UnboundedSender<PushInfo>,
    lines: RefCell<Option<Lines>>,
    /// Counts connections, so that an error of an old one does not end a new one.
    generation: Cell<u64>,
}

/// What was heard of the server on the way.
pub(super) struct Connected {
    pub(super) clock: ServerClock,
    /// It has a run id that is none. Such a server is taken for one without.
    pub(super) is_server_odd: bool,
}

struct Lines {
    control: MultiplexedConnection,
    bulk: MultiplexedConnection,
    run: String,
    generation: u64,
    _drivers: [Driver; 2],
}

impl Link {
    pub(super) fn new(address: Address, timeout: Duration, pushes: mpsc::UnboundedSender<PushInfo>) -> Self {
        Self {
            address: RefCell::new(address),
            redactor: Redactor::default(),
            timeout,
            pushes,
            lines: RefCell::default(),
            generation: Cell::default(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lines.borrow().is_some()
    }

    /// Host and port, for the log.
    pub(super) fn host(&self) -> String {
        self.address.borrow().host()
    }

    /// The next connection leads there.
    pub(super) fn moves_to(&self, address: Address) {
        *self.address.borrow_mut() = address;
    }

    /// The run id of the server: another one after every restart, and of every other server.
    pub(super) fn run(&self) -> Option<String> {
        self.lines.borrow().as_ref().map(|lines| lines.run.clone())
    }

    pub(super) fn hang_up(&self) {
        self.lines.borrow_mut().take();
    }

    /// Connects, listens to events, and reads the server's clock.
    pub(super) async fn connect(&self, keys: &Keys) -> Result<Connected, String> {
        let most = CONNECT_AT_LEAST.max(self.timeout * 4);
        match tokio::time::timeout(most, self.try_connect(keys)).await {
            Ok(Ok(connected)) => connected.map_err(str::to_owned),
            Ok(Err(error)) => Err(words(&error, &self.redactor)),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }

    async fn try_connect(&self, keys: &Keys) -> Result<Result<Connected, &'static str>, RedisError> {
        let address = self.address.borrow().clone();
        for secret in [address.who().password(), address.who().username()].into_iter().flatten() {
            self.redactor.learn(secret);
        }
        let mut node = match address.master() {
            None => address.first(),
            Some(master) => {
                let who = Address::sentinel_who();
                let (mut sentinel, _driver) =
                    wire::connect(&address, &address.first(), &who, LARGEST_CONTROL, self.config(false))
                        .await?;
                let mut ask = redis::cmd("SENTINEL");
                let (host, port): (String, u16) =
                    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut sentinel).await?;
                let Ok(host) = bounds::host(&host) else { return Ok(Err("Sentinel names no address")) };
                address.node(host, port)
            }
        };
        let mut hops = 0;
        let (mut control, control_driver) = loop {
            let (mut control, driver) =
                wire::connect(&address, &node, address.who(), LARGEST_CONTROL, self.config(true)).await?;
            let looked: Result<bool, _> =
                redis::cmd("EXISTS").arg(&*keys.budget).query_async(&mut control).await;
            match looked {
                Ok(_) => break (control, driver),
                Err(error) if hops < HOPS => {
                    let to = error.redirect_node().and_then(|(to, _)| to.rsplit_once(':'));
                    let to = to.and_then(|(host, port)| {
                        Some((bounds::host(host.trim_matches(['[', ']'])).ok()?, port.parse().ok()?))
                    });
                    let Some((host, port)) = to else { return Err(error) };
                    node = address.node(host, port);
                    hops += 1;
                }
                Err(error) => return Err(error),
            }
        };
        control.subscribe(&*keys.events).await?;
        let about: InfoDict = redis::cmd("INFO").arg("server").query_async(&mut control).await?;
        let run = about.get::<String>("run_id").unwrap_or_default();
        let (run, is_server_odd) = bounds::run_id(&run).map_or(("", true), |run| (run, false));
        let sent = Instant::now();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut control).await?;
        let clock = bounds::server_time(seconds, micros)
            .and_then(|there| ServerClock::heard(sent, Instant::now(), there));
        let Ok(clock) = clock else { return Ok(Err("the server's clock shows a time that cannot be")) };
        let (bulk, bulk_driver) =
            wire::connect(&address, &node, address.who(), LARGEST_BULK, self.config(false)).await?;
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        let drivers = [control_driver, bulk_driver];
        *self.lines.borrow_mut() =
            Some(Lines { control, bulk, run: run.to_owned(), generation, _drivers: drivers });
        Ok(Ok(Connected { clock, is_server_odd }))
    }

    fn config(&self, listens: bool) -> AsyncConnectionConfig {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(self.timeout));
        if listens { config.set_push_sender(self.pushes.clone()) } else { config }
    }

    fn connection(&self, lane: Lane) -> Option<(MultiplexedConnection, u64)> {
        let lines = self.lines.borrow();
        let lines = lines.as_ref()?;
        let connection = match lane {
            Lane::Control => &lines.control,
            Lane::Bulk => &lines.bulk,
        };
        Some((connection.clone(), lines.generation))
    }

    /// Runs a script.
    pub(super) async fn script<T: FromRedisValue>(
        &self,
        lane: Lane,
        script: &ScriptCall<'_>,
    ) -> Result<T, Trouble> {
        let Some((mut to, generation)) = self.connection(lane) else { return Err(Trouble::Broken) };
        self.bounded(generation, script.run(&mut to)).await
    }

    /// Sends commands together.
    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        lane: Lane,
        pipe: &Pipeline,
    ) -> Result<T, Trouble> {
        let Some((mut to, generation)) = self.connection(lane) else { return Err(Trouble::Broken) };
        self.bounded(generation, pipe.query_async(&mut to)).await
    }

    async fn bounded<T>(
        &self,
        generation: u64,
        operation: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Trouble> {
        let trouble = match tokio::time::timeout(self.timeout, operation).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => trouble(&error, &self.redactor),
            Err(_) => Trouble::TimedOut,
        };
        if matches!(trouble, Trouble::Broken) {
            self.lines.borrow_mut().take_if(|lines| lines.generation == generation);
        }
        Err(trouble)
    }
}

fn trouble(error: &RedisError, redactor: &Redactor) -> Trouble {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Trouble::TimedOut,
        ErrorKind::Server(_) | ErrorKind::Extension => Trouble::Refused(words(error, redactor)),
        _ => Trouble::Broken,
    }
}

/// What a line of the log may say of an error. The server may repeat what it was asked with, and that is the password too.
fn words(error: &RedisError, redactor: &Redactor) -> String {
    if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) {
        return "the user or the password is refused".to_owned();
    }
    let words = match error.kind() {
        ErrorKind::AuthenticationFailed => "the user or the password is refused".to_owned(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            format!("the user may not do what is needed: {}", error.detail().unwrap_or_default())
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "the server is a replica and read-only".to_owned(),
        _ => error.to_string(),
    };
    let said = words.to_ascii_lowercase();
    if said.contains("unknown command") && said.contains("hello") {
        return "the server does not know HELLO: Redis before 6, or HELLO is renamed".to_owned();
    }
    let words = words.split_once(REPEATED).map_or(words.as_str(), |(before, _)| before);
    redactor.redact(words).to_string()
}
