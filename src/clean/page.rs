//! The result of cleaning one page, apart from its participants.

use std::ops::Range;

use jiff::Timestamp;

use super::field::Unparsed;
use crate::json::Desynced;

/// The facts about a page that a flight needs, apart from its cleaned participants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The range of each participant, counted from the beginning of this page in `out`. Slices are cut out by these
    /// ranges, without parsing.
    pub rows: Vec<Range<usize>>,
    /// Zoom's token for the next page; `None` on the last page, where it is absent, `null` or `""`.
    pub next_page_token: Option<String>,
    /// The number of participants in the meeting, according to Zoom; `None` if it is absent or not a whole number.
    pub total_records: Option<u64>,
    /// The meeting's number; `None` if it is absent, or neither a whole number nor a string with one.
    pub meeting_number: Option<u64>,
    /// The latest valid `leave_time` of a participant. Once it is old enough, a past meeting counts as settled: its
    /// data is not expected to change.
    pub newest_leave_time: Option<Timestamp>,
    /// The number of strings of each field that kept Zoom's key because they did not parse, for a metric.
    pub unparsed: Unparsed,
}

/// The reason why a response is not a page of participants. Contains positions and our own text, never Zoom's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The text is not one complete JSON document: it is invalid, or cut off.
    #[error("not a complete JSON document (line {line}, column {column})")]
    NotJson {
        /// The line of the error, counted from 1.
        line: usize,
        /// The column of the error, counted from 1 in bytes; 0 just after a line feed.
        column: usize,
    },
    /// The text is JSON, but not an object with a list named `participants`. It may be an error body.
    #[error("no list of participants")]
    NoParticipants,
    /// A key that must be unique occurs twice, or the page token cannot be used, so the page cannot be trusted.
    #[error("ambiguous envelope: `{key}` occurs twice or has the wrong type")]
    Ambiguous {
        /// The key: `participants` or `next_page_token`.
        key: &'static str,
    },
    /// The page belongs to a meeting other than the requested one.
    #[error("a page of another meeting")]
    AnotherMeeting,
    /// The second pass found what the first should have rejected, which would be a bug.
    #[error("the two passes over the page disagree")]
    Inconsistent,
}

impl From<Desynced> for NotAPage {
    fn from(Desynced: Desynced) -> Self {
        Self::Inconsistent
    }
}
