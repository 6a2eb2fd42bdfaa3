//! Decides which call to Zoom gets the next permit. Calls wait in a queue in front of the quota, and one task serves
//! the queue. A call that cannot get a permit in time is rejected early, with the time at which a retry may succeed.
//! [`dispatcher`] describes how a call gets its permit.

mod admission;
mod caller_shares;
mod dispatcher;
pub mod fair_queue;
mod persistence;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, Notify, watch};

pub(crate) use self::{
    caller_shares::{CallerSharing, FetchShare},
    dispatcher::NewCall,
};
use self::{
    dispatcher::{Dispatcher, reject},
    fair_queue::{CallerWeight, FlightNumber, QueueDepth},
};
use crate::{
    failure::{Failure, LimitKind, Reason},
    metrics::Metrics,
    quota::{Permit, Quota, QuotaStatus, adaptive_ttl::Forecast},
    snapshot::RefreshSample,
};

/// How often the queue is served and the gauges are updated while nothing else happens.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The queue and the quota behind it. It belongs to one thread, and clones share its state.
#[derive(Clone)]
pub(crate) struct Scheduler(Rc<Inner>);

struct Inner {
    dispatcher: RefCell<Dispatcher>,
    /// Notified when something changes that the waiting calls depend on.
    wake: Rc<Notify>,
    saving: Saving,
    /// The failure while a cool-down or the daily quota blocks all calls. The HTTP workers then start no refreshes.
    blocked: watch::Sender<Option<Failure>>,
    metrics: Arc<Metrics>,
}

/// Coordinates the writes of the state file; see [`persistence`].
#[derive(Default)]
struct Saving {
    /// Held by the write that is in progress.
    writing: Mutex<()>,
    /// The earliest time of the next write, if the last write failed.
    retry_at: Cell<Option<Instant>>,
    /// Whether the write of the exact count has begun. No other write may follow it.
    is_final: Cell<bool>,
}

/// The state of the quota and of the queue, as `/status` shows it.
pub(crate) struct SchedulerStatus {
    pub(crate) quota: QuotaStatus,
    /// How long the cool-down of each kind still lasts; `None` if it is not active.
    pub(crate) cooldowns: [(LimitKind, Option<Duration>); 2],
    pub(crate) forecast: Forecast,
    pub(crate) queued: usize,
    /// The queue depth of each caller that has calls waiting, by the caller's id.
    pub(crate) depths: Vec<(u32, QueueDepth)>,
}

impl Scheduler {
    /// Creates an empty queue in front of `quota`. While `max_queued` calls wait, a new flight's call is admitted only
    /// if it evicts another call. A flight that has made a call waits while a permit is expected within `patience`.
    pub(crate) fn new(
        quota: Quota,
        max_queued: usize,
        patience: Duration,
        blocked: watch::Sender<Option<Failure>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self(Rc::new(Inner {
            dispatcher: RefCell::new(Dispatcher::new(quota, max_queued, patience)),
            wake: Rc::default(),
            saving: Saving::default(),
            blocked,
            metrics: Arc::clone(metrics),
        }))
    }

    /// Waits for a permit. Fails immediately if the call cannot get one in time, or if too many calls wait. Before
    /// that, flights for which `drop_if_unwanted` returns true leave the queue to make room.
    pub(crate) async fn acquire(
        &self,
        call: &NewCall<'_>,
        drop_if_unwanted: impl Fn(FlightNumber) -> bool,
    ) -> Result<Permit, Failure> {
        let asked = Instant::now();
        let served = self.0.dispatcher.borrow_mut().enqueue(call, &drop_if_unwanted)?;
        self.update_queue_gauge();
        self.wake();
        let permit = served.await.unwrap_or_else(|_| Err(Failure::new(Reason::ShuttingDown)));
        self.0.metrics.permit_wait.observe(asked.elapsed().as_secs_f64());
        permit
    }

    pub(crate) fn add_waiter(&self, flight: FlightNumber, by: CallerWeight, deadline: Instant) {
        self.0.dispatcher.borrow_mut().queue.add_waiter(flight, by, deadline);
    }

    /// Takes back a permit whose call was not made.
    pub(crate) fn release(&self, permit: Permit) {
        self.0.dispatcher.borrow_mut().quota.release(permit);
    }

    /// Handles Zoom's report, for a call made at `called`, of how many calls the whole account has left today.
    pub(crate) fn report_remaining(&self, calls: u64, called: Instant) {
        self.0.dispatcher.borrow_mut().quota.report_remaining(calls, called);
    }

    /// Starts a cool-down after a 429, for all replicas. Callers that cannot wait until `until` get `failure`.
    pub(crate) fn start_cooldown(&self, kind: LimitKind, until: Instant, failure: Failure) {
        self.0.dispatcher.borrow_mut().quota.cool_down(kind, until, &failure);
        self.on_cooldown(failure);
    }

    /// Like [`Self::start_cooldown`], for a 429 that another replica received.
    pub(crate) fn apply_cooldown(&self, kind: LimitKind, until: Instant, failure: Failure) {
        self.0.dispatcher.borrow_mut().quota.local_mut().cool_down(kind, until);
        self.on_cooldown(failure);
    }

    fn on_cooldown(&self, failure: Failure) {
        self.0.dispatcher.borrow_mut().note_cooldown(failure);
        self.publish_blocked();
        self.wake();
    }

    /// Records that a newer snapshot replaced one that had become stale.
    pub(crate) fn record_refresh(&self, sample: RefreshSample) {
        let mut dispatcher = self.0.dispatcher.borrow_mut();
        let now = dispatcher.quota.now();
        dispatcher.quota.local_mut().record_refresh(sample, now);
    }

    /// Returns the factor by which a live snapshot of `pages` pages stays fresh longer than `live_fresh`.
    pub(crate) fn stretch(&self, pages: u32) -> f64 {
        let dispatcher = self.0.dispatcher.borrow();
        dispatcher.quota.local().stretch(pages, dispatcher.quota.now())
    }

    /// If a cool-down or the daily quota blocks all calls, returns when that ends, and the failure. Ignores the rate.
    pub(crate) fn blocked_until(&self) -> Option<(Instant, Failure)> {
        let dispatcher = self.0.dispatcher.borrow();
        let denied = dispatcher.quota.local().blocked_until(dispatcher.quota.now())?;
        Some((denied.retry_at, dispatcher.failure(denied)))
    }

    /// Returns the next 00:00 UTC, on the monotonic clock.
    pub(crate) fn midnight(&self) -> Instant {
        self.0.dispatcher.borrow().quota.now().midnight()
    }

    pub(crate) fn status(&self) -> SchedulerStatus {
        let dispatcher = self.0.dispatcher.borrow();
        let Dispatcher { quota, queue, .. } = &*dispatcher;
        let now = quota.now();
        let cooldowns = LimitKind::ALL.map(|kind| {
            (kind, quota.local().cooldown_until(kind, now).map(|until| until.duration_since(now.instant)))
        });
        SchedulerStatus {
            quota: quota.local().status(now),
            cooldowns,
            forecast: quota.local().forecast(now),
            queued: queue.len(),
            depths: queue.callers().into_iter().map(|caller| (caller, queue.depth(caller))).collect(),
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.0.dispatcher.borrow().queue.len()
    }

    pub(crate) fn max_queued(&self) -> usize {
        self.0.dispatcher.borrow().max_queued
    }

    pub(crate) fn reject_all(&self, failure: &Failure) {
        let calls = self.0.dispatcher.borrow_mut().queue.take_all();
        for call in calls {
            reject(call, failure.clone());
        }
        self.update_queue_gauge();
    }

    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Serves the queue as long as the service runs. A flight at its head for which `drop_if_abandoned` returns true
    /// leaves it. No permit is granted while `ensure_token` returns false; call [`Self::wake`] when that changes.
    pub(crate) async fn run(
        self,
        drop_if_abandoned: impl Fn(FlightNumber) -> bool,
        ensure_token: impl Fn() -> bool,
    ) {
        loop {
            self.save_ahead().await;
            let next = self.serve(&drop_if_abandoned, &ensure_token);
            self.publish_blocked();
            self.update_queue_gauge();
            let idle = Instant::now() + IDLE_INTERVAL;
            // Waits until something changes or the next permit or rejection is due. Then the queue is served again.
            let changed = self.0.wake.notified();
            drop(tokio::time::timeout_at(next.unwrap_or(idle).min(idle).into(), changed).await);
        }
    }

    fn serve(
        &self,
        drop_if_abandoned: &impl Fn(FlightNumber) -> bool,
        ensure_token: &impl Fn() -> bool,
    ) -> Option<Instant> {
        let mut dispatcher = self.0.dispatcher.borrow_mut();
        let waiting = dispatcher.queue.len();
        dispatcher.quota.report_demand(waiting);
        let next = dispatcher.dispatch_ready(drop_if_abandoned, ensure_token, &self.0.wake);
        dispatcher.quota.local().update_gauges(dispatcher.quota.now());
        next
    }

    fn publish_blocked(&self) {
        let failure = self.blocked_until().map(|(_, failure)| failure);
        self.0.blocked.send_if_modified(|published| {
            let end = |failure: &Option<Failure>| {
                failure.as_ref().map(|failure| (failure.reason, failure.retry_at))
            };
            let changed = end(published) != end(&failure);
            *published = failure;
            changed
        });
    }

    fn update_queue_gauge(&self) {
        self.0.metrics.permits_queued.set(i64::try_from(self.queued()).unwrap_or(i64::MAX));
    }
}
