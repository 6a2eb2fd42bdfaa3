//! The state of the fetcher's thread. [`super::actor`] creates it and shares it with every flight.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, mpsc, watch};

use super::{
    caller_accounts::CallerAccounts,
    command::{FetchSource, Fetched},
    flights::Flights,
    peers::{Peers, RedisStatus},
    purge::Purger,
    spans::FlightSpans,
    webinar_access::{WebinarAccess, WebinarRefusal},
};
use crate::{
    cache::{Cache, Entry, policy::FetchRequirement},
    callers::Callers,
    cluster::{Cluster, ClusterConfig},
    failure::Failure,
    metrics::Metrics,
    quota::{LocalQuota, Quota, SharedQuota},
    scheduler::Scheduler,
    snapshot::{FreshnessConfig, SnapshotKey},
    supervisor::Supervisor,
    trace::Tracer,
    zoom::{
        FetchMemory, Zoom, ZoomConfig,
        oauth::{AccessTokens, Credentials},
        upstream::Upstream,
    },
};

/// How long callers wait, how many calls may queue, and how much memory fetches may take.
pub struct FetcherConfig {
    /// The longest time that a caller waits for a snapshot.
    pub wait: Duration,
    /// The maximum number of calls that wait for a permit. Beyond it, the call of a new flight evicts another call or
    /// is rejected, and a new flight does not wait for memory. Flights that have made a call are exempt.
    pub max_queued: usize,
    /// The bound on the memory of all meetings being fetched, in bytes.
    pub max_fetch_bytes: usize,
}

/// Everything that the fetcher needs to start. It moves to the fetcher's thread.
pub struct Dependencies {
    /// The fetcher's own settings.
    pub config: FetcherConfig,
    /// The settings of the connection to Zoom.
    pub zoom: ZoomConfig,
    /// How long snapshots are fresh.
    pub freshness: FreshnessConfig,
    /// The limits of the calls to Zoom, and their use so far.
    pub quota: LocalQuota,
    /// The settings of Redis; `None` if Redis is not configured.
    pub cluster: Option<ClusterConfig>,
    /// The callers among which the day's calls are divided.
    pub callers: Callers,
    /// The cache for snapshots and failures.
    pub cache: Cache,
    /// The metrics that the fetcher updates.
    pub metrics: Arc<Metrics>,
    /// Makes the spans of flights.
    pub tracer: Tracer,
}

/// State that the fetcher's thread publishes, so that every handle can read it without a command.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) credentials: watch::Sender<Credentials>,
    /// The failure while a cool-down or the daily quota blocks all calls; otherwise `None`.
    pub(super) blocked: watch::Sender<Option<Failure>>,
    pub(super) redis: watch::Sender<RedisStatus>,
    pub(super) webinars: watch::Sender<Option<WebinarRefusal>>,
}

pub(super) struct FetcherState {
    pub(super) zoom: Zoom,
    pub(super) access_tokens: AccessTokens,
    pub(super) webinars: WebinarAccess,
    pub(super) scheduler: Scheduler,
    /// Decides whether a flight may start for its caller.
    pub(super) accounts: Rc<CallerAccounts>,
    /// The other replicas; [`Peers::None`] without Redis.
    pub(super) peers: Peers,
    pub(super) flights: Rc<Flights>,
    pub(super) purger: Rc<Purger>,
    pub(super) memory: FetchMemory,
    /// Held while a large page is cleaned.
    pub(super) large_page: Mutex<()>,
    /// Held while a large meeting is finished.
    pub(super) large_meeting: Mutex<()>,
    pub(super) spans: FlightSpans,
    pub(super) cache: Cache,
    pub(super) freshness: FreshnessConfig,
    pub(super) metrics: Arc<Metrics>,
    /// The longest time that a caller waits for a snapshot.
    pub(super) wait: Duration,
    /// Whether an access token for the queued calls has been requested and has not arrived.
    pub(super) awaits_access_token: Cell<bool>,
}

impl FetcherState {
    /// Makes the state and, with Redis, starts the tasks that connect this replica to the others.
    pub(super) fn new(dependencies: Dependencies, signals: Signals, supervisor: &Supervisor) -> Self {
        let Dependencies { config, zoom, freshness, quota, cluster, callers, cache, metrics, tracer } =
            dependencies;
        let Signals { credentials, blocked, redis, webinars } = signals;
        let (sender, events) = mpsc::unbounded_channel();
        let cluster = cluster.map(|config| Cluster::new(config, sender, &metrics));
        let upstream = Upstream::new(&zoom);
        let api = Zoom::new(&zoom, upstream.clone(), config.max_fetch_bytes);
        let access_tokens = AccessTokens::new(&zoom, upstream, &metrics, credentials, cluster.clone());
        let quota = match &cluster {
            Some(cluster) => Quota::Shared(SharedQuota::new(cluster.clone(), quota)),
            None => Quota::Local(quota),
        };
        let scheduler = Scheduler::new(quota, config.max_queued, config.wait, blocked, &metrics);
        let flights = Rc::<Flights>::default();
        let purger = Rc::new(Purger::new(cache.clone(), Rc::clone(&flights)));
        let peers = Peers::new(
            cluster.clone(),
            cache.clone(),
            Rc::clone(&flights),
            Rc::clone(&purger),
            scheduler.clone(),
        );
        peers.start(events, access_tokens.clone(), Arc::clone(&metrics), redis, supervisor);
        Self {
            zoom: api,
            access_tokens,
            webinars: WebinarAccess::new(webinars),
            accounts: Rc::new(CallerAccounts::new(callers, scheduler.clone(), cluster)),
            scheduler,
            peers,
            flights,
            purger,
            memory: FetchMemory::new(config.max_fetch_bytes, &metrics),
            large_page: Mutex::default(),
            large_meeting: Mutex::default(),
            spans: FlightSpans::new(tracer),
            cache,
            freshness,
            metrics,
            wait: config.wait,
            awaits_access_token: Cell::default(),
        }
    }

    /// Returns the result for a caller that needs no flight; `None` if it needs one. `entry` is the cache's entry for
    /// `key`.
    pub(super) fn without_flight(
        &self,
        key: &SnapshotKey,
        entry: Option<Entry>,
        requirement: FetchRequirement,
    ) -> Option<Result<Fetched, Failure>> {
        let now = Instant::now();
        match entry {
            Some(Entry::Refusal(refusal)) => return Some(Err(refusal.failure.clone())),
            Some(Entry::Snapshot(snapshot)) if self.cache.policy().accepts(&snapshot, requirement, now) => {
                return Some(Ok(Fetched { snapshot, source: FetchSource::Cache, stored: true }));
            }
            Some(Entry::Snapshot(_)) | None => {}
        }
        if let Some(failure) = self.cache.failure(key, now) {
            return Some(Err(failure));
        }
        // While calls are blocked, a caller with a fallback does not wait, however short the rest of the cool-down is.
        // With Redis, the flight starts anyway, because another replica may have a newer snapshot, which costs no call.
        if requirement.has_fallback && !self.peers.may_have_snapshots() {
            return self.scheduler.blocked_until().map(|(_, failure)| Err(failure));
        }
        None
    }
}
