//! Serializes a snapshot as a record for other replicas: the bytes on the wire, and the positions of the participants
//! in them.
//!
//! A record contains every stored encoding. If a reader compressed the body itself, another version of a library could
//! produce other bytes under the same strong entity tag. A record may be corrupt or forged. A reader therefore
//! decompresses every encoding, and checks that all have the same body and that it matches the tag.

use std::{
    io::Read,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flate2::{Crc, bufread::GzDecoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Snapshot,
    decoder::read_all,
    document::{self, RowIndex},
    encoder::{self, EncodedBody},
    encoding::Coding,
    key::{SnapshotKey, Tag},
    parts::{self, EncodedParts},
    restarts::{Restart, Restarts},
    usage::{RequestCount, SnapshotUsage, millis},
};

/// The beginning of a record, after its own length and before the bodies.
#[derive(Serialize, Deserialize)]
struct Header {
    tag: String,
    length: u64,
    pages: u32,
    fetched_at_ms: u64,
    fresh_for_ms: u64,
    unstretched_ms: Option<u64>,
    /// The start of each participant, counted from the start of the previous one, which keeps the numbers small.
    rows: Vec<u64>,
    rows_end: u64,
    gzip: usize,
    zstd: usize,
    plain: Option<usize>,
    /// The restart points of the gzip, each as the number of bytes before it in the body and in the gzip. Records of
    /// earlier versions have none.
    #[serde(default)]
    restarts: Vec<(u64, u64)>,
}

/// The highest compression ratio that deflate can reach.
const MAX_DEFLATE_RATIO: u64 = 1_032;

/// The base-2 logarithm of the largest permitted window of a zstd frame, in bytes. The decoder allocates the window. Our
/// own frames have windows of 512 KiB.
const MAX_WINDOW_LOG: u32 = 23;

/// Limits on the times in a record.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The latest permitted time of the fetch, on the wall clock.
    pub fetched_before: SystemTime,
    /// The longest permitted freshness.
    pub fresh_at_most: Duration,
}

impl Bounds {
    fn allow(&self, header: &Header, fetched_at: SystemTime) -> bool {
        let is_brief = |millis| Duration::from_millis(millis) <= self.fresh_at_most;
        let gzip = u64::try_from(header.gzip).unwrap_or(u64::MAX);
        fetched_at <= self.fetched_before
            && is_brief(header.fresh_for_ms)
            && header.unstretched_ms.is_none_or(is_brief)
            // The length decides how much memory readers allocate.
            && header.length <= gzip.saturating_mul(MAX_DEFLATE_RATIO)
            && (header.zstd == 0) == (header.length <= parts::SMALL)
    }
}

impl Snapshot {
    /// Encodes the snapshot as the content of a record. The record does not contain `fetched_instant`, which only this process can
    /// interpret.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [zstd, gzip, plain] =
            [Coding::Zstd, Coding::Gzip, Coding::Identity].map(|coding| self.body(coding));
        let (zstd, gzip) = (zstd.unwrap_or_default(), gzip.unwrap_or_default());
        let mut before = 0;
        let starts = self.rows.starts.iter();
        let rows = starts.map(|row| row.saturating_sub(std::mem::replace(&mut before, *row))).collect();
        let header = Header {
            tag: self.tag.to_string(),
            length: self.length,
            pages: self.pages,
            fetched_at_ms: millis(self.fetched_at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            fresh_for_ms: millis(self.fresh_for),
            unstretched_ms: self.unstretched.map(millis),
            rows,
            rows_end: self.rows.end,
            gzip: gzip.len(),
            zstd: zstd.len(),
            plain: plain.as_ref().map(Bytes::len),
            restarts: self.parts.restarts().iter().map(|point| (point.body, point.gzip)).collect(),
        };
        // Serializing numbers and a string cannot fail; a reader rejects an empty header.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let plain = plain.unwrap_or_default();
        let mut bytes = Vec::with_capacity(4 + header.len() + gzip.len() + zstd.len() + plain.len());
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or_default().to_le_bytes());
        for part in [&header[..], &gzip, &zstd, &plain] {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Decodes a record that [`Snapshot::to_bytes`] encoded; `None` if it is inconsistent or exceeds the bounds.
    pub fn from_bytes(
        key: SnapshotKey,
        bytes: &[u8],
        fetched_instant: Instant,
        bounds: &Bounds,
    ) -> Option<Self> {
        let Frames { header, gzip, zstd, plain } = split(bytes)?;
        let tag = u128::from_str_radix(&header.tag, 16).ok().filter(|_| header.tag.len() == 32);
        let (tag, length) = (Tag(tag?), header.length);
        let fetched_at = UNIX_EPOCH.checked_add(Duration::from_millis(header.fetched_at_ms))?;
        let rows = RowIndex { starts: row_starts(&header)?.into(), end: header.rows_end };
        let head = document::head(key, fetched_at, rows.starts.len());
        let around = u64::try_from(head.len() + document::TAIL.len()).ok()?;
        let is_consistent = rows.end.checked_add(around) == Some(length) && bounds.allow(&header, fetched_at);
        if !is_consistent {
            return None;
        }
        let crc = checked_crc(&head, gzip, length, tag)?;
        if !zstd.is_empty() {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(zstd).ok()?;
            decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
            has_crc(decoder, length, crc).then_some(())?;
        }
        if header.plain.is_some() {
            has_crc(plain, length, crc).then_some(())?;
        }
        let points = header.restarts.iter().map(|(body, gzip)| Restart { body: *body, gzip: *gzip });
        let restarts = Restarts::new(points.collect());
        restarts.lead_to(gzip, length, crc).then_some(())?;
        let (zstd, gzip_and_plain) = (zstd.to_vec(), [gzip, plain].concat());
        let body = EncodedBody { zstd, gzip_and_plain, gzip: gzip.len(), length, tag, restarts };
        Some(Self {
            key,
            tag,
            length,
            pages: header.pages,
            fetched_at,
            fetched_instant,
            fresh_for: Duration::from_millis(header.fresh_for_ms),
            unstretched: header.unstretched_ms.map(Duration::from_millis),
            parts: EncodedParts::new(body, fetched_at).ok()?,
            rows,
            usage: SnapshotUsage::default(),
            requests: RequestCount::default(),
        })
    }
}

struct Frames<'b> {
    header: Header,
    gzip: &'b [u8],
    zstd: &'b [u8],
    plain: &'b [u8],
}

fn split(bytes: &[u8]) -> Option<Frames<'_>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (header, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    let (gzip, rest) = rest.split_at_checked(header.gzip)?;
    let (zstd, rest) = rest.split_at_checked(header.zstd)?;
    let (plain, rest) = rest.split_at_checked(header.plain.unwrap_or_default())?;
    (rest.is_empty() && !gzip.is_empty()).then_some(Frames { header, gzip, zstd, plain })
}

/// Returns where each participant starts; `None` if they cannot be objects with commas between them.
fn row_starts(header: &Header) -> Option<Vec<u64>> {
    /// The length of `{},`, the shortest participant and its comma.
    const LEAST: u64 = 3;
    let mut start = 0_u64;
    let starts = header.rows.iter().enumerate().map(|(row, gap)| {
        start = start.checked_add(*gap)?;
        (if row == 0 { *gap == 0 } else { *gap >= LEAST }).then_some(start)
    });
    let starts: Vec<_> = starts.collect::<Option<_>>()?;
    let end = if starts.is_empty() { 0 } else { start.checked_add(LEAST - 1)? };
    (end <= header.rows_end).then_some(starts)
}

/// Returns the CRC-32 of the decompressed body; `None` unless the body has this head, length and tag.
fn checked_crc(head: &str, gzip: &[u8], length: u64, tag: Tag) -> Option<u32> {
    let (mut crc, mut rest) = (Crc::new(), Sha256::new());
    let mut decoder = GzDecoder::new(gzip);
    let mut found = vec![0; head.len()];
    decoder.read_exact(&mut found).ok()?;
    crc.update(&found);
    read_all(&mut decoder, length.checked_sub(u64::try_from(head.len()).ok()?)?, |part| {
        crc.update(part);
        rest.update(part);
    })?;
    let is_whole = found == head.as_bytes() && decoder.get_ref().is_empty();
    (is_whole && encoder::tag(head.as_bytes(), rest) == tag).then(|| crc.sum())
}

fn has_crc(body: impl Read, length: u64, expected: u32) -> bool {
    let mut crc = Crc::new();
    read_all(body, length, |part| crc.update(part)).is_some() && crc.sum() == expected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{FreshnessConfig, MeetingKind, SnapshotBuilder, tests::live_meeting},
    };

    /// Returns the bounds at 500,000 hours after 1970, in January 2027: a record may be 48 hours ahead.
    fn bounds() -> Bounds {
        let fetched_before = UNIX_EPOCH + Duration::from_hours(500_048);
        Bounds { fetched_before, fresh_at_most: Duration::from_hours(48) }
    }

    fn snapshot_of(rows: usize, bytes_each: usize) -> Snapshot {
        let mut builder = SnapshotBuilder::default();
        for page in 0..rows.div_ceil(10) {
            let rows = 10.min(rows - page * 10);
            let mut ranges = Vec::new();
            let body = builder.begin_page();
            for row in 0..rows {
                let begin = body.len();
                let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes_each).collect();
                body.extend_from_slice(format!("\"{noise}\"").as_bytes());
                ranges.push(begin..body.len());
                if row + 1 < rows {
                    body.push(b',');
                }
            }
            builder.end_page(&ranges, None);
        }
        let (fresh, wall) = (Duration::from_secs(30), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let fresh = FreshnessConfig::always(fresh);
        builder.finish(live_meeting(), &fresh, Instant::now(), wall, 2.5, 0).unwrap()
    }

    fn read(snapshot: &Snapshot, bytes: &[u8]) -> Option<Snapshot> {
        Snapshot::from_bytes(snapshot.key, bytes, snapshot.fetched_instant, &bounds())
    }

    #[test]
    fn a_snapshot_read_by_another_replica_equals_the_original() {
        for (rows, bytes_each) in [(0, 0), (1, 10), (37, 3), (37, 2_000)] {
            let snapshot = snapshot_of(rows, bytes_each);
            let fetched_instant = snapshot.fetched_instant + Duration::from_secs(3);
            let read =
                Snapshot::from_bytes(snapshot.key, &snapshot.to_bytes(), fetched_instant, &bounds()).unwrap();
            for coding in Coding::ALL {
                assert_eq!(read.body(coding), snapshot.body(coding));
                assert_eq!(read.etag(coding), snapshot.etag(coding));
            }
            assert_eq!(read.last_modified(), snapshot.last_modified());
            assert_eq!(read.decompress().unwrap(), snapshot.decompress().unwrap());
            assert_eq!((read.tag, read.length, read.pages), (snapshot.tag, snapshot.length, snapshot.pages));
            assert_eq!(
                (read.head(), read.rows(), read.memory_bytes()),
                (snapshot.head(), rows, snapshot.memory_bytes())
            );
            for offset in 0..=rows {
                assert_eq!(read.row_range(offset, 4), snapshot.row_range(offset, 4));
            }
            assert_eq!((read.fetched_instant, read.fresh_for), (fetched_instant, snapshot.fresh_for));
            assert_eq!(read.unstretched, Some(Duration::from_secs(30)));
        }
    }

    #[test]
    fn a_large_snapshot_keeps_its_restart_points_and_needs_none() {
        let snapshot = snapshot_of(80, 40_000);
        let points = snapshot.parts.restarts();
        assert!(points.len() > 1, "{points:?}");
        let bytes = snapshot.to_bytes();
        let copy = read(&snapshot, &bytes).unwrap();
        assert_eq!(copy.parts.restarts(), points);
        assert_eq!(copy.memory_bytes(), snapshot.memory_bytes());
        // The record as an earlier version writes it, without restart points.
        let (header, bodies) =
            bytes[4..].split_at(bytes[4..].iter().position(|byte| *byte == b'}').unwrap() + 1);
        let mut header: serde_json::Map<_, _> = serde_json::from_slice(header).unwrap();
        assert!(header.remove("restarts").is_some());
        let header = serde_json::to_vec(&header).unwrap();
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        let earlier = read(&snapshot, &[&length[..], &header, bodies].concat()).unwrap();
        assert!(earlier.parts.restarts().is_empty());
        let last = snapshot.row_range(79, 1);
        for snapshot in [&copy, &earlier] {
            let mut row = snapshot.participants(79, 1, None);
            assert_eq!(row.read().unwrap().unwrap().len(), usize::try_from(last.length).unwrap());
        }
    }

    #[test]
    fn bytes_that_end_early_or_go_on_are_no_snapshot() {
        let snapshot = snapshot_of(12, 300);
        let bytes = snapshot.to_bytes();
        for end in 0..bytes.len() {
            assert!(read(&snapshot, &bytes[..end]).is_none(), "the first {end} of {} bytes", bytes.len());
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(read(&snapshot, &longer).is_none());
    }

    #[test]
    fn a_body_that_is_broken_or_anothers_is_no_snapshot() {
        for (rows, bytes_each) in [(1, 10), (37, 100), (37, 2_000)] {
            let snapshot = snapshot_of(rows, bytes_each);
            let bytes = snapshot.to_bytes();
            let read =
                |key, bytes: &[u8]| Snapshot::from_bytes(key, bytes, snapshot.fetched_instant, &bounds());
            assert!(read(snapshot.key, &bytes).is_some());
            let bodies = 4 + usize::try_from(u32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
            // The first 200 bytes are skipped: a gzip header has bytes that can change without effect.
            for at in (bodies + 200..bytes.len()).step_by(bytes.len() / 50 + 1) {
                let mut changed = bytes.clone();
                changed[at] ^= 0xff;
                assert!(read(snapshot.key, &changed).is_none(), "{rows} rows: byte {at} of {}", bytes.len());
            }
            let key = SnapshotKey { meeting: MeetingId::parse("85746065433").unwrap(), ..snapshot.key };
            assert!(read(key, &bytes).is_none(), "another meeting's");
            let key = SnapshotKey { kind: MeetingKind::Webinar, ..snapshot.key };
            assert!(read(key, &bytes).is_none(), "a webinar's");
        }
    }

    #[test]
    fn a_record_with_impossible_values_is_no_snapshot() {
        let snapshot = snapshot_of(12, 300);
        let with = |change: &dyn Fn(&mut Header)| {
            let bytes = snapshot.to_bytes();
            let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
            let (header, bodies) = rest.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
            let mut header: Header = serde_json::from_slice(header).unwrap();
            change(&mut header);
            let header = serde_json::to_vec(&header).unwrap();
            let length = u32::try_from(header.len()).unwrap().to_le_bytes();
            read(&snapshot, &[&length[..], &header, bodies].concat())
        };
        let hours = |hours| u64::try_from(Duration::from_hours(hours).as_millis()).unwrap();
        assert!(with(&|_| ()).is_some());
        // An HTTP date cannot represent the year 10000.
        let fetched = [253_402_300_800_000, hours(500_049), u64::MAX];
        for (at, number) in fetched.iter().enumerate() {
            assert!(with(&|header| header.fetched_at_ms = *number).is_none(), "{at}");
        }
        for long in [hours(48) + 1, u64::MAX] {
            assert!(with(&|header| header.fresh_for_ms = long).is_none(), "{long}");
            assert!(with(&|header| header.unstretched_ms = Some(long)).is_none(), "{long}");
        }
        for restarts in [vec![(0, 0)], vec![(u64::MAX, u64::MAX)], vec![(500, 10); 1_000]] {
            assert!(with(&|header| header.restarts.clone_from(&restarts)).is_none(), "{restarts:?}");
        }
        for (row, gap) in [(0, 1), (1, 0), (1, 2), (11, u64::MAX)] {
            assert!(
                with(&|header| header.rows[row] = gap).is_none(),
                "participant {row} {gap} bytes further on"
            );
        }
        for length in [1 << 40, u64::MAX] {
            assert!(with(&|header| (header.length, header.plain) = (length, None)).is_none(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400_usize) {
            let snapshot = snapshot_of(1, 10);
            let mut changed = snapshot.to_bytes();
            let at = at.min(changed.len());
            let end = (at + bytes.len()).min(changed.len());
            changed.splice(at..end, bytes.iter().copied());
            for bytes in [bytes, changed] {
                if let Some(read) = read(&snapshot, &bytes) {
                    prop_assert!(read.fresh_for <= bounds().fresh_at_most);
                    prop_assert!(!read.last_modified().is_empty());
                }
            }
        }
    }
}
