//! One whole meeting as fetched at one time: its bytes on the wire, its validators, and how long it is fresh.
//!
//! A snapshot is complete or it does not exist: a [`Draft`] gathers pages, and only a finished one can be sealed.
//! No I/O and no clock in here; whoever seals says what time it is.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::meeting_id::MeetingId;

/// How long a snapshot is fresh, by what kind of meeting it shows.
#[derive(Debug, Clone)]
pub struct FreshnessConfig {
    /// A live meeting, or a past one that is not settled.
    pub live_fresh: Duration,
    /// A settled past meeting asked for by UUID.
    pub past_fresh: Duration,
    /// A settled past meeting asked for by number.
    pub past_by_number_fresh: Duration,
    /// A past meeting is settled when its newest `leave_time` is this old.
    pub settle: Duration,
}

/// Zoom's two views of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeetingType {
    /// Going on now.
    Live,
    /// Over.
    Past,
}

impl MeetingType {
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

/// A whole meeting, sealed.
pub struct Snapshot {
    /// The body of the answer, byte for byte.
    pub body: Bytes,
    /// A strong entity tag with its quotes.
    pub etag: Bytes,
    /// `fetched_at` as an HTTP date.
    pub last_modified: Bytes,
    /// What fetching it again would cost, in Zoom calls.
    pub pages: u32,
    /// When the last page had arrived, on the wall.
    pub fetched_at: SystemTime,
    /// When the last page had arrived.
    pub landed: Instant,
    /// How long it is fresh from then on.
    pub fresh_for: Duration,
    /// When a newer one was last tried for, in milliseconds after it landed; 0: never.
    tried: AtomicU64,
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
        let after = u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX);
        self.tried.store(after.max(1), Ordering::Relaxed);
    }

    /// Time since this one landed, or since a newer one was last tried for.
    #[must_use]
    pub fn since_last_try(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(Duration::from_millis(self.tried.load(Ordering::Relaxed)))
    }

    /// Bytes of memory that keeping this snapshot takes, without the cache's own bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.etag.len() + self.last_modified.len()
    }
}

/// A meeting being fetched: the cleaned participants of the pages so far.
#[derive(Default)]
pub struct Draft {
    participants: Vec<u8>,
    rows: usize,
    pages: u32,
    newest_leave_time: Option<Timestamp>,
}

impl Draft {
    /// Where the cleaner appends the next page's participants. A page that turns out broken leaves it as it was.
    pub fn begin_page(&mut self) -> &mut Vec<u8> {
        &mut self.participants
    }

    /// Participants so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Counts a page that was appended whole.
    ///
    /// `at` is where its participants begin; the comma between two pages is set here.
    pub fn end_page(&mut self, at: usize, rows: usize, newest_leave_time: Option<Timestamp>) {
        if self.rows > 0 && rows > 0 {
            self.participants.insert(at, b',');
        }
        self.rows += rows;
        self.pages += 1;
        self.newest_leave_time = self.newest_leave_time.max(newest_leave_time);
    }

    /// Closes the meeting: writes the document around the participants, tags it, and decides how long it is fresh.
    #[must_use]
    pub fn seal(
        self,
        key: SnapshotKey,
        freshness: &FreshnessConfig,
        landed: Instant,
        fetched_at: SystemTime,
    ) -> Snapshot {
        let mut head = String::with_capacity(192);
        let time = Timestamp::try_from(fetched_at).unwrap_or(Timestamp::UNIX_EPOCH);
        // Neither a meeting id nor a time has a character that JSON escapes; writing to a String cannot fail.
        let _infallible = write!(
            head,
            r#"{{"meeting_id":"{}","type":"{}","fetched_at":"{}","total_records":{},"participants":["#,
            key.meeting,
            key.meeting_type.as_str(),
            time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            self.rows,
        );
        let mut body = Vec::with_capacity(head.len() + self.participants.len() + 2);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&self.participants);
        body.extend_from_slice(b"]}");
        Snapshot {
            etag: entity_tag(&body).into(),
            last_modified: httpdate::fmt_http_date(fetched_at).into(),
            pages: self.pages,
            fetched_at,
            landed,
            tried: AtomicU64::new(0),
            fresh_for: fresh_for(key, self.newest_leave_time, time, freshness),
            body: body.into(),
        }
    }
}

/// The rule of freshness: what can still change is asked again soon, what is final is kept.
fn fresh_for(
    key: SnapshotKey,
    newest_leave_time: Option<Timestamp>,
    fetched_at: Timestamp,
    config: &FreshnessConfig,
) -> Duration {
    let settled = newest_leave_time.is_some_and(|left| {
        Duration::try_from(fetched_at.duration_since(left)).is_ok_and(|since| since >= config.settle)
    });
    match key.meeting_type {
        MeetingType::Past if settled && key.meeting.is_uuid() => config.past_fresh,
        MeetingType::Past if settled => config.past_by_number_fresh,
        MeetingType::Past | MeetingType::Live => config.live_fresh,
    }
}

/// 128 bits of SHA-256 over the bytes on the wire: equal tags mean equal bytes, on every replica.
pub(crate) fn entity_tag(body: &[u8]) -> String {
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in Sha256::digest(body).iter().take(16) {
        let _infallible = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn config() -> FreshnessConfig {
        FreshnessConfig {
            live_fresh: Duration::from_secs(30),
            past_fresh: 24 * HOUR,
            past_by_number_fresh: Duration::from_secs(300),
            settle: Duration::from_secs(1800),
        }
    }

    fn key(id: &str, meeting_type: MeetingType) -> SnapshotKey {
        SnapshotKey { meeting: MeetingId::parse(id).unwrap(), meeting_type }
    }

    fn rule(id: &str, meeting_type: MeetingType, left_ago: Option<i64>) -> Duration {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let left = left_ago.map(|ago| Timestamp::from_second(now.as_second() - ago).unwrap());
        fresh_for(key(id, meeting_type), left, now, &config())
    }

    #[test]
    fn what_is_final_is_fresh_for_long_and_what_can_change_is_not() {
        let (number, uuid) = ("85746065432", "ats/xhSEQWit9t+U02HXNQ==");
        assert_eq!(rule(uuid, MeetingType::Past, Some(1800)), 24 * HOUR);
        assert_eq!(rule(number, MeetingType::Past, Some(1800)), Duration::from_secs(300));
        assert_eq!(rule(uuid, MeetingType::Past, Some(1799)), Duration::from_secs(30), "not settled");
        assert_eq!(rule(uuid, MeetingType::Past, Some(-60)), Duration::from_secs(30), "left in the future");
        assert_eq!(rule(uuid, MeetingType::Past, None), Duration::from_secs(30), "nobody has left");
        assert_eq!(rule(uuid, MeetingType::Live, Some(7200)), Duration::from_secs(30));
    }

    #[test]
    fn pages_are_joined_and_counted() {
        let mut draft = Draft::default();
        for page in ["{\"a\":1},{\"a\":2}", "", "{\"a\":3}"] {
            let out = draft.begin_page();
            let at = out.len();
            out.extend_from_slice(page.as_bytes());
            draft.end_page(at, page.matches('{').count(), None);
        }
        let time = SystemTime::UNIX_EPOCH + 10 * HOUR;
        let snapshot = draft.seal(key("85746065432", MeetingType::Live), &config(), Instant::now(), time);
        assert_eq!(
            std::str::from_utf8(&snapshot.body).unwrap(),
            r#"{"meeting_id":"85746065432","type":"live","fetched_at":"1970-01-01T10:00:00Z","total_records":3,"participants":[{"a":1},{"a":2},{"a":3}]}"#
        );
        assert_eq!(snapshot.pages, 3);
        assert_eq!(&snapshot.last_modified[..], b"Thu, 01 Jan 1970 10:00:00 GMT");
    }

    #[test]
    fn freshness_runs_out_exactly_once() {
        let landed = Instant::now();
        let snapshot = Draft::default().seal(
            key("85746065432", MeetingType::Live),
            &config(),
            landed,
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(snapshot.fresh_left(landed + Duration::from_secs(29)), Some(Duration::from_secs(1)));
        assert_eq!(snapshot.fresh_left(landed + Duration::from_secs(30)), None);
        assert_eq!(snapshot.age(landed + Duration::from_secs(31)), Duration::from_secs(31));
    }
}
