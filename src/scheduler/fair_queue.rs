//! Who gets the next permit. Pure: no clock, no channel, no budget.
//!
//! Callers share by weight: each has a line of its own, and the lines are served by start-time fair queueing (Goyal, Vin
//! and Cheng, 1996): of all lines the one that has had the least for its weight. Who was idle has saved nothing up, and
//! who is alone gets everything. Within a line the oldest flight comes first, whichever page it is at, so that a meeting
//! once begun is finished before a younger one starts.
//!
//! Flights that somebody waits for go before refreshes in the background, which get one permit in twenty all the same.
//! A flight has at most one call waiting. Every operation takes O(log n), or O(number of callers).

mod flow;

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    time::Instant,
};

use self::flow::{Lines, Waiting};

/// Counts flights in the order of their take-off.
pub type FlightNumber = u64;

/// Which caller, and its share of the permits relative to the others who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Names the caller's line.
    pub caller: u32,
    /// Twice the weight, twice the permits.
    pub weight: NonZeroU32,
}

impl Share {
    /// The share of callers without a name.
    pub const ANONYMOUS: Self = Self { caller: 0, weight: NonZeroU32::MIN };
}

/// Whether somebody waits for a flight. The order is that of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Callers wait.
    Foreground,
    /// A stale snapshot is refreshed.
    Background,
}

/// While refreshes wait, so many permits in a row may go to flights that somebody waits for.
const FOREGROUND_IN_A_ROW: u32 = 19;

/// Calls waiting for a permit.
pub struct Queue<T> {
    foreground: Lines<T>,
    background: Lines<T>,
    /// Where each flight waits.
    places: HashMap<FlightNumber, (Priority, u32), foldhash::fast::RandomState>,
    /// When each flight gives up, if it does.
    give_ups: BTreeSet<(Instant, FlightNumber)>,
    foreground_in_a_row: u32,
}

/// What one caller has in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Calls waiting, foreground and background.
    pub waiting: usize,
    /// Since when the oldest of them waits.
    pub oldest: Option<Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            foreground: Lines::default(),
            background: Lines::default(),
            places: HashMap::default(),
            give_ups: BTreeSet::new(),
            foreground_in_a_row: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Joins the queue, of the lines of those who want this flight in the one where its turn comes first. `give_up`: when this call is no
    /// longer wanted; `None` for a flight that has begun, which is finished.
    pub fn push(
        &mut self,
        (priority, flight): (Priority, FlightNumber),
        wanted_by: &[Share],
        now: Instant,
        give_up: Option<Instant>,
        item: T,
    ) {
        let lines = self.lines(priority);
        let share = lines.soonest(flight, wanted_by).unwrap_or(Share::ANONYMOUS);
        lines.push(share, flight, Waiting { since: now, give_up, item });
        self.places.insert(flight, (priority, share.caller));
        self.give_ups.extend(give_up.map(|at| (at, flight)));
    }

    /// Somebody wants this flight now, and waits until then. It moves into that caller's line if its turn comes sooner
    /// there.
    pub fn somebody_waits(&mut self, flight: FlightNumber, by: Share, until: Instant) {
        let Some(&(priority, caller)) = self.places.get(&flight) else { return };
        let moves = priority == Priority::Background || self.foreground.is_sooner(flight, by, caller);
        let Some(mut waiting) = self.lines(priority).remove(caller, flight) else { return };
        if let Some(give_up) = waiting.give_up.filter(|give_up| *give_up < until) {
            self.give_ups.remove(&(give_up, flight));
            self.give_ups.insert((until, flight));
            waiting.give_up = Some(until);
        }
        let share = if moves { by } else { self.foreground.share(caller) };
        self.foreground.push(share, flight, waiting);
        self.places.insert(flight, (Priority::Foreground, share.caller));
    }

    /// Which flight is the next to be served.
    #[must_use]
    pub fn first(&self) -> Option<FlightNumber> {
        self.next_lines().and_then(Lines::first)
    }

    /// The next to be served leaves the queue, and its line has had one permit more.
    pub fn pop(&mut self) -> Option<T> {
        let from_background = std::ptr::eq(self.next_lines()?, &raw const self.background);
        self.foreground_in_a_row = if from_background { 0 } else { self.foreground_in_a_row + 1 };
        let lines = if from_background { &mut self.background } else { &mut self.foreground };
        let (flight, waiting) = lines.pop()?;
        Some(self.gone(flight, waiting))
    }

    /// A flight leaves the queue unserved.
    pub fn remove(&mut self, flight: FlightNumber) -> Option<T> {
        let &(priority, caller) = self.places.get(&flight)?;
        let waiting = self.lines(priority).remove(caller, flight)?;
        Some(self.gone(flight, waiting))
    }

    /// Those whose time to give up is here or past leave the queue.
    pub fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(give_up, flight)) = self.give_ups.first()
            && give_up <= now
        {
            self.give_ups.pop_first();
            expired.extend(self.remove(flight));
        }
        expired
    }

    /// Those whose time to give up is here or past wait on until then.
    pub fn put_off(&mut self, now: Instant, until: Instant) {
        while let Some(&(give_up, flight)) = self.give_ups.first()
            && give_up <= now
            && now < until
        {
            self.give_ups.pop_first();
            if let Some(&(priority, caller)) = self.places.get(&flight)
                && let Some(waiting) = self.lines(priority).get_mut(caller, flight)
            {
                waiting.give_up = Some(until);
                self.give_ups.insert((until, flight));
            }
        }
    }

    /// All those leave the queue that no permit can reach in time. `served_at` says when which place is served at the
    /// earliest, counted from 0; a flight that has begun, and so has no time to give up, waits until
    /// `begun_waits_until`. Looks at everybody who waits.
    pub fn take_hopeless(
        &mut self,
        served_at: impl Fn(usize) -> Instant,
        begun_waits_until: Instant,
    ) -> Vec<T> {
        let in_order = self.foreground.in_order().chain(self.background.in_order());
        let foreground = self.foreground.len();
        let mut place = 0;
        let hopeless: Vec<_> = in_order
            .enumerate()
            .filter_map(|(number, (flight, give_up))| {
                let refreshes = if number < foreground { self.refreshes_between(place) } else { 0 };
                let in_vain = served_at(place + refreshes) >= give_up.unwrap_or(begun_waits_until);
                place += usize::from(!in_vain);
                in_vain.then_some(flight)
            })
            .collect();
        hopeless.into_iter().filter_map(|flight| self.remove(flight)).collect()
    }

    /// How many are served before a new flight of this caller's.
    #[must_use]
    pub fn ahead_of(&self, priority: Priority, share: Share) -> usize {
        match priority {
            Priority::Foreground => {
                let others = self.foreground.ahead_of(share);
                others + self.refreshes_between(others)
            }
            Priority::Background => {
                let refreshes = self.background.ahead_of(share);
                let turns = (refreshes + 1).saturating_mul(FOREGROUND_IN_A_ROW as usize);
                refreshes + self.foreground.len().min(turns)
            }
        }
    }

    /// Makes room for a new flight of this caller's: a refresh leaves the queue, or else the youngest flight of the most
    /// loaded caller that has not begun; `None` if the new one's own caller is as loaded as any.
    pub fn make_room(&mut self, share: Share) -> Option<T> {
        let flight = self.background.youngest_of_the_heaviest(None);
        let flight = flight.or_else(|| self.foreground.youngest_of_the_heaviest(Some(share)))?;
        self.remove(flight)
    }

    /// All that wait, in no order.
    pub fn flights(&self) -> impl Iterator<Item = FlightNumber> {
        self.places.keys().copied()
    }

    /// When the first of those that wait gives up.
    #[must_use]
    pub fn first_to_give_up(&self) -> Option<Instant> {
        self.give_ups.first().map(|(at, _)| *at)
    }

    /// Who has anything in the queue.
    #[must_use]
    pub fn callers(&self) -> BTreeSet<u32> {
        self.foreground.callers().chain(self.background.callers()).collect()
    }

    /// What this caller has in the queue.
    #[must_use]
    pub fn load(&self, caller: u32) -> Load {
        let (foreground, background) = (self.foreground.load(caller), self.background.load(caller));
        Load {
            waiting: foreground.waiting + background.waiting,
            oldest: foreground.oldest.into_iter().chain(background.oldest).min(),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many refreshes have their turn among so many flights that somebody waits for.
    fn refreshes_between(&self, foreground: usize) -> usize {
        self.background.len().min(foreground / FOREGROUND_IN_A_ROW as usize)
    }

    fn lines(&mut self, priority: Priority) -> &mut Lines<T> {
        match priority {
            Priority::Foreground => &mut self.foreground,
            Priority::Background => &mut self.background,
        }
    }

    fn next_lines(&self) -> Option<&Lines<T>> {
        let turn_of_refreshes = self.foreground_in_a_row >= FOREGROUND_IN_A_ROW;
        match (self.foreground.is_empty(), self.background.is_empty()) {
            (true, true) => None,
            (true, false) => Some(&self.background),
            (false, false) if turn_of_refreshes => Some(&self.background),
            (false, _) => Some(&self.foreground),
        }
    }

    fn gone(&mut self, flight: FlightNumber, waiting: Waiting<T>) -> T {
        self.places.remove(&flight);
        if let Some(give_up) = waiting.give_up {
            self.give_ups.remove(&(give_up, flight));
        }
        waiting.item
    }
}

#[cfg(test)]
mod tests;
