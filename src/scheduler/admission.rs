//! Admission control: rejects calls that cannot get a permit before their deadline, and says why.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::fair_queue::{CallerWeight, FairQueue, FlightNumber, Priority};
use crate::{
    failure::{Failure, LimitKind, Reason},
    quota::{Denied, Limit, Now, Permit, Quota},
};

/// The whole queue is scanned at most this often.
const SCAN_INTERVAL: Duration = Duration::from_millis(100);
/// Reject a call this long before its caller's deadline, so the caller gets the reason rather than a timeout.
const NOTIFY_MARGIN: Duration = Duration::from_millis(50);
/// The clocks of two replicas differ by less than this about the end of one cool-down.
const SAME_COOLDOWN: Duration = Duration::from_millis(100);

/// The calls that wait, each with its way to the flight.
pub(super) type Calls = FairQueue<oneshot::Sender<Result<Permit, Failure>>>;

/// A call that asks to wait for a permit.
pub(super) struct NewCall<'a> {
    pub(super) priority: Priority,
    pub(super) flight: FlightNumber,
    /// The callers who want the flight.
    pub(super) wanted_by: &'a [CallerWeight],
    /// When the call is no longer wanted; `None` for a flight that has begun, which may always wait.
    pub(super) deadline: Option<Instant>,
}

/// The rules, and what they remember.
pub(super) struct Admission {
    max_queued: usize,
    /// How long a flight that has begun waits for its next permit.
    patience: Duration,
    /// Zoom's words about the cool-down that ends last.
    cooldown: Option<Failure>,
    abandoned_scan: Throttle,
    unreachable_scan: Throttle,
}

impl Admission {
    pub(super) fn new(max_queued: usize, patience: Duration) -> Self {
        Self {
            max_queued,
            patience,
            cooldown: None,
            abandoned_scan: Throttle::default(),
            unreachable_scan: Throttle::default(),
        }
    }

    pub(super) fn max_queued(&self) -> usize {
        self.max_queued
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// How long before its deadline a call is rejected: less where callers wait for a shorter time than usual.
    pub(super) fn notify_margin(&self) -> Duration {
        NOTIFY_MARGIN.min(self.patience / 4)
    }

    /// Decides whether a new call may wait. In a full queue it may evict another one.
    ///
    /// Example: 36 calls a second are permitted, 400 calls are served before the new one. It is served in 400 × 28.9 ms =
    /// 11.5 s; with 0.36 s for late timers and the margin of 50 ms that is within a deadline of 12 s. With 420 calls before it
    /// the call is rejected at once.
    pub(super) fn admit(
        &self,
        call: &NewCall<'_>,
        queue: &mut Calls,
        quota: &Quota,
        now: Now,
    ) -> Result<(), Failure> {
        let blocked = quota.blocked_until(now);
        let latest = call.deadline.unwrap_or(now.instant + self.patience);
        if let Some(denied) = blocked.filter(|denied| denied.retry_at >= latest) {
            return Err(self.failure(denied));
        }
        // A flight that has begun is never turned away by the queue: its calls so far would be wasted.
        let Some(deadline) = call.deadline else { return Ok(()) };
        let opens = blocked.map_or(now.instant, |denied| denied.retry_at);
        let ahead = call.wanted_by.iter().map(|weight| queue.ahead_of(call.priority, *weight)).min();
        let ahead = ahead.unwrap_or_else(|| queue.len());
        if ahead as u64 >= quota.status(now).day_left() {
            return Err(Failure::new(Reason::ZoomDailyQuotaSpent).retry_at(now.midnight()));
        }
        let waiting = queue.len() + 1;
        let served_at = quota.estimate(opens, ahead, waiting);
        // Each timer is a millisecond or two late. A call that is admitted should be served, not rejected after a long wait.
        let late = served_at.saturating_duration_since(now.instant) / 32;
        let misses = served_at + late + self.notify_margin() >= deadline;
        if queue.len() >= self.max_queued {
            let retry_at = quota.estimate(opens, queue.len(), waiting);
            let overloaded = Failure::new(Reason::Overloaded).retry_at(retry_at);
            let may_evict = !misses && call.priority == Priority::Foreground;
            let mut callers = call.wanted_by.iter().filter(|_| may_evict);
            let Some(evicted) = callers.find_map(|weight| queue.evict_for(*weight)) else {
                return Err(overloaded);
            };
            reject(evicted, overloaded);
        } else if misses {
            return Err(rate_limited(served_at));
        }
        Ok(())
    }

    /// Evicts the flights that nobody waits for, wherever they stand, and returns whether there were any. Scans the whole queue,
    /// so not for every rejection of a flood.
    pub(super) fn evict_abandoned(
        &mut self,
        is_abandoned: &impl Fn(FlightNumber) -> bool,
        queue: &mut Calls,
        quota: &Quota,
        now: Instant,
    ) -> bool {
        if !self.abandoned_scan.try_pass(now) {
            return false;
        }
        let abandoned: Vec<_> = queue.flights().filter(|flight| is_abandoned(*flight)).collect();
        for flight in &abandoned {
            if let Some(call) = queue.remove(*flight) {
                reject(call, rate_limited_behind(queue, quota, now));
            }
        }
        !abandoned.is_empty()
    }

    /// Rejects the calls that no permit reaches before their deadline, now that none is given before `denied.retry_at`. Calls
    /// that joined later may be served before those that were admitted earlier, so every call can become unreachable.
    pub(super) fn reject_unreachable(
        &mut self,
        denied: Denied,
        queue: &mut Calls,
        quota: &Quota,
        now: Instant,
    ) {
        let is_rate = denied.limit == Limit::Rate;
        // Without a permit for a whole while the end of the queue is known at once; the rate alone is not worth a scan each
        // time, 36 times a second.
        if is_rate && !self.unreachable_scan.try_pass(now) {
            return;
        }
        let (waiting, margin) = (queue.len(), self.notify_margin());
        let served_at = |place| quota.estimate(denied.retry_at, place, waiting) + margin;
        for call in queue.take_unreachable(served_at, now + self.patience) {
            let later = rate_limited_behind(queue, quota, denied.retry_at);
            reject(call, if is_rate { later } else { self.failure(denied) });
        }
    }

    /// Remembers what Zoom said with a 429, if its cool-down ends last.
    pub(super) fn note_cooldown(&mut self, failure: Failure) {
        if self.cooldown.as_ref().is_none_or(|known| known.retry_at <= failure.retry_at) {
            self.cooldown = Some(failure);
        }
    }

    /// Why there is no permit: in Zoom's words, if Zoom caused it.
    pub(super) fn failure(&self, denied: Denied) -> Failure {
        let at = denied.retry_at;
        if let (Limit::Cooldown(_), Some(failure)) = (denied.limit, self.cooldown.as_ref())
            && failure.retry_at.is_some_and(|end| end.max(at) - end.min(at) <= SAME_COOLDOWN)
        {
            return failure.clone();
        }
        let reason = match denied.limit {
            Limit::Rate | Limit::Cooldown(LimitKind::PerSecond) => Reason::ZoomRateLimited,
            Limit::DaySpent | Limit::Cooldown(LimitKind::PerDay) => Reason::ZoomDailyQuotaSpent,
        };
        Failure::new(reason).retry_at(at)
    }
}

/// Lets something happen at most once in [`SCAN_INTERVAL`].
#[derive(Default)]
struct Throttle(Option<Instant>);

impl Throttle {
    fn try_pass(&mut self, now: Instant) -> bool {
        let passes = self.0.is_none_or(|last| now >= last + SCAN_INTERVAL);
        if passes {
            self.0 = Some(now);
        }
        passes
    }
}

/// The rejection of a call that would have to wait behind all others, none of which is served before `opens`.
pub(super) fn rate_limited_behind(queue: &Calls, quota: &Quota, opens: Instant) -> Failure {
    rate_limited(quota.estimate(opens, queue.len(), queue.len()))
}

fn rate_limited(until: Instant) -> Failure {
    Failure::new(Reason::ZoomRateLimited).retry_at(until)
}

/// Nothing is lost if the flight does not wait any more.
pub(super) fn reject(call: oneshot::Sender<Result<Permit, Failure>>, failure: Failure) {
    drop(call.send(Err(failure)));
}
