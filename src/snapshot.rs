//! One whole meeting.

use std::time::Duration;

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
