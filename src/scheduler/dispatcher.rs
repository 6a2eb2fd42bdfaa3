//! Gives permits to the calls that wait. Owns the quota and the queue in front of it. [`super::admission`] decides
//! which calls may wait.
//!
//! With Redis, a call gets its permit like this:
//!
//! 1. The flight's task calls [`super::Scheduler::acquire`]: its call joins the queue, wakes the task of
//!    [`super::Scheduler::run`], and waits on a channel.
//! 2. `run` calls [`Dispatcher::dispatch_ready`]. If there is no access token, the fetcher requests one, and no slot is
//!    reserved until the token has arrived. Then the quota requests a [slot](crate::cluster) from Redis in a task of its
//!    own.
//! 3. The reply, say a slot at 12:00:00.100, wakes `run`, which sleeps until the slot is due.
//! 4. At 12:00:00.100, `run` takes the slot as a permit, and sends it to the call that is now first in the queue.
//!
//! Without Redis, the quota decides immediately, by its own rate.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::fair_queue::{CallerWeight, FairQueue, FlightNumber, Priority};
use crate::{
    failure::{Failure, Reason},
    quota::{Permit, Quota},
};

/// A call that still has no permit is rejected this long before its caller's deadline (less if `server.wait` is very
/// short), so that the caller gets the reason rather than a timeout.
const NOTIFY_MARGIN: Duration = Duration::from_millis(50);
/// The minimum interval between two scans of the whole queue for the same purpose. A cool-down or a spent day causes a
/// scan in any case.
const SCAN_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Dispatcher {
    pub(super) quota: Quota,
    pub(super) queue: FairQueue<oneshot::Sender<Result<Permit, Failure>>>,
    pub(super) max_queued: usize,
    /// A flight that has made a call waits while its next permit is expected within this time.
    pub(super) patience: Duration,
    /// The failure of the cool-down that ends last, with Zoom's message if it is known.
    pub(super) cooldown: Option<Failure>,
    pub(super) abandoned_scan: Throttle,
    pub(super) unreachable_scan: Throttle,
}

pub(crate) struct NewCall<'a> {
    pub(crate) priority: Priority,
    pub(crate) flight: FlightNumber,
    /// The callers that the flight is for. The call joins the flow of one of them; see [`FairQueue::push`].
    pub(crate) wanted_by: &'a [CallerWeight],
    /// The time after which no caller wants the call. `None` for a flight that has made a call; see
    /// [`Dispatcher::patience`].
    pub(crate) deadline: Option<Instant>,
}

impl Dispatcher {
    pub(super) fn new(quota: Quota, max_queued: usize, patience: Duration) -> Self {
        Self {
            quota,
            queue: FairQueue::default(),
            max_queued,
            patience,
            cooldown: None,
            abandoned_scan: Throttle::default(),
            unreachable_scan: Throttle::default(),
        }
    }

    /// Adds a call to the queue. If it would be rejected, flights for which `drop_if_unwanted` returns true leave the
    /// queue first.
    pub(super) fn enqueue(
        &mut self,
        call: &NewCall<'_>,
        drop_if_unwanted: &impl Fn(FlightNumber) -> bool,
    ) -> Result<oneshot::Receiver<Result<Permit, Failure>>, Failure> {
        let now = self.quota.sync();
        if let Err(rejection) = self.admit(call, now) {
            if !self.evict_abandoned(drop_if_unwanted, now.instant) {
                return Err(rejection);
            }
            self.admit(call, now)?;
        }
        let (served, permit) = oneshot::channel();
        let (flight, wanted_by) = ((call.priority, call.flight), call.wanted_by);
        self.queue.push(flight, wanted_by, now.instant, call.deadline, served);
        Ok(permit)
    }

    /// The dispatch loop: grants the permits that are available now, and rejects the calls that cannot get one in time.
    /// Returns when to run again; `None` if only an event can change anything.
    ///
    /// The order matters. First, flights that no caller waits for leave the head of the queue, because each would cost a
    /// permit. Then the loop checks the reasons that block all calls: a missing access token, a cool-down, a spent day.
    /// It takes a permit only after that, because the quota counts a permit when it is taken. The permit goes to the
    /// call that is then at the head of the queue. Example: a slot is due at 12:00:00.100. A flight of a less loaded
    /// caller joins the queue at 12:00:00.050. That flight gets the slot.
    pub(super) fn dispatch_ready(
        &mut self,
        drop_if_abandoned: &impl Fn(FlightNumber) -> bool,
        ensure_token: &impl Fn() -> bool,
        wake: &Rc<Notify>,
    ) -> Option<Instant> {
        let margin = self.notify_margin();
        loop {
            let now = self.quota.sync();
            self.reject_abandoned_heads(drop_if_abandoned, now.instant);
            if self.queue.is_empty() {
                return None;
            }
            let blocked = self.quota.local().blocked_until(now);
            if blocked.is_none() && !ensure_token() {
                return self.wait_for_access_token(now.instant + margin);
            }
            let opens = blocked.map_or(now.instant, |denied| denied.retry_at);
            self.reject_expired(now.instant, opens);
            if blocked.is_none() {
                self.quota.reserve(self.queue.len(), now, wake);
            }
            match self.quota.try_take(now) {
                Ok(permit) => match self.queue.pop() {
                    // A flight waits until it gets a reply, so this cannot lose a permit.
                    Some(call) => drop(call.send(Ok(permit))),
                    None => self.quota.release(permit),
                },
                Err(denied) => {
                    self.reject_expired(now.instant + margin, opens);
                    self.reject_unreachable(denied, now.instant);
                    let next = self.next_rejection();
                    return Some(next.map_or(denied.retry_at, |next| next.min(denied.retry_at)));
                }
            }
        }
    }

    /// Handles a missing access token, without which no call is served. Calls whose deadline is near or has passed keep
    /// their place in the queue for another `patience`. Their callers get `still_fetching`, and join the same flight
    /// when they retry.
    fn wait_for_access_token(&mut self, expired_at: Instant) -> Option<Instant> {
        self.queue.extend_expired(expired_at, expired_at + self.patience);
        self.next_rejection()
    }

    /// Returns how long before its deadline a call is rejected: 50 ms, or less if `server.wait` is very short.
    pub(super) fn notify_margin(&self) -> Duration {
        NOTIFY_MARGIN.min(self.patience / 4)
    }

    fn next_rejection(&self) -> Option<Instant> {
        self.queue.first_deadline().and_then(|first| first.checked_sub(self.notify_margin()))
    }

    fn reject_abandoned_heads(&mut self, drop_if_abandoned: &impl Fn(FlightNumber) -> bool, now: Instant) {
        while let Some(flight) = self.queue.first().filter(|flight| drop_if_abandoned(*flight)) {
            if let Some(call) = self.queue.remove(flight) {
                reject(call, self.rate_limited_behind_all(now));
            }
        }
    }

    /// Rejects the calls whose deadline is not after `now`. `opens` is the earliest time of the next permit.
    fn reject_expired(&mut self, now: Instant, opens: Instant) {
        for call in self.queue.take_expired(now) {
            reject(call, self.rate_limited_behind_all(opens));
        }
    }

    /// Returns the failure for a rejected call. Its `retry_at` is when a call behind all waiting calls would be served,
    /// if no call is served before `opens`.
    pub(super) fn rate_limited_behind_all(&self, opens: Instant) -> Failure {
        let waiting = self.queue.len();
        Failure::new(Reason::ZoomRateLimited).retry_at(self.quota.estimate(opens, waiting, waiting))
    }
}

/// Sends the failure to the flight. If the flight no longer waits, does nothing.
pub(super) fn reject(call: oneshot::Sender<Result<Permit, Failure>>, failure: Failure) {
    drop(call.send(Err(failure)));
}

/// Permits scans that are at least [`SCAN_INTERVAL`] apart.
#[derive(Default)]
pub(super) struct Throttle(Option<Instant>);

impl Throttle {
    pub(super) fn try_pass(&mut self, now: Instant) -> bool {
        let passes = self.0.is_none_or(|last| now >= last + SCAN_INTERVAL);
        if passes {
            self.0 = Some(now);
        }
        passes
    }
}
