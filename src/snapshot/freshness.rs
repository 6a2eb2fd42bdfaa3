//! Decides how long a snapshot is fresh: briefly while the meeting can still change, and much longer once the meeting
//! is *settled*. A meeting is settled when it ended so long ago that its data will not change any more. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::key::{MeetingType, SnapshotKey};

/// How long a snapshot is fresh, by the state of its meeting.
#[derive(Debug, Clone)]
pub struct FreshnessConfig {
    /// For a live meeting, or a past meeting that is not settled.
    pub live_fresh: Duration,
    /// For a live meeting without participants, because somebody may join soon. A value above `live_fresh` counts as
    /// `live_fresh`.
    pub empty_live_fresh: Duration,
    /// For a settled past meeting, requested by UUID.
    pub past_fresh: Duration,
    /// For a settled past meeting, requested by number.
    pub past_by_number_fresh: Duration,
    /// The age of the newest `leave_time` at which a past meeting is settled.
    pub settle: Duration,
}

/// How long one snapshot is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// The time from the end of the fetch until the snapshot is stale.
    pub fresh_for: Duration,
    /// `fresh_for` without stretching; `None` for a settled meeting, which is never stretched.
    pub unstretched: Option<Duration>,
}

impl FreshnessConfig {
    /// Returns a configuration in which every duration is `fresh`, for tests and benches that are not about freshness.
    pub fn always(fresh: Duration) -> Self {
        Self {
            live_fresh: fresh,
            empty_live_fresh: fresh,
            past_fresh: fresh,
            past_by_number_fresh: fresh,
            settle: fresh,
        }
    }

    /// Returns an upper bound of the freshness of any snapshot under the largest stretch.
    pub(crate) fn at_most(&self, max_stretch: u32) -> Duration {
        let brief = self.live_fresh.saturating_mul(max_stretch.max(1));
        let last = self.past_fresh.max(self.past_by_number_fresh);
        brief.max(last.saturating_add(last / 5))
    }

    /// Returns how long a snapshot is fresh. `stretch` lengthens the freshness of a meeting that can still change.
    /// `jitter_seed` is a random number that varies the freshness of a settled meeting.
    pub fn freshness(
        &self,
        key: SnapshotKey,
        rows: usize,
        newest_leave_time: Option<Timestamp>,
        fetched_at: Timestamp,
        stretch: f64,
        jitter_seed: u32,
    ) -> Freshness {
        let settled = newest_leave_time.is_some_and(|left| {
            Duration::try_from(fetched_at.duration_since(left)).is_ok_and(|since| since >= self.settle)
        });
        let last = |long| Freshness { fresh_for: spread(long, jitter_seed), unstretched: None };
        let brief = |short: Duration| Freshness {
            fresh_for: short.mul_f64(stretch.max(1.0)),
            unstretched: Some(short),
        };
        match key.meeting_type {
            MeetingType::Past if settled && key.meeting.is_uuid() => last(self.past_fresh),
            MeetingType::Past if settled => last(self.past_by_number_fresh),
            MeetingType::Live if rows == 0 => brief(self.empty_live_fresh.min(self.live_fresh)),
            MeetingType::Past | MeetingType::Live => brief(self.live_fresh),
        }
    }
}

/// Returns 90 % to 110 % of `long`, so that the meetings fetched by one backfill do not all expire together.
fn spread(long: Duration, jitter_seed: u32) -> Duration {
    long / 10 * 9 + (long / 5).mul_f64(f64::from(jitter_seed) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{meeting_id::MeetingId, snapshot::MeetingKind};

    const HOUR: Duration = Duration::from_secs(3600);

    fn config() -> FreshnessConfig {
        FreshnessConfig {
            live_fresh: Duration::from_secs(30),
            empty_live_fresh: Duration::from_secs(10),
            past_fresh: 24 * HOUR,
            past_by_number_fresh: Duration::from_secs(300),
            settle: Duration::from_secs(1800),
        }
    }

    fn key(id: &str, meeting_type: MeetingType) -> SnapshotKey {
        SnapshotKey { meeting: MeetingId::parse(id).unwrap(), kind: MeetingKind::Meeting, meeting_type }
    }

    const NUMBER: &str = "85746065432";
    const UUID: &str = "ats/xhSEQWit9t+U02HXNQ==";

    /// Returns the freshness with the middle seed, which does not change it.
    fn rule(id: &str, meeting_type: MeetingType, left_ago: Option<i64>) -> Duration {
        with_seed(id, meeting_type, left_ago, u32::MAX / 2)
    }

    fn with_seed(id: &str, meeting_type: MeetingType, left_ago: Option<i64>, jitter_seed: u32) -> Duration {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let left = left_ago.map(|ago| Timestamp::from_second(now.as_second() - ago).unwrap());
        let exact = config().freshness(key(id, meeting_type), 1, left, now, 1.0, jitter_seed).fresh_for;
        Duration::from_secs_f64((exact.as_secs_f64() * 100.0).round() / 100.0)
    }

    #[test]
    fn only_a_settled_meeting_stays_fresh_for_long() {
        assert_eq!(rule(UUID, MeetingType::Past, Some(1800)), 24 * HOUR);
        assert_eq!(rule(NUMBER, MeetingType::Past, Some(1800)), Duration::from_secs(300));
        assert_eq!(rule(UUID, MeetingType::Past, Some(1799)), Duration::from_secs(30), "not settled");
        assert_eq!(rule(UUID, MeetingType::Past, Some(-60)), Duration::from_secs(30), "left in the future");
        assert_eq!(rule(UUID, MeetingType::Past, None), Duration::from_secs(30), "nobody has left");
        assert_eq!(rule(UUID, MeetingType::Live, Some(7200)), Duration::from_secs(30));
    }

    #[test]
    fn only_long_freshness_is_spread_by_a_tenth_either_way() {
        for (id, long) in [(UUID, 24 * HOUR), (NUMBER, Duration::from_secs(300))] {
            let settled = |jitter_seed| with_seed(id, MeetingType::Past, Some(1800), jitter_seed);
            assert_eq!((settled(0), settled(u32::MAX)), (long / 10 * 9, long / 10 * 11));
            assert!((long / 10 * 9..long).contains(&settled(u32::MAX / 4)));
            assert!((long..long / 10 * 11).contains(&settled(u32::MAX / 4 * 3)));
        }
        for jitter_seed in [0, u32::MAX] {
            let short = Duration::from_secs(30);
            assert_eq!(with_seed(UUID, MeetingType::Past, Some(60), jitter_seed), short);
            assert_eq!(with_seed(UUID, MeetingType::Live, None, jitter_seed), short);
        }
    }

    #[test]
    fn an_empty_live_meeting_stays_fresh_as_long_as_misses_are_remembered() {
        let fresh = |meeting_type, rows, config: &FreshnessConfig| {
            let key = key(NUMBER, meeting_type);
            config.freshness(key, rows, None, Timestamp::UNIX_EPOCH, 1.0, 0).fresh_for.as_secs()
        };
        assert_eq!(fresh(MeetingType::Live, 0, &config()), 10);
        assert_eq!(fresh(MeetingType::Live, 1, &config()), 30);
        assert_eq!(fresh(MeetingType::Past, 0, &config()), 30, "no leave_time: never settled");
        let longer = FreshnessConfig { empty_live_fresh: HOUR, ..config() };
        assert_eq!(fresh(MeetingType::Live, 0, &longer), 30, "capped at live_fresh");
    }

    #[test]
    fn only_snapshots_that_can_still_change_are_stretched() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let left = |ago| Some(Timestamp::from_second(now.as_second() - ago).unwrap());
        let stretched = |id, meeting_type, rows, left| {
            let fresh = config().freshness(key(id, meeting_type), rows, left, now, 2.5, u32::MAX / 2);
            (fresh.fresh_for.as_secs_f64().round(), fresh.unstretched.map(|time| time.as_secs()))
        };
        assert_eq!(stretched(NUMBER, MeetingType::Live, 3, None), (75.0, Some(30)));
        assert_eq!(stretched(NUMBER, MeetingType::Live, 0, None), (25.0, Some(10)), "empty");
        assert_eq!(stretched(UUID, MeetingType::Past, 3, left(60)), (75.0, Some(30)), "not settled");
        assert_eq!(stretched(NUMBER, MeetingType::Past, 3, left(1800)), (300.0, None));
        assert_eq!(stretched(UUID, MeetingType::Past, 3, left(1800)), (86_400.0, None));
    }
}
