//! One whole meeting as fetched at one time: its bytes on the wire, its validators, and how long it is fresh.
//!
//! A snapshot is complete or it does not exist: it is made by a finished [`SnapshotBuilder`], or from the record of
//! such a snapshot. The body is stored as zstd and gzip. A small body is stored as gzip only, and a tiny body also
//! uncompressed. Other encodings are made on demand.
//!
//! No I/O and no clock: callers pass the time.

mod body_writer;
mod builder;
mod compressors;
mod decoder;
mod document;
mod encoder;
mod encoding;
mod freshness;
mod key;
mod participants;
mod parts;
mod restarts;
mod serialize;
mod usage;

use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

pub(crate) use self::{
    body_writer::{BodyWriter, Effort, WrittenBody},
    decoder::BodyDecoder,
    document::RowRange,
    key::RequestedKey,
    participants::ParticipantReader,
};
pub use self::{
    builder::SnapshotBuilder,
    encoding::Coding,
    freshness::{Freshness, FreshnessConfig},
    key::{MeetingKind, MeetingType, SnapshotKey, Tag},
    serialize::Bounds,
    usage::RefreshSample,
};
use self::{
    document::RowIndex,
    parts::{EncodedParts, Part},
    usage::{RequestCount, SnapshotUsage, millis},
};

/// A whole meeting. Immutable except for the record of its use.
pub struct Snapshot {
    /// The meeting.
    pub key: SnapshotKey,
    /// A digest of the body, which distinguishes the snapshots of the meeting.
    pub(crate) tag: Tag,
    /// The length of the uncompressed body, in bytes.
    pub length: u64,
    /// The number of pages, which is about the cost of fetching the meeting again, in Zoom calls.
    pub(crate) pages: u32,
    /// The time at which the pages were complete, on the wall clock; with Redis, on the Redis server's clock.
    pub(crate) fetched_at: SystemTime,
    /// The time at which the pages were complete, on the monotonic clock.
    pub fetched_instant: Instant,
    /// How long the snapshot is fresh after `fetched_instant`.
    pub(crate) fresh_for: Duration,
    /// `fresh_for` without stretching; `None` for a settled meeting ([`FreshnessConfig::settle`]).
    unstretched: Option<Duration>,
    parts: EncodedParts,
    rows: RowIndex,
    usage: SnapshotUsage,
    pub(crate) requests: RequestCount,
}

impl Snapshot {
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.fetched_instant)
    }

    /// Returns how long the snapshot stays fresh; `None` once it is stale.
    pub(crate) fn fresh_left(&self, now: Instant) -> Option<Duration> {
        self.fresh_left_at(self.age(now))
    }

    /// Returns the freshness left at this age; `None` once it is stale.
    pub(crate) fn fresh_left_at(&self, age: Duration) -> Option<Duration> {
        self.fresh_for.checked_sub(age).filter(|left| !left.is_zero())
    }

    /// Returns the time since the snapshot became stale; zero while it is fresh.
    pub(crate) fn stale_for(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(self.fresh_for)
    }

    pub(crate) fn record_refresh_attempt(&self, now: Instant) {
        self.usage.attempted_ms.store(millis(self.age(now)).max(1), Ordering::Relaxed);
    }

    /// Returns the time since this snapshot was fetched, or since the last attempt to fetch a newer one.
    pub(crate) fn since_last_attempt(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(self.last_attempt())
    }

    fn last_attempt(&self) -> Duration {
        Duration::from_millis(self.usage.attempted_ms.load(Ordering::Relaxed))
    }

    /// Records the first request that this snapshot serves although it would be stale without stretching. Ignores any
    /// other request.
    pub(crate) fn record_demand(&self, now: Instant) {
        let age = self.age(now);
        let is_due = self.unstretched.is_some_and(|fresh| age >= fresh);
        if is_due && self.usage.demanded_ms.load(Ordering::Relaxed) == 0 {
            // If two threads get here at the same time, either value is good enough.
            self.usage.demanded_ms.store(millis(age).max(1), Ordering::Relaxed);
        }
    }

    /// Returns a sample for the adaptive freshness when a newer snapshot of `pages` pages arrives. `None` for a settled
    /// meeting, or if a caller forced the refresh while this snapshot was fresh.
    pub(crate) fn refresh_sample(&self, pages: u32, now: Instant) -> Option<RefreshSample> {
        let unstretched = self.unstretched?;
        // Allows one millisecond more, because the attempt's time is rounded down.
        let was_stale = self.last_attempt() + Duration::from_millis(1) >= self.fresh_for;
        let (lived, postponed) = (self.age(now), self.postponed());
        was_stale.then_some(RefreshSample { pages, lived, postponed, unstretched })
    }

    /// Returns by how much stretching delayed the last attempt. For example, a snapshot that would have been fresh for
    /// 30 s was stretched to 120 s, first demanded at 40 s and refreshed at 125 s: 85 s.
    fn postponed(&self) -> Duration {
        match self.usage.demanded_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            demanded => self.last_attempt().saturating_sub(Duration::from_millis(demanded)),
        }
    }

    /// Counts a request that this snapshot serves.
    pub fn record_request(&self) {
        self.requests.record();
    }

    /// Records that a caller has a paging token for this snapshot, so that it is kept even after a newer one is
    /// fetched.
    pub(crate) fn mark_paged(&self) {
        self.usage.paged.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_paged(&self) -> bool {
        self.usage.paged.load(Ordering::Relaxed)
    }

    /// Returns whether the snapshot must be published to other replicas now, because callers page through it. If so,
    /// the next publication is due after `every`.
    pub(crate) fn claim_publication(&self, now: Instant, every: Duration) -> bool {
        let (age, publish_at) = (self.age(now), &self.usage.publish_at_ms);
        let (due, next) = (publish_at.load(Ordering::Relaxed), millis(age + every));
        let exchange = || publish_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        self.is_paged() && millis(age) >= due && exchange().is_ok()
    }

    /// Records when the snapshot must be published again.
    pub(crate) fn publish_again_at(&self, at: Instant) {
        self.usage.publish_at_ms.store(millis(self.age(at)), Ordering::Relaxed);
    }

    /// Returns `fetched_at` as an HTTP date.
    pub(crate) fn last_modified(&self) -> Bytes {
        self.parts.get(Part::LastModified)
    }

    /// Returns the strong entity tag of the body in this coding, with quotes.
    pub fn etag(&self, coding: Coding) -> Bytes {
        let stored = self.parts.get(Part::Etag(coding));
        // Computed on demand for zstd if the body is small: it is rarely requested, and the tag would cost memory in
        // every small snapshot.
        if stored.is_empty() { coding.etag(self.tag).into() } else { stored }
    }

    /// Returns the body in this coding, byte for byte as on the wire; `None` if it is not stored and must be made on
    /// demand.
    pub fn body(&self, coding: Coding) -> Option<Bytes> {
        Some(self.parts.get(Part::Body(coding))).filter(|body| !body.is_empty())
    }

    pub(crate) fn stores(&self, coding: Coding) -> bool {
        self.parts.has(Part::Body(coding))
    }

    /// Returns the complete uncompressed body, which takes [`Self::length`] bytes of memory.
    ///
    /// # Errors
    /// The stored bytes are corrupt, which would be a bug.
    pub fn decompress(&self) -> io::Result<Vec<u8>> {
        if let Some(body) = self.body(Coding::Identity) {
            return Ok(body.to_vec());
        }
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        match self.body(Coding::Zstd) {
            Some(zstd) => zstd::bulk::decompress(&zstd, length),
            None => self.decoder(0, self.length).next(length).map(|body| body.unwrap_or_default().into()),
        }
    }

    /// Compresses the body of a snapshot that is stored as gzip only. With one version of the library, the result is
    /// always the same, as its strong entity tag requires.
    pub(crate) fn zstd(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::compress(&self.decompress()?, compressors::ZSTD_LEVEL)
    }

    /// Returns a decoder for the `length` bytes of the body at offset `at`. The bytes are decompressed while they are
    /// read. Decompression normally begins at most about one page and a megabyte before `at`.
    pub fn decoder(&self, at: u64, length: u64) -> BodyDecoder {
        self.parts.decoder(at, length)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.starts.len()
    }

    /// Returns everything in the body before its first participant.
    pub(crate) fn head(&self) -> String {
        document::head(self.key, self.fetched_at, self.rows())
    }

    /// Returns the beginning of another JSON object about this snapshot: the meeting, its type and kind, and the time of
    /// fetching.
    #[must_use]
    pub fn opening(&self) -> String {
        document::opening(self.key, self.fetched_at)
    }

    /// Returns a reader of at most `size` participants, beginning with number `offset`. `plain` is the uncompressed
    /// body, if it is available.
    pub(crate) fn participants(
        &self,
        offset: usize,
        size: usize,
        plain: Option<&Bytes>,
    ) -> ParticipantReader<'_> {
        let range = self.row_range(offset, size);
        let end = offset.saturating_add(size).min(self.rows());
        let bytes = match plain.and_then(|plain| range.of(plain)) {
            Some(available) => (available, self.decoder(range.at, 0)),
            None => (Bytes::new(), self.decoder(range.at, range.length)),
        };
        ParticipantReader::new(&self.rows, (offset, end), bytes)
    }

    /// Returns the range of at most `size` participants, beginning with number `offset`.
    pub(crate) fn row_range(&self, offset: usize, size: usize) -> RowRange {
        self.rows.range(offset, size, self.length)
    }

    /// Returns the memory that the snapshot takes, in bytes, without the cache's own bookkeeping.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.parts.len() + size_of_val(&*self.rows.starts)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::meeting_id::MeetingId;

    /// Returns the key of a live meeting.
    pub(crate) fn live_meeting() -> SnapshotKey {
        let meeting = MeetingId::parse("85746065432").unwrap();
        SnapshotKey { meeting, kind: MeetingKind::Meeting, meeting_type: MeetingType::Live }
    }

    /// Finishes the snapshot of a live meeting that was fetched at the Unix epoch and is fresh for this long.
    pub(crate) fn finish(builder: SnapshotBuilder, fresh_for: Duration) -> Snapshot {
        let fresh = FreshnessConfig::always(fresh_for);
        builder.finish(live_meeting(), &fresh, Instant::now(), SystemTime::UNIX_EPOCH, 1.0, 0).unwrap()
    }

    fn snapshot_of(rows: &[&str]) -> Snapshot {
        let mut builder = SnapshotBuilder::default();
        for page in rows.chunks(2) {
            let mut at = 0;
            let ranges: Vec<_> = page.iter().map(|row| (at, at += row.len() + 1).0..at - 1).collect();
            builder.begin_page().extend_from_slice(page.join(",").as_bytes());
            builder.end_page(&ranges, None);
        }
        finish(builder, Duration::from_secs(60))
    }

    fn read(mut unpacker: BodyDecoder) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(part) = unpacker.next(7).unwrap() {
            read.extend_from_slice(&part);
        }
        read
    }

    #[test]
    fn slices_split_between_participants_and_together_are_the_whole() {
        let rows = ["{\"a\":1}", "{}", "[1,2]", "null", "{\"b\":\",\"}"];
        let snapshot = snapshot_of(&rows);
        let body = snapshot.decompress().unwrap();
        for size in 1..=6 {
            let mut found = Vec::new();
            for offset in (0..rows.len()).step_by(size) {
                let cut = snapshot.row_range(offset, size);
                assert_eq!(cut.more, offset + size < rows.len());
                let at = usize::try_from(cut.at).unwrap();
                let whole = &body[at..at + usize::try_from(cut.length).unwrap()];
                assert_eq!(read(snapshot.decoder(cut.at, cut.length)), whole);
                for plain in [None, Some(&Bytes::from(body.clone()))] {
                    let mut participants = snapshot.participants(offset, size, plain);
                    for row in rows.iter().skip(offset).take(size) {
                        assert_eq!(participants.read().unwrap(), Some(row.as_bytes()));
                    }
                    assert_eq!(participants.read().unwrap(), None);
                }
                let wanted = rows[offset..rows.len().min(offset + size)].join(",");
                assert_eq!(std::str::from_utf8(whole).unwrap(), wanted);
                found.push(wanted);
            }
            assert!(body.ends_with(format!("[{}]}}", found.join(",")).as_bytes()));
        }
        assert!(body.starts_with(snapshot.head().as_bytes()));
    }

    #[test]
    fn a_paged_snapshot_is_published_again_in_time_and_after_a_failure() {
        let snapshot = snapshot_of(&["{}"]);
        let after = |seconds| snapshot.fetched_instant + Duration::from_secs(seconds);
        let publishes = |seconds| snapshot.claim_publication(after(seconds), Duration::from_secs(100));
        assert!(!publishes(0), "nobody pages through it");
        snapshot.mark_paged();
        assert_eq!(
            [0, 0, 99, 100, 199, 250, 349].map(publishes),
            [true, false, false, true, false, true, false]
        );
        snapshot.publish_again_at(after(301));
        assert_eq!([300, 301, 302].map(publishes), [false, true, false]);
    }

    #[test]
    fn a_meeting_without_participants_has_an_empty_slice() {
        let snapshot = snapshot_of(&[]);
        let cut = snapshot.row_range(0, 300);
        assert_eq!((cut.length, cut.more), (0, false));
        assert_eq!(cut.at, u64::try_from(snapshot.head().len()).unwrap());
    }

    #[test]
    fn only_a_small_body_is_kept_uncompressed() {
        let small = snapshot_of(&["{}"]);
        assert_eq!(small.body(Coding::Identity).unwrap(), small.decompress().unwrap());
        let row = format!("\"{}\"", "x".repeat(5_000));
        let large = snapshot_of(&[&row, &row]);
        assert!(large.body(Coding::Identity).is_none());
        assert_eq!(u64::try_from(large.decompress().unwrap().len()).unwrap(), large.length);
        assert!(large.memory_bytes() < 2_000, "{}", large.memory_bytes());
    }

    #[test]
    fn a_small_body_keeps_one_coding_and_remakes_the_other_identically() {
        let row = format!("\"{}\"", "x".repeat(5_000));
        let kept = |snapshot: &Snapshot| Coding::ALL.map(|coding| snapshot.stores(coding));
        let small = snapshot_of(&[&row, &row]);
        assert_eq!(kept(&small), [false, true, false]);
        let zstd = small.zstd().unwrap();
        assert_eq!(zstd, small.zstd().unwrap());
        assert_eq!(zstd::stream::decode_all(&zstd[..]).unwrap(), small.decompress().unwrap());
        let large = snapshot_of(&[&row, &row, &row, &row]);
        assert_eq!(kept(&large), [true, true, false]);
        assert_eq!(large.zstd().unwrap(), large.zstd().unwrap());
    }

    #[test]
    fn the_tags_of_the_codings_differ() {
        let snapshot = snapshot_of(&["{}"]);
        let tags = Coding::ALL.map(|coding| String::from_utf8(snapshot.etag(coding).to_vec()).unwrap());
        let tag = snapshot.tag;
        assert_eq!(tags, [format!("\"{tag}-zstd\""), format!("\"{tag}-gzip\""), format!("\"{tag}\"")]);
    }

    #[test]
    fn it_is_known_by_how_much_stretching_put_a_refresh_off() {
        let seconds = Duration::from_secs;
        let refetched = |stretch| {
            let mut builder = SnapshotBuilder::default();
            builder.begin_page().extend_from_slice(b"{}");
            builder.end_page(std::slice::from_ref(&(0..2)), None);
            let fresh = FreshnessConfig::always(seconds(30));
            builder
                .finish(live_meeting(), &fresh, Instant::now(), SystemTime::UNIX_EPOCH, stretch, 0)
                .unwrap()
        };
        let stretched = refetched(4.0);
        assert_eq!(stretched.fresh_for, seconds(120));
        let after = |age| stretched.fetched_instant + seconds(age);
        for age in [10, 29, 40, 70, 110] {
            stretched.record_demand(after(age));
        }
        stretched.record_refresh_attempt(after(125));
        let sample =
            RefreshSample { pages: 7, lived: seconds(127), postponed: seconds(85), unstretched: seconds(30) };
        let seen = stretched.refresh_sample(7, after(127));
        assert_eq!(seen, Some(sample), "requested at 40 s, refresh attempted at 125 s");

        let plain = refetched(1.0);
        plain.record_refresh_attempt(plain.fetched_instant + seconds(33));
        assert_eq!(
            plain.refresh_sample(1, plain.fetched_instant + seconds(34)).unwrap().postponed,
            seconds(0)
        );
        let forced = refetched(4.0);
        forced.record_refresh_attempt(forced.fetched_instant + seconds(60));
        let seen = forced.refresh_sample(1, forced.fetched_instant + seconds(61));
        assert_eq!(seen, None, "a caller forced the refresh while the snapshot was fresh");
    }

    #[test]
    fn freshness_runs_out_exactly_once() {
        let (snapshot, seconds) = (snapshot_of(&[]), Duration::from_secs);
        let after = |age| snapshot.fetched_instant + seconds(age);
        assert_eq!(snapshot.fresh_left(after(59)), Some(seconds(1)));
        assert_eq!(snapshot.fresh_left(after(60)), None);
        assert_eq!(snapshot.age(after(61)), seconds(61));
    }
}
