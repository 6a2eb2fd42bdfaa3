//! The other replicas. Before Zoom is asked, a flight looks for a snapshot that another replica has fetched or is fetching;
//! afterwards it publishes its own. Without Redis there are no other replicas.
//!
//! A miss asks Redis twice, for the record and for a claim; a hit never does. While Redis is unavailable, every replica
//! fetches for itself.

mod backend;
mod claim;
mod events;
mod lookups;
mod paging;
mod publish;
mod records;
mod search;
mod subscriptions;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};

use self::{backend::RedisPeers, claim::HeldClaim, lookups::PendingLookups};
pub(super) use self::{
    events::EventPump,
    publish::PublishResult,
    search::{PeerResult, PeerSource},
};
use super::{
    command::Purge,
    flights::{Flight, Flights, Waiter},
    purge::Purger,
    spans::FlightSpans,
};
pub use crate::cluster::circuit_breaker::RedisStatus;
use crate::{
    cache::Cache,
    cluster::{Cluster, ClusterConfig, clock::ServerClock, events::Event, keys::RecordKey},
    failure::Failure,
    metrics::Metrics,
    scheduler::Scheduler,
    snapshot::{Snapshot, SnapshotKey, Tag},
    zoom::oauth::AccessTokens,
};

/// Where the other replicas are reached.
pub(super) enum Peers {
    None,
    Redis { peers: Rc<RedisPeers>, lookups: Rc<PendingLookups> },
}

/// The connection, not made yet, and the events that will come over it.
pub(super) fn prepare(
    config: Option<ClusterConfig>,
    metrics: &Arc<Metrics>,
) -> Option<(Cluster, mpsc::UnboundedReceiver<Event>)> {
    let (sender, events) = mpsc::unbounded_channel();
    config.map(|config| (Cluster::new(config, sender, metrics), events))
}

impl Peers {
    pub(super) fn new(
        cluster: Option<Cluster>,
        cache: Cache,
        flights: Rc<Flights>,
        purger: Rc<Purger>,
        scheduler: Scheduler,
    ) -> Self {
        let Some(cluster) = cluster else { return Self::None };
        let peers = Rc::new(RedisPeers::new(cluster, cache, flights, purger, scheduler));
        Self::Redis { lookups: Rc::new(PendingLookups::new(Rc::clone(&peers))), peers }
    }

    /// The tasks that keep the connection and apply the other replicas' events; `None` without Redis.
    pub(super) fn event_pump(
        &self,
        events: Option<mpsc::UnboundedReceiver<Event>>,
        access_tokens: AccessTokens,
        metrics: Arc<Metrics>,
        status: watch::Sender<RedisStatus>,
    ) -> Option<EventPump> {
        let (Self::Redis { peers, .. }, Some(events)) = (self, events) else { return None };
        Some(EventPump { peers: Rc::clone(peers), events, access_tokens, metrics, status })
    }

    /// Looks for a snapshot, or another replica's flight that will bring one.
    pub(super) async fn find(&self, flight: &Flight, spans: &FlightSpans) -> PeerResult {
        match self {
            Self::None => PeerResult::FetchHere(None),
            Self::Redis { peers, .. } => {
                let _span = spans.look_at_peers(flight);
                search::find(peers, flight).await
            }
        }
    }

    /// Gives the other replicas what came of a flight. They do not get it where this one fetched without a claim.
    pub(super) async fn publish(
        &self,
        claim: Option<HeldClaim>,
        flight: &Flight,
        result: Result<Arc<Snapshot>, Failure>,
    ) -> PublishResult {
        match (self, claim) {
            (Self::Redis { peers, .. }, Some(claim)) => publish::publish(peers, claim, flight, result).await,
            _ => PublishResult { result, may_cache: true },
        }
    }

    /// Answers a caller for whom no flight starts: another replica's snapshot costs no call.
    pub(super) fn answer_rejected(&self, key: SnapshotKey, waiter: Waiter, failure: Failure) {
        match self {
            Self::None => drop(waiter.reply.send(Err(failure))),
            Self::Redis { lookups, .. } => Rc::clone(lookups).answer(key, waiter, failure),
        }
    }

    /// Whether there is any replica to ask while Zoom may not be asked.
    pub(super) fn may_have_snapshots(&self) -> bool {
        matches!(self, Self::Redis { .. })
    }

    /// Gives the other replicas a snapshot that a caller pages through.
    pub(super) async fn publish_paged(&self, snapshot: Arc<Snapshot>) {
        if let Self::Redis { peers, .. } = self {
            paging::publish(peers, snapshot).await;
        }
    }

    /// The snapshot with this tag, if another replica has published it.
    pub(super) async fn fetch_paged(&self, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
        match self {
            Self::None => None,
            Self::Redis { peers, .. } => paging::fetch(peers, key, tag).await,
        }
    }

    /// Purges the other replicas; those that cannot be reached now follow later.
    pub(super) async fn purge(&self, what: Purge) {
        if let Self::Redis { peers, .. } = self {
            // No key means everything.
            let keys = what.keys().unwrap_or_default();
            peers.cluster.purge(&keys.iter().map(RecordKey::meeting).collect::<Vec<_>>()).await;
            // A flight that read Redis meanwhile may have brought it back.
            peers.purger.forget(what);
        }
    }

    /// Hands this replica's share of the quota to the others.
    pub(super) async fn leave(&self) {
        if let Self::Redis { peers, .. } = self {
            peers.cluster.leave().await;
        }
    }

    /// How many replicas there are, this one included; `None` without Redis.
    pub(super) fn replicas(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Redis { peers, .. } => Some(peers.cluster.replicas().live),
        }
    }

    /// The clock that dates snapshots: replicas whose own clocks differ use Redis's.
    pub(super) fn wall_clock(&self) -> WallClock {
        match self {
            Self::None => WallClock(None),
            Self::Redis { peers, .. } => WallClock(peers.cluster.clock()),
        }
    }
}

/// A wall clock that can be read on any thread.
pub(super) struct WallClock(Option<ServerClock>);

impl WallClock {
    pub(super) fn at(&self, now: Instant) -> SystemTime {
        self.0.map_or_else(SystemTime::now, |clock| clock.wall(now))
    }
}
