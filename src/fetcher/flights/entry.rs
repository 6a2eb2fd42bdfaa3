//! One flight in the table, and the callers waiting for it.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    cache::policy::{CachePolicy, FetchRequirement},
    callers::Caller,
    failure::Failure,
    fetcher::{
        caller_accounts::FlightCalls,
        command::{FetchSource, Fetched, ReplySender},
    },
    scheduler::fair_queue::{CallerWeight, FlightNumber},
    snapshot::{MeetingKind, Snapshot, SnapshotKey},
};

pub(in crate::fetcher) fn weight_of(caller: &Caller) -> CallerWeight {
    CallerWeight { caller: caller.id, weight: NonZeroU32::new(caller.weight).unwrap_or(NonZeroU32::MIN) }
}

/// A flight, as the task that runs it has it. Its [`FlightEntry`] is in the table.
pub(in crate::fetcher) struct Flight {
    pub(in crate::fetcher) key: SnapshotKey,
    pub(in crate::fetcher) number: FlightNumber,
    /// The caller that the flight's calls count for: the one whose request started it, unless `Flights::hand_over`
    /// replaced it.
    pub(in crate::fetcher) caller: Arc<Caller>,
    /// Counts the flight's calls in that caller's accounts.
    pub(in crate::fetcher) calls: FlightCalls,
}

pub(in crate::fetcher) struct Waiter {
    pub(in crate::fetcher) reply: ReplySender,
    pub(in crate::fetcher) deadline: Instant,
    pub(in crate::fetcher) weight: CallerWeight,
    /// Which snapshots the caller accepts, and whether it has a fallback: a cached snapshot to serve instead. A caller
    /// with a fallback is rejected when a pause starts, so it does not wait.
    pub(in crate::fetcher) requirement: FetchRequirement,
    /// The kind to fetch next if Zoom says that the id is not of the flight's kind. `None` if the caller named a kind,
    /// or if both kinds have been tried.
    pub(in crate::fetcher) other_kind: Option<MeetingKind>,
    /// Set when the caller closes its sending side, as if it had disconnected. It may still read the response.
    pub(in crate::fetcher) hung_up: Arc<AtomicBool>,
}

impl Waiter {
    /// Returns whether the caller is still connected, as far as can be detected.
    fn is_connected(&self) -> bool {
        !self.reply.is_closed() && !self.hung_up.load(Ordering::Relaxed)
    }
}

pub(in crate::fetcher) struct FlightEntry {
    pub(super) key: SnapshotKey,
    /// The waiters in the order in which they joined. A waiter that has its reply is replaced by `None`.
    waiters: Vec<Option<Waiter>>,
    /// Whether the first waiter's request started the flight.
    started_by_first: bool,
    /// The latest of the waiters' deadlines. A refresh starts with a deadline of its own.
    pub(super) deadline: Instant,
    pub(super) weight: CallerWeight,
    /// Whether the flight's next call waits: for a permit, for another replica's flight, for memory, or for the end of
    /// a pause.
    pub(super) call_waits: bool,
    /// Whether the flight has made a call. If so, it continues even without connected callers, unless it is
    /// [detached](super).
    pub(in crate::fetcher) has_called: bool,
    /// The end of the last pause that Zoom requested for this flight, and the failure for callers that do not wait.
    pub(super) pause: Option<(Instant, Failure)>,
}

impl FlightEntry {
    pub(super) fn refresh(flight: &Flight, deadline: Instant) -> Self {
        Self {
            key: flight.key,
            waiters: Vec::new(),
            started_by_first: false,
            deadline,
            weight: weight_of(&flight.caller),
            call_waits: false,
            has_called: false,
            pause: None,
        }
    }

    /// Makes the entry of a flight that a caller's request starts.
    pub(super) fn request(flight: &Flight, waiter: Waiter) -> Self {
        let mut entry = Self { started_by_first: true, ..Self::refresh(flight, waiter.deadline) };
        entry.join(waiter);
        entry
    }

    /// Adds a caller. During a pause, rejects it immediately if it has a fallback or its deadline is before the end of
    /// the pause.
    pub(super) fn join(&mut self, waiter: Waiter) {
        self.deadline = self.deadline.max(waiter.deadline);
        self.waiters.push(Some(waiter));
        if let Some((until, failure)) = self.pause.clone().filter(|(until, _)| *until > Instant::now()) {
            self.reject_impatient(until, &failure);
        }
    }

    /// Rejects the callers that cannot wait until `at`, and those with a fallback. The flight continues for the others.
    pub(super) fn reject_impatient(&mut self, at: Instant, failure: &Failure) {
        for waiter in &mut self.waiters {
            let is_impatient = |waiter: &mut Waiter| waiter.requirement.has_fallback || waiter.deadline <= at;
            if let Some(impatient) = waiter.take_if(is_impatient) {
                drop(impatient.reply.send(Err(failure.clone())));
            }
        }
    }

    /// Returns whether there are waiters, and all of them accept the other kind.
    pub(in crate::fetcher) fn all_accept_other_kind(&self) -> bool {
        let mut waiters = self.waiters.iter().flatten().peekable();
        waiters.peek().is_some() && waiters.all(|waiter| waiter.other_kind.is_some())
    }

    /// Replies to each waiter for which `answer` returns a result. Returns whether any waiters are left.
    pub(super) fn answer_some(
        &mut self,
        mut answer: impl FnMut(&mut Waiter) -> Option<Result<Fetched, Failure>>,
    ) -> bool {
        for place in &mut self.waiters {
            if let Some(result) = place.as_mut().and_then(&mut answer)
                && let Some(waiter) = place.take()
            {
                // Fails only if the caller no longer waits: it has disconnected, or its deadline has passed.
                drop(waiter.reply.send(result));
            }
        }
        self.waiters.iter().any(Option::is_some)
    }

    /// Removes and returns the waiters, so that they can wait for another flight.
    pub(super) fn take_waiters(&mut self) -> impl Iterator<Item = Waiter> {
        self.waiters.iter_mut().filter_map(Option::take)
    }

    pub(in crate::fetcher) fn has_been_awaited(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.connected().count()
    }

    pub(in crate::fetcher) fn first_deadline(&self) -> Option<Instant> {
        self.connected().map(|waiter| waiter.deadline).min()
    }

    pub(super) fn connected(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter().flatten().filter(|waiter| waiter.is_connected())
    }

    /// Returns whether every caller that waits accepts this snapshot of another replica. If no caller waits, any fresh
    /// snapshot is accepted.
    pub(in crate::fetcher) fn all_accept(
        &self,
        snapshot: &Snapshot,
        policy: CachePolicy,
        now: Instant,
    ) -> bool {
        let mut waiters = self.waiters.iter().flatten().peekable();
        match waiters.peek() {
            None => policy.accepts(snapshot, FetchRequirement::any_fresh(now), now),
            Some(_) => waiters.all(|waiter| policy.accepts(snapshot, waiter.requirement, now)),
        }
    }

    /// Returns the weights of the caller that the flight's calls count for, and of the callers that wait. Each caller
    /// appears once.
    pub(in crate::fetcher) fn weights(&self) -> Vec<CallerWeight> {
        let mut weights = vec![self.weight];
        for waiter in self.connected() {
            if weights.iter().all(|known| known.caller != waiter.weight.caller) {
                weights.push(waiter.weight);
            }
        }
        weights
    }

    /// Replies to every caller that waits. `source` is set if the flight relied on another replica.
    pub(super) fn answer(self, result: &Result<(Arc<Snapshot>, bool), Failure>, source: Option<FetchSource>) {
        for (place, waiter) in self.waiters.into_iter().enumerate() {
            let Some(waiter) = waiter else { continue };
            let is_own = place == 0 && self.started_by_first;
            let source =
                source.unwrap_or(if is_own { FetchSource::OwnFlight } else { FetchSource::OthersFlight });
            let answer = match result {
                Ok((snapshot, stored)) => {
                    Ok(Fetched { snapshot: Arc::clone(snapshot), source, stored: *stored })
                }
                Err(failure) => Err(failure.clone()),
            };
            // Fails only if the caller no longer waits: it has disconnected, or its deadline has passed.
            drop(waiter.reply.send(answer));
        }
    }
}
