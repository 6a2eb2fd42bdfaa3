//! Commands from the handle to the fetcher's thread, and their replies.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    cache::{PAGED_FOR, policy::FetchRequirement},
    callers::Caller,
    failure::Failure,
    meeting_id::MeetingId,
    quota::fair_day::CallerDay,
    scheduler::SchedulerStatus,
    snapshot::{MeetingKind, MeetingType, RequestedKey, Snapshot, SnapshotKey, Tag},
    trace::{FlightLink, TraceContext},
    zoom::reachability::LastFailure,
};

/// How long a caller should wait before it retries if its flight took too long, or got no memory for its next page.
/// Most flights in progress end within this time.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The interval between two publications of a snapshot that callers page through. Redis keeps it for twice this time,
/// so a page token normally works at every replica for at least this time after the token was issued.
pub(super) const PUBLISH_PAGED_EVERY: Duration = Duration::from_secs(PAGED_FOR.as_secs() / 2);

pub(super) type ReplySender = oneshot::Sender<Result<Fetched, Failure>>;

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

pub(super) struct FetchRequest {
    pub(super) requested: RequestedKey,
    pub(super) requirement: FetchRequirement,
    pub(super) caller: Arc<Caller>,
    pub(super) flight_link: FlightLink,
    pub(super) deadline: Instant,
    pub(super) hung_up: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Purge {
    All,
    Meeting {
        meeting: MeetingId,
        /// `live` or `past`; `None` for both.
        meeting_type: Option<MeetingType>,
    },
}

impl Purge {
    /// Returns the keys of the snapshots to purge; `None` for all snapshots.
    pub(super) fn keys(self) -> Option<Vec<SnapshotKey>> {
        let Self::Meeting { meeting, meeting_type } = self else { return None };
        let types = MeetingType::ALL.into_iter().filter(|one| meeting_type.is_none_or(|only| only == *one));
        let of_type = |meeting_type| MeetingKind::ALL.map(|kind| SnapshotKey { meeting, kind, meeting_type });
        Some(types.flat_map(of_type).collect())
    }
}

pub(crate) struct Fetched {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) source: FetchSource,
    /// Whether the cache keeps the snapshot.
    pub(crate) stored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchSource {
    /// This caller's request started the flight.
    OwnFlight,
    /// The request joined a flight in progress, of this replica or of another one.
    OthersFlight,
    /// The fetcher found the snapshot in the cache, where the worker had found none that the caller accepts.
    Cache,
    /// The snapshot is from a record in Redis, usually of another replica's earlier flight.
    Record,
}

pub(crate) struct FetcherStatus {
    pub(crate) flights: usize,
    pub(crate) waiting: usize,
    pub(crate) scheduler: SchedulerStatus,
    /// The day's account of each caller in the callers' file, by the caller's id.
    pub(crate) caller_days: HashMap<u32, CallerDay>,
    /// How long ago an error response of Zoom last failed or redirected a flight, or a cool-down last began, and the
    /// failure.
    pub(crate) last_refusal: Option<(Duration, Failure)>,
    pub(crate) last_failure: Option<LastFailure>,
    /// The number of live replicas, this one included; `None` without Redis.
    pub(crate) replicas: Option<u64>,
}
