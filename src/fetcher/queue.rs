//! Who gets the next permit: the oldest flight first, whichever page it is at. Pure: no clock, no channel, no budget.
//!
//! A flight has at most one call waiting. Its place is its age, so that a meeting once begun is finished before a
//! younger one starts: the callers of both wait less on average than if pages took turns.

use std::{collections::BTreeMap, time::Instant};

/// Counts flights in the order of their take-off.
pub type FlightNumber = u64;

/// Calls waiting for a permit.
pub struct Queue<T> {
    waiting: BTreeMap<FlightNumber, Waiting<T>>,
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
    pub fn push(&mut self, flight: FlightNumber, give_up: Option<Instant>, item: T) {
        self.waiting.insert(flight, Waiting { give_up, item });
    }

    /// Somebody else wants this flight, and waits longer.
    pub fn extend(&mut self, flight: FlightNumber, until: Instant) {
        if let Some(Waiting { give_up: Some(give_up), .. }) = self.waiting.get_mut(&flight) {
            *give_up = until.max(*give_up);
        }
    }

    /// The next to be served leaves the queue.
    pub fn pop(&mut self) -> Option<T> {
        self.waiting.pop_first().map(|(_, waiting)| waiting.item)
    }

    /// All those leave the queue that no permit can reach in time: `at` is the earliest for anybody, and `patience` is
    /// how long a flight waits that has begun.
    pub fn take_hopeless(&mut self, at: Instant, begun_waits_until: Instant) -> Vec<T> {
        self.waiting
            .extract_if(.., |_, waiting| at >= waiting.give_up.unwrap_or(begun_waits_until))
            .map(|(_, waiting)| waiting.item)
            .collect()
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
        queue.push(2, Some(after(9)), "second");
        queue.push(3, Some(after(9)), "third");
        queue.push(1, None, "first, at a later page");
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.pop(), Some("first, at a later page"));
        assert_eq!(queue.pop(), Some("second"));
        assert_eq!(queue.pop(), Some("third"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn who_cannot_be_served_in_time_leaves_and_the_others_stay() {
        let mut queue = Queue::default();
        queue.push(1, Some(after(5)), "short");
        queue.push(2, Some(after(15)), "long");
        queue.push(3, None, "begun");
        assert_eq!(queue.first_to_give_up(), Some(after(5)));
        assert_eq!(queue.take_hopeless(after(5), after(15)), ["short"]);
        assert_eq!(queue.take_hopeless(after(15), after(15)), ["long", "begun"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_later_caller_of_the_same_flight_makes_it_wait_longer() {
        let mut queue = Queue::default();
        queue.push(1, Some(after(5)), ());
        queue.extend(1, after(8));
        queue.extend(1, after(6));
        assert!(queue.take_hopeless(after(7), after(7)).is_empty());
    }
}
