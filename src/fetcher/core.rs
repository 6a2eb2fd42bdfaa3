//! The state on the fetcher's thread, and what it does with each letter.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    FetcherStatus, Landed, Letter, Parts, Reply, Request, Via, flight,
    flights::{Boarded, Flight, Flights, Waiter},
    pages::{self, OneAtATime},
    peers::{Followers, Looks, paging},
    traces::Traces,
    weight_of,
};
use crate::{
    cache::{Cache, Entry, policy::FetchRequirement},
    callers::Caller,
    cluster::Shared,
    failure::Failure,
    metrics::Metrics,
    quota::{Quota, SharedQuota},
    scheduler::Scheduler,
    snapshot::{FreshnessConfig, SnapshotKey},
    trace::TraceContext,
    zoom::{
        FetchMemory, Zoom,
        oauth::{AccessTokens, Credentials},
        upstream::Upstream,
    },
};

/// The state on the fetcher's thread.
pub(super) struct Core {
    pub(super) zoom: Zoom,
    pub(super) access_tokens: AccessTokens,
    pub(super) scheduler: Scheduler,
    /// With Redis: what replicas have in common.
    pub(super) shared: Option<Shared>,
    pub(super) flights: Flights,
    pub(super) memory: FetchMemory,
    pub(super) one_at_a_time: OneAtATime,
    pub(super) followers: Followers,
    pub(super) looks: Looks,
    pub(super) traces: Traces,
    pub(super) cache: Cache,
    pub(super) freshness: FreshnessConfig,
    pub(super) metrics: Arc<Metrics>,
    /// The longest that a caller is kept waiting.
    pub(super) wait: Duration,
    /// How many there were.
    pub(super) purges: Cell<u64>,
    /// Those in the queue wait for an access token.
    awaits_access_token: Cell<bool>,
}

impl Core {
    pub(super) fn new(
        parts: Parts,
        shared: Option<Shared>,
        credentials: watch::Sender<Credentials>,
        closed: watch::Sender<Option<Failure>>,
    ) -> Self {
        let Parts { config, zoom, freshness, quota, cache, metrics, tracer, .. } = parts;
        let upstream = Upstream::new(&zoom);
        let quota = match &shared {
            Some(cluster) => Quota::Shared(SharedQuota::new(cluster.clone(), quota)),
            None => Quota::Local(quota),
        };
        let api = Zoom::new(&zoom, upstream.clone(), config.max_fetch_bytes);
        Self {
            access_tokens: AccessTokens::new(&zoom, upstream, &metrics, credentials, shared.clone()),
            memory: FetchMemory::new(config.max_fetch_bytes, &metrics),
            zoom: api,
            scheduler: Scheduler::new(quota, config.max_queued, config.wait, closed, &metrics),
            one_at_a_time: OneAtATime::default(),
            shared,
            flights: Flights::default(),
            followers: Followers::default(),
            looks: Looks::default(),
            traces: Traces::new(tracer),
            cache,
            freshness,
            metrics,
            wait: config.wait,
            purges: Cell::default(),
            awaits_access_token: Cell::default(),
        }
    }

    pub(super) async fn read(self: Rc<Self>, mut letters: mpsc::UnboundedReceiver<Letter>) {
        while let Some(letter) = letters.recv().await {
            match letter {
                Letter::Fetch { request, reply } => self.fetch(request, reply),
                Letter::Refresh { key, caller, request } => self.refresh(key, &caller, request),
                Letter::Purge { what, done } => self.purge_everywhere(what, done),
                Letter::Paged(snapshot) => {
                    drop(actix_rt::spawn(paging::lay_down(Rc::clone(&self), snapshot)));
                }
                Letter::FindPaged { key, tag, reply } => {
                    let this = Rc::clone(&self);
                    drop(actix_rt::spawn(async move {
                        reply.send(paging::pick_up(&this, key, tag).await).ok();
                    }));
                }
                Letter::Status(reply) => drop(reply.send(self.status())),
                Letter::NoMoreTakeOffs => self.flights.no_more_take_offs(),
                Letter::WhenAllLanded(reply) => {
                    let this = Rc::clone(&self);
                    drop(actix_rt::spawn(async move {
                        this.flights.all_landed().await;
                        this.scheduler.save_final_count().await;
                        reply.send(()).ok();
                    }));
                }
                Letter::Leave(reply) => {
                    let this = Rc::clone(&self);
                    drop(actix_rt::spawn(async move {
                        if let Some(shared) = &this.shared {
                            shared.leave().await;
                        }
                        reply.send(()).ok();
                    }));
                }
            }
        }
    }

    /// Whether there is an access token to make calls with. If there is none, one is asked for, and when none can be had
    /// all who wait are told why.
    pub(super) fn can_call(self: &Rc<Self>) -> bool {
        if self.access_tokens.are_usable(Instant::now()) {
            return true;
        }
        if !self.awaits_access_token.replace(true) {
            let this = Rc::clone(self);
            drop(actix_rt::spawn(async move {
                let token = this.access_tokens.token().await;
                this.awaits_access_token.set(false);
                match token {
                    Ok(_) => this.scheduler.wake(),
                    Err(error) => this.scheduler.reject_all(&pages::no_access_token(error)),
                }
            }));
        }
        false
    }

    /// Cache, flight under way, or a new flight: the one place that decides it.
    fn fetch(self: &Rc<Self>, request: Request, reply: Reply) {
        let Request { key, wanted, caller, flight_link, deadline, hung_up } = request;
        if let Some(found) = self.found(&key, wanted) {
            drop(reply.send(found));
            return;
        }
        let weight = weight_of(&caller);
        let waiter = Waiter { reply, deadline, weight, wanted, hung_up };
        match self.flights.board(key, waiter, &caller, Instant::now()) {
            Boarded::UnderWay(number) => {
                flight_link.join(self.traces.of(number));
                self.scheduler.add_waiter(number, weight, deadline);
            }
            Boarded::TakesOff(flight) => self.take_off(flight, flight_link.request()),
            Boarded::Refused(waiter, failure) if self.shared.is_some() => {
                Looks::instead(self, key, waiter, failure);
            }
            Boarded::Refused(waiter, failure) => drop(waiter.reply.send(Err(failure))),
        }
    }

    /// What can be answered without a flight.
    fn found(&self, key: &SnapshotKey, wanted: FetchRequirement) -> Option<Result<Landed, Failure>> {
        let now = Instant::now();
        match self.cache.get(key, now) {
            Some(Entry::Refusal(refusal)) => return Some(Err(refusal.failure.clone())),
            Some(Entry::Snapshot(snapshot)) if self.cache.policy().accepts(&snapshot, wanted, now) => {
                return Some(Ok(Landed { snapshot, via: Via::Cache, stored: true }));
            }
            Some(Entry::Snapshot(_)) | None => {}
        }
        if let Some(failure) = self.cache.failure(key, now) {
            return Some(Err(failure));
        }
        // Who has something to fall back on need not wait for the end of a pause, however short.
        if wanted.has_fallback
            && self.shared.is_none()
            && let Some((_, failure)) = self.scheduler.blocked_until()
        {
            return Some(Err(failure));
        }
        None
    }

    fn refresh(self: &Rc<Self>, key: SnapshotKey, caller: &Arc<Caller>, request: TraceContext) {
        let now = Instant::now();
        let wanted = FetchRequirement::any_fresh(now);
        if self.found(&key, wanted).is_none()
            && let Some(flight) = self.flights.in_background(key, now + self.wait, caller, now)
        {
            self.take_off(flight, request);
        }
    }

    fn take_off(self: &Rc<Self>, flight: Flight, request: TraceContext) {
        let now = Instant::now();
        if let Some(Entry::Snapshot(kept)) = self.cache.get(&flight.key, now) {
            kept.record_refresh_attempt(now);
        }
        self.metrics.flights_active.inc();
        let span = self.traces.take_off(&flight, request);
        drop(actix_rt::spawn(flight::fly(Rc::clone(self), flight, span)));
    }

    fn status(&self) -> FetcherStatus {
        let (flights, waiting) = self.flights.count();
        FetcherStatus {
            flights,
            waiting,
            scheduler: self.scheduler.status(),
            last_refusal: self.flights.last_refusal(),
            last_failure: self.zoom.last_failure(),
            replicas: self.shared.as_ref().map(|shared| shared.replicas().live),
        }
    }
}
