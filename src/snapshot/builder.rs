//! Collects the pages of a meeting, and makes a snapshot from them.

use std::{
    io::{self, Read as _},
    ops::Range,
    time::{Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    Snapshot,
    document::{self, RowIndex},
    encoder::BodyEncoder,
    freshness::{Freshness, FreshnessConfig},
    key::SnapshotKey,
    parts::EncodedParts,
    usage::SnapshotUsage,
};

/// The largest body, in bytes, that is stored uncompressed too: decompressing it would cost more than the memory it
/// saves.
const TINY: usize = 2_048;
/// The zstd level for pages that wait for the last one: it compresses half a gigabyte a second to a fifth of its size.
const WAITING_LEVEL: i32 = 1;
/// Bytes of a page that are decompressed at a time.
const STEP: usize = 64 * 1024;

struct PageRows {
    bytes: Vec<u8>,
    /// Whether a comma goes before them.
    needs_comma: bool,
    is_compressed: bool,
}

impl PageRows {
    /// Compresses the participants, unless that makes them larger. Allocates a compressor and frees it at once, because
    /// a waiting flight should hold little memory.
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
    pages: Vec<PageRows>,
    row_starts: Vec<u64>,
    /// Bytes of the participants so far.
    length: u64,
    newest_leave_time: Option<Timestamp>,
}

impl SnapshotBuilder {
    /// Returns the empty buffer into which the cleaner writes the next page's participants, separated by commas. They
    /// count only once [`SnapshotBuilder::end_page`] is called.
    pub fn begin_page(&mut self) -> &mut Vec<u8> {
        self.page.clear();
        &mut self.page
    }

    pub(crate) fn rows(&self) -> usize {
        self.row_starts.len()
    }

    pub(crate) fn pages(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    /// Adds the page in the buffer; `rows` are its participants' ranges there.
    pub fn end_page(&mut self, rows: &[Range<usize>], newest_leave_time: Option<Timestamp>) {
        let needs_comma = !rows.is_empty() && !self.row_starts.is_empty();
        let begin = self.length + u64::from(needs_comma);
        self.row_starts.extend(rows.iter().map(|row| begin + u64::try_from(row.start).unwrap_or(u64::MAX)));
        let bytes = std::mem::take(&mut self.page);
        self.length = begin + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.pages.push(PageRows { bytes, needs_comma, is_compressed: false });
        self.newest_leave_time = self.newest_leave_time.max(newest_leave_time);
    }

    /// Compresses the last page while the flight waits for the next one. The finished body has other compressors, which
    /// take megabytes, so they are used only at the end, for all pages at once.
    pub(crate) fn compress_page(&mut self) -> io::Result<()> {
        self.pages.last_mut().map_or(Ok(()), PageRows::compress)
    }

    /// Returns the bytes of memory that the pages so far take.
    pub(crate) fn weight(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| size_of::<PageRows>() + page.bytes.capacity()).sum();
        pages + self.row_starts.capacity() * size_of::<u64>()
    }

    /// Writes and encodes the document around the participants, and decides how long the snapshot is fresh.
    ///
    /// `stretch` lengthens the freshness of a meeting that can still change; `jitter_seed` is a new random number for each snapshot.
    ///
    /// # Errors
    /// A compressor failed, which would be a bug.
    pub fn finish(
        self,
        key: SnapshotKey,
        freshness: &FreshnessConfig,
        fetched_instant: Instant,
        fetched_at: SystemTime,
        stretch: f64,
        jitter_seed: u32,
    ) -> io::Result<Snapshot> {
        let page_count = self.pages();
        let Self { pages, row_starts, length, newest_leave_time, .. } = self;
        let head = document::head(key, fetched_at, row_starts.len());
        let mut encoder = BodyEncoder::new(head.as_bytes(), TINY)?;
        pages.iter().try_for_each(|page| page.write_to(|bytes| encoder.zstd(bytes)))?;
        encoder.zstd(document::TAIL.as_bytes())?;
        // Consumes the pages: each is freed once it is written for the last time.
        pages.into_iter().try_for_each(|page| {
            encoder.restart()?;
            page.write_to(|bytes| encoder.gzip(bytes))
        })?;
        encoder.gzip(document::TAIL.as_bytes())?;
        let body = encoder.finish()?;
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
        })
    }
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
        packed.compress_page().unwrap();
        packed.compress_page().unwrap();
        assert!(packed.weight() < page.len() / 10, "{}", packed.weight());
        let body = |builder| finish(builder, Duration::ZERO).decompress().unwrap();
        assert_eq!(body(packed), body(plain));
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
            builder.compress_page().unwrap();
        }
        assert_eq!(builder.rows(), 3);
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
