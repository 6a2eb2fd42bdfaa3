//! One whole meeting as fetched at one time: its bytes on the wire, its validators, and how long it is fresh.
//!
//! A snapshot is complete or it does not exist: a [`Draft`] gathers pages, and only a finished one can be sealed.
//! What is kept are the codings that callers accept, one of them where the body is small, and the body as it is only where it
//! is tiny; otherwise it is unpacked for those who ask for it. No I/O and no clock in here; whoever seals says what time
//! it is.

mod builder;
mod compressors;
mod decoder;
mod encoder;
mod encoding;
mod freshness;
mod serialize;

use std::{
    fmt, io,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

pub use self::{
    builder::Draft,
    decoder::Unpacker,
    encoding::Coding,
    freshness::{Freshness, FreshnessConfig},
    serialize::Bounds,
};
use crate::meeting_id::MeetingId;

/// Zoom's two views of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeetingType {
    /// Going on now.
    Live,
    /// Over.
    Past,
}

impl MeetingType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Live, Self::Past];

    /// The value of the query parameter `type`, ours and Zoom's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Past => "past",
        }
    }
}

/// What a snapshot is of: the key of the cache and of the table of flights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    /// Which meeting.
    pub meeting: MeetingId,
    /// Which view of it.
    pub meeting_type: MeetingType,
}

/// Which snapshot of a meeting: equal tags mean equal bodies, on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub u128);

impl Tag {
    /// The first 128 bits of a digest.
    #[must_use]
    pub fn of(digest: &[u8]) -> Self {
        Self(digest.iter().take(16).fold(0, |tag, byte| tag << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A whole meeting, sealed.
pub struct Snapshot {
    /// Of which meeting.
    pub key: SnapshotKey,
    /// Which of its snapshots.
    pub tag: Tag,
    /// Bytes of the body as it is.
    pub length: u64,
    /// What fetching it again would cost, in Zoom calls.
    pub pages: u32,
    /// When the last page had arrived, on the wall.
    pub fetched_at: SystemTime,
    /// When the last page had arrived.
    pub landed: Instant,
    /// How long it is fresh from then on.
    pub fresh_for: Duration,
    /// How long it would be without stretching; `None`: what it shows is final.
    unstretched: Option<Duration>,
    stored: Stored,
    /// Where each participant begins, counted from where the first does. Behind each but the last stands a comma.
    row_starts: Box<[u64]>,
    /// Where the last one ends.
    rows_end: u64,
    /// When a newer one was last tried for, in milliseconds after it landed; 0: never.
    tried: AtomicU64,
    /// When it was first asked for that without stretching would have been its last time, in milliseconds after it
    /// landed; 0: not yet.
    wanted: AtomicU64,
    /// Whether somebody holds a paging token of it.
    paged: AtomicBool,
    /// Whether other replicas were given it for that.
    paged_everywhere: AtomicBool,
}

/// All bytes that are kept, in two allocations.
struct Stored {
    /// Values of response headers. They are not in the bodies' allocation because actix keeps the headers of a finished
    /// response until it reuses their memory for another one, and would keep the bodies alive with them.
    headers: Bytes,
    bodies: Bytes,
    /// Where each piece ends in its allocation, and the next one begins.
    ends: [u32; PIECES],
}

/// Headers: a date, an entity tag for each coding. Bodies: one for each coding.
const PIECES: usize = 7;

#[derive(Clone, Copy)]
enum Piece {
    LastModified,
    Etag(Coding),
    /// Empty where it is not kept.
    Body(Coding),
}

impl Stored {
    fn place(&self, piece: Piece) -> (&Bytes, Range<usize>) {
        let at = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
        let [modified, zstd_tag, gzip_tag, tag, zstd, gzip, plain] = self.ends.map(at);
        match piece {
            Piece::LastModified => (&self.headers, 0..modified),
            Piece::Etag(Coding::Zstd) => (&self.headers, modified..zstd_tag),
            Piece::Etag(Coding::Gzip) => (&self.headers, zstd_tag..gzip_tag),
            Piece::Etag(Coding::Identity) => (&self.headers, gzip_tag..tag),
            Piece::Body(Coding::Zstd) => (&self.bodies, 0..zstd),
            Piece::Body(Coding::Gzip) => (&self.bodies, zstd..gzip),
            Piece::Body(Coding::Identity) => (&self.bodies, gzip..plain),
        }
    }

    fn piece(&self, piece: Piece) -> Bytes {
        let (bytes, range) = self.place(piece);
        // A range that is not there would be a bug; an empty answer is the least of evils.
        if range.end <= bytes.len() { bytes.slice(range) } else { Bytes::new() }
    }
}

/// One refresh of a snapshot whose freshness may be stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshSample {
    /// Zoom calls that the newer snapshot took.
    pub pages: u32,
    /// From the landing of the older snapshot to that of the newer.
    pub lived: Duration,
    /// The part of `lived` by which stretching delayed the refresh: a caller asked earlier, and got the older snapshot.
    pub postponed: Duration,
    /// How long the older snapshot would have been fresh without stretching.
    pub unstretched: Duration,
}

/// Some participants of a snapshot, and where they lie in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes from the beginning of the body.
    pub at: u64,
    /// Bytes.
    pub length: u64,
    /// Whether there are participants behind them.
    pub more: bool,
}

impl Cut {
    /// These bytes of the body as it is.
    #[must_use]
    pub fn of(self, body: &Bytes) -> Option<Bytes> {
        let at = usize::try_from(self.at).ok()?;
        let end = at.checked_add(usize::try_from(self.length).ok()?)?;
        (end <= body.len()).then(|| body.slice(at..end))
    }
}

impl Snapshot {
    /// Time since the last page arrived.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.landed)
    }

    /// Freshness left; `None` when it is over.
    #[must_use]
    pub fn fresh_left(&self, now: Instant) -> Option<Duration> {
        self.fresh_for.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }

    /// Time since its freshness was over; zero while it is fresh.
    #[must_use]
    pub fn stale_for(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(self.fresh_for)
    }

    /// Notes that a newer one is tried for now.
    pub fn note_try(&self, now: Instant) {
        self.tried.store(millis(self.age(now)).max(1), Ordering::Relaxed);
    }

    /// Time since this one landed, or since a newer one was last tried for.
    #[must_use]
    pub fn since_last_try(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(Duration::from_millis(self.tried.load(Ordering::Relaxed)))
    }

    /// Notes that it is served to somebody for whom a newer one would have been fetched, were it not stretched.
    pub fn note_wanted(&self, now: Instant) {
        let age = self.age(now);
        if self.unstretched.is_some_and(|fresh| age >= fresh) && self.wanted.load(Ordering::Relaxed) == 0 {
            // Of two who come at the same time either will do.
            self.wanted.store(millis(age).max(1), Ordering::Relaxed);
        }
    }

    /// The refresh that ends with a newer snapshot of `pages` pages now. `None` if this one's freshness cannot be stretched,
    /// or if a caller forced the refresh while this one was still fresh.
    #[must_use]
    pub fn refresh_sample(&self, pages: u32, now: Instant) -> Option<RefreshSample> {
        let unstretched = self.unstretched?;
        let tried = Duration::from_millis(self.tried.load(Ordering::Relaxed));
        let wanted = match self.wanted.load(Ordering::Relaxed) {
            0 => tried,
            wanted => Duration::from_millis(wanted),
        };
        let postponed = tried.saturating_sub(wanted);
        // Milliseconds are cut off.
        let over = tried + Duration::from_millis(1) >= self.fresh_for;
        over.then(|| RefreshSample { pages, lived: self.age(now), postponed, unstretched })
    }

    /// Notes that somebody holds a paging token of it: it is wanted after a newer one has landed, too.
    pub fn note_paged(&self) {
        self.paged.store(true, Ordering::Relaxed);
    }

    /// Whether somebody holds a paging token of it.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.paged.load(Ordering::Relaxed)
    }

    /// Whether it is paged through and other replicas do not have it for that; true once.
    #[must_use]
    pub fn is_to_be_paged_everywhere(&self) -> bool {
        self.is_paged() && !self.paged_everywhere.swap(true, Ordering::Relaxed)
    }

    /// `fetched_at` as an HTTP date.
    #[must_use]
    pub fn last_modified(&self) -> Bytes {
        self.stored.piece(Piece::LastModified)
    }

    /// The strong entity tag of the body in this coding, with its quotes.
    #[must_use]
    pub fn etag(&self, coding: Coding) -> Bytes {
        let kept = self.stored.piece(Piece::Etag(coding));
        // Not kept where its body is not: nearly nobody asks for it, and small meetings are many.
        if kept.is_empty() { coding.etag(self.tag).into() } else { kept }
    }

    /// The body in this coding, byte for byte as it goes over the wire; `None` where it is not kept, and would have to be
    /// made of another.
    #[must_use]
    pub fn body(&self, coding: Coding) -> Option<Bytes> {
        Some(self.stored.piece(Piece::Body(coding))).filter(|body| !body.is_empty())
    }

    /// Whether the body is kept in this coding.
    #[must_use]
    pub fn keeps(&self, coding: Coding) -> bool {
        !self.stored.place(Piece::Body(coding)).1.is_empty()
    }

    /// The body as it is, unpacked whole: as much memory as it is long.
    ///
    /// # Errors
    /// When the coding is broken, which a bug of this service would be.
    pub fn unpack(&self) -> io::Result<Vec<u8>> {
        if let Some(body) = self.body(Coding::Identity) {
            return Ok(body.to_vec());
        }
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        match self.body(Coding::Zstd) {
            Some(zstd) => zstd::bulk::decompress(&zstd, length),
            None => self.unpacker(0, self.length).next(length).map(|body| body.unwrap_or_default().into()),
        }
    }

    /// The body as zstd, made anew, where only gzip is kept. It is the same each time.
    ///
    /// # Errors
    /// When the coding is broken, which a bug of this service would be.
    pub fn zstd(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::compress(&self.unpack()?, compressors::ZSTD_LEVEL)
    }

    /// A part of the body as it is, unpacked while it is read.
    #[must_use]
    pub fn unpacker(&self, at: u64, length: u64) -> Unpacker {
        Unpacker::new(self.body(Coding::Gzip).unwrap_or_default(), at, length)
    }

    /// Participants of the meeting.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.row_starts.len()
    }

    /// What a body of this meeting begins with, up to its first participant.
    #[must_use]
    pub fn head(&self) -> String {
        builder::head(self.key, self.fetched_at, self.rows())
    }

    /// Where the participants from number `offset` on lie, `size` at most.
    #[must_use]
    pub fn cut(&self, offset: usize, size: usize) -> Cut {
        let rows_at = self.length - self.rows_end - u64::try_from(builder::TAIL.len()).unwrap_or_default();
        let begin = self.row_starts.get(offset).copied().unwrap_or(self.rows_end);
        let next = self.row_starts.get(offset.saturating_add(size)).copied();
        // Before the next one stands a comma.
        let end = next.map_or(self.rows_end, |next| next - 1);
        Cut { at: rows_at + begin, length: end.saturating_sub(begin), more: next.is_some() }
    }

    /// Bytes of memory that keeping this snapshot takes, without the cache's own bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        let stored = self.stored.headers.len() + self.stored.bodies.len();
        size_of::<Self>() + stored + size_of_val(&*self.row_starts)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(rows: &[&str]) -> Snapshot {
        let mut draft = Draft::default();
        for page in rows.chunks(2) {
            let mut at = 0;
            let ranges: Vec<_> = page.iter().map(|row| (at, at += row.len() + 1).0..at - 1).collect();
            draft.begin_page().extend_from_slice(page.join(",").as_bytes());
            draft.end_page(&ranges, None).unwrap();
        }
        let key = SnapshotKey {
            meeting: MeetingId::parse("85746065432").unwrap(),
            meeting_type: MeetingType::Live,
        };
        let minute = Duration::from_secs(60);
        let fresh = FreshnessConfig::always(minute);
        draft.seal(key, &fresh, Instant::now(), SystemTime::UNIX_EPOCH, 1.0, 0).unwrap()
    }

    fn read(mut unpacker: Unpacker) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(part) = unpacker.next(7).unwrap() {
            read.extend_from_slice(&part);
        }
        read
    }

    #[test]
    fn every_slice_is_cut_at_its_participants_and_all_slices_are_the_whole() {
        let rows = ["{\"a\":1}", "{}", "[1,2]", "null", "{\"b\":\",\"}"];
        let snapshot = sealed(&rows);
        let body = snapshot.unpack().unwrap();
        for size in 1..=6 {
            let mut found = Vec::new();
            for offset in (0..rows.len()).step_by(size) {
                let cut = snapshot.cut(offset, size);
                assert_eq!(cut.more, offset + size < rows.len());
                let at = usize::try_from(cut.at).unwrap();
                let whole = &body[at..at + usize::try_from(cut.length).unwrap()];
                assert_eq!(read(snapshot.unpacker(cut.at, cut.length)), whole);
                let wanted = rows[offset..rows.len().min(offset + size)].join(",");
                assert_eq!(std::str::from_utf8(whole).unwrap(), wanted);
                found.push(wanted);
            }
            assert!(body.ends_with(format!("[{}]}}", found.join(",")).as_bytes()));
        }
        assert!(body.starts_with(snapshot.head().as_bytes()));
    }

    #[test]
    fn a_meeting_without_participants_has_an_empty_slice() {
        let snapshot = sealed(&[]);
        let cut = snapshot.cut(0, 300);
        assert_eq!((cut.length, cut.more), (0, false));
        assert_eq!(cut.at, u64::try_from(snapshot.head().len()).unwrap());
    }

    #[test]
    fn a_small_body_is_kept_as_it_is_and_a_large_one_is_not() {
        let small = sealed(&["{}"]);
        assert_eq!(small.body(Coding::Identity).unwrap(), small.unpack().unwrap());
        let row = format!("\"{}\"", "x".repeat(5_000));
        let large = sealed(&[&row, &row]);
        assert!(large.body(Coding::Identity).is_none());
        assert_eq!(u64::try_from(large.unpack().unwrap().len()).unwrap(), large.length);
        assert!(large.weight() < 2_000, "{}", large.weight());
    }

    #[test]
    fn a_small_body_is_kept_in_one_coding_and_the_other_is_the_same_however_often_it_is_made() {
        let row = format!("\"{}\"", "x".repeat(5_000));
        let kept = |snapshot: &Snapshot| Coding::ALL.map(|coding| snapshot.keeps(coding));
        let small = sealed(&[&row, &row]);
        assert_eq!(kept(&small), [false, true, false]);
        let zstd = small.zstd().unwrap();
        assert_eq!(zstd, small.zstd().unwrap());
        assert_eq!(zstd::stream::decode_all(&zstd[..]).unwrap(), small.unpack().unwrap());
        let large = sealed(&[&row, &row, &row, &row]);
        assert_eq!(kept(&large), [true, true, false]);
        assert_eq!(large.zstd().unwrap(), large.zstd().unwrap());
    }

    #[test]
    fn the_tags_of_the_codings_differ() {
        let snapshot = sealed(&["{}"]);
        let tags = Coding::ALL.map(|coding| String::from_utf8(snapshot.etag(coding).to_vec()).unwrap());
        let tag = snapshot.tag;
        assert_eq!(tags, [format!("\"{tag}-zstd\""), format!("\"{tag}-gzip\""), format!("\"{tag}\"")]);
    }

    #[test]
    fn it_is_known_by_how_much_stretching_put_a_refresh_off() {
        let seconds = Duration::from_secs;
        let seal = |stretch| {
            let key = sealed(&["{}"]).key;
            let mut draft = Draft::default();
            draft.begin_page().extend_from_slice(b"{}");
            draft.end_page(std::slice::from_ref(&(0..2)), None).unwrap();
            let fresh = FreshnessConfig::always(seconds(30));
            let live = SnapshotKey { meeting_type: MeetingType::Live, ..key };
            draft.seal(live, &fresh, Instant::now(), SystemTime::UNIX_EPOCH, stretch, 0).unwrap()
        };
        let stretched = seal(4.0);
        assert_eq!(stretched.fresh_for, seconds(120));
        let after = |age| stretched.landed + seconds(age);
        for age in [10, 29, 40, 70, 110] {
            stretched.note_wanted(after(age));
        }
        stretched.note_try(after(125));
        let sample =
            RefreshSample { pages: 7, lived: seconds(127), postponed: seconds(85), unstretched: seconds(30) };
        let seen = stretched.refresh_sample(7, after(127));
        assert_eq!(seen, Some(sample), "wanted at 40 s, tried for at 125 s");

        let plain = seal(1.0);
        plain.note_try(plain.landed + seconds(33));
        assert_eq!(plain.refresh_sample(1, plain.landed + seconds(34)).unwrap().postponed, seconds(0));
        let forced = seal(4.0);
        forced.note_try(forced.landed + seconds(60));
        let seen = forced.refresh_sample(1, forced.landed + seconds(61));
        assert_eq!(seen, None, "somebody did not want it cached");
    }

    #[test]
    fn freshness_runs_out_exactly_once() {
        let snapshot = sealed(&[]);
        let landed = snapshot.landed;
        assert_eq!(snapshot.fresh_left(landed + Duration::from_secs(59)), Some(Duration::from_secs(1)));
        assert_eq!(snapshot.fresh_left(landed + Duration::from_secs(60)), None);
        assert_eq!(snapshot.age(landed + Duration::from_secs(61)), Duration::from_secs(61));
    }
}
