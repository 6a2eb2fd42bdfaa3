//! The state that replicas share in Redis or Valkey: the quota, claims, records of snapshots and of the access token, events. One
//! handle, which belongs to the fetcher's thread.
//!
//! It decides nothing about meetings, and stores nothing that must not be lost. Every operation has a time limit and fails as
//! [`Unavailable`]: the process then goes on by itself, within its share of the limits ([`standalone`]). ADR 16 says how the parts
//! fit together.

pub mod address;
pub mod bounds;
pub mod cipher;
pub mod circuit_breaker;
mod claims;
pub mod clock;
mod connection;
pub mod events;
pub mod failure_codec;
mod heartbeat;
pub mod keys;
pub mod meter;
mod op_error;
mod purge;
mod quota;
pub mod quota_reply;
mod quota_request;
mod quota_view;
pub mod record_codec;
mod records;
mod rejections;
mod retry;
mod script;
pub mod standalone;
mod time;
pub mod token;
mod wire;

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::PushInfo;
use tokio::sync::{Notify, mpsc, watch};

pub use self::claims::{ClaimResult, PutResult};
pub use self::keys::Claim;
pub(crate) use self::keys::namespace;
pub use self::records::StoredRecord;
use self::{
    address::Address,
    cipher::RecordCipher,
    circuit_breaker::{CircuitBreaker, RedisStatus},
    clock::ServerClock,
    connection::{OpError, RedisClient},
    events::Event,
    keys::{Keys, RecordKey},
    quota_view::QuotaView,
    rejections::Rejections,
    script::Scripts,
    standalone::{Mode, Presence},
};
use crate::{failure::LimitKind, metrics::Metrics};

/// Where Redis is, and what is shared over it.
pub struct ClusterConfig {
    /// Where Redis is.
    pub address: Address,
    /// Re-reads the address from its file; `None` if it has not changed or cannot be read.
    pub address_now: Arc<dyn Fn() -> Option<Address> + Send + Sync>,
    /// The longest that one operation may take.
    pub timeout: Duration,
    /// The most processes that can run at once.
    pub replicas: NonZeroU32,
    /// Separates accounts that use one Redis.
    pub namespace: String,
    /// Encrypts records; without it the access token is not shared.
    pub cipher: Option<Arc<RecordCipher>>,
    /// Calls permitted in any second, for all replicas together.
    pub per_second: NonZeroU32,
    /// Calls permitted in a UTC day, for all replicas together.
    pub per_day: u64,
    /// A record of a snapshot that claims to be fresh for longer is ignored.
    pub fresh_at_most: Duration,
}

/// Redis cannot be used now. Finding that out took [`ClusterConfig::timeout`] at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis cannot be used now")]
pub struct Unavailable;

/// The handle. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct Cluster(Rc<ClusterInner>);

struct ClusterInner {
    config: ClusterConfig,
    keys: Keys,
    client: RedisClient,
    /// Names this process among the replicas; another name after each start.
    replica: String,
    started: Instant,
    scripts: Scripts,
    /// `None` before the server was first reached.
    clock: Cell<Option<ServerClock>>,
    round_trip: Cell<Duration>,
    breaker: RefCell<CircuitBreaker>,
    presence: RefCell<Presence>,
    quota_view: RefCell<QuotaView>,
    outbox: RefCell<Vec<OutboxItem>>,
    /// All purges up to this number were applied here.
    purged: Cell<u64>,
    /// The purges that were missed before this connection were applied, too. Until then `purged` must not grow: of the purges
    /// 100, missed, and 200, just received, 100 would never be looked for again.
    caught_up: Cell<bool>,
    rejections: Rejections,
    /// This process has left the cluster, and uses Redis no more.
    has_left: Cell<bool>,
    bulk_timeouts: Cell<u32>,
    status: watch::Sender<RedisStatus>,
    events: mpsc::UnboundedSender<Event>,
    pushes: Cell<Option<mpsc::UnboundedReceiver<PushInfo>>>,
    /// Makes the next heartbeat come at once: there is reason to doubt the connection.
    doubt: Notify,
    /// A heartbeat succeeded, or this process has left.
    recovered: Notify,
}

/// An announcement that waits until Redis is available again.
enum OutboxItem {
    CoolDown {
        kind: LimitKind,
        until: Instant,
        encoded_failure: String,
    },
    /// No key means everything.
    Purge(Vec<RecordKey>),
    /// This claim of this replica will not be used.
    Release(Claim),
    /// The claim that this attempt may have made will not be used: the response was lost.
    Disown {
        key: RecordKey,
        attempt: String,
    },
}

impl Cluster {
    /// A handle that is not connected yet: [`Cluster::run_heartbeat`] connects. `events` receives what other replicas announce.
    pub fn new(config: ClusterConfig, events: mpsc::UnboundedSender<Event>, metrics: &Arc<Metrics>) -> Self {
        let now = Instant::now();
        let (push, pushes) = mpsc::unbounded_channel();
        Self(Rc::new(ClusterInner {
            keys: Keys::new(&config.namespace),
            client: RedisClient::new(config.address.clone(), config.timeout, push),
            replica: format!("{:016x}", fastrand::u64(..)),
            started: now,
            scripts: Scripts::new(),
            clock: Cell::default(),
            round_trip: Cell::default(),
            breaker: RefCell::new(CircuitBreaker::new(now)),
            presence: RefCell::new(Presence::new(now, config.per_second, config.replicas)),
            quota_view: RefCell::default(),
            outbox: RefCell::default(),
            purged: Cell::default(),
            caught_up: Cell::default(),
            rejections: Rejections::new(metrics),
            has_left: Cell::default(),
            bulk_timeouts: Cell::default(),
            status: watch::Sender::new(RedisStatus::Connecting),
            events,
            pushes: Cell::new(Some(pushes)),
            doubt: Notify::new(),
            recovered: Notify::new(),
            config,
        }))
    }

    /// Whether Redis is in use, as operators see it.
    pub fn status(&self) -> watch::Receiver<RedisStatus> {
        self.0.status.subscribe()
    }

    /// Returns when it is known whether Redis is available: about a second after the start at the latest.
    pub(crate) async fn wait_until_known(&self) {
        // The sender lives as long as this handle.
        drop(self.status().wait_for(|status| *status != RedisStatus::Connecting).await);
    }

    /// How this process may call Zoom now.
    pub fn mode(&self, now: Instant) -> Mode {
        let is_up = self.0.breaker.borrow().status() == RedisStatus::Up;
        self.0.presence.borrow().mode(is_up, now)
    }

    /// The server's clock; `None` before the server was first reached.
    pub fn clock(&self) -> Option<ServerClock> {
        self.0.clock.get()
    }

    /// Encrypts records, also on other threads.
    pub fn cipher(&self) -> Option<Arc<RecordCipher>> {
        self.0.config.cipher.clone()
    }

    pub(crate) fn fresh_at_most(&self) -> Duration {
        self.0.config.fresh_at_most
    }

    fn ensure_usable(&self) -> Result<(), Unavailable> {
        let is_usable = !self.0.has_left.get() && self.0.breaker.borrow().is_closed();
        if is_usable { Ok(()) } else { Err(Unavailable) }
    }

    /// Opens the circuit breaker: until the next heartbeat, which follows at once, nothing else asks Redis.
    fn failed(&self, error: &OpError) {
        self.record(|breaker| breaker.on_failure(Instant::now()), error);
        self.0.doubt.notify_one();
    }

    fn record(&self, change: impl FnOnce(&mut CircuitBreaker) -> bool, error: &OpError) {
        let mut breaker = self.0.breaker.borrow_mut();
        if !change(&mut breaker) {
            return;
        }
        let status = breaker.status();
        drop(breaker);
        self.0.status.send_replace(status);
        if status == RedisStatus::Up {
            tracing::info!(server = self.0.client.host(), "Redis is in use: limits and snapshots are shared");
        } else {
            tracing::warn!(
                server = self.0.client.host(),
                reason = %error,
                replicas = self.0.config.replicas,
                "Redis is away: this process goes on by itself, within its share of the limits"
            );
        }
    }
}
