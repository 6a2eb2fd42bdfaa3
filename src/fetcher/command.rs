//! Commands from the handle to the fetcher's thread, and their answers.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    cache::{PAGED_FOR, policy::FetchRequirement},
    callers::Caller,
    failure::Failure,
    meeting_id::MeetingId,
    scheduler::SchedulerStatus,
    snapshot::{MeetingKind, MeetingType, RequestedKey, Snapshot, SnapshotKey, Tag},
    trace::{FlightLink, TraceContext},
    zoom::reachability::LastFailure,
};

/// When a caller who got nothing because of flights under way should ask again: most of them have ended by then.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A snapshot that callers page through is published again after this long, if another first slice hands out a token. Redis keeps
/// it for twice as long, so every token works at all replicas for this long at least.
pub(super) const PUBLISH_PAGED_EVERY: Duration = Duration::from_secs(PAGED_FOR.as_secs() / 2);

pub(super) type ReplySender = oneshot::Sender<Result<Fetched, Failure>>;

/// One message to the actor.
pub(super) enum FetcherCommand {
    Fetch { request: FetchRequest, reply: ReplySender },
    Refresh { key: SnapshotKey, caller: Arc<Caller>, request: TraceContext },
    Purge { what: Purge, done: oneshot::Sender<()> },
    PublishPaged(Arc<Snapshot>),
    FetchPaged { key: SnapshotKey, tag: Tag, reply: oneshot::Sender<Option<Arc<Snapshot>>> },
    Status(oneshot::Sender<FetcherStatus>),
    StopStarting,
    WhenIdle(oneshot::Sender<()>),
    Leave(oneshot::Sender<()>),
}

/// A caller's request for a snapshot.
pub(super) struct FetchRequest {
    pub(super) requested: RequestedKey,
    pub(super) wanted: FetchRequirement,
    pub(super) caller: Arc<Caller>,
    pub(super) flight_link: FlightLink,
    pub(super) deadline: Instant,
    pub(super) hung_up: Arc<AtomicBool>,
}

/// The scope of a purge.
#[derive(Debug, Clone, Copy)]
pub enum Purge {
    /// Everything.
    All,
    /// One meeting or webinar, whichever it is.
    Meeting {
        /// Its id.
        meeting: MeetingId,
        /// Which view of it; `None`: both.
        meeting_type: Option<MeetingType>,
    },
}

impl Purge {
    /// The snapshots it names; `None`: all of them.
    pub(super) fn keys(self) -> Option<Vec<SnapshotKey>> {
        let Self::Meeting { meeting, meeting_type } = self else { return None };
        let types = MeetingType::ALL.into_iter().filter(|one| meeting_type.is_none_or(|only| only == *one));
        let of_type = |meeting_type| MeetingKind::ALL.map(|kind| SnapshotKey { meeting, kind, meeting_type });
        Some(types.flat_map(of_type).collect())
    }
}

/// A snapshot for a caller.
pub struct Fetched {
    /// The whole meeting.
    pub snapshot: Arc<Snapshot>,
    /// Where it came from.
    pub source: FetchSource,
    /// Whether the cache keeps it.
    pub stored: bool,
}

/// How a caller came to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchSource {
    /// This caller's request started the flight.
    OwnFlight,
    /// The request joined a flight in progress.
    OthersFlight,
    /// It was cached between the caller's cache lookup and now.
    Cache,
}

/// The fetcher as `/status` shows it.
pub(crate) struct FetcherStatus {
    /// Meetings being fetched.
    pub flights: usize,
    /// Callers waiting for them.
    pub waiting: usize,
    /// Quota and queue.
    pub scheduler: SchedulerStatus,
    /// Zoom's last refusal, and how long ago it came.
    pub last_refusal: Option<(Duration, Failure)>,
    /// The last time Zoom could not be reached.
    pub last_failure: Option<LastFailure>,
    /// With Redis: the replicas it knows of, this one included.
    pub replicas: Option<u64>,
}
