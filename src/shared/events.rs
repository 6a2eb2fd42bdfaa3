//! What one replica tells all others, as text on one channel. Pure.
//!
//! An event only hastens what would be learnt anyway: one that is lost costs time, not correctness.

use crate::metrics::LimitKind;

use super::clock::Micros;

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
    /// Reads a message. `None` for one of a later version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let (what, of, number) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let words = parts.next().unwrap_or_default().to_owned();
        Some(match what {
            "cool" => {
                let kind = match of {
                    "second" => LimitKind::PerSecond,
                    "day" => LimitKind::PerDay,
                    _ => return None,
                };
                Self::CoolDown { kind, until: number, words }
            }
            "landed" => Self::Landed { of: of.to_owned(), fence: number },
            "failed" => Self::Failed { of: of.to_owned(), fence: number, words },
            "purged" => Self::Purged { of: (of != "*").then(|| of.to_owned()), fence: number, by: words },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_those_of_a_later_version_are_not() {
        let of = "85746065432:live".to_owned();
        assert_eq!(
            Event::parse("failed 85746065432:live 7 {\"reason\":\"a b\"}"),
            Some(Event::Failed { of: of.clone(), fence: 7, words: "{\"reason\":\"a b\"}".to_owned() })
        );
        assert_eq!(
            Event::parse("landed 85746065432:live 9"),
            Some(Event::Landed { of: of.clone(), fence: 9 })
        );
        assert_eq!(
            Event::parse("purged * 12 me"),
            Some(Event::Purged { of: None, fence: 12, by: "me".to_owned() })
        );
        assert_eq!(
            Event::parse("cool day 5 "),
            Some(Event::CoolDown { kind: LimitKind::PerDay, until: 5, words: String::new() })
        );
        for other in ["", "landed", "landed x y", "cool hour 5", "sang a 1"] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }
}
