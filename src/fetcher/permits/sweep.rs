//! Looks at everybody who waits, now and then: at the head of the queue only the next is looked at.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{Permits, rate_limited, refuse};
use crate::{budget::Now, fetcher::queue::FlightNumber};

/// The whole queue is looked at no more often than this, for those who hung up, and those who will not be served.
const LOOK_AT_ALL_AT_MOST_EVERY: Duration = Duration::from_millis(100);
impl Permits {
    /// Those leave the queue, wherever they stand, for whom nobody waits. Whether any did. Looks at everybody who waits, so
    /// not with every refusal of a flood of them.
    pub(super) fn sweep(&self, makes_way: &impl Fn(FlightNumber) -> bool) -> bool {
        let now = Now::read();
        if !is_due(&self.0.swept, now.instant) {
            return false;
        }
        let (budget, mut queue) = (self.0.budget.borrow(), self.0.queue.borrow_mut());
        let leave: Vec<_> = queue.flights().filter(|flight| makes_way(*flight)).collect();
        for flight in &leave {
            if let Some(waiting) = queue.remove(*flight) {
                refuse(waiting, rate_limited(budget.turn(now.instant, queue.len())));
            }
        }
        !leave.is_empty()
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
