//! Cleans pages and finishes snapshots on blocking threads, so that the fetcher's thread keeps the rate of calls.

use std::{
    io,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    blocking::off_this_thread,
    cache::Entry,
    clean::{self, NotAPage},
    cluster::Shared,
    fetcher::core::Core,
    meeting_id::MeetingId,
    snapshot::{Snapshot, SnapshotBuilder, SnapshotKey},
};

/// More bytes than that are worked on one at a time, because what that takes is not counted: a page beside its body, and
/// a meeting's codings beside its pages.
const LARGE: usize = 1024 * 1024;

/// Held by whatever works on a large page, or closes a large meeting.
#[derive(Default)]
pub(in crate::fetcher) struct OneAtATime {
    page: Mutex<()>,
    meeting: Mutex<()>,
}

async fn one_at_a_time(what: &Mutex<()>, bytes: usize) -> Option<MutexGuard<'_, ()>> {
    if bytes > LARGE { Some(what.lock().await) } else { None }
}

/// Parsing, cleaning and packing a page of an hour takes milliseconds: off the thread that keeps the pace of calls.
pub(super) async fn clean_into(
    core: &Core,
    mut builder: SnapshotBuilder,
    body: Bytes,
    meeting: MeetingId,
) -> (SnapshotBuilder, Result<clean::Page, NotAPage>) {
    let length = body.len();
    let work = move || {
        let mut cleaned = clean::page(&body, builder.begin_page());
        if let Ok(page) = &cleaned
            && is_of_another(page, &meeting)
        {
            cleaned = Err(NotAPage::AnotherMeeting);
        }
        if let Ok(page) = &cleaned {
            builder.end_page(&page.rows, page.newest_leave_time);
            if page.next_page_token.is_some() {
                builder.compress_page()?;
            }
        }
        Ok((builder, cleaned))
    };
    let one = one_at_a_time(&core.one_at_a_time.page, length).await;
    let done = off_this_thread(work).await;
    drop(one);
    never_fails(done)
}

/// Whether Zoom says a number, and it is not the one that was asked for. A UUID cannot be compared.
fn is_of_another(page: &clean::Page, asked_for: &MeetingId) -> bool {
    let number = asked_for.as_str().parse::<u64>().ok().filter(|_| !asked_for.is_uuid());
    number.zip(page.meeting_number.filter(|number| *number > 0)).is_some_and(|(asked, got)| asked != got)
}

/// The whole meeting, in the codings in which it is kept.
pub(super) async fn finish(core: &Core, key: SnapshotKey, builder: SnapshotBuilder) -> Snapshot {
    let (freshness, weight) = (core.freshness.clone(), builder.weight());
    let (stretch, jitter_seed) = (stretch(core, &key, builder.pages()), fastrand::u32(..));
    // Replicas whose clocks differ tell one time.
    let clock = core.shared.as_ref().and_then(Shared::clock);
    let work = move || {
        let now = Instant::now();
        let wall = clock.map_or_else(SystemTime::now, |clock| clock.wall(now));
        builder.finish(key, &freshness, now, wall, stretch, jitter_seed)
    };
    let one = one_at_a_time(&core.one_at_a_time.meeting, weight).await;
    let done = off_this_thread(work).await;
    drop(one);
    never_fails(done)
}

/// How many times as long it is to be fresh, now that it is known what this refresh, if it is one, cost.
fn stretch(core: &Core, key: &SnapshotKey, pages: u32) -> f64 {
    let now = Instant::now();
    if let Some(Entry::Snapshot(older)) = core.cache.get(key, now)
        && let Some(sample) = older.refresh_sample(pages, now)
    {
        core.scheduler.record_refresh(sample);
    }
    core.scheduler.stretch(pages)
}

/// Compressing into memory fails by a bug only: it ends the flight as a panic does.
fn never_fails<T>(done: io::Result<T>) -> T {
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "a body could not be compressed: a bug of this service");
        std::panic::resume_unwind(Box::new(error))
    })
}
