//! The person behind a row of a meeting, and the pseudonym that stands for this person.

use std::borrow::Cow;

use ring::hmac;

/// The length of a pseudonym: `p-` and ten hexadecimal digits.
pub const PSEUDONYM_LENGTH: usize = 12;

/// A pseudonym that is not known yet, as JSON text.
pub(super) const PLACEHOLDER: &[u8; PSEUDONYM_LENGTH + 2] = b"\"p-0000000000\"";

/// The values that may identify a person, in order of preference. The first one that is not empty is used. `user_id`
/// comes last, because it changes when the person rejoins.
const IDENTIFIERS: [&[u8]; 4] = [b"id", b"email", b"participant_uuid", b"user_id"];

/// The identifiers that one participant has, unescaped.
#[derive(Default)]
pub(super) struct Person<'a>([Option<Cow<'a, [u8]>>; IDENTIFIERS.len()]);

impl<'a> Person<'a> {
    /// Records a string or a number under this name. If a name occurs several times, the first value counts, as in
    /// [`ParticipantIdentity`](crate::view::identity::ParticipantIdentity).
    pub(super) fn record(&mut self, name: &[u8], value: Cow<'a, [u8]>) {
        let slot = IDENTIFIERS.iter().zip(&mut self.0).find(|(known, _)| **known == name);
        if let Some((_, slot @ None)) = slot {
            *slot = Some(value);
        }
    }

    pub(super) fn identifier(&self) -> Option<&[u8]> {
        self.0.iter().flatten().next().map(AsRef::as_ref)
    }
}

/// Returns whether the text has the form of a pseudonym.
#[must_use]
pub fn is_pseudonym(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == PSEUDONYM_LENGTH
        && text.strip_prefix("p-").is_some_and(|digits| digits.bytes().all(is_digit))
}

/// Returns the pseudonym of a person. `context` is the HMAC context of the meeting.
pub(super) fn pseudonym(mut context: hmac::Context, person: &[u8]) -> [u8; PSEUDONYM_LENGTH] {
    context.update(person);
    let digest = context.sign();
    let mut text = *b"p-0000000000";
    for (slot, digit) in text.iter_mut().skip(2).zip(hex::encode(digest).bytes()) {
        *slot = digit;
    }
    text
}
