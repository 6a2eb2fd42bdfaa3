//! Admission control: rejects calls that cannot get a permit before their deadline, or that find the queue full, and
//! says why.

use std::time::{Duration, Instant};

use super::{
    dispatcher::{Dispatcher, NewCall, reject},
    fair_queue::{FlightNumber, Priority},
};
use crate::{
    failure::{Failure, LimitKind, Reason},
    quota::{Denied, Limit, Now},
};

/// The maximum difference between two replicas' estimates of the end of the same cool-down.
const SAME_COOLDOWN: Duration = Duration::from_millis(100);

impl Dispatcher {
    /// Decides whether a new call may wait. If the queue is full, the new call may evict another one.
    ///
    /// Example: 36 calls a second are permitted, and 400 calls are served before the new one. The new call is served in
    /// 400 × 28.9 ms = 11.56 s. With 0.36 s for late timers and the margin of 50 ms, that is 11.97 s, so the call meets
    /// a deadline of 12 s. With 420 calls before it, the call is rejected immediately.
    pub(super) fn admit(&mut self, call: &NewCall<'_>, now: Now) -> Result<(), Failure> {
        let blocked = self.quota.local().blocked_until(now);
        let latest = call.deadline.unwrap_or(now.instant + self.patience);
        if let Some(denied) = blocked.filter(|denied| denied.retry_at >= latest) {
            return Err(self.failure(denied));
        }
        // A flight that has made calls is admitted even if the queue is full, because its calls would be wasted.
        let Some(deadline) = call.deadline else { return Ok(()) };
        let opens = blocked.map_or(now.instant, |denied| denied.retry_at);
        let ahead = call.wanted_by.iter().map(|weight| self.queue.ahead_of(call.priority, *weight)).min();
        let ahead = ahead.unwrap_or_else(|| self.queue.len());
        if ahead as u64 >= self.quota.local().status(now).day_left() {
            return Err(Failure::new(Reason::ZoomDailyQuotaSpent).retry_at(now.midnight()));
        }
        let waiting = self.queue.len() + 1;
        let served_at = self.quota.estimate(opens, ahead, waiting);
        // Each timer fires a millisecond or two late, so the wait is estimated 1/32 longer. Otherwise a call could be
        // admitted and rejected after a long wait.
        let late = served_at.saturating_duration_since(now.instant) / 32;
        let misses = served_at + late + self.notify_margin() >= deadline;
        if self.queue.len() >= self.max_queued {
            let retry_at = self.quota.estimate(opens, self.queue.len(), waiting);
            let overloaded = Failure::new(Reason::Overloaded).retry_at(retry_at);
            let may_evict = !misses && call.priority == Priority::Foreground;
            let mut callers = call.wanted_by.iter().filter(|_| may_evict);
            let Some(evicted) = callers.find_map(|weight| self.queue.evict_for(*weight)) else {
                return Err(overloaded);
            };
            reject(evicted, overloaded);
        } else if misses {
            return Err(Failure::new(Reason::ZoomRateLimited).retry_at(served_at));
        }
        Ok(())
    }

    /// Evicts the flights for which `drop_if_unwanted` returns true. Returns whether there were any. This scans the
    /// whole queue, so it does nothing if the last scan was less than `SCAN_INTERVAL` ago.
    pub(super) fn evict_abandoned(
        &mut self,
        drop_if_unwanted: &impl Fn(FlightNumber) -> bool,
        now: Instant,
    ) -> bool {
        if !self.abandoned_scan.try_pass(now) {
            return false;
        }
        let abandoned: Vec<_> = self.queue.flights().filter(|flight| drop_if_unwanted(*flight)).collect();
        for flight in &abandoned {
            if let Some(call) = self.queue.remove(*flight) {
                reject(call, self.rate_limited_behind_all(now));
            }
        }
        !abandoned.is_empty()
    }

    /// Rejects the calls that cannot get a permit before their deadline if no permit is available before
    /// `denied.retry_at`. An admitted call can still miss its deadline, because newer calls of other callers may be
    /// served before it.
    pub(super) fn reject_unreachable(&mut self, denied: Denied, now: Instant) {
        let is_rate = denied.limit == Limit::Rate;
        // During a cool-down, or when the day's calls are spent, the queue is always scanned. The rate limit can deny a
        // permit dozens of times a second, so it does not cause a scan each time.
        if is_rate && !self.unreachable_scan.try_pass(now) {
            return;
        }
        let (waiting, margin) = (self.queue.len(), self.notify_margin());
        let served_at = |place| self.quota.estimate(denied.retry_at, place, waiting) + margin;
        for call in self.queue.take_unreachable(served_at, now + self.patience) {
            let later = self.rate_limited_behind_all(denied.retry_at);
            reject(call, if is_rate { later } else { self.failure(denied) });
        }
    }

    /// Stores the failure of a 429, unless the stored failure's cool-down ends later.
    pub(super) fn note_cooldown(&mut self, failure: Failure) {
        if self.cooldown.as_ref().is_none_or(|known| known.retry_at <= failure.retry_at) {
            self.cooldown = Some(failure);
        }
    }

    /// Returns the failure for a denied permit. If a cool-down is the reason, the failure has Zoom's message, if that is
    /// known.
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
