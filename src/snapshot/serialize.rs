//! A snapshot as bytes that another replica can keep: what is on the wire, byte for byte, and where its participants lie.
//!
//! Every coding that is kept goes along. Compressed anew, by another version of a library, they could differ under the same strong
//! entity tag. Whoever can write where they are kept can make them: they are unpacked once, and have to be what their tag says.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, AtomicU64},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flate2::{Crc, bufread::GzDecoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Coding, Snapshot, SnapshotKey, Tag, builder, encoder::Packed};

/// What stands in front of the bodies, behind its length.
#[derive(Serialize, Deserialize)]
struct About {
    tag: String,
    length: u64,
    pages: u32,
    fetched_at_ms: u64,
    fresh_for_ms: u64,
    unstretched_ms: Option<u64>,
    /// Each counted from the one before: the numbers are small.
    rows: Vec<u64>,
    rows_end: u64,
    gzip: usize,
    zstd: usize,
    plain: Option<usize>,
}

/// More than this deflate cannot make of a byte.
const DEFLATE_AT_MOST: u64 = 1_032;

/// Bytes that are unpacked at once.
const STEP: usize = 64 * 1024;
/// The window of a zstd frame as a power of two, which takes so much memory: ours have 1 MiB.
const LARGEST_WINDOW: u32 = 23;

/// What bytes may say that come from elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// When it was fetched, by a wall clock.
    pub fetched_before: SystemTime,
    /// For how long a snapshot can be fresh.
    pub fresh_at_most: Duration,
}

impl Bounds {
    fn hold(&self, about: &About, fetched_at: SystemTime) -> bool {
        let is_brief = |millis| Duration::from_millis(millis) <= self.fresh_at_most;
        let gzip = u64::try_from(about.gzip).unwrap_or(u64::MAX);
        fetched_at <= self.fetched_before
            && is_brief(about.fresh_for_ms)
            && about.unstretched_ms.is_none_or(is_brief)
            // Memory is taken by it.
            && about.length <= gzip.saturating_mul(DEFLATE_AT_MOST)
            && (about.zstd == 0) == (about.length <= builder::SMALL)
    }
}

impl Snapshot {
    /// As bytes. When it landed is not in them: clocks differ.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let [zstd, gzip, plain] =
            [Coding::Zstd, Coding::Gzip, Coding::Identity].map(|coding| self.body(coding));
        let (zstd, gzip) = (zstd.unwrap_or_default(), gzip.unwrap_or_default());
        let mut before = 0;
        let rows = self.row_starts.iter().map(|row| row.saturating_sub(std::mem::replace(&mut before, *row)));
        let about = About {
            tag: self.tag.to_string(),
            length: self.length,
            pages: self.pages,
            fetched_at_ms: millis(self.fetched_at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            fresh_for_ms: millis(self.fresh_for),
            unstretched_ms: self.unstretched.map(millis),
            rows: rows.collect(),
            rows_end: self.rows_end,
            gzip: gzip.len(),
            zstd: zstd.len(),
            plain: plain.as_ref().map(Bytes::len),
        };
        // Numbers and a text: this cannot fail; and nothing reads an empty one.
        let about = serde_json::to_vec(&about).unwrap_or_default();
        let plain = plain.unwrap_or_default();
        let mut bytes = Vec::with_capacity(4 + about.len() + gzip.len() + zstd.len() + plain.len());
        bytes.extend_from_slice(&u32::try_from(about.len()).unwrap_or_default().to_le_bytes());
        for part in [&about[..], &gzip, &zstd, &plain] {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Of bytes that [`Snapshot::to_bytes`] gave; `None` where they do not fit, or say what cannot be.
    #[must_use]
    pub fn from_bytes(key: SnapshotKey, bytes: &[u8], landed: Instant, bounds: &Bounds) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (about, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let about: About = serde_json::from_slice(about).ok()?;
        let (gzip, rest) = rest.split_at_checked(about.gzip)?;
        let (zstd, rest) = rest.split_at_checked(about.zstd)?;
        let (plain, rest) = rest.split_at_checked(about.plain.unwrap_or_default())?;
        let tag = u128::from_str_radix(&about.tag, 16).ok().filter(|_| about.tag.len() == 32)?;
        let mut at = 0_u64;
        let rows: Option<Vec<u64>> = about
            .rows
            .iter()
            .map(|row| {
                at = at.checked_add(*row)?;
                Some(at)
            })
            .collect();
        let rows = rows?;
        let around = u64::try_from(builder::TAIL.len()).ok()?;
        let fits = rest.is_empty()
            && at <= about.rows_end
            && about.rows_end.checked_add(around).is_some_and(|least| least <= about.length)
            && about.plain.is_none_or(|plain| u64::try_from(plain) == Ok(about.length));
        let fetched_at: SystemTime = UNIX_EPOCH.checked_add(Duration::from_millis(about.fetched_at_ms))?;
        if !fits || gzip.is_empty() || !bounds.hold(&about, fetched_at) {
            return None;
        }
        let head = builder::head(key, fetched_at, rows.len());
        if u64::try_from(head.len()).ok()? + about.rows_end + around != about.length {
            return None;
        }
        let crc = unpacks(&head, gzip, about.length, Tag(tag))?;
        if about.zstd > 0 {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(zstd).ok()?;
            decoder.window_log_max(LARGEST_WINDOW).ok()?;
            is_the_same(decoder, about.length, crc)?;
        }
        if about.plain.is_some() {
            is_the_same(plain, about.length, crc)?;
        }
        let packed = Packed {
            bytes: [zstd, gzip, plain].concat(),
            zstd: zstd.len(),
            gzip: gzip.len(),
            length: about.length,
            tag: Tag(tag),
        };
        Some(Self {
            key,
            tag: packed.tag,
            length: about.length,
            pages: about.pages,
            fetched_at,
            landed,
            fresh_for: Duration::from_millis(about.fresh_for_ms),
            unstretched: about.unstretched_ms.map(Duration::from_millis),
            stored: builder::store(packed, fetched_at).ok()?,
            row_starts: rows.into(),
            rows_end: about.rows_end,
            tried: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            paged: AtomicBool::new(false),
            paged_everywhere: AtomicBool::new(false),
        })
    }
}

/// The checksum of a body out of its gzip coding, if it has this head, length and tag.
fn unpacks(head: &str, gzip: &[u8], length: u64, tag: Tag) -> Option<u32> {
    let (mut crc, mut rows) = (Crc::new(), Sha256::new());
    let (mut expected, mut has_head) = (head.as_bytes(), true);
    let mut decoder = GzDecoder::new(gzip);
    read_all(&mut decoder, length, |part| {
        crc.update(part);
        let (of_head, rest) = part.split_at_checked(expected.len()).unwrap_or((part, &[]));
        let (now, later) = expected.split_at_checked(of_head.len()).unwrap_or((expected, &[]));
        has_head &= now == of_head;
        expected = later;
        rows.update(rest);
    })?;
    let mut digest = Sha256::new();
    digest.update(head);
    digest.update(rows.finalize());
    let is_whole = has_head && decoder.get_ref().is_empty() && Tag::of(&digest.finalize()) == tag;
    is_whole.then(|| crc.sum())
}

/// `None` where it is another body than the one of this checksum.
fn is_the_same(body: impl Read, length: u64, sum: u32) -> Option<()> {
    let mut crc = Crc::new();
    read_all(body, length, |part| crc.update(part))?;
    (crc.sum() == sum).then_some(())
}

/// `None` where it has another length or is broken.
fn read_all(mut body: impl Read, length: u64, mut each: impl FnMut(&[u8])) -> Option<()> {
    let (mut room, mut left) = (vec![0; STEP], length);
    loop {
        let read = body.read(&mut room).ok()?;
        if read == 0 {
            return (left == 0).then_some(());
        }
        left = left.checked_sub(u64::try_from(read).ok()?)?;
        each(room.get(..read)?);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{Draft, FreshnessConfig, MeetingType},
    };

    /// 500,000 hours after 1970, in the year 2027, it is now.
    fn bounds() -> Bounds {
        let fetched_before = UNIX_EPOCH + Duration::from_hours(500_048);
        Bounds { fetched_before, fresh_at_most: Duration::from_hours(48) }
    }

    fn sealed(rows: usize, bytes_each: usize) -> Snapshot {
        let mut draft = Draft::default();
        for page in 0..rows.div_ceil(10) {
            let rows = 10.min(rows - page * 10);
            let mut ranges = Vec::new();
            let body = draft.begin_page();
            for row in 0..rows {
                let begin = body.len();
                let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes_each).collect();
                body.extend_from_slice(format!("\"{noise}\"").as_bytes());
                ranges.push(begin..body.len());
                if row + 1 < rows {
                    body.push(b',');
                }
            }
            draft.end_page(&ranges, None).unwrap();
        }
        let meeting = MeetingId::parse("85746065432").unwrap();
        let key = SnapshotKey { meeting, meeting_type: MeetingType::Live };
        let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        draft
            .seal(key, &FreshnessConfig::always(Duration::from_secs(30)), Instant::now(), wall, 2.5, 0)
            .unwrap()
    }

    #[test]
    fn what_another_replica_reads_answers_as_the_snapshot_itself_would() {
        for (rows, bytes_each) in [(0, 0), (1, 10), (37, 3), (37, 2_000)] {
            let snapshot = sealed(rows, bytes_each);
            let landed = snapshot.landed + Duration::from_secs(3);
            let read = Snapshot::from_bytes(snapshot.key, &snapshot.to_bytes(), landed, &bounds()).unwrap();
            for coding in Coding::ALL {
                assert_eq!(read.body(coding), snapshot.body(coding));
                assert_eq!(read.etag(coding), snapshot.etag(coding));
            }
            assert_eq!(read.last_modified(), snapshot.last_modified());
            assert_eq!(read.unpack().unwrap(), snapshot.unpack().unwrap());
            assert_eq!((read.tag, read.length, read.pages), (snapshot.tag, snapshot.length, snapshot.pages));
            assert_eq!((read.head(), read.rows(), read.weight()), (snapshot.head(), rows, snapshot.weight()));
            for offset in 0..=rows {
                assert_eq!(read.cut(offset, 4), snapshot.cut(offset, 4));
            }
            assert_eq!((read.landed, read.fresh_for), (landed, snapshot.fresh_for));
            assert_eq!(read.unstretched, Some(Duration::from_secs(30)));
        }
    }

    #[test]
    fn bytes_that_end_early_or_go_on_are_no_snapshot() {
        let snapshot = sealed(12, 300);
        let bytes = snapshot.to_bytes();
        for end in 0..bytes.len() {
            let read = Snapshot::from_bytes(snapshot.key, &bytes[..end], snapshot.landed, &bounds());
            assert!(read.is_none(), "the first {end} of {} bytes", bytes.len());
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Snapshot::from_bytes(snapshot.key, &longer, snapshot.landed, &bounds()).is_none());
    }

    #[test]
    fn a_body_that_is_broken_or_anothers_is_no_snapshot() {
        for (rows, bytes_each) in [(1, 10), (37, 100), (37, 2_000)] {
            let snapshot = sealed(rows, bytes_each);
            let bytes = snapshot.to_bytes();
            let read = |key, bytes: &[u8]| Snapshot::from_bytes(key, bytes, snapshot.landed, &bounds());
            assert!(read(snapshot.key, &bytes).is_some());
            let bodies = 4 + usize::try_from(u32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
            // A gzip header has bytes that mean nothing.
            for at in (bodies + 200..bytes.len()).step_by(bytes.len() / 50 + 1) {
                let mut changed = bytes.clone();
                changed[at] ^= 0xff;
                assert!(read(snapshot.key, &changed).is_none(), "{rows} rows: byte {at} of {}", bytes.len());
            }
            let key = SnapshotKey { meeting: MeetingId::parse("85746065433").unwrap(), ..snapshot.key };
            assert!(read(key, &bytes).is_none(), "another meeting's");
        }
    }

    #[test]
    fn what_cannot_be_said_of_a_snapshot_is_none() {
        let snapshot = sealed(12, 300);
        let said = |change: &dyn Fn(&mut About)| {
            let bytes = snapshot.to_bytes();
            let (length, rest) = bytes.split_first_chunk::<4>().unwrap();
            let (about, bodies) = rest.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
            let mut about: About = serde_json::from_slice(about).unwrap();
            change(&mut about);
            let about = serde_json::to_vec(&about).unwrap();
            let length = u32::try_from(about.len()).unwrap().to_le_bytes();
            let bytes = [&length[..], &about, bodies].concat();
            Snapshot::from_bytes(snapshot.key, &bytes, snapshot.landed, &bounds())
        };
        let hours = |hours| u64::try_from(Duration::from_hours(hours).as_millis()).unwrap();
        assert!(said(&|_| ()).is_some());
        // The year 10000 cannot be written as a date of HTTP.
        let fetched = [253_402_300_800_000, hours(500_049), u64::MAX];
        for (at, number) in fetched.iter().enumerate() {
            assert!(said(&|about| about.fetched_at_ms = *number).is_none(), "{at}");
        }
        for long in [hours(48) + 1, u64::MAX] {
            assert!(said(&|about| about.fresh_for_ms = long).is_none(), "{long}");
            assert!(said(&|about| about.unstretched_ms = Some(long)).is_none(), "{long}");
        }
        for length in [1 << 40, u64::MAX] {
            assert!(said(&|about| (about.length, about.plain) = (length, None)).is_none(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400_usize) {
            let snapshot = sealed(1, 10);
            let mut changed = snapshot.to_bytes();
            let at = at.min(changed.len());
            let end = (at + bytes.len()).min(changed.len());
            changed.splice(at..end, bytes.iter().copied());
            for bytes in [bytes, changed] {
                let read = Snapshot::from_bytes(snapshot.key, &bytes, snapshot.landed, &bounds());
                if let Some(read) = read {
                    prop_assert!(read.fresh_for <= bounds().fresh_at_most);
                    prop_assert!(!read.last_modified().is_empty());
                }
            }
        }
    }
}
