//! Who is told at once that it waits in vain, and why.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Permits,
    fair_queue::{FlightNumber, Priority, Share},
};
use crate::{
    failure::{Failure, LimitKind, Reason},
    quota::{Limit, NotBefore, Permit},
};

/// The whole queue is looked at no more often than this, for those who hung up, and those who will not be served.
const LOOK_AT_ALL_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// Who cannot be served is told so this much before its own wait is over: then it hears why, and not that it waits.
const TOLD_BEFORE: Duration = Duration::from_millis(50);
/// The end of one pause, by the clocks of two replicas.
const SAME_PAUSE: Duration = Duration::from_millis(100);

impl Permits {
    /// Those leave the queue, wherever they stand, for whom nobody waits. Whether any did. Looks at everybody who waits, so
    /// not with every refusal of a flood of them.
    pub(super) fn sweep(&self, makes_way: &impl Fn(FlightNumber) -> bool) -> bool {
        let now = Instant::now();
        if !is_due(&self.0.swept, now) {
            return false;
        }
        let (budget, mut queue) = (self.0.budget.borrow(), self.0.queue.borrow_mut());
        let leave: Vec<_> = queue.flights().filter(|flight| makes_way(*flight)).collect();
        for flight in &leave {
            if let Some(waiting) = queue.remove(*flight) {
                refuse(waiting, rate_limited(self.turn(&budget, now, queue.len(), queue.len())));
            }
        }
        !leave.is_empty()
    }

    /// A new flight that would wait in vain is told so before it queues. One that has begun always may queue.
    pub(super) fn refuse_early(
        &self,
        priority: Priority,
        wanted_by: &[Share],
        give_up: Option<Instant>,
    ) -> Result<(), Failure> {
        let (mut budget, mut queue) = (self.0.budget.borrow_mut(), self.0.queue.borrow_mut());
        let now = self.now(&mut budget);
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
        // Itself included.
        let waiting = queue.len() + 1;
        let served_at = self.turn(&budget, opens, ahead, waiting);
        // Timers are late by a millisecond or two each. Who is let in is to be served, and not refused after all that wait.
        let late = served_at.saturating_duration_since(now.instant) / 32;
        let in_vain = served_at + late + self.told_before() >= give_up;
        if queue.len() >= self.0.max_queued {
            let overloaded =
                Failure::new(Reason::Overloaded).retry_at(self.turn(&budget, opens, queue.len(), waiting));
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
    pub(super) fn not_before(&self, closed: NotBefore) -> Failure {
        let pause = self.0.pause.borrow();
        if let (Limit::Cooldown(_), Some(failure)) = (closed.limit, pause.as_ref())
            && failure.retry_at.is_some_and(|at| at.max(closed.at) - at.min(closed.at) <= SAME_PAUSE)
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
    pub(super) fn told_before(&self) -> Duration {
        TOLD_BEFORE.min(self.0.patience / 4)
    }
}

/// Whether it is time to look at everybody who waits again; then that is done now.
pub(super) fn is_due(last: &Cell<Option<Instant>>, now: Instant) -> bool {
    let due = last.get().is_none_or(|last| now >= last + LOOK_AT_ALL_AT_MOST_EVERY);
    if due {
        last.set(Some(now));
    }
    due
}

pub(super) fn rate_limited(until: Instant) -> Failure {
    Failure::new(Reason::ZoomRateLimited).retry_at(until)
}

pub(super) fn refuse(waiting: oneshot::Sender<Result<Permit, Failure>>, failure: Failure) {
    // Nobody waiting any more is as good.
    drop(waiting.send(Err(failure)));
}
