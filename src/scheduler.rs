//! Permits for calls that wait: the queue in front of the budget, and the one task that serves it.
//!
//! Who cannot be served in time is told so at once, with the time at which asking again can help.

mod admission;
pub mod fair_queue;
mod persistence;
mod shared;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, Notify, oneshot, watch};

use self::{
    admission::{is_due, rate_limited, refuse},
    fair_queue::{FlightNumber, Load, Priority, Queue, Share},
    shared::Together,
};
use crate::{
    cluster::Shared,
    failure::{Failure, LimitKind, Reason},
    metrics::Metrics,
    quota::{Budget, Limit, Permit, adaptive_ttl::Outlook},
    snapshot::RefreshSample,
};

/// Gauges are made true this often when nothing happens.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// The queue and the budget behind it. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct Permits(Rc<Inner>);

struct Inner {
    budget: RefCell<Budget>,
    /// With Redis: the part in the budget of all replicas.
    together: Option<RefCell<Together>>,
    queue: RefCell<Queue<oneshot::Sender<Result<Permit, Failure>>>>,
    /// Somebody joined the queue, or a cool-down began.
    changed: Notify,
    /// What Zoom said when it told us to pause.
    pause: RefCell<Option<Failure>>,
    /// Whoever writes the day's count holds this.
    file: Mutex<()>,
    /// A write that failed is tried again after a while.
    save_again_from: Cell<Option<Instant>>,
    /// The exact count is written: nothing may go over it.
    all_saved: Cell<bool>,
    /// Tells the workers what refuses all calls, so that they start no refreshes then.
    closed: watch::Sender<Option<Failure>>,
    /// When the queue was last looked through for those in vain.
    swept: Cell<Option<Instant>>,
    /// The same, for those whose turn has moved behind the end of their wait.
    looked_for_hopeless: Cell<Option<Instant>>,
    max_queued: usize,
    /// How long a flight that has begun waits for its next permit.
    patience: Duration,
    metrics: Arc<Metrics>,
}

/// The budget as `/status` shows it.
pub struct BudgetStatus {
    /// Calls counted since 00:00 UTC.
    pub day_used: u64,
    /// Those of them that others made, out of what is permitted here.
    pub day_taken_by_others: u64,
    /// Calls permitted in a day.
    pub day_limit: u64,
    /// Calls waiting for a permit.
    pub queued: usize,
    /// Those of each caller who has any, by the caller's id.
    pub loads: Vec<(u32, Load)>,
    /// For each kind, how long a 429 still stops all calls.
    pub cooldowns: [(LimitKind, Option<Duration>); 2],
    /// How the day goes on.
    pub outlook: Outlook,
}

impl Permits {
    /// An empty queue in front of `budget`.
    #[must_use]
    pub fn new(
        mut budget: Budget,
        shared: Option<Shared>,
        max_queued: usize,
        patience: Duration,
        closed: watch::Sender<Option<Failure>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self(Rc::new(Inner {
            together: shared.map(|shared| Together::new(shared, &mut budget)),
            budget: RefCell::new(budget),
            queue: RefCell::default(),
            changed: Notify::new(),
            pause: RefCell::default(),
            file: Mutex::new(()),
            save_again_from: Cell::default(),
            all_saved: Cell::default(),
            closed,
            swept: Cell::default(),
            looked_for_hopeless: Cell::default(),
            max_queued,
            patience,
            metrics: Arc::clone(metrics),
        }))
    }

    /// Waits for a permit. `wanted_by` and `give_up` as in [`Queue::push`]; `makes_way`: who leaves the queue
    /// before anybody else is refused.
    ///
    /// # Errors
    /// At once, when no permit can come in time or too many wait already.
    pub async fn next(
        &self,
        (priority, flight): (Priority, FlightNumber),
        wanted_by: &[Share],
        give_up: Option<Instant>,
        makes_way: impl Fn(FlightNumber) -> bool,
    ) -> Result<Permit, Failure> {
        let asked = Instant::now();
        if let Err(refusal) = self.refuse_early(priority, wanted_by, give_up) {
            if !self.sweep(&makes_way) {
                return Err(refusal);
            }
            self.refuse_early(priority, wanted_by, give_up)?;
        }
        let (served, wait) = oneshot::channel();
        self.0.queue.borrow_mut().push((priority, flight), wanted_by, asked, give_up, served);
        self.show_queue();
        self.0.changed.notify_one();
        let permit = wait.await.unwrap_or_else(|_| Err(Failure::new(Reason::ShuttingDown)));
        self.0.metrics.permit_wait.observe(asked.elapsed().as_secs_f64());
        permit
    }

    /// Somebody wants this flight now, and waits until then.
    pub fn somebody_waits(&self, flight: FlightNumber, by: Share, until: Instant) {
        self.0.queue.borrow_mut().somebody_waits(flight, by, until);
    }

    /// What refuses all calls now, and until when; the pace of the second does not count.
    #[must_use]
    pub fn closed(&self) -> Option<(Instant, Failure)> {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        let closed = budget.closed_until(now)?;
        Some((closed.at, self.not_before(closed)))
    }

    /// A 429 stops all calls until then, whoever saw it.
    pub fn cools_down(&self, kind: LimitKind, until: Instant, failure: Failure) {
        self.0.budget.borrow_mut().cool_down(kind, until);
        let mut pause = self.0.pause.borrow_mut();
        // The words belong to the pause that ends last, as the cool-down does.
        if pause.as_ref().is_none_or(|kept| kept.retry_at <= failure.retry_at) {
            *pause = Some(failure);
        }
        drop(pause);
        self.tell_if_closed();
        self.0.changed.notify_one();
    }

    /// A snapshot was replaced because its freshness was over.
    pub fn refreshed(&self, refresh: RefreshSample) {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        budget.refreshed(refresh, now);
    }

    /// How many times `live_fresh` a live snapshot of so many pages is to be fresh.
    #[must_use]
    pub fn stretch(&self, pages: u32) -> f64 {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        budget.stretch(pages, now)
    }

    /// 00:00 UTC, on the monotonic clock.
    #[must_use]
    pub fn midnight(&self) -> Instant {
        self.now(&mut self.0.budget.borrow_mut()).midnight()
    }

    /// The budget now.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        let (day_used, day_limit) = budget.day_used(now);
        let cooldowns = [LimitKind::PerSecond, LimitKind::PerDay].map(|kind| {
            (kind, budget.cooldown_until(kind, now.instant).map(|until| until.duration_since(now.instant)))
        });
        let queue = self.0.queue.borrow();
        let loads = queue.callers().into_iter().map(|caller| (caller, queue.load(caller))).collect();
        let outlook = budget.outlook(now);
        BudgetStatus {
            day_used,
            day_taken_by_others: budget.day_taken_by_others(now),
            day_limit,
            queued: queue.len(),
            loads,
            cooldowns,
            outlook,
        }
    }

    /// How many calls wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.queue.borrow().len()
    }

    /// How many may wait.
    #[must_use]
    pub fn max_queued(&self) -> usize {
        self.0.max_queued
    }

    /// Everybody who waits is told this.
    pub fn refuse_all(&self, failure: &Failure) {
        while let Some(waiting) = self.0.queue.borrow_mut().pop() {
            refuse(waiting, failure.clone());
        }
        self.show_queue();
    }

    /// Something changed that those who wait for depend on.
    pub fn look_again(&self) {
        self.0.changed.notify_one();
    }

    /// Serves the queue for as long as the service runs. A flight that is in vain by now gives up its place. Nobody is
    /// served while no call can be made; then [`Self::look_again`] is waited for.
    pub async fn serve(self, is_in_vain: impl Fn(FlightNumber) -> bool, can_call: impl Fn() -> bool) {
        loop {
            self.keep_file_ahead().await;
            self.agree();
            let look_again = self.serve_all_due(&is_in_vain, &can_call);
            self.tell_if_closed();
            self.show_queue();
            let idle = self.show() + LOOK_AT_LEAST_EVERY;
            // A change or the time, whichever is first; both only mean: look again.
            let changed = self.0.changed.notified();
            drop(tokio::time::timeout_at(look_again.unwrap_or(idle).min(idle).into(), changed).await);
        }
    }

    fn show(&self) -> Instant {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        budget.show(now);
        now.instant
    }

    /// Gives out what can be given now, refuses the hopeless, and says when to look again; `None`: when something changes.
    fn serve_all_due(
        &self,
        is_in_vain: &impl Fn(FlightNumber) -> bool,
        can_call: &impl Fn() -> bool,
    ) -> Option<Instant> {
        let mut queue = self.0.queue.borrow_mut();
        let mut budget = self.0.budget.borrow_mut();
        loop {
            let now = self.now(&mut budget);
            let last =
                |budget: &Budget, opens, waiting| rate_limited(self.turn(budget, opens, waiting, waiting));
            while let Some(in_vain) = queue.first().filter(|flight| is_in_vain(*flight)) {
                if let Some(waiting) = queue.remove(in_vain) {
                    refuse(waiting, last(&budget, now.instant, queue.len()));
                }
            }
            if queue.is_empty() {
                return None;
            }
            let told_before = self.told_before();
            let told_at = now.instant + told_before;
            let first_told =
                |queue: &Queue<_>| queue.first_to_give_up().and_then(|first| first.checked_sub(told_before));
            let closed = budget.closed_until(now);
            if closed.is_none() && !can_call() {
                // Who waited to the end for that is told to come back, and finds its flight in its place.
                queue.put_off(told_at, told_at + self.0.patience);
                return first_told(&queue);
            }
            let opens = closed.map_or(now.instant, |closed| closed.at);
            for late in queue.take_expired(now.instant) {
                refuse(late, last(&budget, opens, queue.len()));
            }
            if closed.is_none() {
                self.draw(queue.len(), now.instant);
            }
            match self.take(&mut budget, now) {
                Ok(permit) => {
                    if let Some(first) = queue.pop() {
                        // A flight is never dropped while it waits, so this cannot lose a permit.
                        drop(first.send(Ok(permit)));
                    }
                }
                Err(closed) => {
                    for late in queue.take_expired(told_at) {
                        refuse(late, last(&budget, opens, queue.len()));
                    }
                    // Who joined since may be served before those who were here.
                    let pace = closed.limit == Limit::Pace;
                    if !pace || is_due(&self.0.looked_for_hopeless, now.instant) {
                        let all = queue.len();
                        let served_at = |place| self.turn(&budget, closed.at, place, all) + told_before;
                        for hopeless in queue.take_hopeless(served_at, now.instant + self.0.patience) {
                            let later = last(&budget, closed.at, queue.len());
                            refuse(hopeless, if pace { later } else { self.not_before(closed) });
                        }
                    }
                    return Some(first_told(&queue).map_or(closed.at, |told| told.min(closed.at)));
                }
            }
        }
    }

    fn tell_if_closed(&self) {
        let failure = self.closed().map(|(_, failure)| failure);
        self.0.closed.send_if_modified(|told| {
            let end = |failure: &Option<Failure>| {
                failure.as_ref().map(|failure| (failure.reason, failure.retry_at))
            };
            let changed = end(told) != end(&failure);
            *told = failure;
            changed
        });
    }

    fn show_queue(&self) {
        self.0.metrics.permits_queued.set(i64::try_from(self.0.queue.borrow().len()).unwrap_or(i64::MAX));
    }
}
