//! A meeting being fetched, and its sealing.

use std::{
    fmt::Write as _,
    io::{self, Read as _},
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64},
    time::{Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    Coding, FreshnessConfig, PIECES, Snapshot, SnapshotKey, Stored,
    encoder::{Packed, Packer},
    freshness::Freshness,
};

/// What a body ends with, behind the last participant.
pub(super) const TAIL: &str = "]}";
/// A body of this size is kept as it is, too: unpacking costs more than it saves.
const TINY: usize = 2_048;
/// A body of this size is kept as gzip only. zstd would be hardly smaller, and a second coding doubles what it takes.
pub(super) const SMALL: u64 = 16 * 1024;
/// Of pages that wait for the last one: half a gigabyte a second, and a fifth of their size.
const PARTS_LEVEL: i32 = 1;
/// Bytes of a packed page that are unpacked at once.
const PIECE: usize = 64 * 1024;

/// The participants of one page.
struct Part {
    bytes: Vec<u8>,
    /// Whether a comma goes before them.
    follows: bool,
    /// Whether the bytes are packed.
    is_packed: bool,
}

impl Part {
    /// With a compressor that is let go of at once: what a flight keeps while it waits should be small.
    fn pack(&mut self) -> io::Result<()> {
        if self.is_packed {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.bytes, PARTS_LEVEL)?;
        if packed.len() < self.bytes.len() {
            self.is_packed = true;
            self.bytes = packed;
        }
        self.bytes.shrink_to_fit();
        Ok(())
    }

    /// Writes it as it is, in pieces if it is packed.
    fn write_to(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.follows {
            write(b",")?;
        }
        if !self.is_packed {
            return write(&self.bytes);
        }
        let mut unpacked = zstd::stream::read::Decoder::with_buffer(&self.bytes[..])?;
        let mut piece = vec![0; PIECE];
        loop {
            match unpacked.read(&mut piece)? {
                0 => return Ok(()),
                read => write(piece.get(..read).unwrap_or_default())?,
            }
        }
    }
}

/// A meeting being fetched: the pages so far.
#[derive(Default)]
pub struct Draft {
    /// The cleaned participants of the page that is being read.
    page: Vec<u8>,
    parts: Vec<Part>,
    row_starts: Vec<u64>,
    /// Bytes of the participants so far.
    length: u64,
    pages: u32,
    newest_leave_time: Option<Timestamp>,
}

impl Draft {
    /// Where the cleaner puts the next page's participants, with commas between them. It is empty; without
    /// [`Draft::end_page`] nothing of it counts.
    pub fn begin_page(&mut self) -> &mut Vec<u8> {
        self.page.clear();
        &mut self.page
    }

    /// Participants so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.row_starts.len()
    }

    /// Pages so far.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Adds a page that was read whole. `rows` says where its participants lie.
    ///
    /// # Errors
    /// When a compressor fails, which it does not.
    pub fn end_page(
        &mut self,
        rows: &[Range<usize>],
        newest_leave_time: Option<Timestamp>,
    ) -> io::Result<()> {
        let follows = !rows.is_empty() && !self.row_starts.is_empty();
        let begin = self.length + u64::from(follows);
        self.row_starts.extend(rows.iter().map(|row| begin + u64::try_from(row.start).unwrap_or(u64::MAX)));
        let bytes = std::mem::take(&mut self.page);
        self.length = begin + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.parts.push(Part { bytes, follows, is_packed: false });
        self.pages += 1;
        self.newest_leave_time = self.newest_leave_time.max(newest_leave_time);
        Ok(())
    }

    /// Makes the last page small, because there is another to be waited for. The compressors of the body itself take
    /// megabytes, and are used for all pages at once when the last one is there.
    ///
    /// # Errors
    /// When a compressor fails, which it does not.
    pub fn pack(&mut self) -> io::Result<()> {
        self.parts.last_mut().map_or(Ok(()), Part::pack)
    }

    /// Bytes that the pages so far take.
    #[must_use]
    pub fn weight(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| size_of::<Part>() + part.bytes.capacity()).sum();
        parts + self.row_starts.capacity() * size_of::<u64>()
    }

    /// Closes the meeting: writes the document around the participants, tags it, and decides how long it is fresh.
    ///
    /// `stretch` lengthens its freshness, if it shows what can still change; `luck` is any random number, a new one for
    /// each snapshot.
    ///
    /// # Errors
    /// When a compressor fails, which it does not.
    pub fn seal(
        self,
        key: SnapshotKey,
        freshness: &FreshnessConfig,
        landed: Instant,
        fetched_at: SystemTime,
        stretch: f64,
        luck: u32,
    ) -> io::Result<Snapshot> {
        let Self { parts, row_starts, length, pages, newest_leave_time, .. } = self;
        let head = head(key, fetched_at, row_starts.len());
        let mut packer = Packer::new(head.as_bytes(), TINY)?;
        parts.iter().try_for_each(|part| part.write_to(|bytes| packer.zstd(bytes)))?;
        packer.zstd(TAIL.as_bytes())?;
        // Each is dropped when its last coding is made.
        parts.into_iter().try_for_each(|part| part.write_to(|bytes| packer.gzip(bytes)))?;
        packer.gzip(TAIL.as_bytes())?;
        let body = packer.finish()?;
        let (tag, body_length) = (body.tag, body.length);
        let stored = store(body, fetched_at)?;
        let (rows, fetched) = (row_starts.len(), timestamp(fetched_at));
        let Freshness { fresh_for, unstretched } =
            freshness.freshness(key, rows, newest_leave_time, fetched, stretch, luck);
        Ok(Snapshot {
            key,
            tag,
            length: body_length,
            pages,
            fetched_at,
            landed,
            fresh_for,
            unstretched,
            stored,
            row_starts: row_starts.into(),
            rows_end: length,
            tried: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            paged: AtomicBool::new(false),
            paged_everywhere: AtomicBool::new(false),
        })
    }
}

/// What a body begins with, up to its first participant.
pub(super) fn head(key: SnapshotKey, fetched_at: SystemTime, rows: usize) -> String {
    let mut head = String::with_capacity(192);
    // Neither a meeting id nor a time has a character that JSON escapes; writing to a String cannot fail.
    let _infallible = write!(
        head,
        r#"{{"meeting_id":"{}","type":"{}","fetched_at":"{}","total_records":{rows},"participants":["#,
        key.meeting,
        key.meeting_type.as_str(),
        timestamp(fetched_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
    );
    head
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Everything that is kept, without spare capacity; the bodies stay in the encoders' allocation.
pub(super) fn store(packed: Packed, fetched_at: SystemTime) -> io::Result<Stored> {
    let Packed { mut bytes, mut zstd, gzip, length, tag: digest } = packed;
    let last_modified = httpdate::fmt_http_date(fetched_at);
    let [mut of_zstd, of_gzip, of_plain] = Coding::ALL.map(|coding| coding.etag(digest));
    if length <= SMALL {
        bytes.drain(..zstd);
        (zstd, of_zstd) = (0, String::new());
    }
    bytes.shrink_to_fit();
    // In the order in which `Stored` reads them.
    let headers = [&last_modified, &of_zstd, &of_gzip, &of_plain];
    let [date, zstd_tag, gzip_tag, tag] = headers.map(String::len);
    let last = date + zstd_tag + gzip_tag + tag;
    let places = [date, date + zstd_tag, last - tag, last, zstd, zstd + gzip, bytes.len()];
    let mut ends = [0; PIECES];
    for (end, place) in ends.iter_mut().zip(places) {
        *end = u32::try_from(place).map_err(io::Error::other)?;
    }
    let headers = headers.map(String::as_str).concat().into_bytes();
    Ok(Stored { headers: headers.into(), bodies: bytes.into(), ends })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{meeting_id::MeetingId, snapshot::MeetingType};

    #[test]
    fn a_packed_page_takes_little_and_comes_back_as_it_was() {
        let page = br#"{"latency_ms":126},"#.repeat(5_000);
        let (mut plain, mut packed) = (Draft::default(), Draft::default());
        for draft in [&mut plain, &mut packed] {
            draft.begin_page().extend_from_slice(&page);
            draft.end_page(std::slice::from_ref(&(0..page.len())), None).unwrap();
        }
        packed.pack().unwrap();
        packed.pack().unwrap();
        assert!(packed.weight() < page.len() / 10, "{}", packed.weight());
        let meeting = MeetingId::parse("85746065432").unwrap();
        let key = SnapshotKey { meeting, meeting_type: MeetingType::Live };
        let fresh = FreshnessConfig::always(Duration::from_secs(60));
        let body = |draft: Draft| {
            draft.seal(key, &fresh, Instant::now(), SystemTime::UNIX_EPOCH, 1.0, 0).unwrap().unpack().unwrap()
        };
        assert_eq!(body(packed), body(plain));
    }

    #[test]
    fn pages_are_joined_and_counted() {
        let mut draft = Draft::default();
        for (page, rows) in [
            (r#"{"a":1},{"a":2}"#, &[0..7, 8..15][..]),
            ("", &[]),
            (r#"{"a":3}"#, std::slice::from_ref(&(0..7))),
        ] {
            draft.begin_page().extend_from_slice(b"a page that turns out broken");
            draft.begin_page().extend_from_slice(page.as_bytes());
            draft.end_page(rows, None).unwrap();
            draft.pack().unwrap();
        }
        assert_eq!(draft.rows(), 3);
        let key = SnapshotKey {
            meeting: MeetingId::parse("85746065432").unwrap(),
            meeting_type: MeetingType::Live,
        };
        let minute = Duration::from_secs(60);
        let fresh = FreshnessConfig::always(minute);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(36_000);
        let snapshot = draft.seal(key, &fresh, Instant::now(), time, 1.0, 0).unwrap();
        assert_eq!(
            std::str::from_utf8(&snapshot.unpack().unwrap()).unwrap(),
            r#"{"meeting_id":"85746065432","type":"live","fetched_at":"1970-01-01T10:00:00Z","total_records":3,"participants":[{"a":1},{"a":2},{"a":3}]}"#
        );
        assert_eq!(snapshot.pages, 3);
        assert_eq!(&snapshot.last_modified()[..], b"Thu, 01 Jan 1970 10:00:00 GMT");
    }
}
