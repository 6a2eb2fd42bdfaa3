//! Start-time fair queueing over one flow for each caller, for flights of one priority.
//!
//! Each flow has a tag in virtual time: the time at which its next call is due. Serving a call advances the tag by one
//! permit divided by the caller's weight. The flow with the smallest tag is served next, and its tag becomes the
//! current virtual time. When a call joins an empty flow, the flow's tag is set to the current virtual time, unless the
//! tag is later. So no caller accumulates permits while it is idle.
//!
//! Example: caller A has weight 2, caller B has weight 1, and both always have calls waiting. A permit costs A 1/2 and
//! B 1. The tags of A and B before each permit are: (0, 0) serves A, (1/2, 0) serves B, (1/2, 1) serves A, (1, 1)
//! serves A, (3/2, 1) serves B. After that, A gets two permits for each permit of B.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::types::{CallerWeight, FlightNumber, QueueDepth};

/// The cost of a permit at weight 1. At 40 calls a second, 64 bits of virtual time last for more than 800 years.
const PERMIT: VirtualTime = 1 << 24;

type VirtualTime = u64;

pub(super) struct WaitingCall<T> {
    pub(super) since: Instant,
    /// The time after which no caller wants the call; `None` if its flight has made a call.
    pub(super) deadline: Option<Instant>,
    pub(super) item: T,
}

struct Flow<T> {
    weight: CallerWeight,
    tag: VirtualTime,
    /// The calls that wait, in the order in which their flights started.
    calls: BTreeMap<FlightNumber, WaitingCall<T>>,
}

impl<T> Flow<T> {
    fn newest_not_begun(&self) -> Option<FlightNumber> {
        let mut newest_first = self.calls.iter().rev();
        newest_first.find(|(_, call)| call.deadline.is_some()).map(|(flight, _)| *flight)
    }
}

pub(super) struct Flows<T> {
    by_caller: HashMap<u32, Flow<T>, foldhash::fast::RandomState>,
    /// The flows that are not empty, by their tags.
    by_tag: BTreeSet<(VirtualTime, u32)>,
    now: VirtualTime,
    length: usize,
}

impl<T> Default for Flows<T> {
    fn default() -> Self {
        Self { by_caller: HashMap::default(), by_tag: BTreeSet::new(), now: 0, length: 0 }
    }
}

fn cost(weight: CallerWeight) -> VirtualTime {
    (PERMIT / u64::from(weight.weight.get())).max(1)
}

/// Returns whether a flow with `some` calls is less loaded, relative to its weight, than a flow with `others` calls.
fn is_less_loaded(some: usize, weight: CallerWeight, others: usize, their_weight: CallerWeight) -> bool {
    // Compares some / weight with others / their_weight, without a division.
    let scaled = |calls: usize, by: CallerWeight| calls as u128 * u128::from(by.weight.get());
    scaled(some, their_weight) < scaled(others, weight)
}

impl<T> Flows<T> {
    pub(super) fn push(&mut self, weight: CallerWeight, flight: FlightNumber, call: WaitingCall<T>) {
        let new = || Flow { weight, tag: 0, calls: BTreeMap::new() };
        let flow = self.by_caller.entry(weight.caller).or_insert_with(new);
        // A changed weight applies from now on.
        flow.weight = weight;
        if flow.calls.is_empty() {
            flow.tag = flow.tag.max(self.now);
            self.by_tag.insert((flow.tag, weight.caller));
        }
        if flow.calls.insert(flight, call).is_none() {
            self.length += 1;
        }
    }

    pub(super) fn first(&self) -> Option<FlightNumber> {
        let (_, caller) = self.by_tag.first()?;
        self.by_caller.get(caller)?.calls.first_key_value().map(|(flight, _)| *flight)
    }

    pub(super) fn pop(&mut self) -> Option<(FlightNumber, WaitingCall<T>)> {
        let (tag, caller) = self.by_tag.pop_first()?;
        let flow = self.by_caller.get_mut(&caller)?;
        let served = flow.calls.pop_first()?;
        self.now = tag;
        flow.tag = tag + cost(flow.weight);
        if !flow.calls.is_empty() {
            self.by_tag.insert((flow.tag, caller));
        }
        self.length -= 1;
        Some(served)
    }

    pub(super) fn remove(&mut self, caller: u32, flight: FlightNumber) -> Option<WaitingCall<T>> {
        let flow = self.by_caller.get_mut(&caller)?;
        let call = flow.calls.remove(&flight)?;
        if flow.calls.is_empty() {
            self.by_tag.remove(&(flow.tag, caller));
        }
        self.length -= 1;
        Some(call)
    }

    pub(super) fn get_mut(&mut self, caller: u32, flight: FlightNumber) -> Option<&mut WaitingCall<T>> {
        self.by_caller.get_mut(&caller)?.calls.get_mut(&flight)
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn weight_of(&self, caller: u32) -> CallerWeight {
        let flow = self.by_caller.get(&caller);
        flow.map_or(CallerWeight { caller, ..CallerWeight::ANONYMOUS }, |flow| flow.weight)
    }

    pub(super) fn depth(&self, caller: u32) -> QueueDepth {
        self.by_caller.get(&caller).map_or_else(QueueDepth::default, |flow| QueueDepth {
            waiting: flow.calls.len(),
            oldest: flow.calls.values().map(|call| call.since).min(),
        })
    }

    pub(super) fn callers(&self) -> impl Iterator<Item = u32> {
        self.by_tag.iter().map(|(_, caller)| *caller)
    }

    fn waiting(&self, caller: u32) -> usize {
        self.by_caller.get(&caller).map_or(0, |flow| flow.calls.len())
    }

    /// Returns the virtual time at which this flight is due in this caller's flow, or would be due if it joined that
    /// flow.
    fn due(&self, weight: CallerWeight, flight: FlightNumber) -> VirtualTime {
        let flow = self.by_caller.get(&weight.caller);
        self.due_behind(weight, flow.map_or(0, |flow| flow.calls.range(..flight).count()))
    }

    /// Returns the virtual time at which a call is due in this caller's flow if `ahead` other calls of the flow are
    /// before it.
    fn due_behind(&self, weight: CallerWeight, ahead: usize) -> VirtualTime {
        let starts = self.by_caller.get(&weight.caller).map_or(0, |flow| flow.tag).max(self.now);
        starts.saturating_add(cost(weight).saturating_mul(ahead as u64))
    }

    /// Returns whether this flight would be due earlier in the flow of `by` than in the flow of `than`, where it waits
    /// now.
    pub(super) fn is_earlier(&self, flight: FlightNumber, by: CallerWeight, than: u32) -> bool {
        by.caller != than && self.due(by, flight) < self.due(self.weight_of(than), flight)
    }

    /// Returns the caller in whose flow this flight is due first.
    pub(super) fn earliest(&self, flight: FlightNumber, callers: &[CallerWeight]) -> Option<CallerWeight> {
        match callers {
            [only] => Some(*only),
            // Each `due` walks over a caller's calls, but several callers rarely wait for the same meeting.
            several => several.iter().copied().min_by_key(|weight| self.due(*weight, flight)),
        }
    }

    /// Estimates how many calls are served before a new call of this caller.
    pub(super) fn ahead_of(&self, weight: CallerWeight) -> usize {
        let own = self.waiting(weight.caller);
        let due = self.due_behind(weight, own);
        let others = self.by_tag.iter().filter(|(_, caller)| *caller != weight.caller);
        let before = others.filter_map(|(tag, caller)| {
            let flow = self.by_caller.get(caller)?;
            let permits = due.checked_sub(*tag)?.div_ceil(cost(flow.weight));
            Some(flow.calls.len().min(usize::try_from(permits).unwrap_or(usize::MAX)))
        });
        own + before.sum::<usize>()
    }

    /// Returns the newest flight of the caller that is most loaded for its weight. Ignores flights that have made a
    /// call, and callers that have only such flights. With `instead_of`, returns `None` if one more call would make the
    /// caller `instead_of` at least as loaded as the most loaded caller.
    pub(super) fn newest_of_most_loaded(&self, instead_of: Option<CallerWeight>) -> Option<FlightNumber> {
        let flows = self.by_tag.iter().filter_map(|(_, caller)| self.by_caller.get(caller));
        let flows = flows.filter_map(|flow| Some((flow, flow.newest_not_begun()?)));
        let (most_loaded, newest) = flows.reduce(|most, one| {
            let (top, flow) = (most.0, one.0);
            if is_less_loaded(top.calls.len(), top.weight, flow.calls.len(), flow.weight) {
                one
            } else {
                most
            }
        })?;
        if let Some(weight) = instead_of {
            let with_one_more = self.waiting(weight.caller) + 1;
            let stays_less =
                is_less_loaded(with_one_more, weight, most_loaded.calls.len(), most_loaded.weight);
            if weight.caller == most_loaded.weight.caller || !stays_less {
                return None;
            }
        }
        Some(newest)
    }

    /// Returns all flights with their deadlines, in the order in which the queue would serve them. Changes nothing.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (FlightNumber, Option<Instant>)> {
        let mut by_tag = self.by_tag.clone();
        let calls =
            self.by_caller.iter().map(|(caller, flow)| (*caller, (cost(flow.weight), flow.calls.iter())));
        let mut calls: HashMap<_, _, foldhash::fast::RandomState> = calls.collect();
        std::iter::from_fn(move || {
            loop {
                let (tag, caller) = by_tag.pop_first()?;
                let Some((cost, calls)) = calls.get_mut(&caller) else { continue };
                if let Some((flight, call)) = calls.next() {
                    by_tag.insert((tag + *cost, caller));
                    return Some((*flight, call.deadline));
                }
            }
        })
    }
}
