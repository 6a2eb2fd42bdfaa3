//! The rule of freshness: what can still change is asked again soon, what is final is kept. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{MeetingType, SnapshotKey};

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

/// The rule of freshness: what can still change is asked again soon, what is final is kept.
pub(super) fn fresh_for(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting_id::MeetingId;

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
}
