//! Counts the calls of a flight in Redis, towards its caller's ceilings `calls_per_minute` and `calls_per_day`. The
//! ceilings apply to all replicas together. Without Redis, only the replica's own checks apply: the caller's ledger for
//! the minute, and `quota::fair_day` for the day.

use std::{cell::Cell, num::NonZeroU32, sync::Arc, time::Instant};

use crate::{
    callers::Caller,
    cluster::{
        Cluster, Unavailable,
        ceilings::{Ceilings, FlightStart},
        standalone::Mode,
    },
    failure::Failure,
};

/// Counts the calls of one flight. Dropping it before the first call takes back the call that [`Self::start`] counted.
pub(super) struct SharedCeilings {
    /// `None` if Redis is not configured, or the caller has no ceiling.
    cluster: Option<Cluster>,
    caller: Arc<Caller>,
    /// The time at which Redis counted the first call, in microseconds on the Redis server's clock. `None` if Redis has
    /// not counted it, and once the call is made.
    first: Cell<Option<u64>>,
    /// The time at which Redis counted the last call made, to take that call back. 0 if the time is unknown: the
    /// caller's newest call is then taken back.
    last: Cell<u64>,
}

impl SharedCeilings {
    pub(super) fn new(cluster: Option<Cluster>, caller: &Arc<Caller>) -> Self {
        let has_ceiling = caller.calls_per_minute.is_some() || caller.calls_per_day.is_some();
        let cluster = cluster.filter(|_| has_ceiling);
        Self { cluster, caller: Arc::clone(caller), first: Cell::default(), last: Cell::default() }
    }

    /// Counts the first call of the flight, or fails if a ceiling is reached. Succeeds without counting if Redis is not
    /// configured or unavailable, if the caller has no ceiling, or if the call is already counted.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        if self.first.get().is_some() || cluster.mode(Instant::now()) != Mode::Shared {
            return Ok(());
        }
        match cluster.retrying(async || cluster.start_flight(ceilings(&self.caller)).await).await {
            Ok(FlightStart::Counted(at)) => self.first.set(Some(at)),
            Ok(FlightStart::OverLimit(limit, until)) => return Err(Failure::caller_over_limit(limit, until)),
            Err(Unavailable) => {}
        }
        Ok(())
    }

    pub(super) fn record_call(&self) {
        if let Some(at) = self.first.take() {
            self.last.set(at);
            return;
        }
        self.last.set(0);
        self.in_background(async |cluster, caller| cluster.count_caller_call(ceilings(caller)).await);
    }

    pub(super) fn refund_call(&self) {
        self.take_back(self.last.get());
    }

    fn take_back(&self, counted_at: u64) {
        self.in_background(async move |cluster, caller| {
            cluster.uncount_caller_call(ceilings(caller), counted_at).await;
        });
    }

    fn in_background(&self, run: impl AsyncFnOnce(&Cluster, &Caller) + 'static) {
        if let Some(cluster) = self.cluster.clone() {
            let caller = Arc::clone(&self.caller);
            drop(actix_rt::spawn(async move { run(&cluster, &caller).await }));
        }
    }
}

impl Drop for SharedCeilings {
    fn drop(&mut self) {
        if let Some(at) = self.first.take() {
            self.take_back(at);
        }
    }
}

fn ceilings(caller: &Caller) -> Ceilings<'_> {
    let limit = |limit: Option<NonZeroU32>| limit.map_or(0, NonZeroU32::get);
    Ceilings {
        caller: caller.name.as_str(),
        per_minute: limit(caller.calls_per_minute),
        per_day: limit(caller.calls_per_day),
    }
}
