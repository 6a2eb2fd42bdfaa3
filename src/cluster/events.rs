//! Events that one replica publishes for all others, as text on one channel. Pure.
//!
//! Example: a record is stored, and `claims.lua` publishes `landed KEY FENCE`. At every replica, `heartbeat` receives
//! this event and sends it to the fetcher. There, `fetcher::peers::events` wakes the flights that wait for the key, and
//! `fetcher::peers::search` looks up the record.
//!
//! An event may be lost. The replicas that miss it learn the same later in other ways, so this costs time, or a call.

use std::time::Instant;

use super::{
    bounds::{self, Rejected},
    clock::{Micros, ServerClock},
    failure_codec,
};
use crate::failure::LimitKind;

/// A message from one replica to the others. The sender also receives it, after it has handled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All calls pause after a 429 from Zoom.
    CoolDown {
        /// The limit that Zoom enforces.
        kind: LimitKind,
        /// The end of the pause, by the server's clock.
        until: Micros,
        /// The failure that callers get, encoded by [`failure_codec`].
        encoded_failure: String,
    },
    /// A record was stored.
    Recorded {
        /// The record's key.
        key: String,
        /// The record's fencing number.
        fence: u64,
    },
    /// A fetch ended without a record.
    Failed {
        /// The key of the record that was not stored.
        key: String,
        /// The fencing number of the claim.
        fence: u64,
        /// The failure of the fetch, encoded by [`failure_codec`]; may be empty.
        encoded_failure: String,
    },
    /// Records were purged.
    Purged {
        /// The key of the purged record; `None` for all records.
        key: Option<String>,
        /// The fencing number of the purge.
        fence: u64,
        /// The id of the replica that made the purge; empty if this replica made the event, for example for a missed
        /// purge.
        by: String,
    },
}

impl Event {
    /// Parses a message that arrived at `now`. Returns `None` for an event of a later version.
    ///
    /// # Errors
    /// The message is too long, not text, malformed or out of bounds.
    pub(crate) fn parse(message: &[u8], clock: &ServerClock, now: Instant) -> Result<Option<Self>, Rejected> {
        if message.len() > bounds::LONGEST_EVENT {
            return Err(Rejected);
        }
        let text = std::str::from_utf8(message).map_err(|_| Rejected)?;
        let mut parts = text.splitn(4, ' ');
        let mut part = || parts.next().ok_or(Rejected);
        let what = part()?;
        if !["cool", "landed", "failed", "purged"].contains(&what) {
            return Ok(None);
        }
        let (key, number) = (bounds::name(part()?)?.to_owned(), part()?);
        let number: u64 = number.parse().map_err(|_| Rejected)?;
        let rest = part().unwrap_or_default().to_owned();
        Ok(Some(match what {
            "cool" => {
                let kind = match key.as_str() {
                    "second" => LimitKind::PerSecond,
                    "day" => LimitKind::PerDay,
                    _ => return Ok(None),
                };
                failure_codec::check_cooldown(kind, &rest, clock, now)?;
                Self::CoolDown {
                    kind,
                    until: bounds::cool_down(kind, number, clock.at(now))?,
                    encoded_failure: rest,
                }
            }
            "landed" => Self::Recorded { key, fence: clock.fence(number, now)? },
            "failed" => {
                failure_codec::try_decode(&rest, clock, now)?;
                Self::Failed { key, fence: clock.fence(number, now)?, encoded_failure: rest }
            }
            _ => {
                Self::Purged { key: (key != "*").then_some(key), fence: clock.fence(number, now)?, by: rest }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::clock::{DAY, micros};

    const NOON: Micros = 20_000 * DAY + DAY / 2;

    fn parse(text: &str) -> Result<Option<Event>, Rejected> {
        let now = Instant::now();
        Event::parse(text.as_bytes(), &ServerClock::observe(now, now, NOON).unwrap(), now)
    }

    #[test]
    fn messages_are_read_and_those_of_a_later_version_are_not() {
        let key = "85746065432:live".to_owned();
        let rest = "{\"reason\":\"zoom_failed\"}".to_owned();
        assert_eq!(
            parse(&format!("failed 85746065432:live 7 {rest}")),
            Ok(Some(Event::Failed { key: key.clone(), fence: 7, encoded_failure: rest }))
        );
        assert_eq!(
            parse("landed 85746065432:live 9"),
            Ok(Some(Event::Recorded { key: key.clone(), fence: 9 }))
        );
        assert_eq!(
            parse("purged * 12 me"),
            Ok(Some(Event::Purged { key: None, fence: 12, by: "me".to_owned() }))
        );
        assert_eq!(
            parse("cool day 5 "),
            Ok(Some(Event::CoolDown { kind: LimitKind::PerDay, until: 5, encoded_failure: String::new() }))
        );
        for other in ["", "sang a 1", "sang", "cool hour 5"] {
            assert_eq!(parse(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn malformed_and_impossible_events_are_rejected() {
        let minute = 60_000_000;
        let (midnight, far) = (20_001 * DAY, NOON + 2 * DAY + 1);
        for message in [
            "landed".to_owned(),
            "landed x y".to_owned(),
            "landed x -1".to_owned(),
            "landed x nan".to_owned(),
            format!("landed x {far}"),
            format!("failed x {}", u64::MAX),
            format!("purged * {}", u64::MAX),
            format!("cool day {}", u64::MAX),
            format!("cool day {}", midnight + 2 * minute),
            format!("cool second {}", NOON + 2 * minute),
            format!("landed {} 1", "x".repeat(bounds::LONGEST_NAME + 1)),
            format!("purged * 1 {}", "x".repeat(bounds::LONGEST_EVENT)),
            format!("failed x 1 {{\"reason\":\"zoom_failed\",\"retry_at\":{far}}}"),
        ] {
            assert_eq!(parse(&message), Err(Rejected), "{message}");
        }
        for message in [format!("cool day {}", midnight + minute), format!("cool second {}", NOON + minute)] {
            assert!(parse(&message).unwrap().is_some(), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_message_panics_or_gives_a_time_more_than_48_h_ahead(
            message in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "(cool|landed|failed|purged) (second|day|\\*|[0-9a-z:]{0,20}) [0-9]{0,21}( .{0,40})?"
                    .prop_map(String::into_bytes),
            ],
            there: u64,
        ) {
            let now = Instant::now();
            let Ok(clock) = ServerClock::observe(now, now, there) else { return Ok(()) };
            let most = there + micros(bounds::AHEAD_AT_MOST);
            if let Ok(Some(event)) = Event::parse(&message, &clock, now) {
                let number = match event {
                    Event::CoolDown { until, .. } => until,
                    Event::Recorded { fence, .. } | Event::Failed { fence, .. } | Event::Purged { fence, .. } => fence,
                };
                prop_assert!(number <= most);
                prop_assert!(clock.when(number).unwrap() <= now + bounds::AHEAD_AT_MOST);
            }
        }
    }
}
