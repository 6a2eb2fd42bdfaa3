//! The one thread that talks to Zoom, and the handle through which HTTP workers use it.
//!
//! A *flight* fetches one snapshot. No caller owns a flight: a caller that disconnects does not cancel it for the
//! others, and later callers join it. Zoom's largest plan permits 40 calls a second, so one thread is enough. The
//! flight table, the queue, the quota and the access token are plain state without locks.
//!
//! To follow one fetch, read these modules in order: [`actor`] joins or starts a flight, [`flights`] keeps the callers
//! that wait for it, and [`flight`] runs it. With Redis, [`peers`] gets the snapshot from another replica, or publishes
//! it. [`pages`] fetches all pages from Zoom, and [`call`] fetches one page.

mod actor;
mod assembly;
mod call;
mod caller_accounts;
mod ceilings;
mod command;
mod flight;
mod flights;
mod memory;
mod pages;
mod peers;
mod purge;
mod spans;
mod state;
mod webinar_access;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::state::{Dependencies, FetcherConfig};
use self::{
    command::{FetchRequest, FetcherCommand, PUBLISH_PAGED_EVERY, RETRY_AFTER},
    state::Signals,
};
pub(crate) use self::{
    command::{FetchSource, Fetched, FetcherStatus, Purge},
    peers::RedisStatus,
    webinar_access::WebinarRefusal,
};
pub(crate) use crate::zoom::oauth::Credentials;
use crate::{
    cache::policy::FetchRequirement,
    callers::Caller,
    failure::{Failure, Reason},
    quota::QuotaStatus,
    snapshot::{RequestedKey, Snapshot, SnapshotKey, Tag},
    supervisor::Supervisor,
    trace::{FlightLink, TraceContext},
};

/// The handle to the fetcher's thread. It is cheap to clone, and works on any thread.
#[derive(Clone)]
pub struct Fetcher {
    commands: mpsc::UnboundedSender<FetcherCommand>,
    credentials: watch::Receiver<Credentials>,
    blocked: watch::Receiver<Option<Failure>>,
    webinars: watch::Receiver<Option<WebinarRefusal>>,
    quota: watch::Receiver<QuotaStatus>,
    /// `None` without Redis.
    redis: Option<watch::Receiver<RedisStatus>>,
    wait: Duration,
}

/// A fetcher that has not started. Commands that its handle sends wait until it starts.
pub struct FetcherTask {
    dependencies: Dependencies,
    commands: mpsc::UnboundedReceiver<FetcherCommand>,
    signals: Signals,
}

impl FetcherTask {
    /// Starts the fetcher on the arbiter's thread.
    pub(crate) fn spawn_on(self, thread: &actix_rt::Arbiter, supervisor: Supervisor) {
        let Self { dependencies, commands, signals } = self;
        let of_tasks = supervisor.clone();
        thread.spawn_fn(move || {
            let fetcher = actor::run(dependencies, signals, commands, of_tasks);
            drop(actix_rt::spawn(supervisor.watch("the fetcher", fetcher)));
        });
    }
}

impl Fetcher {
    /// Returns a handle, and the fetcher behind it, which has not started.
    pub fn prepare(dependencies: Dependencies) -> (Self, FetcherTask) {
        let (sender, commands) = mpsc::unbounded_channel();
        let signals = Signals::default();
        let fetcher = Self {
            commands: sender,
            credentials: signals.credentials.subscribe(),
            blocked: signals.blocked.subscribe(),
            webinars: signals.webinars.subscribe(),
            quota: dependencies.quota.subscribe(),
            redis: dependencies.cluster.is_some().then(|| signals.redis.subscribe()),
            wait: dependencies.config.wait,
        };
        (fetcher, FetcherTask { dependencies, commands, signals })
    }

    /// Gets a snapshot, and waits for it up to `server.wait`. The request joins the flight in progress, or starts one if
    /// the caller is within its limits. The calls of a flight that it starts count for `caller`, unless another caller
    /// takes the flight over. `hangs_up` completes when the caller disconnects; after that, a flight that only this caller
    /// waited for does not make its first call. If `requested` names no [kind](crate::snapshot::MeetingKind), the snapshot
    /// may be a meeting's or a webinar's.
    ///
    /// # Errors
    /// Any [`Reason`] except [`Reason::NotCached`]. The flight may continue after an error.
    pub(crate) async fn fetch(
        &self,
        requested: RequestedKey,
        requirement: FetchRequirement,
        caller: Arc<Caller>,
        flight_link: FlightLink,
        hangs_up: impl Future<Output = ()>,
    ) -> Result<Fetched, Failure> {
        let deadline = Instant::now() + self.wait;
        let (reply, fetched) = oneshot::channel();
        let hung_up = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&hung_up);
        let request = FetchRequest { requested, requirement, caller, flight_link, deadline, hung_up: shared };
        self.commands.send(FetcherCommand::Fetch { request, reply }).map_err(|_| stopped())?;
        let fetched = pin!(tokio::time::timeout_at(deadline.into(), fetched));
        let fetched = match select(fetched, pin!(hangs_up)).await {
            Either::Left((fetched, _)) => fetched,
            Either::Right(((), fetched)) => {
                hung_up.store(true, Ordering::Relaxed);
                // The caller may have closed only its sending side, and still read the response.
                fetched.await
            }
        };
        match fetched {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(Failure::new(Reason::StillFetching).retry_at(Instant::now() + RETRY_AFTER)),
        }
    }

    /// Starts a flight that refreshes a stale snapshot in the background, unless, for example, a flight for the snapshot
    /// is in progress or `caller` is over its limits. The flight's calls count for `caller`, and flights that callers wait
    /// for have priority.
    pub(crate) fn refresh(&self, key: SnapshotKey, caller: Arc<Caller>, request: TraceContext) {
        // Fails only if the fetcher has stopped. Nothing is refreshed then.
        drop(self.commands.send(FetcherCommand::Refresh { key, caller, request }));
    }

    /// Publishes a snapshot to the other replicas if callers page through it, so that each replica can serve the next
    /// page. Does nothing without Redis, or if the snapshot was published recently.
    pub(crate) fn publish_paged(&self, snapshot: &Arc<Snapshot>) {
        if self.redis.is_some() && snapshot.claim_publication(Instant::now(), PUBLISH_PAGED_EVERY) {
            drop(self.commands.send(FetcherCommand::PublishPaged(Arc::clone(snapshot))));
        }
    }

    /// Returns the snapshot with this tag, which identifies its content, if another replica has published it and it may
    /// still be served.
    pub(crate) async fn fetch_paged(&self, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
        self.redis.as_ref()?;
        self.ask(|reply| FetcherCommand::FetchPaged { key, tag, reply }).await?
    }

    /// Purges snapshots and cached failures here and, with Redis, on all other replicas. The results of flights in
    /// progress are not cached. Returns when this replica has purged them and has announced the purge to the others.
    /// While Redis is unavailable, the announcement is kept for later.
    ///
    /// # Errors
    /// The fetcher has stopped.
    pub(crate) async fn purge(&self, what: Purge) -> Result<(), Failure> {
        self.ask(|done| FetcherCommand::Purge { what, done }).await.ok_or_else(stopped)
    }

    /// Returns the reason why Zoom may not be called for this snapshot now, if there is one: refused credentials,
    /// refused webinars, a cool-down, or the daily quota.
    pub(crate) fn refuses(&self, key: &SnapshotKey, now: Instant) -> Option<Failure> {
        if *self.credentials.borrow() != Credentials::Accepted {
            return Some(Failure::new(Reason::ZoomRejectedCredentials));
        }
        let webinars = self.webinars.borrow();
        if let Some(failure) = webinars.as_ref().and_then(|refusal| refusal.applies_to(key, now)) {
            return Some(failure);
        }
        self.blocked.borrow().clone().filter(|failure| failure.is_in_force(now))
    }

    pub(crate) fn quota(&self) -> QuotaStatus {
        *self.quota.borrow()
    }

    /// Returns the state of the queue and the flights; `None` if the fetcher has stopped.
    pub(crate) async fn status(&self) -> Option<FetcherStatus> {
        self.ask(FetcherCommand::Status).await
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Returns what the app or the account lacks to read webinars, as a message for operators; `None` unless Zoom
    /// refuses them.
    pub(crate) fn webinar_refusal(&self) -> Option<&'static str> {
        self.webinars.borrow().as_ref().map(|refusal| refusal.detail)
    }

    pub(crate) fn redis(&self) -> Option<RedisStatus> {
        self.redis.as_ref().map(|status| *status.borrow())
    }

    /// Releases this replica's share of the quota to the other replicas. This replica must not call Zoom after that.
    pub(crate) async fn leave(&self) {
        self.ask(FetcherCommand::Leave).await;
    }

    /// Stops new flights from starting. Flights in progress continue.
    pub(crate) fn stop_starting(&self) {
        // Fails only if the fetcher has stopped. No flight starts then either.
        drop(self.commands.send(FetcherCommand::StopStarting));
    }

    /// Returns when every flight has ended and the last write of the day's count is over.
    pub(crate) async fn idle(&self) {
        self.ask(FetcherCommand::WhenIdle).await;
    }

    /// Sends a command, and returns the reply; `None` if the fetcher has stopped.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> FetcherCommand) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).ok()?;
        answer.await.ok()
    }
}

fn stopped() -> Failure {
    Failure::new(Reason::ShuttingDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_fails_if_the_fetcher_has_stopped_or_stops_meanwhile() {
        for gone_before in [true, false] {
            let (sender, mut commands) = mpsc::unbounded_channel();
            let signals = Signals::default();
            let fetcher = Fetcher {
                commands: sender,
                credentials: signals.credentials.subscribe(),
                blocked: signals.blocked.subscribe(),
                webinars: signals.webinars.subscribe(),
                quota: watch::channel(QuotaStatus::default()).1,
                redis: None,
                wait: Duration::ZERO,
            };
            let purged = actix_rt::System::new().block_on(async move {
                if gone_before {
                    drop(commands);
                } else {
                    drop(actix_rt::spawn(async move { drop(commands.recv().await) }));
                }
                fetcher.purge(Purge::All).await
            });
            assert_eq!(purged.unwrap_err().reason, Reason::ShuttingDown);
        }
    }
}
