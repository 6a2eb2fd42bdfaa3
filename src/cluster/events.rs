//! What one replica tells all others, as text on one channel. Pure.
//!
//! An event only hastens what would be learnt anyway: one that is lost costs time, not correctness.

use std::time::Instant;

use super::{
    bounds::{self, Rejected},
    clock::{Micros, ServerClock},
    words,
};
use crate::failure::LimitKind;

/// Something that another replica did. Our own come back, too, and change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Zoom refuses calls of this kind until then; in words that [`super::words`] reads.
    CoolDown {
        /// Which limit.
        kind: LimitKind,
        /// Until when, by the server's clock.
        until: Micros,
        /// Why.
        words: String,
    },
    /// A record can be had.
    Landed {
        /// Of what.
        of: String,
        /// Its fencing number.
        fence: u64,
    },
    /// Whoever fetched it got nothing.
    Failed {
        /// What.
        of: String,
        /// The number of the claim.
        fence: u64,
        /// Why.
        words: String,
    },
    /// It is to be forgotten.
    Purged {
        /// What; `None`: everything.
        of: Option<String>,
        /// The purge's number.
        fence: u64,
        /// Which replica was told to.
        by: String,
    },
}

impl Event {
    /// Reads a message that came now. `None` for one of a later version.
    ///
    /// # Errors
    /// When it is too long, no text, or says what cannot be.
    pub fn parse(message: &[u8], clock: &ServerClock, now: Instant) -> Result<Option<Self>, Rejected> {
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
        let (of, number) = (bounds::name(part()?)?.to_owned(), part()?);
        let number: u64 = number.parse().map_err(|_| Rejected)?;
        let words = part().unwrap_or_default().to_owned();
        Ok(Some(match what {
            "cool" => {
                let kind = match of.as_str() {
                    "second" => LimitKind::PerSecond,
                    "day" => LimitKind::PerDay,
                    _ => return Ok(None),
                };
                words::check_cool_down(kind, &words, clock, now)?;
                Self::CoolDown { kind, until: bounds::cool_down(kind, number, clock.at(now))?, words }
            }
            "landed" => Self::Landed { of, fence: clock.fence(number, now)? },
            "failed" => {
                words::check(&words, clock, now)?;
                Self::Failed { of, fence: clock.fence(number, now)?, words }
            }
            _ => Self::Purged { of: (of != "*").then_some(of), fence: clock.fence(number, now)?, by: words },
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
        Event::parse(text.as_bytes(), &ServerClock::heard(now, now, NOON).unwrap(), now)
    }

    #[test]
    fn messages_are_read_and_those_of_a_later_version_are_not() {
        let of = "85746065432:live".to_owned();
        let words = "{\"reason\":\"zoom_failed\"}".to_owned();
        assert_eq!(
            parse(&format!("failed 85746065432:live 7 {words}")),
            Ok(Some(Event::Failed { of: of.clone(), fence: 7, words }))
        );
        assert_eq!(parse("landed 85746065432:live 9"), Ok(Some(Event::Landed { of: of.clone(), fence: 9 })));
        assert_eq!(
            parse("purged * 12 me"),
            Ok(Some(Event::Purged { of: None, fence: 12, by: "me".to_owned() }))
        );
        assert_eq!(
            parse("cool day 5 "),
            Ok(Some(Event::CoolDown { kind: LimitKind::PerDay, until: 5, words: String::new() }))
        );
        for other in ["", "sang a 1", "sang", "cool hour 5"] {
            assert_eq!(parse(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_is_rejected() {
        let minute = 60_000_000;
        let (midnight, far) = (20_001 * DAY, NOON + 2 * DAY + 1);
        for said in [
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
            assert_eq!(parse(&said), Err(Rejected), "{said}");
        }
        for said in [format!("cool day {}", midnight + minute), format!("cool second {}", NOON + minute)] {
            assert!(parse(&said).unwrap().is_some(), "{said}");
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
            let Ok(clock) = ServerClock::heard(now, now, there) else { return Ok(()) };
            let most = there + micros(bounds::AHEAD_AT_MOST);
            if let Ok(Some(event)) = Event::parse(&message, &clock, now) {
                let number = match event {
                    Event::CoolDown { until, .. } => until,
                    Event::Landed { fence, .. } | Event::Failed { fence, .. } | Event::Purged { fence, .. } => fence,
                };
                prop_assert!(number <= most);
                prop_assert!(clock.when(number).unwrap() <= now + bounds::AHEAD_AT_MOST);
            }
        }
    }
}
