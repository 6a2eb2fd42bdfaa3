//! Reads the values that identify a participant.

use std::borrow::Cow;

use super::NotAParticipant;
use crate::json::{Container, Cursor, Desynced};

/// Values of one participant, unescaped. A value is `None` if its key has no string or number. If a key is repeated,
/// the first string or number counts.
///
/// The values are bytes, because JSON can contain a lone surrogate and UTF-8 cannot. A lone surrogate becomes the
/// three bytes of WTF-8. The type does not implement `Debug`, because no log may contain a participant's e-mail
/// address.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ParticipantIdentity<'a> {
    /// The id that Zoom assigns for one stay in the meeting.
    pub(crate) user_id: Option<Cow<'a, [u8]>>,
    /// The id of the person's Zoom account.
    pub(crate) id: Option<Cow<'a, [u8]>>,
    /// The id of the person, with or without an account.
    pub(crate) participant_uuid: Option<Cow<'a, [u8]>>,
    pub(crate) email: Option<Cow<'a, [u8]>>,
    /// The beginning of the stay. A person who rejoins has one entry for each stay.
    pub(crate) join_time: Option<Cow<'a, [u8]>>,
}

impl<'a> ParticipantIdentity<'a> {
    /// Reads `cleaned`, one element of a snapshot's `participants`, until all values are found. An element that is not
    /// an object has no values.
    ///
    /// # Errors
    /// The part of `cleaned` that is read is malformed. This can only be a bug.
    pub(crate) fn of(cleaned: &'a [u8]) -> Result<Self, NotAParticipant> {
        let mut identity = Self::default();
        let mut input = Cursor::new(cleaned);
        input.token()?;
        let Some(mut fields) = Container::open(&mut input, b'{') else { return Ok(identity) };
        while fields.next(&mut input)? && !identity.is_complete() {
            match identity.field(&input.key()?.name()?) {
                Some(unknown @ None) => *unknown = text_or_number(&mut input)?,
                _ => input.skip_value()?,
            }
        }
        Ok(identity)
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<Cow<'a, [u8]>>> {
        match name {
            b"user_id" => Some(&mut self.user_id),
            b"id" => Some(&mut self.id),
            b"participant_uuid" => Some(&mut self.participant_uuid),
            b"email" => Some(&mut self.email),
            b"join_time" => Some(&mut self.join_time),
            _ => None,
        }
    }

    fn is_complete(&self) -> bool {
        [&self.user_id, &self.id, &self.participant_uuid, &self.email, &self.join_time]
            .iter()
            .all(|value| value.is_some())
    }
}

fn text_or_number<'a>(input: &mut Cursor<'a>) -> Result<Option<Cow<'a, [u8]>>, Desynced> {
    match input.token()? {
        b'"' => input.text()?.name().map(Some),
        b'-' | b'0'..=b'9' => Ok(Some(Cow::Borrowed(input.scalar()?))),
        _ => {
            input.skip_value()?;
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the five values, with `-` for `None`.
    fn read(cleaned: &str) -> Result<String, NotAParticipant> {
        let identity = ParticipantIdentity::of(cleaned.as_bytes())?;
        let values =
            [identity.user_id, identity.id, identity.participant_uuid, identity.email, identity.join_time];
        let values = values
            .map(|value| value.map_or("-".into(), |value| String::from_utf8_lossy(&value).into_owned()));
        Ok(values.join(" "))
    }

    #[test]
    fn the_values_are_found_wherever_they_stand() {
        assert_eq!(
            read(
                r#"{"user_qos":[{"id":"x","a":["}",{}]}],"join_time":"t","email":"e","id":"i","x":{"user_id":1},"user_id":"u"}"#
            ),
            Ok("u i - e t".to_owned())
        );
        assert_eq!(read(r#"{"user_id":16778240,"id":-1.5e3}"#), Ok("16778240 -1.5e3 - - -".to_owned()));
        assert_eq!(
            read(r#"{"user_id":null,"id":["i"],"email":{"e":1},"join_time":true}"#),
            Ok("- - - - -".to_owned())
        );
        for no_object in ["[]", "null", "7", "{}"] {
            assert_eq!(read(no_object), Ok("- - - - -".to_owned()), "{no_object}");
        }
    }

    #[test]
    fn values_are_unescaped_and_borrowed_where_nothing_is_escaped() {
        let text = r#"{"\u0069d":"a\/b\u00fc","email":"ü@example.com","user_id":"\ud83d"}"#;
        let identity = ParticipantIdentity::of(text.as_bytes()).unwrap();
        assert_eq!(identity.id.as_deref(), Some("a/bü".as_bytes()));
        assert!(matches!(identity.email, Some(Cow::Borrowed(b"\xc3\xbc@example.com"))));
        assert_eq!(identity.user_id.as_deref(), Some(&b"\xed\xa0\xbd"[..]));
    }

    #[test]
    fn the_first_of_equal_keys_counts() {
        assert_eq!(read(r#"{"id":null,"id":"1","id":"2","\u0069d":"3"}"#), Ok("- 1 - - -".to_owned()));
    }

    #[test]
    fn a_cut_participant_is_rejected() {
        let whole = r#"{"user_id":"u","user_qos":[{"a":1}],"x":"y"}"#;
        for end in 0..whole.len() {
            assert_eq!(read(whole.get(..end).unwrap()), Err(NotAParticipant), "{end}");
        }
    }
}
