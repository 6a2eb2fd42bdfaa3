//! Who gets the next permit: flights that somebody waits for before refreshes in the background, and of each kind the
//! oldest first, whichever page it is at. Pure: no clock, no channel, no budget.
//!
//! A flight has at most one call waiting. Its place is its age, so that a meeting once begun is finished before a
//! younger one starts: the callers of both wait less on average than if pages took turns.

use std::{collections::BTreeMap, time::Instant};

/// Counts flights in the order of their take-off.
pub type FlightNumber = u64;

/// Whether somebody waits for a flight. The order is that of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Callers wait.
    Foreground,
    /// A stale snapshot is refreshed.
    Background,
}

/// Calls waiting for a permit.
pub struct Queue<T> {
    waiting: BTreeMap<(Priority, FlightNumber), Waiting<T>>,
}

struct Waiting<T> {
    give_up: Option<Instant>,
    item: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<T> Queue<T> {
    /// Joins the queue. `give_up`: when this call is no longer wanted; `None` for a flight that has begun, which is
    /// finished.
    pub fn push(&mut self, priority: Priority, flight: FlightNumber, give_up: Option<Instant>, item: T) {
        self.waiting.insert((priority, flight), Waiting { give_up, item });
    }

    /// Somebody wants this flight now, and waits until then.
    pub fn somebody_waits(&mut self, flight: FlightNumber, until: Instant) {
        if let Some(waiting) = self.waiting.remove(&(Priority::Background, flight)) {
            self.waiting.insert((Priority::Foreground, flight), waiting);
        }
        let waiting = self.waiting.get_mut(&(Priority::Foreground, flight));
        if let Some(Waiting { give_up: Some(give_up), .. }) = waiting {
            *give_up = until.max(*give_up);
        }
    }

    /// The next to be served leaves the queue.
    pub fn pop(&mut self) -> Option<T> {
        self.waiting.pop_first().map(|(_, waiting)| waiting.item)
    }

    /// All those leave the queue that no permit can reach in time. `served_at` says when which place is served at the
    /// earliest, counted from 0; a flight that has begun, and so has no time to give up, waits until
    /// `begun_waits_until`.
    pub fn take_hopeless(
        &mut self,
        served_at: impl Fn(usize) -> Instant,
        begun_waits_until: Instant,
    ) -> Vec<T> {
        let mut place = 0;
        let hopeless = self.waiting.extract_if(.., |_, waiting| {
            let in_vain = served_at(place) >= waiting.give_up.unwrap_or(begun_waits_until);
            place += usize::from(!in_vain);
            in_vain
        });
        hopeless.map(|(_, waiting)| waiting.item).collect()
    }

    /// When the first of those that wait gives up.
    #[must_use]
    pub fn first_to_give_up(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|waiting| waiting.give_up).min()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(seconds: u64) -> Instant {
        use std::sync::LazyLock;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        *START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_flight_is_served_first_whenever_it_joins() {
        let mut queue = Queue::default();
        queue.push(Priority::Foreground, 2, Some(after(9)), "second");
        queue.push(Priority::Foreground, 3, Some(after(9)), "third");
        queue.push(Priority::Foreground, 1, None, "first, at a later page");
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop(), Some("first, at a later page"));
        assert_eq!(queue.pop(), Some("second"));
        assert_eq!(queue.pop(), Some("third"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn who_cannot_be_served_in_time_leaves_and_the_others_stay() {
        let mut queue = Queue::default();
        queue.push(Priority::Foreground, 1, Some(after(5)), "short");
        queue.push(Priority::Foreground, 2, Some(after(15)), "long");
        queue.push(Priority::Foreground, 3, None, "begun");
        assert_eq!(queue.first_to_give_up(), Some(after(5)));
        assert_eq!(queue.take_hopeless(|_| after(5), after(15)), ["short"]);
        assert_eq!(queue.take_hopeless(|_| after(15), after(15)), ["long", "begun"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn those_at_the_end_of_a_long_queue_are_told_first() {
        let mut queue = Queue::default();
        for flight in 0..10 {
            queue.push(Priority::Foreground, flight, Some(after(5)), flight);
        }
        let one_a_second = |place: usize| after(2) + Duration::from_secs(place as u64);
        assert_eq!(queue.take_hopeless(one_a_second, after(99)), [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn a_refresh_makes_way_until_somebody_waits_for_it() {
        let mut queue = Queue::default();
        queue.push(Priority::Background, 1, Some(after(9)), "old refresh");
        queue.push(Priority::Background, 2, Some(after(9)), "refresh");
        queue.push(Priority::Foreground, 3, Some(after(9)), "awaited");
        queue.somebody_waits(2, after(12));
        assert_eq!(queue.pop(), Some("refresh"));
        assert_eq!(queue.pop(), Some("awaited"));
        assert_eq!(queue.pop(), Some("old refresh"));
    }

    #[test]
    fn a_later_caller_of_the_same_flight_makes_it_wait_longer() {
        let mut queue = Queue::default();
        queue.push(Priority::Foreground, 1, Some(after(5)), ());
        queue.somebody_waits(1, after(8));
        queue.somebody_waits(1, after(6));
        assert!(queue.take_hopeless(|_| after(7), after(7)).is_empty());
    }
}
