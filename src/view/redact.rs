//! Removes from a participant what a caller may not see, in one pass and without a tree.
//!
//! Hidden values become `null`, or `[]` in Zoom's shape, and the values that identify a person become the person's
//! pseudonym. A value of unknown meaning is also hidden, unless it is a boolean: Zoom adds fields every few months, and
//! nobody knows what the next one contains.

mod fields;
mod person;
mod rules;

use std::ops::Range;

use ring::hmac;

use self::rules::{RedactionRules, RedactionScope};
pub use self::{
    fields::FieldClass,
    person::{PSEUDONYM_LENGTH, is_pseudonym},
    rules::HiddenForm,
};
use super::NotAParticipant;
use crate::{
    hiding::{HiddenFields, HidingKeys},
    json::{Copier, Cursor, Desynced, Rewriter},
};

/// Redacts the participants of one meeting.
pub struct ParticipantRedactor {
    hidden: HiddenFields,
    form: HiddenForm,
    /// The HMAC context with which every pseudonym of this meeting begins; see [`HidingKeys::pseudonyms_of`].
    pseudonyms: hmac::Context,
}

impl ParticipantRedactor {
    /// Returns a redactor for the participants of the meeting that was requested by this id.
    pub fn new(hidden: HiddenFields, form: HiddenForm, keys: &HidingKeys, meeting: &str) -> Self {
        Self { hidden, form, pseudonyms: keys.pseudonyms_of(meeting) }
    }

    /// Appends what the caller may see of `cleaned`, one element of a snapshot's `participants`.
    ///
    /// # Errors
    /// `cleaned` is not such an element, which can only be a bug. `out` is then unchanged.
    pub fn append(&self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), NotAParticipant> {
        let begin = out.len();
        out.reserve(cleaned.len());
        let appended = self.append_redacted(cleaned, out);
        if appended.is_err() {
            out.truncate(begin);
        }
        Ok(appended?)
    }

    fn append_redacted(&self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), Desynced> {
        if self.hidden.is_empty() {
            // If nothing is hidden, no rule is applied, so a mistake in the rules cannot hide anything.
            out.extend_from_slice(cleaned);
            return Ok(());
        }
        let rules = RedactionRules::new(self.hidden, self.form);
        let mut rewriter = Rewriter::new(Cursor::new(cleaned), out, rules);
        rewriter.value(RedactionScope::Participant)?;
        let Rewriter { copier: Copier { input, out, begin, .. }, rules, .. } = rewriter;
        if input.at() != cleaned.len() {
            return Err(Desynced);
        }
        let person = rules.person.identifier();
        let pseudonym = person.map(|person| person::pseudonym(self.pseudonyms.clone(), person));
        let places =
            rules.placeholders.iter().map(|place| begin + place..begin + place + PSEUDONYM_LENGTH + 2);
        fill_in(pseudonym, places, out)
    }
}

/// Replaces the quoted placeholders with the pseudonym, which is known only after the last field. If no value
/// identifies the person, the placeholders become `null`.
fn fill_in(
    pseudonym: Option<[u8; PSEUDONYM_LENGTH]>,
    places: impl DoubleEndedIterator<Item = Range<usize>>,
    out: &mut Vec<u8>,
) -> Result<(), Desynced> {
    // The last placeholder is replaced first, so that a replacement of another length does not move the placeholders
    // before it.
    for place in places.rev() {
        match pseudonym {
            Some(pseudonym) => {
                let text = out.get_mut(place.start + 1..place.end - 1).ok_or(Desynced)?;
                text.copy_from_slice(&pseudonym);
            }
            None => drop(out.splice(place, *b"null")),
        }
    }
    Ok(())
}
