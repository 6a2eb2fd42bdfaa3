//! Collects the pages of a meeting, and makes a snapshot from them.

use std::{
    io::{self, Read as _},
    ops::Range,
    time::{Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    Snapshot,
    compressors::HoldPermit,
    document::{self, RowIndex},
    encoder::BodyEncoder,
    freshness::{Freshness, FreshnessConfig},
    key::SnapshotKey,
    parts::EncodedParts,
    usage::{RequestCount, SnapshotUsage},
};

/// The largest body, in bytes, that is also stored uncompressed. The time to decompress a tiny body matters more
/// than the memory that compression saves.
const TINY: usize = 2_048;
/// The size of the participants, in bytes, from which a meeting is encoded while its pages are fetched. The
/// compressors take as much memory as a few megabytes of waiting pages.
const LARGE: usize = 1024 * 1024;
/// The zstd level for pages that wait for the last page. It compresses half a gigabyte a second, to a fifth of the
/// size.
const WAITING_LEVEL: i32 = 1;
/// The number of bytes of a page that are decompressed at a time.
const STEP: usize = 64 * 1024;

struct PageRows {
    bytes: Vec<u8>,
    /// The length of the uncompressed participants, in bytes.
    length: usize,
    /// Whether a comma goes before the participants.
    needs_comma: bool,
    is_compressed: bool,
}

impl PageRows {
    /// Compresses the participants, unless that makes them larger. Allocates a compressor and frees it immediately,
    /// because a waiting flight should hold little memory.
    fn compress(&mut self) -> io::Result<()> {
        if self.is_compressed {
            return Ok(());
        }
        let compressed = zstd::bulk::compress(&self.bytes, WAITING_LEVEL)?;
        if compressed.len() < self.bytes.len() {
            self.is_compressed = true;
            self.bytes = compressed;
        }
        self.bytes.shrink_to_fit();
        Ok(())
    }

    /// Writes the uncompressed participants, in steps.
    fn write_to(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.needs_comma {
            write(b",")?;
        }
        if !self.is_compressed {
            return write(&self.bytes);
        }
        let mut decoder = zstd::stream::read::Decoder::with_buffer(&self.bytes[..])?;
        let mut step = vec![0; STEP];
        loop {
            match decoder.read(&mut step)? {
                0 => return Ok(()),
                read => write(step.get(..read).unwrap_or_default())?,
            }
        }
    }
}

/// A meeting being fetched: its pages so far.
#[derive(Default)]
pub struct SnapshotBuilder {
    /// The cleaned participants of the page that is being read.
    page: Vec<u8>,
    page_count: u32,
    /// Pages that are not encoded yet.
    waiting: Vec<PageRows>,
    /// The encoder of a large meeting, kept from page to page, and the permit to keep it.
    encoder: Option<(BodyEncoder, HoldPermit)>,
    row_starts: Vec<u64>,
    /// The length of the participants so far, in bytes.
    length: u64,
    newest_leave_time: Option<Timestamp>,
}

impl SnapshotBuilder {
    /// Returns the empty buffer into which the cleaner writes the next page's participants, separated by commas.
    /// [`SnapshotBuilder::end_page`] adds them to the meeting.
    pub fn begin_page(&mut self) -> &mut Vec<u8> {
        self.page.clear();
        &mut self.page
    }

    pub(crate) fn pages(&self) -> u32 {
        self.page_count
    }

    /// Adds the page in the buffer; `rows` are its participants' ranges there.
    pub fn end_page(&mut self, rows: &[Range<usize>], newest_leave_time: Option<Timestamp>) {
        let needs_comma = !rows.is_empty() && !self.row_starts.is_empty();
        let begin = self.length + u64::from(needs_comma);
        self.row_starts.extend(rows.iter().map(|row| begin + u64::try_from(row.start).unwrap_or(u64::MAX)));
        let bytes = std::mem::take(&mut self.page);
        self.length = begin + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let length = bytes.len();
        self.page_count = self.page_count.saturating_add(1);
        self.waiting.push(PageRows { bytes, length, needs_comma, is_compressed: false });
        self.newest_leave_time = self.newest_leave_time.max(newest_leave_time);
    }

    /// If the meeting is large, encodes the pages so far. Otherwise only compresses the last page. This runs while
    /// the flight waits for the next page, because encoding a large meeting takes as long as many of Zoom's
    /// responses.
    ///
    /// A flight that waits should hold little memory, so only a few flights keep compressors between their pages. The
    /// pages of other flights wait, if necessary until the last page has arrived.
    pub(crate) fn pack(&mut self) -> io::Result<()> {
        let waiting: usize = self.waiting.iter().map(|page| page.length).sum();
        if self.encoder.is_none()
            && waiting >= LARGE
            && let Some(permit) = HoldPermit::take()
        {
            self.encoder = Some((BodyEncoder::new(TINY)?, permit));
        }
        match &mut self.encoder {
            Some((encoder, _)) => encode(self.waiting.drain(..), encoder),
            None => self.waiting.last_mut().map_or(Ok(()), PageRows::compress),
        }
    }

    /// Returns the memory that the pages so far take, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let pages: usize =
            self.waiting.iter().map(|page| size_of::<PageRows>() + page.bytes.capacity()).sum();
        let encoded = self.encoder.as_ref().map_or(0, |(encoder, _)| encoder.weight());
        pages + encoded + self.row_starts.capacity() * size_of::<u64>()
    }

    /// Writes and encodes the document around the participants, and decides how long the snapshot is fresh.
    ///
    /// `stretch` lengthens the freshness of a meeting that can still change. `jitter_seed` is a new random number for
    /// each snapshot.
    ///
    /// # Errors
    /// The meeting could not be encoded, which would be a bug.
    pub fn finish(
        self,
        key: SnapshotKey,
        freshness: &FreshnessConfig,
        fetched_instant: Instant,
        fetched_at: SystemTime,
        stretch: f64,
        jitter_seed: u32,
    ) -> io::Result<Snapshot> {
        let Self { page_count, waiting, encoder, row_starts, length, newest_leave_time, .. } = self;
        let mut encoder = encoder.map_or_else(|| BodyEncoder::new(TINY), |(encoder, _)| Ok(encoder))?;
        encode(waiting, &mut encoder)?;
        encoder.write(document::TAIL.as_bytes())?;
        let body = encoder.finish(document::head(key, fetched_at, row_starts.len()).as_bytes())?;
        let fetched = document::timestamp(fetched_at);
        let Freshness { fresh_for, unstretched } =
            freshness.freshness(key, row_starts.len(), newest_leave_time, fetched, stretch, jitter_seed);
        Ok(Snapshot {
            key,
            tag: body.tag,
            length: body.length,
            pages: page_count,
            fetched_at,
            fetched_instant,
            fresh_for,
            unstretched,
            parts: EncodedParts::new(body, fetched_at)?,
            rows: RowIndex { starts: row_starts.into(), end: length },
            usage: SnapshotUsage::default(),
            requests: RequestCount::default(),
        })
    }
}

/// Encodes the pages, and frees each page once it is written.
fn encode(pages: impl IntoIterator<Item = PageRows>, encoder: &mut BodyEncoder) -> io::Result<()> {
    pages.into_iter().try_for_each(|page| {
        encoder.restart()?;
        page.write_to(|bytes| encoder.write(bytes))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::tests::{finish, live_meeting};

    #[test]
    fn a_page_compressed_twice_comes_back_unchanged() {
        let page = br#"{"latency_ms":126},"#.repeat(5_000);
        let (mut plain, mut packed) = (SnapshotBuilder::default(), SnapshotBuilder::default());
        for builder in [&mut plain, &mut packed] {
            builder.begin_page().extend_from_slice(&page);
            builder.end_page(std::slice::from_ref(&(0..page.len())), None);
        }
        packed.pack().unwrap();
        packed.pack().unwrap();
        assert!(packed.weight() < page.len() / 10, "{}", packed.weight());
        let body = |builder| finish(builder, Duration::ZERO).decompress().unwrap();
        assert_eq!(body(packed), body(plain));
    }

    #[test]
    fn a_meeting_packed_between_pages_is_the_same_as_one_packed_after() {
        let page = br#"{"latency_ms":126,"jitter_ms":4},"#.repeat(12_000);
        let (mut after, mut between) = (SnapshotBuilder::default(), SnapshotBuilder::default());
        for number in 0..12 {
            for builder in [&mut after, &mut between] {
                builder.begin_page().extend_from_slice(&page);
                builder.end_page(&[0..page.len() / 2, page.len() / 2..page.len()], None);
            }
            between.pack().unwrap();
            assert!(between.weight() < page.len(), "after page {number}: {} bytes", between.weight());
        }
        let [after, between] = [after, between].map(|builder| finish(builder, Duration::ZERO));
        assert_eq!(between.tag, after.tag);
        assert_eq!(between.decompress().unwrap(), after.decompress().unwrap());
        for row in [0, 5, 23] {
            let mut read = [&after, &between].map(|snapshot| snapshot.participants(row, 1, None));
            let [after, between] = read.each_mut().map(|reader| reader.read().unwrap().unwrap().to_vec());
            assert!(after == between, "row {row}");
        }
    }

    #[test]
    fn only_a_few_builders_keep_compressors() {
        let page = b"{},".repeat(500_000);
        let large = || {
            let mut builder = SnapshotBuilder::default();
            builder.begin_page().extend_from_slice(&page);
            builder.end_page(std::slice::from_ref(&(0..page.len())), None);
            builder.pack().unwrap();
            builder
        };
        let builders: Vec<_> = std::iter::repeat_with(large).take(8).collect();
        let encoders = builders.iter().filter(|builder| builder.encoder.is_some()).count();
        // There may be fewer, because other tests hold compressors at the same time.
        assert!(encoders <= 4, "{encoders}");
        assert!(builders.into_iter().all(|builder| finish(builder, Duration::ZERO).rows() == 1));
    }

    #[test]
    fn pages_are_joined_and_counted() {
        let mut builder = SnapshotBuilder::default();
        for (page, rows) in [
            (r#"{"a":1},{"a":2}"#, &[0..7, 8..15][..]),
            ("", &[]),
            (r#"{"a":3}"#, std::slice::from_ref(&(0..7))),
        ] {
            builder.begin_page().extend_from_slice(b"a page that turns out broken");
            builder.begin_page().extend_from_slice(page.as_bytes());
            builder.end_page(rows, None);
            builder.pack().unwrap();
        }
        assert_eq!(builder.row_starts.len(), 3);
        let fresh = FreshnessConfig::always(Duration::from_secs(60));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(36_000);
        let snapshot = builder.finish(live_meeting(), &fresh, Instant::now(), time, 1.0, 0).unwrap();
        assert_eq!(
            std::str::from_utf8(&snapshot.decompress().unwrap()).unwrap(),
            r#"{"meeting_id":"85746065432","type":"live","fetched_at":"1970-01-01T10:00:00Z","total_records":3,"participants":[{"a":1},{"a":2},{"a":3}]}"#
        );
        assert_eq!(snapshot.pages, 3);
        assert_eq!(&snapshot.last_modified()[..], b"Thu, 01 Jan 1970 10:00:00 GMT");
    }
}
