//! Permits for calls that wait: the queue in front of the budget, and the one task that serves it.
//!
//! Who cannot be served in time is told so at once, with the time at which asking again can help.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::queue::{FlightNumber, Priority, Queue};
use crate::{
    budget::{Budget, Limit, NotBefore, Now, Permit, day::Save},
    failure::{Failure, Reason},
    metrics::{LimitKind, Metrics},
};

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
    /// A write of the day's count is under way: the next waits for it.
    saving: Cell<bool>,
    max_queued: usize,
    /// How long a flight that has begun waits for its next permit.
    patience: Duration,
    metrics: Arc<Metrics>,
}

/// The budget as `/status` shows it.
pub struct BudgetStatus {
    /// Calls counted since 00:00 UTC.
    pub day_used: u64,
    /// Calls permitted in a day.
    pub day_limit: u64,
    /// Calls waiting for a permit.
    pub queued: usize,
    /// For each kind, how long a 429 still stops all calls.
    pub cooldowns: [(LimitKind, Option<Duration>); 2],
}

impl Permits {
    /// An empty queue in front of `budget`.
    #[must_use]
    pub fn new(budget: Budget, max_queued: usize, patience: Duration, metrics: &Arc<Metrics>) -> Self {
        Self(Rc::new(Inner {
            budget: RefCell::new(budget),
            queue: RefCell::default(),
            changed: Notify::new(),
            pause: RefCell::default(),
            saving: Cell::new(false),
            max_queued,
            patience,
            metrics: Arc::clone(metrics),
        }))
    }

    /// Waits for a permit. `give_up` as in [`Queue::push`].
    ///
    /// # Errors
    /// At once, when no permit can come in time or too many wait already.
    pub async fn next(
        &self,
        priority: Priority,
        flight: FlightNumber,
        give_up: Option<Instant>,
    ) -> Result<Permit, Failure> {
        let asked = Instant::now();
        self.refuse_early(give_up)?;
        let (served, wait) = oneshot::channel();
        self.0.queue.borrow_mut().push(priority, flight, give_up, served);
        self.show_queue();
        self.0.changed.notify_one();
        let permit = wait.await.unwrap_or_else(|_| Err(Failure::new(Reason::ShuttingDown)));
        self.0.metrics.permit_wait.observe(asked.elapsed().as_secs_f64());
        permit
    }

    /// Somebody wants this flight now, and waits until then.
    pub fn somebody_waits(&self, flight: FlightNumber, until: Instant) {
        self.0.queue.borrow_mut().somebody_waits(flight, until);
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
        self.0.pause.replace(Some(failure));
        self.0.changed.notify_one();
    }

    /// Takes back a permit that was not used after all.
    pub fn give_back(&self, permit: Permit) {
        self.0.budget.borrow_mut().give_back(permit, Now::read());
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
        BudgetStatus { day_used, day_limit, queued: self.0.queue.borrow().len(), cooldowns }
    }

    /// Serves the queue for as long as the service runs.
    pub async fn serve(self) {
        loop {
            let sleep_until = self.serve_all_due();
            self.show_queue();
            self.save_day();
            let changed = self.0.changed.notified();
            match sleep_until {
                None => changed.await,
                Some(at) => {
                    // A change or the time, whichever is first; both only mean: look again.
                    drop(tokio::time::timeout_at(at.into(), changed).await);
                }
            }
        }
    }

    /// Writes the exact count of the day, when no more calls will be made.
    pub async fn save_final_count(&self) {
        let save = self.0.budget.borrow_mut().final_save(Now::read());
        if let Some(save) = save {
            write(save).await;
        }
    }

    /// Gives out what can be given now, refuses the hopeless, and says when to look again; `None`: when something changes.
    fn serve_all_due(&self) -> Option<Instant> {
        let mut queue = self.0.queue.borrow_mut();
        let mut budget = self.0.budget.borrow_mut();
        loop {
            let now = Now::read();
            for given_up in queue.take_hopeless(now.instant, now.instant + self.0.patience) {
                let at = now.instant + budget.time_for(queue.len() + 1);
                refuse(given_up, Failure::new(Reason::ZoomRateLimited).retry_at(at));
            }
            if queue.is_empty() {
                return None;
            }
            match budget.permit(now) {
                Ok(permit) => {
                    if let Some(first) = queue.pop() {
                        // A flight is never dropped while it waits, so this cannot lose a permit.
                        drop(first.send(Ok(permit)));
                    }
                }
                Err(closed) => {
                    if closed.limit != Limit::Pace {
                        for hopeless in queue.take_hopeless(closed.at, now.instant + self.0.patience) {
                            refuse(hopeless, self.not_before(closed));
                        }
                    }
                    return Some(queue.first_to_give_up().map_or(closed.at, |first| first.min(closed.at)));
                }
            }
        }
    }

    /// A new flight that would wait in vain is told so before it queues. One that has begun always may queue.
    fn refuse_early(&self, give_up: Option<Instant>) -> Result<(), Failure> {
        let (now, queued) = (Now::read(), self.0.queue.borrow().len());
        let mut budget = self.0.budget.borrow_mut();
        if let Some(closed) = budget.closed_until(now)
            && closed.at >= give_up.unwrap_or(now.instant + self.0.patience)
        {
            return Err(self.not_before(closed));
        }
        let Some(give_up) = give_up else { return Ok(()) };
        let served_at = now.instant + budget.time_for(queued);
        if queued >= self.0.max_queued {
            return Err(Failure::new(Reason::Overloaded).retry_at(served_at));
        }
        if served_at >= give_up {
            return Err(Failure::new(Reason::ZoomRateLimited).retry_at(served_at));
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

    fn save_day(&self) {
        if self.0.saving.get() {
            return;
        }
        let save = self.0.budget.borrow_mut().pending_save(Now::read());
        let Some(save) = save else { return };
        self.0.saving.set(true);
        let this = self.clone();
        drop(actix_rt::spawn(async move {
            write(save).await;
            this.0.saving.set(false);
        }));
    }

    fn show_queue(&self) {
        self.0.metrics.permits_queued.set(i64::try_from(self.0.queue.borrow().len()).unwrap_or(i64::MAX));
    }
}

async fn write(save: Save) {
    let written = actix_rt::task::spawn_blocking(move || save.write()).await;
    if let Ok(Err(error)) = written {
        tracing::error!(
            error = %error,
            "limits.state_file cannot be written: a restart now would count fewer calls than were made today"
        );
    }
}

fn refuse(waiting: oneshot::Sender<Result<Permit, Failure>>, failure: Failure) {
    // Nobody waiting any more is as good.
    drop(waiting.send(Err(failure)));
}
