//! Gives permits to the calls that wait: the quota, the queue in front of it, and the rules of admission.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::{
    admission::{Admission, Calls, NewCall, rate_limited_behind, reject},
    fair_queue::FlightNumber,
};
use crate::{
    failure::Failure,
    quota::{Permit, Quota},
};

pub(super) struct Dispatcher {
    pub(super) quota: Quota,
    pub(super) queue: Calls,
    pub(super) admission: Admission,
}

impl Dispatcher {
    /// Adds a call to the queue. Flights that `may_be_evicted` leave it before this one is rejected.
    pub(super) fn enqueue(
        &mut self,
        call: &NewCall<'_>,
        may_be_evicted: &impl Fn(FlightNumber) -> bool,
    ) -> Result<oneshot::Receiver<Result<Permit, Failure>>, Failure> {
        let Self { quota, queue, admission } = self;
        let now = quota.sync();
        if let Err(rejection) = admission.admit(call, queue, quota, now) {
            if !admission.evict_abandoned(may_be_evicted, queue, quota, now.instant) {
                return Err(rejection);
            }
            admission.admit(call, queue, quota, now)?;
        }
        let (served, permit) = oneshot::channel();
        let (flight, wanted_by) = ((call.priority, call.flight), call.wanted_by);
        queue.push(flight, wanted_by, now.instant, call.deadline, served);
        Ok(permit)
    }

    /// The dispatch loop: gives out the permits that there are now, and rejects the calls that cannot get one in time. Returns
    /// when to run again; `None` if nothing can change by itself.
    ///
    /// The order matters. Flights that nobody waits for leave first, or they would cost a permit. Then come the reasons why
    /// nobody is served: an access token that is missing, a cool-down, a day that is spent. Only then a permit is taken, because
    /// the quota counts it at once; it always has a call to go to, the head of the queue at that moment. Example: a slot is due
    /// at 12:00:00.100. Until then a flight of a lighter caller may still join and get it.
    pub(super) fn dispatch_ready(
        &mut self,
        is_abandoned: &impl Fn(FlightNumber) -> bool,
        can_call: &impl Fn() -> bool,
        wake: &Rc<Notify>,
    ) -> Option<Instant> {
        let margin = self.admission.notify_margin();
        loop {
            let now = self.quota.sync();
            self.reject_abandoned_heads(is_abandoned, now.instant);
            if self.queue.is_empty() {
                return None;
            }
            let blocked = self.quota.blocked_until(now);
            if blocked.is_none() && !can_call() {
                return self.wait_for_access_token(now.instant + margin);
            }
            let opens = blocked.map_or(now.instant, |denied| denied.retry_at);
            self.reject_expired(now.instant, opens);
            if blocked.is_none() {
                self.quota.reserve(self.queue.len(), now, wake);
            }
            match self.quota.try_take(now) {
                Ok(permit) => match self.queue.pop() {
                    // A flight waits until it has an answer, so this cannot lose a permit.
                    Some(call) => drop(call.send(Ok(permit))),
                    None => self.quota.release(permit),
                },
                Err(denied) => {
                    self.reject_expired(now.instant + margin, opens);
                    let Self { quota, queue, admission } = self;
                    admission.reject_unreachable(denied, queue, quota, now.instant);
                    let next = self.next_rejection(margin);
                    return Some(next.map_or(denied.retry_at, |next| next.min(denied.retry_at)));
                }
            }
        }
    }

    /// Nobody is served without an access token. Calls whose callers waited to the end keep their place for as long again:
    /// those callers got `still_fetching`, and find the flight again when they come back.
    fn wait_for_access_token(&mut self, expired_at: Instant) -> Option<Instant> {
        self.queue.extend_expired(expired_at, expired_at + self.admission.patience());
        self.next_rejection(self.admission.notify_margin())
    }

    fn next_rejection(&self, margin: Duration) -> Option<Instant> {
        self.queue.first_deadline().and_then(|first| first.checked_sub(margin))
    }

    fn reject_abandoned_heads(&mut self, is_abandoned: &impl Fn(FlightNumber) -> bool, now: Instant) {
        while let Some(flight) = self.queue.first().filter(|flight| is_abandoned(*flight)) {
            if let Some(call) = self.queue.remove(flight) {
                reject(call, rate_limited_behind(&self.queue, &self.quota, now));
            }
        }
    }

    /// `opens` is when the next permit can be given.
    fn reject_expired(&mut self, now: Instant, opens: Instant) {
        for call in self.queue.take_expired(now) {
            reject(call, rate_limited_behind(&self.queue, &self.quota, opens));
        }
    }
}
