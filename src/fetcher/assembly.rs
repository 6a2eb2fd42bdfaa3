//! Makes a snapshot from pages. Parsing, cleaning and compressing take milliseconds per page. They run on the blocking
//! pool, because the fetcher's thread has to start calls on time.

use std::{
    io,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use super::state::FetcherState;
use crate::{
    blocking::spawn_blocking,
    cache::Entry,
    clean::{CheckedPage, NotAPage, Page},
    meeting_id::MeetingId,
    snapshot::{Snapshot, SnapshotBuilder, SnapshotKey},
};

/// Pages larger than this, in bytes, are cleaned one at a time. Meetings whose packed pages are larger are finished one
/// at a time. Meanwhile, the memory for the cleaned page or the encodings is not counted towards
/// `limits.max_fetch_bytes`.
const LARGE: usize = 1024 * 1024;

async fn one_at_a_time(lock: &Mutex<()>, bytes: usize) -> Option<MutexGuard<'_, ()>> {
    if bytes > LARGE { Some(lock.lock().await) } else { None }
}

/// Checks that a response is a page of this meeting. Its participants are cleaned later; see [`append`].
pub(super) async fn check(body: Bytes, meeting: MeetingId) -> Result<CheckedPage, NotAPage> {
    let work = move || {
        let page = CheckedPage::new(&body)?;
        if is_of_another(page.envelope(), &meeting) { Err(NotAPage::AnotherMeeting) } else { Ok(page) }
    };
    spawn_blocking(work).await
}

/// Returns whether Zoom's response contains a meeting number other than the requested one. A requested UUID cannot be
/// compared, because the response contains only the number.
fn is_of_another(page: &Page, requested: &MeetingId) -> bool {
    let number = requested.as_str().parse::<u64>().ok().filter(|_| !requested.is_uuid());
    number.zip(page.meeting_number.filter(|number| *number > 0)).is_some_and(|(asked, got)| asked != got)
}

/// Cleans a page, appends its participants to the builder, and packs (compresses) them if another page follows.
pub(super) async fn append(
    state: &FetcherState,
    mut builder: SnapshotBuilder,
    (page, body): (CheckedPage, Bytes),
) -> SnapshotBuilder {
    let length = body.len();
    let work = move || {
        let page = page.clean(&body, builder.begin_page()).map_err(io::Error::other)?;
        // Frees the body before the packing, which may take long.
        drop(body);
        builder.end_page(&page.rows, page.newest_leave_time);
        if page.next_page_token.is_some() {
            builder.pack()?;
        }
        Ok((builder, page.unparsed))
    };
    let alone = one_at_a_time(&state.large_page, length).await;
    let (builder, unparsed) = never_fails(spawn_blocking(work).await);
    drop(alone);
    for (field, count) in unparsed.iter() {
        state.metrics.values_unparsed.with_label_values(&[field.as_str()]).inc_by(count);
    }
    builder
}

/// Makes the snapshot from the pages, in all encodings that the cache stores.
pub(super) async fn finish(state: &FetcherState, key: SnapshotKey, builder: SnapshotBuilder) -> Snapshot {
    let (freshness, weight) = (state.freshness.clone(), builder.weight());
    let (stretch, jitter_seed) = (stretch(state, &key, builder.pages()), fastrand::u32(..));
    let clock = state.peers.server_clock();
    let work = move || {
        let now = Instant::now();
        let fetched_at = clock.map_or_else(SystemTime::now, |clock| clock.wall(now));
        builder.finish(key, &freshness, now, fetched_at, stretch, jitter_seed)
    };
    let alone = one_at_a_time(&state.large_meeting, weight).await;
    let done = spawn_blocking(work).await;
    drop(alone);
    never_fails(done)
}

/// Returns the factor by which the new snapshot stays fresh longer than configured. If it replaces a stale snapshot of
/// an unsettled meeting, first records the cost of that refresh.
fn stretch(state: &FetcherState, key: &SnapshotKey, pages: u32) -> f64 {
    let now = Instant::now();
    if let Some(Entry::Snapshot(older)) = state.cache.get(key, now)
        && let Some(sample) = older.refresh_sample(pages, now)
    {
        state.scheduler.record_refresh(sample);
    }
    state.scheduler.stretch(pages)
}

/// Unwraps the result of cleaning and compressing in memory, which should not fail. A failure ends the flight like a
/// panic.
fn never_fails<T>(done: io::Result<T>) -> T {
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "cleaning or compressing a page failed: this is a bug");
        std::panic::resume_unwind(Box::new(error))
    })
}
