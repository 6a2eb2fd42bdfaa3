//! Permits for calls that wait: the queue in front of the budget, and the one task that serves it.
//!
//! Who cannot be served in time is told so at once, with the time at which asking again can help.

mod day_file;
mod sweep;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, Notify, oneshot, watch};

use self::sweep::is_due;
use super::queue::{FlightNumber, Load, Priority, Queue, Share};
use crate::{
    budget::{Budget, Limit, NotBefore, Now, Permit, pace::Refresh, stretch::Outlook},
    failure::{Failure, Reason},
    metrics::{LimitKind, Metrics},
};

/// Gauges are made true this often when nothing happens.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// Who cannot be served is told so this much before its own wait is over: then it hears why, and not that it waits.
const TOLD_BEFORE: Duration = Duration::from_millis(50);

/// The queue and the budget behind it. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct Permits(Rc<Inner>);

struct Inner {
    budget: RefCell<Budget>,
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
        budget: Budget,
        max_queued: usize,
        patience: Duration,
        closed: watch::Sender<Option<Failure>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self(Rc::new(Inner {
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
        let closed = self.0.budget.borrow_mut().closed_until(Now::read())?;
        Some((closed.at, self.not_before(closed)))
    }

    /// Zoom said 429: stops all calls until then. `failure` is what those are told who cannot wait so long.
    pub fn cool_down(&self, kind: LimitKind, until: Instant, failure: Failure) {
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

    /// Takes back a permit that was not used after all.
    pub fn give_back(&self, permit: Permit) {
        self.0.budget.borrow_mut().give_back(permit, Now::read());
    }

    /// Zoom says that so many of the day's calls are left to the whole account, in answer to a call made at `called`.
    pub fn account_has_left(&self, calls: u64, called: Instant) {
        self.0.budget.borrow_mut().account_has_left(calls, called, Now::read());
    }

    /// A snapshot was replaced because its freshness was over.
    pub fn refreshed(&self, refresh: Refresh) {
        self.0.budget.borrow_mut().refreshed(refresh, Now::read());
    }

    /// How many times `live_fresh` a live snapshot of so many pages is to be fresh.
    #[must_use]
    pub fn stretch(&self, pages: u32) -> f64 {
        self.0.budget.borrow().stretch(pages, Now::read())
    }

    /// 00:00 UTC, on the monotonic clock.
    #[must_use]
    pub fn midnight(&self) -> Instant {
        Now::read().midnight()
    }

    /// The budget now.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        let (now, budget) = (Now::read(), self.0.budget.borrow());
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
            let look_again = self.serve_all_due(&is_in_vain, &can_call);
            self.tell_if_closed();
            self.show_queue();
            let now = Now::read();
            self.0.budget.borrow_mut().show(now);
            let idle = now.instant + LOOK_AT_LEAST_EVERY;
            // A change or the time, whichever is first; both only mean: look again.
            let changed = self.0.changed.notified();
            drop(tokio::time::timeout_at(look_again.unwrap_or(idle).min(idle).into(), changed).await);
        }
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
            let now = Now::read();
            while let Some(in_vain) = queue.first().filter(|flight| is_in_vain(*flight)) {
                if let Some(waiting) = queue.remove(in_vain) {
                    refuse(waiting, rate_limited(budget.turn(now.instant, queue.len())));
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
                refuse(late, rate_limited(budget.turn(opens, queue.len())));
            }
            match budget.permit(now) {
                Ok(permit) => {
                    if let Some(first) = queue.pop() {
                        // A flight is never dropped while it waits, so this cannot lose a permit.
                        drop(first.send(Ok(permit)));
                    }
                }
                Err(closed) => {
                    for late in queue.take_expired(told_at) {
                        refuse(late, rate_limited(budget.turn(opens, queue.len())));
                    }
                    // Who joined since may be served before those who were here.
                    let pace = closed.limit == Limit::Pace;
                    if !pace || is_due(&self.0.looked_for_hopeless, now.instant) {
                        let served_at = |place| budget.turn(closed.at, place) + told_before;
                        for hopeless in queue.take_hopeless(served_at, now.instant + self.0.patience) {
                            let at = budget.turn(closed.at, queue.len());
                            refuse(hopeless, if pace { rate_limited(at) } else { self.not_before(closed) });
                        }
                    }
                    return Some(first_told(&queue).map_or(closed.at, |told| told.min(closed.at)));
                }
            }
        }
    }

    /// A new flight that would wait in vain is told so before it queues. One that has begun always may queue.
    fn refuse_early(
        &self,
        priority: Priority,
        wanted_by: &[Share],
        give_up: Option<Instant>,
    ) -> Result<(), Failure> {
        let now = Now::read();
        let (mut budget, mut queue) = (self.0.budget.borrow_mut(), self.0.queue.borrow_mut());
        let closed = budget.closed_until(now);
        if let Some(closed) = closed
            && closed.at >= give_up.unwrap_or(now.instant + self.0.patience)
        {
            return Err(self.not_before(closed));
        }
        let Some(give_up) = give_up else { return Ok(()) };
        let opens = closed.map_or(now.instant, |closed| closed.at);
        let ahead = wanted_by.iter().map(|share| queue.ahead_of(priority, *share)).min();
        let ahead = ahead.unwrap_or_else(|| queue.len());
        let (day_used, day_limit) = budget.day_used(now);
        if ahead as u64 >= day_limit.saturating_sub(day_used) {
            return Err(Failure::new(Reason::ZoomDailyQuotaSpent).retry_at(now.midnight()));
        }
        let served_at = budget.turn(opens, ahead);
        // Timers are late by a millisecond or two each. Who is let in is to be served, and not refused after all that wait.
        let late = served_at.saturating_duration_since(now.instant) / 32;
        let in_vain = served_at + late + self.told_before() >= give_up;
        if queue.len() >= self.0.max_queued {
            let overloaded = Failure::new(Reason::Overloaded).retry_at(budget.turn(opens, queue.len()));
            let may_push_out = !in_vain && priority == Priority::Foreground;
            let pushed_out =
                wanted_by.iter().filter(|_| may_push_out).find_map(|share| queue.make_room(*share));
            let Some(pushed_out) = pushed_out else { return Err(overloaded) };
            refuse(pushed_out, overloaded);
        } else if in_vain {
            return Err(rate_limited(served_at));
        }
        Ok(())
    }

    /// Why there is no permit before then: in Zoom's own words, if it was Zoom that said so.
    fn not_before(&self, closed: NotBefore) -> Failure {
        let pause = self.0.pause.borrow();
        if let (Limit::Cooldown(_), Some(failure)) = (closed.limit, pause.as_ref())
            && failure.retry_at == Some(closed.at)
        {
            return failure.clone();
        }
        let reason = match closed.limit {
            Limit::Pace | Limit::Cooldown(LimitKind::PerSecond) => Reason::ZoomRateLimited,
            Limit::DaySpent | Limit::Cooldown(LimitKind::PerDay) => Reason::ZoomDailyQuotaSpent,
        };
        Failure::new(reason).retry_at(closed.at)
    }

    /// A part of a wait that is shorter than usual.
    fn told_before(&self) -> Duration {
        TOLD_BEFORE.min(self.0.patience / 4)
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

fn rate_limited(until: Instant) -> Failure {
    Failure::new(Reason::ZoomRateLimited).retry_at(until)
}

fn refuse(waiting: oneshot::Sender<Result<Permit, Failure>>, failure: Failure) {
    // Nobody waiting any more is as good.
    drop(waiting.send(Err(failure)));
}
