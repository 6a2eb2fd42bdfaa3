//! The state that replicas share in Redis or Valkey: the quota, claims, events, and records of snapshots and access tokens.
//!
//! Redis may lose everything that it stores. Every operation has a time limit. If Redis stays unavailable, the process
//! continues on its own, within its share of the limits ([`standalone`]). See also
//! `docs/adr/0016-shared-quota-in-redis.md`.
//!
//! A *claim* is a replica's lease on fetching one meeting for all replicas. It lasts 60 s and is renewed every 20 s.
//! Another replica can get the claim when it has ended or expired, or 3 s after its owner's last heartbeat.
//!
//! A *fencing number* orders claims, records and purges. A record is not stored if a purge or a stored record has a larger
//! number (`claims.lua`). A *slot* is a time for one call, reserved from the shared quota (`quota.lua`).

pub mod address;
pub mod bounds;
pub mod caller_calls;
pub mod ceilings; // start_flight, count_caller_call, uncount_caller_call
pub mod cipher;
pub mod circuit_breaker;
mod claims; // claim, renew, put (a record), release, disown
pub mod clock;
mod connection;
pub mod events;
pub mod failure_codec;
mod heartbeat; // run_heartbeat: connects, receives events, sends the outbox
pub mod keys;
pub mod meter;
mod op_error;
mod purge; // purge, and the purges that were missed
mod quota; // reserve_slot, release_slot, and what this replica knows of the shared quota
pub mod quota_reply;
mod quota_request; // request: runs `quota.lua`
mod quota_view;
pub mod record_codec;
mod records; // look_up, put_unclaimed, get_unclaimed, forget
mod rejections;
mod retry; // retrying
mod script;
pub mod standalone;
pub mod token; // access_token_key
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

/// How this process uses Redis, and the limits that replicas share.
pub struct ClusterConfig {
    /// The address of the server when the process starts.
    pub address: Address,
    /// Reads the address again from its source, because passwords change and servers move. Returns `None` on failure.
    pub address_now: Arc<dyn Fn() -> Option<Address> + Send + Sync>,
    /// The maximum time of one operation on an open connection.
    pub timeout: Duration,
    /// The maximum number of processes that run at the same time.
    pub replicas: NonZeroU32,
    /// Separates accounts that use one Redis.
    pub namespace: String,
    /// Encrypts records. If `None`, records are not encrypted, and the access token is not shared.
    pub cipher: Option<Arc<RecordCipher>>,
    /// Calls permitted in any second, for all replicas together.
    pub per_second: NonZeroU32,
    /// Calls permitted in a UTC day, for all replicas together.
    pub per_day: u64,
    /// The longest freshness of any snapshot. A record with a longer freshness is ignored.
    pub fresh_at_most: Duration,
}

/// Redis cannot be used now. An attempt at an operation usually returns this within [`ClusterConfig::timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis cannot be used now")]
pub struct Unavailable;

/// A handle to the shared state. It belongs to one thread, and clones share its state.
#[derive(Clone)]
pub struct Cluster(Rc<ClusterInner>);

struct ClusterInner {
    config: ClusterConfig,
    keys: Keys,
    client: RedisClient,
    /// This process's name among the replicas. It is random, so it is different after each start.
    replica: String,
    started: Instant,
    scripts: Scripts,
    /// The server's clock; `None` before the server was first reached.
    clock: Cell<Option<ServerClock>>,
    round_trip: Cell<Duration>,
    breaker: RefCell<CircuitBreaker>,
    presence: RefCell<Presence>,
    quota_view: RefCell<QuotaView>,
    /// Grows with each reply that may change the callers' accounts.
    caller_calls_version: Cell<u64>,
    outbox: RefCell<Vec<OutboxItem>>,
    /// All purges with numbers up to this one were applied here.
    purged: Cell<u64>,
    /// Whether the purges that were missed before this connection were applied. Until then, `purged` must not grow: if it
    /// became 200 while purge 100 is still missing, purge 100 would never be applied.
    caught_up: Cell<bool>,
    rejections: Rejections,
    /// Whether this process has left the cluster. It then no longer uses Redis.
    has_left: Cell<bool>,
    bulk_timeouts: Cell<u32>,
    status: watch::Sender<RedisStatus>,
    events: mpsc::UnboundedSender<Event>,
    pushes: Cell<Option<mpsc::UnboundedReceiver<PushInfo>>>,
    /// Makes the heartbeat run immediately, because the connection may be broken.
    heartbeat_now: Notify,
    /// Wakes waiting operations when a heartbeat succeeds or this process leaves.
    recovered: Notify,
}

/// An announcement that waits in the outbox until a heartbeat succeeds.
enum OutboxItem {
    CoolDown {
        kind: LimitKind,
        until: Instant,
        encoded_failure: String,
    },
    /// A purge of these keys. An empty list purges everything.
    Purge(Vec<RecordKey>),
    /// This replica does not use its claim.
    Release(Claim),
    /// This replica does not use the claim that this attempt may have made. The reply to the attempt was lost.
    Disown {
        key: RecordKey,
        attempt: String,
    },
}

impl Cluster {
    /// Returns a handle. [`Cluster::run_heartbeat`] connects it. `events` receives the replicas' events.
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
            caller_calls_version: Cell::default(),
            outbox: RefCell::default(),
            purged: Cell::default(),
            caught_up: Cell::default(),
            rejections: Rejections::new(metrics),
            has_left: Cell::default(),
            bulk_timeouts: Cell::default(),
            status: watch::Sender::new(RedisStatus::Connecting),
            events,
            pushes: Cell::new(Some(pushes)),
            heartbeat_now: Notify::new(),
            recovered: Notify::new(),
            config,
        }))
    }

    /// Returns the status of Redis that operators see.
    pub fn status(&self) -> watch::Receiver<RedisStatus> {
        self.0.status.subscribe()
    }

    /// Waits until it is known whether Redis is available. After the start, this usually takes less than a second.
    pub(crate) async fn wait_until_known(&self) {
        // This cannot fail, because the sender lives as long as this handle.
        drop(self.status().wait_for(|status| *status != RedisStatus::Connecting).await);
    }

    /// Returns how this process may call Zoom now.
    pub fn mode(&self, now: Instant) -> Mode {
        let is_up = self.0.breaker.borrow().status() == RedisStatus::Up;
        self.0.presence.borrow().mode(is_up, now)
    }

    /// Returns the server's clock; `None` before the server was first reached.
    pub fn clock(&self) -> Option<ServerClock> {
        self.0.clock.get()
    }

    /// Returns the cipher for records, if they are encrypted. Other threads may use it.
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

    /// Opens the circuit breaker: other operations fail until a heartbeat succeeds. The next heartbeat starts immediately.
    fn failed(&self, error: &OpError) {
        self.record(|breaker| breaker.on_failure(Instant::now()), error);
        self.0.heartbeat_now.notify_one();
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
