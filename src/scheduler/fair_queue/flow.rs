//! The lines of all callers, one kind of flights: start-time fair queueing over them.
//!
//! Each line has a tag, in virtual time: when its next flight's turn is. Serving one moves the tag on by one permit over
//! the weight. The line with the smallest tag is next, and its tag is what virtual time it is; a line that was empty
//! joins at that time, not at where it stood when it was last served.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map},
    time::Instant,
};

use super::{FlightNumber, Load, Share};

/// One permit at weight 1. In 64 bits, ten million years at 40 a second.
const PERMIT: u64 = 1 << 24;

/// Virtual time.
type Tag = u64;

/// A call that waits.
pub(super) struct Waiting<T> {
    pub(super) since: Instant,
    pub(super) give_up: Option<Instant>,
    pub(super) item: T,
}

struct Line<T> {
    share: Share,
    /// When its next flight's turn is.
    tag: Tag,
    /// By age.
    waiting: BTreeMap<FlightNumber, Waiting<T>>,
}

impl<T> Line<T> {
    fn youngest_not_begun(&self) -> Option<FlightNumber> {
        let mut youngest_first = self.waiting.iter().rev();
        youngest_first.find(|(_, waiting)| waiting.give_up.is_some()).map(|(flight, _)| *flight)
    }
}

pub(super) struct Lines<T> {
    by_caller: HashMap<u32, Line<T>, foldhash::fast::RandomState>,
    /// The lines in which somebody waits, in the order of their turns.
    turns: BTreeSet<(Tag, u32)>,
    /// Virtual time now.
    now: Tag,
    length: usize,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { by_caller: HashMap::default(), turns: BTreeSet::new(), now: 0, length: 0 }
    }
}

fn cost(share: Share) -> Tag {
    (PERMIT / u64::from(share.weight.get())).max(1)
}

/// Whether so many in one line are less, for its weight, than so many in the other.
fn is_less(some: usize, of: Share, more: usize, than: Share) -> bool {
    let per_weight = |waiting: usize, other: Share| waiting as u128 * u128::from(other.weight.get());
    per_weight(some, than) < per_weight(more, of)
}

impl<T> Lines<T> {
    pub(super) fn push(&mut self, share: Share, flight: FlightNumber, waiting: Waiting<T>) {
        let line = self.by_caller.entry(share.caller).or_insert_with(|| Line {
            share,
            tag: 0,
            waiting: BTreeMap::new(),
        });
        // A weight that was changed counts from now on.
        line.share = share;
        if line.waiting.is_empty() {
            line.tag = line.tag.max(self.now);
            self.turns.insert((line.tag, share.caller));
        }
        if line.waiting.insert(flight, waiting).is_none() {
            self.length += 1;
        }
    }

    pub(super) fn first(&self) -> Option<FlightNumber> {
        let (_, caller) = self.turns.first()?;
        self.by_caller.get(caller)?.waiting.first_key_value().map(|(flight, _)| *flight)
    }

    pub(super) fn pop(&mut self) -> Option<(FlightNumber, Waiting<T>)> {
        let (tag, caller) = self.turns.pop_first()?;
        let line = self.by_caller.get_mut(&caller)?;
        let served = line.waiting.pop_first()?;
        self.now = tag;
        line.tag = tag + cost(line.share);
        if !line.waiting.is_empty() {
            self.turns.insert((line.tag, caller));
        }
        self.length -= 1;
        Some(served)
    }

    pub(super) fn remove(&mut self, caller: u32, flight: FlightNumber) -> Option<Waiting<T>> {
        let line = self.by_caller.get_mut(&caller)?;
        let waiting = line.waiting.remove(&flight)?;
        if line.waiting.is_empty() {
            self.turns.remove(&(line.tag, caller));
        }
        self.length -= 1;
        Some(waiting)
    }

    pub(super) fn get_mut(&mut self, caller: u32, flight: FlightNumber) -> Option<&mut Waiting<T>> {
        self.by_caller.get_mut(&caller)?.waiting.get_mut(&flight)
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn share(&self, caller: u32) -> Share {
        self.by_caller.get(&caller).map_or(Share { caller, ..Share::ANONYMOUS }, |line| line.share)
    }

    pub(super) fn load(&self, caller: u32) -> Load {
        self.by_caller.get(&caller).map_or_else(Load::default, |line| Load {
            waiting: line.waiting.len(),
            oldest: line.waiting.values().map(|waiting| waiting.since).min(),
        })
    }

    pub(super) fn callers(&self) -> impl Iterator<Item = u32> {
        self.turns.iter().map(|(_, caller)| *caller)
    }

    fn waiting(&self, caller: u32) -> usize {
        self.by_caller.get(&caller).map_or(0, |line| line.waiting.len())
    }

    /// When this flight's turn is, or would be, in this caller's line.
    fn turn(&self, share: Share, flight: FlightNumber) -> Tag {
        let line = self.by_caller.get(&share.caller);
        self.turn_behind(share, line.map_or(0, |line| line.waiting.range(..flight).count()))
    }

    /// When the turn is of whoever has so many ahead in this caller's line.
    fn turn_behind(&self, share: Share, ahead: usize) -> Tag {
        let begins = self.by_caller.get(&share.caller).map_or(0, |line| line.tag).max(self.now);
        begins.saturating_add(cost(share).saturating_mul(ahead as u64))
    }

    /// Whether this flight's turn would come sooner in the line of `by` than in the one in which it waits.
    pub(super) fn is_sooner(&self, flight: FlightNumber, by: Share, than: u32) -> bool {
        by.caller != than && self.turn(by, flight) < self.turn(self.share(than), flight)
    }

    /// In whose line this flight's turn comes first.
    pub(super) fn soonest(&self, flight: FlightNumber, shares: &[Share]) -> Option<Share> {
        match shares {
            [only] => Some(*only),
            // Looks at those in each line, and only where several callers want one meeting.
            several => several.iter().copied().min_by_key(|share| self.turn(*share, flight)),
        }
    }

    /// How many are served before one more in this line.
    pub(super) fn ahead_of(&self, share: Share) -> usize {
        let own = self.waiting(share.caller);
        let turn = self.turn_behind(share, own);
        let others = self.turns.iter().filter(|(_, caller)| *caller != share.caller);
        let before = others.filter_map(|(tag, caller)| {
            let line = self.by_caller.get(caller)?;
            let turns = turn.checked_sub(*tag)?.div_ceil(cost(line.share));
            Some(line.waiting.len().min(usize::try_from(turns).unwrap_or(usize::MAX)))
        });
        own + before.sum::<usize>()
    }

    /// Of the line that is the most loaded for its weight, among those with a flight that has not begun: the youngest such.
    /// Not if one more in the line of `instead_of` would make that one as loaded.
    pub(super) fn youngest_of_the_heaviest(&self, instead_of: Option<Share>) -> Option<FlightNumber> {
        let lines = self.turns.iter().filter_map(|(_, caller)| self.by_caller.get(caller));
        let lines = lines.filter_map(|line| Some((line, line.youngest_not_begun()?)));
        let (heaviest, youngest) = lines.reduce(|most, one| {
            let (most_loaded, line) = (most.0, one.0);
            let heavier =
                is_less(most_loaded.waiting.len(), most_loaded.share, line.waiting.len(), line.share);
            if heavier { one } else { most }
        })?;
        if let Some(share) = instead_of {
            let with_one_more = self.waiting(share.caller) + 1;
            let lighter = is_less(with_one_more, share, heaviest.waiting.len(), heaviest.share);
            if share.caller == heaviest.share.caller || !lighter {
                return None;
            }
        }
        Some(youngest)
    }

    /// All flights in the order in which they would be served, and when each gives up.
    pub(super) fn in_order(&self) -> InOrder<'_, T> {
        let lines = self.turns.iter().filter_map(|&(tag, caller)| {
            let line = self.by_caller.get(&caller)?;
            Some((caller, (cost(line.share), line.waiting.iter(), tag)))
        });
        InOrder { turns: self.turns.clone(), lines: lines.collect() }
    }
}

type Rest<'a, T> = (Tag, btree_map::Iter<'a, FlightNumber, Waiting<T>>, Tag);

pub(super) struct InOrder<'a, T> {
    turns: BTreeSet<(Tag, u32)>,
    lines: HashMap<u32, Rest<'a, T>, foldhash::fast::RandomState>,
}

impl<T> Iterator for InOrder<'_, T> {
    type Item = (FlightNumber, Option<Instant>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (_, caller) = self.turns.pop_first()?;
            let Some((cost, waiting, tag)) = self.lines.get_mut(&caller) else { continue };
            if let Some((flight, waiting)) = waiting.next() {
                *tag += *cost;
                self.turns.insert((*tag, caller));
                return Some((*flight, waiting.give_up));
            }
        }
    }
}
