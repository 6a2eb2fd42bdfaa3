//! Which meeting: the one place that knows how an id may be spelled by callers and must be spelled for Zoom.
//!
//! The base64 of a UUID is never decoded: Zoom's own documented examples are not canonical base64.

use std::fmt;

/// Zoom's UUIDs: 22 characters of the base64 alphabet and `==`.
const UUID_LENGTH: usize = 24;
/// Meeting numbers have 9 to 11 digits so far; one more leaves room.
const NUMBER_LENGTHS: std::ops::RangeInclusive<usize> = 9..=12;
/// Callers' HTTP stacks encode an id up to twice; each level makes three bytes of one.
const LONGEST_SPELLING: usize = UUID_LENGTH * 9;

/// A meeting number or a meeting UUID, known to be well formed. Cheap to copy, so that a cache look-up allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MeetingId {
    text: [u8; UUID_LENGTH],
    length: u8,
}

/// Why a text is not a meeting id. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeetingId {
    /// Nothing after `/qos/`.
    #[error("the meeting id is missing")]
    Missing,
    /// Longer than any spelling of any id.
    #[error("the meeting id is too long")]
    TooLong,
    /// `%` without two hexadecimal digits, or encoded more than twice.
    #[error("the percent-encoding of the meeting id is broken, or deeper than two levels")]
    Encoding,
    /// Neither of the two forms.
    #[error("this is neither a meeting number nor a meeting UUID")]
    Form,
}

impl MeetingId {
    /// Reads an id as it stands in the path of a request: raw, or percent-encoded once or twice.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(raw: &str) -> Result<Self, InvalidMeetingId> {
        if raw.is_empty() {
            return Err(InvalidMeetingId::Missing);
        }
        if raw.len() > LONGEST_SPELLING {
            return Err(InvalidMeetingId::TooLong);
        }
        if !raw.contains('%') {
            return Self::from_canonical(raw.as_bytes());
        }
        // The alphabet has no '%': as long as there is one, a level of encoding is left.
        let once = decode(raw.as_bytes())?;
        let plain = if once.contains(&b'%') { decode(&once)? } else { once };
        if plain.contains(&b'%') {
            return Err(InvalidMeetingId::Encoding);
        }
        Self::from_canonical(&plain)
    }

    /// A regular expression for the canonical form.
    #[must_use]
    pub fn pattern() -> String {
        let (shortest, longest) = (NUMBER_LENGTHS.start(), NUMBER_LENGTHS.end());
        format!("^([0-9]{{{shortest},{longest}}}|[A-Za-z0-9+/]{{{}}}==)$", UUID_LENGTH - 2)
    }

    fn from_canonical(plain: &[u8]) -> Result<Self, InvalidMeetingId> {
        let is_number = NUMBER_LENGTHS.contains(&plain.len()) && plain.iter().all(u8::is_ascii_digit);
        if !is_number && !is_uuid(plain) {
            return Err(InvalidMeetingId::Form);
        }
        let mut text = [0; UUID_LENGTH];
        for (slot, byte) in text.iter_mut().zip(plain) {
            *slot = *byte;
        }
        let length = u8::try_from(plain.len()).map_err(|_| InvalidMeetingId::TooLong)?;
        Ok(Self { text, length })
    }

    /// The id in its canonical form, not encoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Whether this names one instance of a meeting for ever. A number can come to mean a newer instance.
    #[must_use]
    pub fn is_uuid(&self) -> bool {
        usize::from(self.length) == UUID_LENGTH
    }

    /// The id as a segment of Zoom's path: a UUID encoded once, or twice if it begins with `/` or contains `//`.
    ///
    /// Source: Zoom's API reference, "double encode your UUID when using it for API calls".
    #[must_use]
    pub fn encoded_for_zoom(&self) -> String {
        let plain = self.as_str();
        let twice = plain.starts_with('/') || plain.contains("//");
        let mut encoded = String::with_capacity(UUID_LENGTH * 2);
        for character in plain.chars() {
            let hex = match character {
                '/' => "2F",
                '+' => "2B",
                '=' => "3D",
                _ => {
                    encoded.push(character);
                    continue;
                }
            };
            encoded.push_str(if twice { "%25" } else { "%" });
            encoded.push_str(hex);
        }
        encoded
    }
}

impl fmt::Display for MeetingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for MeetingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MeetingId({self})")
    }
}

fn is_uuid(plain: &[u8]) -> bool {
    let Some((body, b"==")) = plain.split_last_chunk::<2>() else {
        return false;
    };
    body.len() + 2 == UUID_LENGTH
        && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// One level of percent-decoding; unlike lenient decoders it refuses a `%` that encodes nothing.
fn decode(encoded: &[u8]) -> Result<Vec<u8>, InvalidMeetingId> {
    let mut plain = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let (Some(high), Some(low)) = (hex_digit(bytes.next()), hex_digit(bytes.next())) else {
                return Err(InvalidMeetingId::Encoding);
            };
            plain.push(high << 4 | low);
        } else {
            plain.push(byte);
        }
    }
    Ok(plain)
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pattern_tells_the_lengths_that_are_enforced() {
        assert_eq!(MeetingId::pattern(), "^([0-9]{9,12}|[A-Za-z0-9+/]{22}==)$");
    }

    #[test]
    fn three_spellings_are_one_meeting() {
        let id = "/ajXp112QmuoKj48548750==";
        for spelling in [
            id.to_owned(),
            id.replace('/', "%2f").replace('=', "%3D"),
            id.replace('/', "%252F").replace('=', "%253d"),
        ] {
            assert_eq!(MeetingId::parse(&spelling).unwrap().as_str(), id);
        }
    }

    #[test]
    fn a_uuid_that_begins_with_a_slash_is_encoded_twice() {
        let id = MeetingId::parse("/ajXp112QmuoKj48548750==").unwrap();
        assert_eq!(id.encoded_for_zoom(), "%252FajXp112QmuoKj48548750%253D%253D");
        let inner = MeetingId::parse("ajXp1//2QmuoKj48548750==").unwrap();
        assert_eq!(inner.encoded_for_zoom(), "ajXp1%252F%252F2QmuoKj48548750%253D%253D");
    }

    #[test]
    fn any_other_uuid_is_encoded_once_and_a_number_not_at_all() {
        let id = MeetingId::parse("ats/xhSEQWit9t+U02HXNQ==").unwrap();
        assert_eq!(id.encoded_for_zoom(), "ats%2FxhSEQWit9t%2BU02HXNQ%3D%3D");
        assert_eq!(MeetingId::parse("85746065432").unwrap().encoded_for_zoom(), "85746065432");
    }

    #[test]
    fn what_is_not_an_id_is_refused_with_its_reason() {
        let overlong = "1".repeat(300);
        for (raw, reason) in [
            ("", InvalidMeetingId::Missing),
            ("12345678", InvalidMeetingId::Form),
            ("1234567890123", InvalidMeetingId::Form),
            ("85746065432/", InvalidMeetingId::Form),
            ("../../users", InvalidMeetingId::Form),
            ("%2e%2e%2fusers%2fme%2fabcdefghij", InvalidMeetingId::Form),
            ("857460654%0d%0a", InvalidMeetingId::Form),
            ("85746065432%00", InvalidMeetingId::Form),
            ("8574606543\u{0662}", InvalidMeetingId::Form),
            ("%zz746065432", InvalidMeetingId::Encoding),
            ("85746065432%", InvalidMeetingId::Encoding),
            ("85746065432%2", InvalidMeetingId::Encoding),
            ("%25252FajXp112QmuoKj48548750==", InvalidMeetingId::Encoding),
            ("ajXp112-muoKj4854875012==", InvalidMeetingId::Form),
            ("ajXp112QmuoKj485487501=2=", InvalidMeetingId::Form),
            ("%FFjXp112QmuoKj48548750==", InvalidMeetingId::Form),
            (&overlong, InvalidMeetingId::TooLong),
        ] {
            assert_eq!(MeetingId::parse(raw), Err(reason), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn every_uuid_survives_each_spelling(id in "[A-Za-z0-9+/]{22}==") {
            let encode = |text: &str| {
                text.bytes()
                    .map(|byte| match byte {
                        b'/' | b'+' | b'=' | b'%' => format!("%{byte:02X}"),
                        _ => char::from(byte).to_string(),
                    })
                    .collect::<String>()
            };
            let parsed = MeetingId::parse(&id).unwrap();
            prop_assert_eq!(parsed.as_str(), &id);
            prop_assert!(parsed.is_uuid());
            prop_assert_eq!(MeetingId::parse(&encode(&id)).unwrap(), parsed);
            prop_assert_eq!(MeetingId::parse(&encode(&encode(&id))).unwrap(), parsed);
            prop_assert_eq!(MeetingId::parse(&parsed.encoded_for_zoom()).unwrap(), parsed);
        }

        #[test]
        fn every_number_survives(id in "[0-9]{9,12}") {
            let parsed = MeetingId::parse(&id).unwrap();
            prop_assert_eq!(parsed.as_str(), &id);
            prop_assert!(!parsed.is_uuid());
            prop_assert_eq!(parsed.encoded_for_zoom(), id);
        }

        #[test]
        fn nothing_else_gets_through(raw in ".{0,40}") {
            if let Ok(id) = MeetingId::parse(&raw) {
                let text = id.as_str();
                let number = (9..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                prop_assert!(number || is_uuid(text.as_bytes()));
            }
        }
    }
}
