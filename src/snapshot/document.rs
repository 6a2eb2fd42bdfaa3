//! The JSON document around a meeting's participants, and where each participant is in it.

use std::{fmt::Write as _, time::SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use super::key::{MeetingKind, SnapshotKey};

/// Everything after the last participant.
pub(super) const TAIL: &str = "]}";

/// Returns everything before the first participant.
pub(super) fn head(key: SnapshotKey, fetched_at: SystemTime, rows: usize) -> String {
    let mut head = opening(key, fetched_at);
    // Writing to a String cannot fail.
    let _infallible = write!(head, r#","total_records":{rows},"participants":["#);
    head
}

/// Returns the beginning of a JSON object about a snapshot: the meeting, its type and kind, and the time of fetching.
pub(super) fn opening(key: SnapshotKey, fetched_at: SystemTime) -> String {
    let mut opening = String::with_capacity(192);
    let kind = match key.kind {
        MeetingKind::Meeting => "",
        MeetingKind::Webinar => r#""kind":"webinar","#,
    };
    // Neither a meeting id nor a time has a character that JSON escapes; writing to a String cannot fail.
    let _infallible = write!(
        opening,
        r#"{{"meeting_id":"{}","type":"{}",{kind}"fetched_at":"{}""#,
        key.meeting,
        key.meeting_type.as_str(),
        timestamp(fetched_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
    );
    opening
}

pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The position of each participant, counted from the first byte of the first one. Commas separate the participants:
/// three participants of 5 bytes start at 0, 6 and 12, and the last one ends at 17.
pub(super) struct RowIndex {
    pub(super) starts: Box<[u64]>,
    pub(super) end: u64,
}

impl RowIndex {
    /// Returns the length of participant number `row` in bytes; 0 if there is no such participant.
    pub(super) fn length(&self, row: usize) -> usize {
        let Some(start) = self.starts.get(row) else { return 0 };
        let end = self.starts.get(row + 1).map_or(self.end, |next| next.saturating_sub(1));
        usize::try_from(end.saturating_sub(*start)).unwrap_or(usize::MAX)
    }

    /// Returns the range of at most `size` participants, beginning with number `offset`, in a body of `length` bytes.
    pub(super) fn range(&self, offset: usize, size: usize, length: u64) -> RowRange {
        let first = length - self.end - u64::try_from(TAIL.len()).unwrap_or_default();
        let begin = self.starts.get(offset).copied().unwrap_or(self.end);
        let next = self.starts.get(offset.saturating_add(size)).copied();
        let end = next.map_or(self.end, |next| next.saturating_sub(1));
        RowRange { at: first + begin, length: end.saturating_sub(begin), more: next.is_some() }
    }
}

/// Some participants of a snapshot, as a range of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowRange {
    /// The offset from the beginning of the body, in bytes.
    pub(crate) at: u64,
    pub(crate) length: u64,
    pub(crate) more: bool,
}

impl RowRange {
    /// Cuts the range out of a complete uncompressed body. Returns `None` if the body is too short.
    pub(crate) fn of(self, body: &Bytes) -> Option<Bytes> {
        let at = usize::try_from(self.at).ok()?;
        let end = at.checked_add(usize::try_from(self.length).ok()?)?;
        (end <= body.len()).then(|| body.slice(at..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{MeetingType, tests::live_meeting};

    #[test]
    fn only_a_webinar_names_its_kind_right_after_its_type() {
        let past = SnapshotKey { meeting_type: MeetingType::Past, ..live_meeting() };
        let head = |kind| head(SnapshotKey { kind, ..past }, SystemTime::UNIX_EPOCH, 7);
        let rest = r#""fetched_at":"1970-01-01T00:00:00Z","total_records":7,"participants":["#;
        let meeting = format!(r#"{{"meeting_id":"85746065432","type":"past",{rest}"#);
        let webinar = format!(r#"{{"meeting_id":"85746065432","type":"past","kind":"webinar",{rest}"#);
        assert_eq!(MeetingKind::ALL.map(head), [meeting, webinar]);
    }
}
