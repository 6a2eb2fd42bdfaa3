//! The one thread that talks to Zoom, and the handle that the HTTP workers hold.
//!
//! A flight fetches one snapshot. It belongs to this thread and not to a caller: who hangs up cannot cancel it, and who
//! comes later joins it. At most 40 calls a second will ever be made, so one thread is plenty, and the table of flights,
//! the queue, the budget and the access token are plain state without locks.

mod core;
mod flight;
mod flights;
mod memory;
mod pages;
mod peers;
mod purge;
mod sharing;
mod traces;

use std::{
    num::NonZeroU32,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, oneshot, watch};

use self::core::Core;
pub use self::purge::Purge;
use crate::{
    cache::{Cache, policy::FetchRequirement},
    callers::Caller,
    cluster::SharedConfig,
    failure::{Failure, Reason},
    metrics::Metrics,
    quota::{LocalQuota, QuotaStatus},
    scheduler::{SchedulerStatus, fair_queue::CallerWeight},
    snapshot::{FreshnessConfig, Snapshot, SnapshotKey, Tag},
    supervisor::Supervisor,
    trace::{FlightLink, TraceContext, Tracer},
    zoom::{ZoomConfig, reachability::LastFailure},
};
pub use crate::{cluster::health::Standing, zoom::oauth::Credentials};

/// When a caller is told to ask again who got nothing because of flights under way: by then most have landed.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long callers wait, and how many calls may queue.
pub struct FetcherConfig {
    /// The longest that a caller is kept waiting for a snapshot.
    pub wait: Duration,
    /// Zoom calls waiting for a permit; more are refused.
    pub max_queued: usize,
    /// Bound on the memory of all meetings being fetched, in bytes.
    pub max_fetch_bytes: usize,
}

/// How a caller came to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// This caller's request started the flight.
    OwnFlight,
    /// Another request's flight was under way.
    OthersFlight,
    /// It landed between the caller's look into the cache and now.
    Cache,
}

/// A snapshot for a caller.
pub struct Landed {
    /// The whole meeting.
    pub snapshot: Arc<Snapshot>,
    /// How it was come by.
    pub via: Via,
    /// Whether the cache keeps it.
    pub stored: bool,
}

/// The fetcher as `/status` shows it.
pub struct FetcherStatus {
    /// Meetings being fetched.
    pub flights: usize,
    /// Callers who wait for them.
    pub waiting: usize,
    /// Quota and queue.
    pub scheduler: SchedulerStatus,
    /// What Zoom last refused, in words, and how long ago.
    pub last_refusal: Option<(Duration, Failure)>,
    /// The last time that Zoom could not be reached.
    pub last_failure: Option<LastFailure>,
    /// With Redis: the replicas that it knows of, this one included.
    pub replicas: Option<u64>,
}

type Reply = oneshot::Sender<Result<Landed, Failure>>;

enum Letter {
    Fetch { request: Request, reply: Reply },
    Refresh { key: SnapshotKey, caller: Arc<Caller>, request: TraceContext },
    Purge { what: Purge, done: oneshot::Sender<()> },
    Paged(Arc<Snapshot>),
    FindPaged { key: SnapshotKey, tag: Tag, reply: oneshot::Sender<Option<Arc<Snapshot>>> },
    Status(oneshot::Sender<FetcherStatus>),
    NoMoreTakeOffs,
    WhenAllLanded(oneshot::Sender<()>),
    Leave(oneshot::Sender<()>),
}

/// A caller's request for a snapshot.
struct Request {
    key: SnapshotKey,
    wanted: FetchRequirement,
    caller: Arc<Caller>,
    flight_link: FlightLink,
    deadline: Instant,
    hung_up: Arc<AtomicBool>,
}

/// The handle: cheap to clone, and at home on any thread.
#[derive(Clone)]
pub struct Fetcher {
    mailbox: mpsc::UnboundedSender<Letter>,
    credentials: watch::Receiver<Credentials>,
    closed: watch::Receiver<Option<Failure>>,
    quota: watch::Receiver<QuotaStatus>,
    redis: Option<watch::Receiver<Standing>>,
    wait: Duration,
}

/// A fetcher that is not started yet: what is asked of its handle waits.
pub struct Launch {
    parts: Parts,
    letters: mpsc::UnboundedReceiver<Letter>,
    credentials: watch::Sender<Credentials>,
    closed: watch::Sender<Option<Failure>>,
    redis: watch::Sender<Standing>,
}

impl Launch {
    /// Starts the fetcher on a thread of its own, which ends with the `Arbiter`. From here on Zoom is asked.
    pub fn on(self, thread: &actix_rt::Arbiter, supervisor: Supervisor) {
        let Self { mut parts, letters, credentials, closed, redis } = self;
        let watching = supervisor.clone();
        thread.spawn_fn(move || {
            // In the task, so that a panic is reported.
            let fetcher = async move {
                let metrics = &parts.metrics;
                let shared = parts.shared.take().map(|config| sharing::Sharing::new(config, metrics));
                let handle = shared.as_ref().map(sharing::Sharing::handle);
                let core = Rc::new(Core::new(parts, handle, credentials, closed));
                if let Some(shared) = shared {
                    shared.begin(&core, redis, &watching);
                }
                let in_the_air = Rc::clone(&core);
                let gives_up = move |flight| in_the_air.flights.gives_up(flight);
                let caller = Rc::clone(&core);
                let can_call = move || caller.can_call();
                let scheduler = core.scheduler.clone().run(gives_up, can_call);
                drop(actix_rt::spawn(watching.watch("the queue for permits", scheduler)));
                let access_tokens = core.access_tokens.clone().run();
                drop(actix_rt::spawn(watching.watch("the renewal of access tokens", access_tokens)));
                core.read(letters).await;
            };
            drop(actix_rt::spawn(supervisor.watch("the fetcher", fetcher)));
        });
    }
}

/// What the fetcher needs, all of it made to move to its thread.
pub struct Parts {
    /// How long callers wait.
    pub config: FetcherConfig,
    /// Where Zoom is.
    pub zoom: ZoomConfig,
    /// How long snapshots are fresh.
    pub freshness: FreshnessConfig,
    /// This process's limits.
    pub quota: LocalQuota,
    /// What replicas have in common, where they do.
    pub shared: Option<SharedConfig>,
    /// Where snapshots go.
    pub cache: Cache,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Makes the spans.
    pub tracer: Tracer,
}

impl Fetcher {
    /// A handle, and the fetcher behind it, to be started.
    #[must_use]
    pub fn prepare(parts: Parts) -> (Self, Launch) {
        let (mailbox, letters) = mpsc::unbounded_channel();
        let (accepted, credentials) = watch::channel(Credentials::Accepted);
        let (close, closed) = watch::channel(None);
        let redis = watch::Sender::new(Standing::Connecting);
        let standing = parts.shared.is_some().then(|| redis.subscribe());
        let (quota, wait) = (parts.quota.subscribe(), parts.config.wait);
        let fetcher = Self { mailbox, credentials, closed, quota, redis: standing, wait };
        (fetcher, Launch { parts, letters, credentials: accepted, closed: close, redis })
    }

    /// A snapshot from Zoom: by a flight of its own, or by the one that is under way. Waits `server.wait` at most. The
    /// calls of its own flight count for `caller`; when they are too many already, no flight starts. When `hangs_up`
    /// returns, a flight that has made no call is no longer worth one for this caller.
    ///
    /// # Errors
    /// Every reason there is; the flight itself may go on.
    pub async fn fetch(
        &self,
        key: SnapshotKey,
        wanted: FetchRequirement,
        caller: Arc<Caller>,
        flight_link: FlightLink,
        hangs_up: impl Future<Output = ()>,
    ) -> Result<Landed, Failure> {
        let deadline = Instant::now() + self.wait;
        let (reply, landed) = oneshot::channel();
        let hung_up = Arc::new(AtomicBool::new(false));
        let request = Request { key, wanted, caller, flight_link, deadline, hung_up: Arc::clone(&hung_up) };
        self.mailbox
            .send(Letter::Fetch { request, reply })
            .map_err(|_| Failure::new(Reason::ShuttingDown))?;
        let landed = pin!(tokio::time::timeout_at(deadline.into(), landed));
        let landed = match select(landed, pin!(hangs_up)).await {
            Either::Left((landed, _)) => landed,
            Either::Right(((), landed)) => {
                hung_up.store(true, Ordering::Relaxed);
                // It may have closed one direction only.
                landed.await
            }
        };
        match landed {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::new(Reason::ShuttingDown)),
            Err(_) => Err(Failure::new(Reason::StillFetching).retry_at(Instant::now() + ASK_AGAIN_AFTER)),
        }
    }

    /// Starts a flight that nobody waits for, if none is under way; it makes way for those that somebody waits for. Its
    /// calls count for `caller`, as above.
    pub fn refresh(&self, key: SnapshotKey, caller: Arc<Caller>, request: TraceContext) {
        // A fetcher that is gone refreshes nothing.
        drop(self.mailbox.send(Letter::Refresh { key, caller, request }));
    }

    /// A caller was given a token of it: the other replicas are to have it for as long as that is good.
    pub fn paged(&self, snapshot: &Arc<Snapshot>) {
        if self.redis.is_some() && snapshot.claim_publication() {
            drop(self.mailbox.send(Letter::Paged(Arc::clone(snapshot))));
        }
    }

    /// The snapshot that another replica gave a token of.
    pub async fn find_paged(&self, key: SnapshotKey, tag: Tag) -> Option<Arc<Snapshot>> {
        self.redis.as_ref()?;
        let (reply, found) = oneshot::channel();
        self.mailbox.send(Letter::FindPaged { key, tag, reply }).ok()?;
        found.await.ok()?
    }

    /// Has it forgotten, snapshots and refusals; flights under way do not bring it back. Returns when that is done.
    ///
    /// # Errors
    /// When the fetcher is gone.
    pub async fn purge(&self, what: Purge) -> Result<(), Failure> {
        let (done, purged) = oneshot::channel();
        let gone = || Failure::new(Reason::ShuttingDown);
        self.mailbox.send(Letter::Purge { what, done }).map_err(|_| gone())?;
        purged.await.map_err(|_| gone())
    }

    /// Why Zoom may not be asked now, if that is known: refused credentials, a cool-down, the spent day.
    #[must_use]
    pub fn refuses(&self, now: Instant) -> Option<Failure> {
        if *self.credentials.borrow() != Credentials::Accepted {
            return Some(Failure::new(Reason::ZoomRejectedCredentials));
        }
        let closed = self.closed.borrow();
        let failure = closed.as_ref()?;
        failure.retry_at.is_some_and(|at| now < at).then(|| failure.clone())
    }

    /// What may be spent and what is, as last published.
    #[must_use]
    pub fn quota(&self) -> QuotaStatus {
        *self.quota.borrow()
    }

    /// What goes on now; `None` when the fetcher is gone.
    pub async fn status(&self) -> Option<FetcherStatus> {
        let (reply, status) = oneshot::channel();
        self.mailbox.send(Letter::Status(reply)).ok()?;
        status.await.ok()
    }

    /// Whether there is anybody to ask.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.mailbox.is_closed()
    }

    /// Whether Zoom takes our credentials.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Whether Redis is of use; `None` where there is none to be used.
    #[must_use]
    pub fn redis(&self) -> Option<Standing> {
        self.redis.as_ref().map(|standing| *standing.borrow())
    }

    /// Says goodbye to the other replicas. No call is made after that.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        if self.mailbox.send(Letter::Leave(reply)).is_ok() {
            drop(left.await);
        }
    }

    /// From now on no flight starts; those under way go on.
    pub fn no_more_take_offs(&self) {
        // A fetcher that is gone starts no flights either.
        drop(self.mailbox.send(Letter::NoMoreTakeOffs));
    }

    /// Returns when every flight has landed and the day's count is written.
    pub async fn all_landed(&self) {
        let (reply, landed) = oneshot::channel();
        if self.mailbox.send(Letter::WhenAllLanded(reply)).is_ok() {
            drop(landed.await);
        }
    }
}

fn weight_of(caller: &Caller) -> CallerWeight {
    CallerWeight { caller: caller.id, weight: NonZeroU32::new(caller.weight).unwrap_or(NonZeroU32::MIN) }
}
