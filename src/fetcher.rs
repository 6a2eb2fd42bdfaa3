//! The one thread that talks to Zoom, and the handle that the HTTP workers hold.
//!
//! A flight fetches one snapshot. It belongs to this thread and not to a caller: who hangs up cannot cancel it, and who
//! comes later joins it. At most 40 calls a second will ever be made, so one thread is plenty, and the table of flights,
//! the queue, the budget and the access token are plain state without locks.

mod flight;
mod flights;
pub mod permits;
mod purge;
pub mod queue;
mod traces;

use std::{
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};

pub use self::purge::Purge;
use self::{
    flights::{Boarded, Flight, Flights, Waiter},
    permits::{BudgetStatus, Permits},
    queue::Share,
    traces::Traces,
};
pub use crate::zoom::oauth::Credentials;
use crate::{
    budget::Budget,
    cache::{Cache, Entry},
    callers::Caller,
    failure::{Failure, Reason},
    metrics::Metrics,
    snapshot::{FreshnessConfig, Snapshot, SnapshotKey},
    trace::{Parent, Tracer, Trail},
    zoom::{self, Zoom, ZoomConfig, oauth::AccessTokens},
};

/// A caller who was told to come back while a flight goes on: by then most have landed.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long callers wait, and how many calls may queue.
pub struct FetcherConfig {
    /// The longest that a caller is kept waiting for a snapshot.
    pub wait: Duration,
    /// Zoom calls waiting for a permit; more are refused.
    pub max_queued: usize,
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

/// What a caller wants of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A snapshot that landed after this: the one that the caller found and could not use.
    pub newer_than: Option<Instant>,
    /// Whether the caller has a stale snapshot to fall back on, and so need not wait while Zoom may not be asked.
    pub has_fallback: bool,
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
    /// Limits and queue.
    pub budget: BudgetStatus,
    /// What Zoom last refused, in words, and how long ago.
    pub last_refusal: Option<(Duration, Failure)>,
}

type Reply = oneshot::Sender<Result<Landed, Failure>>;

enum Letter {
    Fetch { request: Request, reply: Reply },
    Refresh { key: SnapshotKey, caller: Arc<Caller>, request: Parent },
    Purge { what: Purge, done: oneshot::Sender<()> },
    Status(oneshot::Sender<FetcherStatus>),
    NoMoreTakeOffs,
    WhenAllLanded(oneshot::Sender<()>),
}

/// A caller's request for a snapshot.
struct Request {
    key: SnapshotKey,
    wanted: Wanted,
    caller: Arc<Caller>,
    trail: Trail,
    deadline: Instant,
}

/// The handle: cheap to clone, and at home on any thread.
#[derive(Clone)]
pub struct Fetcher {
    mailbox: mpsc::UnboundedSender<Letter>,
    credentials: watch::Receiver<Credentials>,
    closed: watch::Receiver<Option<Failure>>,
    wait: Duration,
}

/// A fetcher that is not started yet: what is asked of its handle waits.
pub struct Launch {
    parts: Parts,
    letters: mpsc::UnboundedReceiver<Letter>,
    credentials: watch::Sender<Credentials>,
    closed: watch::Sender<Option<Failure>>,
}

impl Launch {
    /// Starts the fetcher on a thread of its own, which ends with the `Arbiter`. From here on Zoom is asked.
    pub fn on(self, thread: &actix_rt::Arbiter) {
        let Self { parts, letters, credentials, closed } = self;
        thread.spawn_fn(move || {
            let core = Core::new(parts, credentials, closed);
            let core = Rc::new(core);
            let in_the_air = Rc::clone(&core);
            let gives_up = move |flight| in_the_air.flights.gives_up(flight);
            drop(actix_rt::spawn(core.permits.clone().serve(gives_up)));
            drop(actix_rt::spawn(core.access_tokens.clone().keep()));
            drop(actix_rt::spawn(core.read(letters)));
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
    /// What may be spent.
    pub budget: Budget,
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
        let fetcher = Self { mailbox, credentials, closed, wait: parts.config.wait };
        (fetcher, Launch { parts, letters, credentials: accepted, closed: close })
    }

    /// A snapshot from Zoom: by a flight of its own, or by the one that is under way. Waits `server.wait` at most. The
    /// calls of its own flight count for `caller`; when they are too many already, no flight starts.
    ///
    /// # Errors
    /// Every reason there is; the flight itself may go on.
    pub async fn fetch(
        &self,
        key: SnapshotKey,
        wanted: Wanted,
        caller: Arc<Caller>,
        trail: Trail,
    ) -> Result<Landed, Failure> {
        let deadline = Instant::now() + self.wait;
        let (reply, landed) = oneshot::channel();
        let letter = Letter::Fetch { request: Request { key, wanted, caller, trail, deadline }, reply };
        self.mailbox.send(letter).map_err(|_| Failure::new(Reason::ShuttingDown))?;
        match tokio::time::timeout_at(deadline.into(), landed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::new(Reason::ShuttingDown)),
            Err(_) => Err(Failure::new(Reason::StillFetching).retry_at(Instant::now() + ASK_AGAIN_AFTER)),
        }
    }

    /// Starts a flight that nobody waits for, if none is under way; it makes way for those that somebody waits for. Its
    /// calls count for `caller`, as above.
    pub fn refresh(&self, key: SnapshotKey, caller: Arc<Caller>, request: Parent) {
        // A fetcher that is gone refreshes nothing.
        drop(self.mailbox.send(Letter::Refresh { key, caller, request }));
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

/// The state on the fetcher's thread.
struct Core {
    zoom: Zoom,
    access_tokens: AccessTokens,
    permits: Permits,
    flights: Flights,
    traces: Traces,
    cache: Cache,
    freshness: FreshnessConfig,
    metrics: Arc<Metrics>,
    wait: Duration,
}

impl Core {
    fn new(
        parts: Parts,
        credentials: watch::Sender<Credentials>,
        closed: watch::Sender<Option<Failure>>,
    ) -> Self {
        let Parts { config, zoom, freshness, budget, cache, metrics, tracer } = parts;
        let client = zoom::http_client(zoom.connect_timeout);
        Self {
            access_tokens: AccessTokens::new(&zoom, client.clone(), &metrics, credentials),
            zoom: Zoom::new(&zoom, client),
            permits: Permits::new(budget, config.max_queued, config.wait, closed, &metrics),
            flights: Flights::default(),
            traces: Traces::new(tracer),
            cache,
            freshness,
            metrics,
            wait: config.wait,
        }
    }

    async fn read(self: Rc<Self>, mut letters: mpsc::UnboundedReceiver<Letter>) {
        while let Some(letter) = letters.recv().await {
            match letter {
                Letter::Fetch { request, reply } => self.fetch(&request, reply),
                Letter::Refresh { key, caller, request } => self.refresh(key, &caller, request),
                Letter::Purge { what, done } => {
                    self.purge(what);
                    // It is done, whether or not somebody still waits to hear it.
                    done.send(()).ok();
                }
                Letter::Status(reply) => drop(reply.send(self.status())),
                Letter::NoMoreTakeOffs => self.flights.no_more_take_offs(),
                Letter::WhenAllLanded(reply) => {
                    let this = Rc::clone(&self);
                    drop(actix_rt::spawn(async move {
                        this.flights.all_landed().await;
                        this.permits.save_final_count().await;
                        reply.send(()).ok();
                    }));
                }
            }
        }
    }

    /// Cache, flight under way, or a new flight: the one place that decides it.
    fn fetch(self: &Rc<Self>, request: &Request, reply: Reply) {
        let Request { key, wanted, caller, trail, deadline } = request;
        if let Some(found) = self.found(key, *wanted) {
            drop(reply.send(found));
            return;
        }
        let share = share_of(caller);
        let waiter = Waiter { reply, deadline: *deadline, share, has_fallback: wanted.has_fallback };
        match self.flights.board(*key, waiter, caller, Instant::now()) {
            Boarded::UnderWay(number) => {
                trail.join(self.traces.of(number));
                self.permits.somebody_waits(number, share, *deadline);
            }
            Boarded::TakesOff(flight) => self.take_off(flight, trail.request()),
            Boarded::Refused(waiter, failure) => drop(waiter.reply.send(Err(failure))),
        }
    }

    /// What can be answered without a flight.
    fn found(&self, key: &SnapshotKey, wanted: Wanted) -> Option<Result<Landed, Failure>> {
        let now = Instant::now();
        match self.cache.get(key, now) {
            Some(Entry::Refusal(refusal)) => return Some(Err(refusal.failure.clone())),
            Some(Entry::Snapshot(snapshot))
                if snapshot.fresh_left(now).is_some()
                    && wanted.newer_than.is_none_or(|landed| snapshot.landed > landed) =>
            {
                return Some(Ok(Landed { snapshot, via: Via::Cache, stored: true }));
            }
            Some(Entry::Snapshot(_)) | None => {}
        }
        // Who has something to fall back on need not wait for the end of a pause, however short.
        if wanted.has_fallback
            && let Some((_, failure)) = self.permits.closed()
        {
            return Some(Err(failure));
        }
        None
    }

    fn refresh(self: &Rc<Self>, key: SnapshotKey, caller: &Arc<Caller>, request: Parent) {
        let wanted = Wanted { newer_than: None, has_fallback: true };
        let now = Instant::now();
        if self.found(&key, wanted).is_none()
            && let Some(flight) = self.flights.in_background(key, now + self.wait, caller, now)
        {
            self.take_off(flight, request);
        }
    }

    fn take_off(self: &Rc<Self>, flight: Flight, request: Parent) {
        let now = Instant::now();
        if let Some(Entry::Snapshot(kept)) = self.cache.get(&flight.key, now) {
            kept.note_try(now);
        }
        self.metrics.flights_active.inc();
        let span = self.traces.take_off(&flight, request);
        drop(actix_rt::spawn(flight::fly(Rc::clone(self), flight, span)));
    }

    fn status(&self) -> FetcherStatus {
        let (flights, waiting) = self.flights.count();
        FetcherStatus {
            flights,
            waiting,
            budget: self.permits.status(),
            last_refusal: self.flights.last_refusal(),
        }
    }
}

/// A caller's place among the others in the queue.
fn share_of(caller: &Caller) -> Share {
    Share { caller: caller.id, weight: NonZeroU32::new(caller.weight).unwrap_or(NonZeroU32::MIN) }
}
