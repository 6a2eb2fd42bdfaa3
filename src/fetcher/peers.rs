//! Shares flights and snapshots with other replicas over Redis. Before a flight calls Zoom, it searches for a snapshot
//! that another replica has fetched or is fetching. Afterwards it publishes its own result. Without Redis, every
//! replica fetches for itself.
//!
//! A *record* contains a meeting's snapshot, or Zoom's refusal. A replica publishes it under the meeting's key in
//! Redis. A *claim* is one replica's right to fetch a meeting for all replicas; see [`crate::cluster`]. A search
//! usually takes one request to Redis for the record and, if no record is accepted, another one for a claim. A cache
//! hit takes none.

mod backend;
mod claim;
mod events;
mod lookups;
mod paging;
mod publish;
mod records;
mod search;
mod subscriptions;

use std::{rc::Rc, sync::Arc};

use tokio::sync::{mpsc, watch};

pub(super) use self::search::PeerResult;
use self::{backend::RedisPeers, claim::HeldClaim};
use super::{
    command::Purge,
    flights::{Flight, Flights, Waiter},
    purge::Purger,
    spans::FlightSpans,
};
pub(crate) use crate::cluster::circuit_breaker::RedisStatus;
use crate::{
    cache::Cache,
    cluster::{Cluster, clock::ServerClock, events::Event, keys::RecordKey},
    failure::Failure,
    metrics::Metrics,
    scheduler::Scheduler,
    snapshot::{Snapshot, SnapshotKey, Tag},
    supervisor::Supervisor,
    zoom::oauth::AccessTokens,
};

pub(super) enum Peers {
    /// Redis is not configured: every flight fetches from Zoom, without a claim.
    None,
    Redis(Rc<RedisPeers>),
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
        let (subscriptions, lookups, has_logged_too_large) = Default::default();
        let peers = RedisPeers {
            cluster,
            cache,
            flights,
            purger,
            scheduler,
            subscriptions,
            lookups,
            has_logged_too_large,
        };
        Self::Redis(Rc::new(peers))
    }

    /// Starts the tasks that maintain the connection and apply the other replicas' events. They run as long as the
    /// service. `status` tells the handles on other threads whether Redis is in use.
    pub(super) fn start(
        &self,
        events: mpsc::UnboundedReceiver<Event>,
        access_tokens: AccessTokens,
        metrics: Arc<Metrics>,
        status: watch::Sender<RedisStatus>,
        supervisor: &Supervisor,
    ) {
        let Self::Redis(peers) = self else { return };
        let applied = events::apply_all(Rc::clone(peers), events, access_tokens);
        drop(actix_rt::spawn(supervisor.watch("the reader of other replicas' events", applied)));
        let forwarded = events::forward_status(Rc::clone(peers), metrics, status);
        drop(actix_rt::spawn(supervisor.watch("the watch on the connection to Redis", forwarded)));
        let heartbeat = peers.cluster.clone().run_heartbeat();
        drop(actix_rt::spawn(supervisor.watch("the heartbeat to Redis", heartbeat)));
    }

    /// Looks for another replica's snapshot, or waits for another replica's flight in progress. If there is neither,
    /// claims the fetch.
    pub(super) async fn find(&self, flight: &Flight, spans: &FlightSpans) -> PeerResult {
        match self {
            Self::None => PeerResult::FetchHere(None),
            Self::Redis(peers) => {
                let _span = spans.look_at_peers(flight);
                search::find(peers, flight).await
            }
        }
    }

    /// Publishes the result of a flight to the other replicas, unless this replica fetched without a claim or the flight
    /// is detached. Returns the result for the callers, and whether it may be cached. If another replica has fetched the
    /// meeting since, its result may be returned.
    pub(super) async fn publish(
        &self,
        claim: Option<HeldClaim>,
        flight: &Flight,
        result: Result<Arc<Snapshot>, Failure>,
    ) -> (Result<Arc<Snapshot>, Failure>, bool) {
        match (self, claim) {
            (Self::Redis(peers), Some(claim)) => publish::publish(peers, claim, flight, result).await,
            _ => (result, true),
        }
    }

    /// Replies to a caller for whom no flight starts. Sends another replica's snapshot if there is one that the caller
    /// accepts, because that costs no call.
    pub(super) fn answer_rejected(&self, key: SnapshotKey, waiter: Waiter, failure: Failure) {
        match self {
            Self::None => drop(waiter.reply.send(Err(failure))),
            Self::Redis(peers) => lookups::answer(peers, key, waiter, failure),
        }
    }

    /// Returns whether this replica may get newer snapshots from other replicas. Without Redis, it cannot.
    pub(super) fn may_have_snapshots(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    pub(super) async fn publish_paged(&self, snapshot: Arc<Snapshot>) {
        if let Self::Redis(peers) = self {
            paging::publish(peers, snapshot).await;
        }
    }

    pub(super) async fn fetch_paged(&self, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
        match self {
            Self::None => None,
            Self::Redis(peers) => paging::fetch(peers, key, tag).await,
        }
    }

    /// Announces a purge to the other replicas. Replicas that cannot be reached now purge later.
    pub(super) async fn purge(&self, what: Purge) {
        if let Self::Redis(peers) = self {
            // An empty list of keys means everything.
            let keys = what.keys().unwrap_or_default();
            peers.cluster.purge(&keys.iter().map(RecordKey::meeting).collect::<Vec<_>>()).await;
            // A flight that read the record before the purge may have cached the meeting again.
            peers.purger.forget(what);
        }
    }

    pub(super) async fn leave(&self) {
        if let Self::Redis(peers) = self {
            peers.cluster.leave().await;
        }
    }

    /// Returns the number of live replicas, this one included; `None` without Redis.
    pub(super) fn replicas(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Redis(peers) => Some(peers.cluster.replicas().live),
        }
    }

    /// Returns the clock of the Redis server; `None` without Redis, or before the clock is known. Snapshots are dated
    /// by it, because the replicas' own clocks differ.
    pub(super) fn server_clock(&self) -> Option<ServerClock> {
        match self {
            Self::None => None,
            Self::Redis(peers) => peers.cluster.clock(),
        }
    }
}
