//! What other replicas have fetched, or are fetching: looked for before Zoom is asked, and told to them afterwards.
//!
//! Redis is asked twice for a miss, for the record and for the right to fetch; never for a hit. Where it is away, every
//! replica fetches for itself.

mod followers;
mod looks;
pub(super) mod paging;
mod records;
mod right;

use std::{sync::Arc, time::Instant};

pub(super) use self::{followers::Followers, looks::Looks, right::Right};
use self::{
    followers::{End, Listening},
    records::Content,
};
use super::{core::Core, flights::Flight};
use crate::{
    cache::{Entry, ends_snapshot},
    cluster::{Away, Claim, Found, Put, Shared, clock::ServerClock, keys::Subject, words},
    failure::{Failure, Reason},
    snapshot::{Snapshot, SnapshotKey},
};

/// What became of the look around.
pub(super) enum Turn {
    /// Zoom is to be asked, by us.
    Ours(Option<Right>),
    /// There is a snapshot that everybody who waits can use.
    Landed(Arc<Snapshot>, How),
    /// Zoom refused it to another replica; that is remembered until then.
    Refused(Failure, Instant),
    /// The replica that fetched it failed, or nobody waits any more.
    Failed(Failure),
}

/// How something of another replica's was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It was there.
    Found,
    /// Its flight was waited for.
    Followed,
}

/// What came of telling the others.
pub(super) enum Told {
    /// They can have it, or need not know of it.
    Ours(Result<Arc<Snapshot>, Failure>),
    /// Nobody is to have it: it was purged meanwhile.
    Purged(Result<Arc<Snapshot>, Failure>),
    /// There is a later one, which counts.
    Later(Arc<Snapshot>),
}

/// Whose turn it is to ask Zoom; and what there is without that.
pub(super) async fn look_around(core: &Core, shared: &Shared, flight: &Flight) -> Turn {
    // A process that starts makes no call before that either.
    shared.is_known().await;
    let of = Subject::meeting(&flight.key);
    let mut heard = core.followers.listen(flight.key);
    let mut how = How::Found;
    let turn = loop {
        let looked_up = shared.retrying(async || shared.look_up(&of).await).await;
        let Ok(Found { fence, record }) = looked_up else { break Turn::Ours(None) };
        match records::read(shared, flight.key, &of, record).await {
            Some(Content::Refusal(failure, until, said)) => {
                // Never for longer than it would be here, whatever the record says.
                let keep = core.cache.failure_ttl(flight.key, &failure, said).unwrap_or_default();
                let until = until.min(said + keep);
                if until > Instant::now() {
                    break Turn::Refused(failure, until);
                }
            }
            Some(Content::Snapshot(snapshot)) => {
                let serves = core.flights.all_take(flight, &snapshot, core.cache.policy(), Instant::now());
                if serves && is_newest(core, &snapshot) {
                    break Turn::Landed(snapshot, how);
                }
                keep_for_errors(core, flight, snapshot);
            }
            None => {}
        }
        match follow(core, shared, flight, (&of, fence), &mut heard).await {
            Followed::Landed => how = How::Followed,
            Followed::Is(turn) => break turn,
        }
    };
    core.flights.queues_no_more(flight);
    turn
}

/// What Redis has of this meeting.
async fn newest(core: &Core, key: SnapshotKey) -> Option<Arc<Snapshot>> {
    let shared = core.shared.as_ref()?;
    let of = Subject::meeting(&key);
    match records::read(shared, key, &of, shared.look_up(&of).await.ok()?.record).await? {
        Content::Snapshot(snapshot) => Some(snapshot),
        Content::Refusal(..) => None,
    }
}

enum Followed {
    /// There is a record with a later number.
    Landed,
    Is(Turn),
}

/// Claims, until that succeeds or is in vain.
async fn follow(
    core: &Core,
    shared: &Shared,
    flight: &Flight,
    (of, fence): (&Subject, u64),
    heard: &mut Listening<'_>,
) -> Followed {
    loop {
        let held = match shared.claim(of, fence).await {
            Ok(Claim::Yours(claimed)) => return Followed::Is(Turn::Ours(Some(Right::new(shared, claimed)))),
            Err(Away) => return Followed::Is(Turn::Ours(None)),
            Ok(Claim::Landed(_)) => return Followed::Landed,
            Ok(Claim::Held(held)) => held,
        };
        if core.flights.gives_up(flight.number)
            || core.flights.gives_up_at(flight).is_some_and(|at| at <= Instant::now())
        {
            return Followed::Is(Turn::Failed(Failure::new(Reason::StillFetching)));
        }
        // Its next call waits for a permit, as far as those are concerned who wait for it: a pause that is too long for them
        // they hear of at once.
        core.flights.queues(flight, core.scheduler.blocked_until().as_ref());
        match heard.end().await {
            Some(End::Landed) => return Followed::Landed,
            Some(End::Failed { fence, words }) if fence >= held => {
                let now = Instant::now();
                let failure = shared.clock().and_then(|clock| words::read(&words, &clock, now));
                if let Some(mut failure) = failure.filter(|failure| is_for_followers(failure.reason)) {
                    // Never later than it would be here, whatever the event says.
                    let keep = core.cache.failure_ttl(flight.key, &failure, now).unwrap_or_default();
                    failure.retry_at = failure.retry_at.map(|at| at.min(now + keep));
                    return Followed::Is(Turn::Failed(failure));
                }
            }
            Some(End::Failed { .. }) | None => {}
        }
    }
}

/// What this process fetched while Redis was away may be later than the record: what it shows never goes back in time.
fn is_newest(core: &Core, snapshot: &Snapshot) -> bool {
    match core.cache.get(&snapshot.key, Instant::now()) {
        Some(Entry::Snapshot(kept)) => {
            snapshot.tag == kept.tag || snapshot.fetched_instant > kept.fetched_instant
        }
        Some(Entry::Refusal(_)) | None => true,
    }
}

/// A snapshot that is too old for those who wait is better than none, should Zoom fail.
fn keep_for_errors(core: &Core, flight: &Flight, snapshot: Arc<Snapshot>) {
    let now = Instant::now();
    let is_news = match core.cache.get(&flight.key, now) {
        Some(Entry::Snapshot(kept)) => {
            snapshot.tag != kept.tag && snapshot.fetched_instant > kept.fetched_instant
        }
        Some(Entry::Refusal(_)) => false,
        None => true,
    };
    if is_news && !core.flights.is_set_aside(flight) {
        let (kept, _) = core.cache.insert(snapshot);
        kept.record_refresh_attempt(now);
    }
}

/// Tells the others what came of the flight.
pub(super) async fn tell(
    core: &Core,
    right: Right,
    flight: &Flight,
    result: Result<Arc<Snapshot>, Failure>,
) -> Told {
    let shared = right.shared.clone();
    let Some(clock) = shared.clock().filter(|_| !core.flights.is_set_aside(flight)) else {
        return Told::Ours(result);
    };
    let of = Subject::meeting(&flight.key);
    let (result, written, keep) = match result {
        Ok(snapshot) => {
            let keep = core.cache.useful_for(&snapshot);
            let written = records::of_snapshot(&shared, clock, &of, Arc::clone(&snapshot)).await;
            (Ok(snapshot), written, keep)
        }
        Err(failure) => {
            let now = Instant::now();
            let keep = core.cache.failure_ttl(flight.key, &failure, now).filter(|keep| !keep.is_zero());
            let Some(keep) = keep.filter(|_| is_for_a_record(core, flight, &failure)) else {
                let told = Failure { retry_at: keep.map(|keep| now + keep), ..failure.clone() };
                right.release(&told_to_followers(&told, &clock)).await;
                return Told::Ours(Err(failure));
            };
            let written = records::of_refusal(&shared, clock, &of, &failure, keep);
            (Err(failure), written, keep)
        }
    };
    let Some(written) = written else { return Told::Ours(result) };
    match shared.retrying(async || right.put(&written, keep).await).await {
        Ok(Put::Purged) => Told::Purged(result),
        // Its claim was lost to a pause: what was fetched by a later one counts.
        Ok(Put::Older) => match newest(core, flight.key).await {
            Some(later) if later.fresh_left(Instant::now()).is_some() => Told::Later(later),
            _ => Told::Ours(result),
        },
        Ok(Put::Kept) | Err(Away) => Told::Ours(result),
    }
}

/// Whether a failure is written where the others look for the meeting. It would overwrite the snapshot there, which
/// serves them stale; an event then tells it to those who run now.
fn is_for_a_record(core: &Core, flight: &Flight, failure: &Failure) -> bool {
    let has_snapshot = || matches!(core.cache.get(&flight.key, Instant::now()), Some(Entry::Snapshot(_)));
    ends_snapshot(failure) || (failure.lasting.is_some() && !has_snapshot())
}

/// What followers would only find out again, after as many tries, be it that there is nothing to have and that this is not
/// remembered. All else they find out by themselves: their queue may be
/// shorter, and their credentials newer.
fn told_to_followers(failure: &Failure, clock: &ServerClock) -> String {
    let words = is_for_followers(failure.reason).then(|| words::write(failure, clock));
    words.flatten().unwrap_or_default()
}

fn is_for_followers(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ZoomFailed
            | Reason::ZoomTimedOut
            | Reason::MeetingNotFound
            | Reason::NotAMeeting
            | Reason::MeetingTooOld
    )
}
