//! Fetches all pages of one meeting, one after another, and returns a complete snapshot or none.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join, ready};

use super::{
    assembly,
    call::{FetchedPage, PagesError, fetch_page},
    flights::Flight,
    state::FetcherState,
};
use crate::{
    clean::CheckedPage,
    failure::{Failure, Lasting},
    snapshot::{Snapshot, SnapshotBuilder},
    zoom::FlightMemory,
};

/// How many more pages than `total_records` promises may follow. A live meeting may grow by a hundred rows while it is
/// fetched. Without a bound, an upstream whose pages never end would use up the day's calls.
const EXTRA_PAGES: usize = 10;
/// The maximum number of pages, even if the first page promises more. These are enough for 50,000 rows.
const MAX_PAGES: usize = 5_000;
/// The maximum number of pages if Zoom does not send `total_records`. These are enough for 5,000 rows.
const MAX_PAGES_IF_UNKNOWN: usize = 500;
/// The number of participants on one of Zoom's pages.
const ROWS_PER_PAGE: u64 = 10;
/// The longest page token that is accepted, in bytes. Zoom's tokens have a few dozen bytes. A longer token than this
/// might not fit into a request line.
const MAX_PAGE_TOKEN: usize = 4 * 1024;
/// A fetch fails after this many consecutive pages without participants, which Zoom has no reason to send.
const MAX_EMPTY_PAGES: u32 = 10;

/// Fetches every page of the meeting. Starts over once if Zoom refuses a page token.
pub(super) async fn fetch_meeting(state: &FetcherState, flight: &Flight) -> Result<Snapshot, Failure> {
    match fetch_pages(state, flight).await {
        // The page token has probably expired. Zoom issues a new one with the first page.
        Err(PagesError::PageTokenRefused(_)) => fetch_pages(state, flight).await,
        result => result,
    }
    .map_err(PagesError::into_failure)
}

async fn fetch_pages(state: &FetcherState, flight: &Flight) -> Result<Snapshot, PagesError> {
    let failed = |failure| Err(PagesError::Failed(failure));
    let memory = state.memory.begin(flight.number);
    let mut appending: LocalBoxFuture<'_, _> = Box::pin(ready(SnapshotBuilder::default()));
    let mut next = None::<String>;
    // Tokens may be long, so only their hashes are kept. If two different tokens have the same hash, the flight fails
    // as if Zoom had repeated a token. This happens about once in 10^12 meetings of 5,000 pages.
    let (hasher, mut tokens_seen) = (RandomState::new(), HashSet::new());
    let mut empty_in_a_row = 0;
    let mut max_pages = MAX_PAGES_IF_UNKNOWN;
    while tokens_seen.len() < max_pages && empty_in_a_row < MAX_EMPTY_PAGES {
        // Fetches a page while the previous one is cleaned and packed (compressed). The envelope of a page is
        // everything but its participants; it shows whether another page follows.
        let (builder, fetched) = join(appending, fetch_page(state, flight, &memory, next.as_deref())).await;
        let FetchedPage { page, body, zoom_error, counted } = fetched?;
        memory.keep(builder.weight() + body.len(), counted);
        let envelope = page.envelope();
        if let (None, Some(total)) = (&next, envelope.total_records) {
            max_pages = max_pages_for(total);
        }
        next.clone_from(&envelope.next_page_token);
        match &next {
            None => {
                let builder = assembly::append(state, builder, (page, body)).await;
                return Ok(assembly::finish(state, flight.key, builder).await);
            }
            Some(token) if token.len() > MAX_PAGE_TOKEN => {
                tracing::warn!(meeting = %flight.key.meeting, bytes = token.len(), "Zoom's page token is too long");
                return failed(Failure::lasting(Lasting::PageToken).with_zoom_error(zoom_error));
            }
            Some(token) if !tokens_seen.insert(hasher.hash_one(token)) => {
                tracing::warn!(meeting = %flight.key.meeting, "Zoom repeats a page token");
                return failed(Failure::lasting(Lasting::EndlessPages).with_zoom_error(zoom_error));
            }
            Some(_) if !page.has_participants() => empty_in_a_row += 1,
            Some(_) => empty_in_a_row = 0,
        }
        appending = append(state, &memory, builder, (page, body)).await;
    }
    tracing::warn!(meeting = %flight.key.meeting, pages = tokens_seen.len(), "Zoom's pages do not end");
    failed(Failure::lasting(Lasting::EndlessPages))
}

/// Returns a future that cleans and packs the page, so that the next page can be fetched at the same time. If memory is
/// short, cleans and packs the page before it returns, because the page's body takes several times the memory of the
/// packed page.
async fn append<'f>(
    state: &'f FetcherState,
    memory: &'f FlightMemory,
    builder: SnapshotBuilder,
    page: (CheckedPage, Bytes),
) -> LocalBoxFuture<'f, SnapshotBuilder> {
    let is_ample = memory.is_ample();
    let appending = async move {
        let builder = assembly::append(state, builder, page).await;
        memory.repack(builder.weight());
        builder
    };
    if is_ample { Box::pin(appending) } else { Box::pin(ready(appending.await)) }
}

/// Returns the maximum number of pages to read if the first page promises this many rows.
fn max_pages_for(total_records: u64) -> usize {
    let promised = usize::try_from(total_records.div_ceil(ROWS_PER_PAGE)).unwrap_or(usize::MAX);
    promised.saturating_add(EXTRA_PAGES).min(MAX_PAGES)
}
