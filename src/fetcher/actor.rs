//! The actor on the fetcher's thread: owns the state, starts the long-lived tasks, and carries out commands one at a
//! time.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{
    command::{FetchRequest, FetcherCommand, FetcherStatus, ReplySender},
    flight,
    flights::{Flight, Joined, Waiter, weight_of},
    state::{Dependencies, FetcherState, Signals},
};
use crate::{
    cache::{Entry, policy::FetchRequirement},
    callers::Caller,
    snapshot::SnapshotKey,
    supervisor::Supervisor,
    trace::TraceContext,
};

/// Runs the fetcher, as long as the service runs.
pub(super) async fn run(
    dependencies: Dependencies,
    signals: Signals,
    mut commands: mpsc::UnboundedReceiver<FetcherCommand>,
    supervisor: Supervisor,
) {
    let state = Rc::new(FetcherState::new(dependencies, signals, &supervisor));
    let (flights, caller) = (Rc::clone(&state.flights), Rc::clone(&state));
    // The scheduler calls both closures before it grants a permit. The first one detaches an abandoned flight, so that
    // no caller joins it any more (see `flights`). The second one requests an access token if there is none.
    let scheduler = state
        .scheduler
        .clone()
        .run(move |flight| flights.detach_if_abandoned(flight), move || ensure_access_token(&caller));
    drop(actix_rt::spawn(supervisor.watch("the queue for permits", scheduler)));
    let access_tokens = state.access_tokens.clone().run();
    drop(actix_rt::spawn(supervisor.watch("the renewal of access tokens", access_tokens)));
    // The workers start no refreshes for callers that are over their limits, so they need the limits that the scheduler
    // applies.
    let told = Rc::clone(&state.accounts).tell_workers();
    drop(actix_rt::spawn(supervisor.watch("the callers' parts of the day", told)));
    while let Some(command) = commands.recv().await {
        carry_out(Rc::clone(&state), command);
    }
}

/// Returns whether there is a usable access token. If there is none, starts a task that requests one, unless it already
/// runs. If Zoom does not issue a token, the task rejects all queued calls.
fn ensure_access_token(state: &Rc<FetcherState>) -> bool {
    if state.access_tokens.are_usable(Instant::now()) {
        return true;
    }
    if !state.awaits_access_token.replace(true) {
        let state = Rc::clone(state);
        drop(actix_rt::spawn(async move {
            let token = state.access_tokens.token().await;
            state.awaits_access_token.set(false);
            match token {
                Ok(_) => state.scheduler.wake(),
                Err(failure) => state.scheduler.reject_all(&failure),
            }
        }));
    }
    false
}

/// Carries out a command without waiting. Work that has to wait runs in a task of its own.
fn carry_out(state: Rc<FetcherState>, command: FetcherCommand) {
    match command {
        FetcherCommand::Fetch { request, reply } => reply_or_start(&state, request, reply),
        FetcherCommand::Refresh { key, caller, request } => refresh(&state, key, &caller, request),
        FetcherCommand::Purge { what, done } => {
            state.purger.purge(what);
            drop(actix_rt::spawn(async move {
                state.peers.purge(what).await;
                done.send(()).ok();
            }));
        }
        FetcherCommand::PublishPaged(snapshot) => {
            drop(actix_rt::spawn(async move { state.peers.publish_paged(snapshot).await }));
        }
        FetcherCommand::FetchPaged { key, tag, reply } => {
            drop(actix_rt::spawn(async move { reply.send(state.peers.fetch_paged(key, tag).await).ok() }));
        }
        FetcherCommand::Status(reply) => drop(reply.send(status(&state))),
        FetcherCommand::StopStarting => state.flights.stop_starting(),
        FetcherCommand::WhenIdle(reply) => drop(actix_rt::spawn(async move {
            state.flights.idle().await;
            state.scheduler.save_final_count().await;
            reply.send(()).ok();
        })),
        FetcherCommand::Leave(reply) => drop(actix_rt::spawn(async move {
            state.peers.leave().await;
            reply.send(()).ok();
        })),
    }
}

/// Replies from the cache, joins the flight in progress, starts one, or rejects the caller. All of this runs on one
/// thread without an `await`, so a snapshot never has two flights that callers can join.
fn reply_or_start(state: &Rc<FetcherState>, request: FetchRequest, reply: ReplySender) {
    let FetchRequest { requested, requirement, caller, flight_link, deadline, hung_up } = request;
    let (key, entry) = state.cache.find(requested, Instant::now());
    if let Some(result) = state.without_flight(&key, entry, requirement) {
        drop(reply.send(result));
        return;
    }
    // The flight in progress waits to make its next call, and no calls are allowed now. A caller with a fallback (a
    // cached snapshot) gets the failure instead of waiting.
    if requirement.has_fallback
        && state.flights.call_waits(&key)
        && let Some((_, failure)) = state.scheduler.blocked_until()
    {
        drop(reply.send(Err(failure)));
        return;
    }
    let weight = weight_of(&caller);
    let other_kind = requested.kind.is_none().then_some(key.kind.other());
    let waiter = Waiter { reply, deadline, weight, requirement, other_kind, hung_up };
    let reserve = || state.accounts.reserve_first_call(&caller, Instant::now());
    match state.flights.join_or_start(key, waiter, &caller, reserve) {
        Joined::InProgress(number) => {
            flight_link.join(state.spans.parent(number));
            state.scheduler.add_waiter(number, weight, deadline);
        }
        Joined::Started(flight) => spawn(state, flight, flight_link.request()),
        Joined::Rejected(waiter, failure) => state.peers.answer_rejected(key, waiter, failure),
    }
}

fn refresh(state: &Rc<FetcherState>, key: SnapshotKey, caller: &Arc<Caller>, request: TraceContext) {
    let now = Instant::now();
    let entry = state.cache.get(&key, now);
    if state.without_flight(&key, entry, FetchRequirement::any_fresh(now)).is_none()
        && let Some(flight) = state
            .flights
            .start_refresh(key, now + state.wait, caller, || state.accounts.reserve_first_call(caller, now))
    {
        spawn(state, flight, request);
    }
}

fn spawn(state: &Rc<FetcherState>, flight: Flight, request: TraceContext) {
    let now = Instant::now();
    if let Some(Entry::Snapshot(cached)) = state.cache.get(&flight.key, now) {
        cached.record_refresh_attempt(now);
    }
    state.metrics.flights_active.inc();
    let span = state.spans.begin_flight(&flight, request);
    drop(actix_rt::spawn(flight::fly(Rc::clone(state), flight, span)));
}

fn status(state: &FetcherState) -> FetcherStatus {
    let (flights, waiting) = state.flights.counts();
    FetcherStatus {
        flights,
        waiting,
        scheduler: state.scheduler.status(),
        caller_days: state.accounts.caller_days(),
        last_refusal: state.flights.last_refusal(),
        last_failure: state.zoom.upstream.last_failure(),
        replicas: state.peers.replicas(),
    }
}
