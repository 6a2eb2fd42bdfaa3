//! Meeting ids: parses the spellings that callers use, and encodes ids for Zoom.
//!
//! The base64 of a UUID is never decoded, because Zoom's own documented examples are not canonical base64.

use std::{borrow::Cow, fmt};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The length of Zoom's UUIDs: 22 characters of the base64 alphabet and `==`.
const UUID_LENGTH: usize = 24;
/// Meeting numbers have 9 to 11 digits today. Twelve digits are accepted, in case Zoom adds one.
const NUMBER_LENGTHS: std::ops::RangeInclusive<usize> = 9..=12;
/// The maximum length of an id as a caller writes it, in bytes. Callers' HTTP libraries percent-encode an id up to
/// twice, and each time one byte becomes at most three.
const LONGEST_SPELLING: usize = UUID_LENGTH * 9;

/// A well-formed meeting number or UUID. `Copy`, so that a cache look-up allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MeetingId {
    text: [u8; UUID_LENGTH],
    length: u8,
}

/// The reason why a text is not a meeting id. The messages do not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeetingId {
    /// The text is empty.
    #[error("the meeting id is missing")]
    Missing,
    /// Longer than any spelling of an id.
    #[error("the meeting id is too long")]
    TooLong,
    /// A `%` is not followed by two hexadecimal digits, or the text is encoded more than twice.
    #[error("the percent-encoding of the meeting id is broken, or deeper than two levels")]
    Encoding,
    /// Neither a number nor a UUID.
    #[error("this is neither a meeting number nor a meeting UUID")]
    Form,
}

impl MeetingId {
    /// Parses an id from the path of a request: raw, or percent-encoded once or twice.
    ///
    /// # Errors
    /// The text is not an id in any of these spellings.
    pub fn parse(raw: &str) -> Result<Self, InvalidMeetingId> {
        Self::from_canonical(&decoded(raw)?)
    }

    /// Parses an id as people copy it. A number may also have spaces and dashes, as Zoom shows it. In a UUID, a `+`
    /// after the first character may have become a space, because `+` means a space in a query.
    ///
    /// # Errors
    /// The text is not an id in any of these spellings.
    pub(crate) fn parse_as_shown(raw: &str) -> Result<Self, InvalidMeetingId> {
        let plain = decoded(raw)?;
        let text = str::from_utf8(&plain).map_err(|_| InvalidMeetingId::Form)?.trim();
        let is_separator =
            |shown: char| shown.is_whitespace() || matches!(shown, '-' | '\u{2010}'..='\u{2015}');
        let without_separators = text.replace(is_separator, "");
        match without_separators.as_str() {
            "" => Err(InvalidMeetingId::Missing),
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::from_canonical(number.as_bytes())
            }
            _ => Self::from_canonical(text.replace(' ', "+").as_bytes()),
        }
    }

    /// Returns a regular expression for the canonical form.
    pub(crate) fn pattern() -> String {
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

    /// Returns the id in its canonical form, without percent-encoding.
    pub(crate) fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Returns whether the id is a UUID, which always identifies the same instance of a meeting. A number can be
    /// reused.
    pub(crate) fn is_uuid(&self) -> bool {
        usize::from(self.length) == UUID_LENGTH
    }

    /// Returns the id as a segment of Zoom's path: percent-encoded once, or twice if it begins with `/` or contains
    /// `//`.
    ///
    /// Source: Zoom's API reference, "double encode your UUID when using it for API calls".
    pub(crate) fn encoded_for_zoom(&self) -> String {
        let plain = self.as_str();
        let once = utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string();
        if plain.starts_with('/') || plain.contains("//") {
            utf8_percent_encode(&once, NON_ALPHANUMERIC).to_string()
        } else {
            once
        }
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

/// Undoes up to two levels of percent-encoding.
fn decoded(raw: &str) -> Result<Cow<'_, [u8]>, InvalidMeetingId> {
    if raw.is_empty() {
        return Err(InvalidMeetingId::Missing);
    }
    if raw.len() > LONGEST_SPELLING {
        return Err(InvalidMeetingId::TooLong);
    }
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw.as_bytes()));
    }
    // Ids do not contain '%', so any '%' left over is another level of encoding.
    let once = decode(raw.as_bytes())?;
    let plain = if once.contains(&b'%') { decode(&once)? } else { once };
    if plain.contains(&b'%') { Err(InvalidMeetingId::Encoding) } else { Ok(Cow::Owned(plain)) }
}

/// Undoes one level of percent-encoding. Rejects a `%` that encodes nothing, which the `percent-encoding` crate
/// would keep.
fn decode(encoded: &[u8]) -> Result<Vec<u8>, InvalidMeetingId> {
    let mut after_percent = encoded.split(|byte| *byte == b'%').skip(1);
    let is_escape =
        |rest: &[u8]| rest.first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if after_percent.all(is_escape) {
        Ok(percent_decode(encoded).collect())
    } else {
        Err(InvalidMeetingId::Encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_pattern_has_the_enforced_lengths() {
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
    fn a_number_is_understood_as_zoom_shows_it() {
        for (shown, id) in [
            ("857 4606 5432", "85746065432"),
            (" 857-4606-5432 ", "85746065432"),
            ("857%204606%E2%80%915432", "85746065432"),
            ("857\u{a0}4606\u{a0}5432", "85746065432"),
            ("%252FajXp112QmuoKj48548750%253D%253D", "/ajXp112QmuoKj48548750=="),
            ("aj//p112Q uo/summary75==", "aj//p112Q+uo/summary75=="),
        ] {
            assert_eq!(MeetingId::parse_as_shown(shown).unwrap().as_str(), id);
        }
        for (shown, reason) in [
            ("", InvalidMeetingId::Missing),
            (" - ", InvalidMeetingId::Missing),
            ("857_4606_5432", InvalidMeetingId::Form),
            ("123-45-678", InvalidMeetingId::Form),
            ("%FF", InvalidMeetingId::Form),
            ("%", InvalidMeetingId::Encoding),
        ] {
            assert_eq!(MeetingId::parse_as_shown(shown), Err(reason), "{shown:?}");
        }
    }

    #[test]
    fn anything_else_is_rejected_with_its_reason() {
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
