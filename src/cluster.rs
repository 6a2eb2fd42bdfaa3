//! What several replicas have in common, over Redis or Valkey: the budget, records of snapshots and the access token, who
//! fetches what, and events. One handle, which belongs to the fetcher's thread.
//!
//! It decides nothing about meetings and keeps nothing that it could not lose. Every operation is bounded, and fails as
//! [`Away`]: then the process goes on by itself, within its share ([`standalone`]). How it fits together is told in ADR 16.

pub mod address;
mod board;
pub mod bounds;
pub mod clock;
pub mod events;
pub mod health;
mod keep;
pub mod keys;
mod link;
pub mod meter;
mod purge;
mod quota;
pub mod quota_reply;
mod quota_request;
pub mod quota_view;
pub mod record;
mod rejections;
mod retry;
mod script;
pub mod seal;
pub mod standalone;
pub mod token;
mod wire;
pub mod words;

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::PushInfo;
use tokio::sync::{Notify, mpsc, watch};

pub use self::board::{Claim, Claimed, Found, Put};
pub use self::keys::namespace;
use self::{
    address::Address,
    clock::ServerClock,
    events::Event,
    health::{Health, Standing},
    keys::Keys,
    link::{Link, Trouble},
    quota_view::QuotaView,
    rejections::Rejections,
    script::Script,
    seal::Sealer,
    standalone::{Mode, Presence},
};
use crate::metrics::Metrics;

/// How to share, and what.
pub struct SharedConfig {
    /// Where Redis is.
    pub address: Address,
    /// Reads that anew, where it is in a file that may have changed; `None`: as it was.
    pub address_now: Arc<dyn Fn() -> Option<Address> + Send + Sync>,
    /// The longest that one operation may take.
    pub timeout: Duration,
    /// Processes that there can be at once.
    pub replicas: NonZeroU32,
    /// Tells apart accounts that use one Redis.
    pub namespace: String,
    /// Encrypts records; without it the access token is not shared.
    pub sealer: Option<Arc<Sealer>>,
    /// Calls permitted in any second, to all together.
    pub per_second: NonZeroU32,
    /// Calls permitted in a UTC day, to all together.
    pub per_day: u64,
    /// A snapshot of another replica that says that it is fresh for longer is none.
    pub fresh_at_most: Duration,
}

/// Redis is of no use now. Nobody waited longer than [`SharedConfig::timeout`] to learn that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis cannot be used now")]
pub struct Away;

/// The handle. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct Shared(Rc<Inner>);

struct Inner {
    config: SharedConfig,
    keys: Keys,
    link: Link,
    /// This process among the replicas, another one after each start.
    replica: String,
    began: Instant,
    quota_script: Script,
    board: Script,
    purge: Script,
    clock: Cell<Option<ServerClock>>,
    /// What the last answer about the budget took.
    round_trip: Cell<Duration>,
    health: RefCell<Health>,
    presence: RefCell<Presence>,
    quota_view: RefCell<QuotaView>,
    /// What could not be said yet.
    owed: RefCell<Vec<Owed>>,
    /// Number of the last purge that is done here.
    purged: Cell<u64>,
    rejections: Rejections,
    /// It said goodbye, and is not heard of any more.
    gone: Cell<bool>,
    /// Operations on records that timed out in a row.
    bulk_timeouts: Cell<u32>,
    standing: watch::Sender<Standing>,
    events: mpsc::UnboundedSender<Event>,
    pushes: Cell<Option<mpsc::UnboundedReceiver<PushInfo>>>,
    /// There is reason to ask the server how it is.
    doubt: Notify,
    /// A heartbeat succeeded, or this process says goodbye.
    recovered: Notify,
}

/// What the others have to hear as soon as there is Redis again.
enum Owed {
    CoolDown {
        kind: crate::failure::LimitKind,
        until: Instant,
        words: String,
    },
    Purge(Vec<keys::Subject>),
    /// That one of ours, with this number at most, will not be put.
    Claim(Claimed),
}

impl Shared {
    /// A handle that knows nothing yet: [`Shared::keep`] connects. What other replicas do goes to `events`.
    #[must_use]
    pub fn new(config: SharedConfig, events: mpsc::UnboundedSender<Event>, metrics: &Arc<Metrics>) -> Self {
        let now = Instant::now();
        let (push, pushes) = mpsc::unbounded_channel();
        let link = Link::new(config.address.clone(), config.timeout, push);
        Self(Rc::new(Inner {
            keys: Keys::new(&config.namespace),
            link,
            replica: format!("{:016x}", fastrand::u64(..)),
            began: now,
            quota_script: Script::new(concat!(
                include_str!("cluster/checks.lua"),
                include_str!("cluster/quota.lua")
            )),
            board: Script::new(concat!(
                include_str!("cluster/checks.lua"),
                include_str!("cluster/board.lua")
            )),
            purge: Script::new(concat!(
                include_str!("cluster/checks.lua"),
                include_str!("cluster/purge.lua")
            )),
            clock: Cell::default(),
            round_trip: Cell::default(),
            health: RefCell::new(Health::new(now)),
            presence: RefCell::new(Presence::new(now, config.per_second, config.replicas)),
            quota_view: RefCell::default(),
            owed: RefCell::default(),
            purged: Cell::default(),
            rejections: Rejections::new(metrics),
            gone: Cell::default(),
            bulk_timeouts: Cell::default(),
            standing: watch::Sender::new(Standing::Connecting),
            events,
            pushes: Cell::new(Some(pushes)),
            doubt: Notify::new(),
            recovered: Notify::new(),
            config,
        }))
    }

    /// Whether Redis is of use, as operators see it.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Returns when it is known whether there is Redis: within a moment after the start, and at once later.
    pub async fn is_known(&self) {
        // It ends with this handle at the earliest.
        drop(self.standing().wait_for(|standing| *standing != Standing::Connecting).await);
    }

    /// How this process may call Zoom now.
    #[must_use]
    pub fn mode(&self, now: Instant) -> Mode {
        let is_up = self.0.health.borrow().standing() == Standing::Up;
        self.0.presence.borrow().mode(is_up, now)
    }

    /// The server's clock; `None` before it was first heard of.
    #[must_use]
    pub fn clock(&self) -> Option<ServerClock> {
        self.0.clock.get()
    }

    /// Encrypts records, for work on another thread.
    #[must_use]
    pub fn sealer(&self) -> Option<Arc<Sealer>> {
        self.0.config.sealer.clone()
    }

    /// For how long a snapshot can be fresh.
    #[must_use]
    pub fn fresh_at_most(&self) -> Duration {
        self.0.config.fresh_at_most
    }

    fn may_ask(&self) -> Result<(), Away> {
        if self.0.gone.get() {
            return Err(Away);
        }
        if self.0.health.borrow().lets_through() { Ok(()) } else { Err(Away) }
    }

    /// An operation failed: from now on only the heartbeat asks, and it does so at once.
    fn failed(&self, trouble: &Trouble) {
        self.said(|health| health.fails(Instant::now()), trouble);
        self.0.doubt.notify_one();
    }

    fn said(&self, change: impl FnOnce(&mut Health) -> bool, trouble: &Trouble) {
        let mut health = self.0.health.borrow_mut();
        if !change(&mut health) {
            return;
        }
        let standing = health.standing();
        drop(health);
        self.0.standing.send_replace(standing);
        if standing == Standing::Up {
            tracing::info!(server = self.0.link.host(), "Redis is in use: limits and snapshots are shared");
        } else {
            tracing::warn!(
                server = self.0.link.host(),
                reason = %trouble,
                replicas = self.0.config.replicas,
                "Redis is away: this process goes on by itself, within its share of the limits"
            );
        }
    }
}
