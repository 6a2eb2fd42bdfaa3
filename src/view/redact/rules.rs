//! Decides about each value of a participant whether it is copied, hidden or replaced by a pseudonym.

use std::borrow::Cow;

use super::{
    fields::{FieldClass, SampleClass, is_known_word},
    person::{PLACEHOLDER, Person},
};
use crate::{
    hiding::{FieldGroup, HiddenFields},
    json::{Copier, Cursor, Desynced, Rules, Text},
};

/// The value that replaces a hidden one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenForm {
    /// Always `null`.
    Null,
    /// `[]` for a participant's field that is a list, else `null`, which Zoom's shape normally turns into `""`.
    ZoomsShape,
}

/// The place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedactionScope {
    /// An element of `participants`.
    Participant,
    /// A value that is shown completely.
    Shown,
    /// `user_qos`.
    Samples,
    /// An element of `user_qos`.
    Sample,
    /// `date_time` of a sample.
    Time,
    /// A number that is shown.
    Number,
    /// A string that is shown if it is a known word.
    Word,
    /// A resolution: a number, or an object with two numbers.
    Resolution,
    /// Any other value below `user_qos`. Its strings and numbers are hidden.
    Unknown,
}

pub(super) struct RedactionRules<'a> {
    hidden: HiddenFields,
    hides_identity: bool,
    form: HiddenForm,
    pub(super) person: Person<'a>,
    /// The offsets of [`PLACEHOLDER`]s, counted from the beginning of the copy in the output.
    pub(super) placeholders: Vec<usize>,
}

impl<'a> Rules<'a> for RedactionRules<'a> {
    type Scope = RedactionScope;

    fn element(list: RedactionScope) -> RedactionScope {
        match list {
            RedactionScope::Shown => RedactionScope::Shown,
            RedactionScope::Samples => RedactionScope::Sample,
            _ => RedactionScope::Unknown,
        }
    }

    fn entry(
        &mut self,
        copier: &mut Copier<'a, '_>,
        scope: RedactionScope,
        key: Text<'a>,
    ) -> Result<Option<RedactionScope>, Desynced> {
        use RedactionScope::{Number, Participant, Resolution, Sample, Shown, Time, Unknown, Word};
        if scope == Shown {
            return Ok(Some(Shown));
        }
        let name = key.name()?;
        Ok(Some(match scope {
            Participant => return self.field(copier, &name),
            Sample if *name == *b"date_time" => Time,
            Resolution if [&b"width"[..], b"height"].contains(&&*name) => Number,
            _ => match SampleClass::of(&name) {
                SampleClass::Number => Number,
                SampleClass::Word => Word,
                SampleClass::Resolution => Resolution,
                SampleClass::Unknown => Unknown,
            },
        }))
    }

    #[inline]
    fn scalar(
        &mut self,
        copier: &mut Copier<'a, '_>,
        scope: RedactionScope,
        token: u8,
    ) -> Result<(), Desynced> {
        use RedactionScope::{Number, Resolution, Shown, Time, Word};
        let begin = copier.input.at();
        let is_shown = if token == b'"' {
            let text = copier.input.text()?;
            match scope {
                Shown | Time => true,
                Word => is_known_word(&text.name()?),
                _ => false,
            }
        } else {
            copier.input.scalar()?;
            matches!(scope, Shown | Number | Resolution) || is_boolean_or_null(token)
        };
        if !is_shown {
            copier.copy_to(begin)?;
            copier.out.extend_from_slice(b"null");
            copier.drop_to_input();
        }
        Ok(())
    }
}

impl<'a> RedactionRules<'a> {
    pub(super) fn new(hidden: HiddenFields, form: HiddenForm) -> Self {
        let hides_identity = hidden.contains(FieldGroup::Identity);
        Self { hidden, hides_identity, form, person: Person::default(), placeholders: Vec::new() }
    }

    fn field(
        &mut self,
        copier: &mut Copier<'a, '_>,
        name: &[u8],
    ) -> Result<Option<RedactionScope>, Desynced> {
        let class = FieldClass::of(name);
        if class == FieldClass::Samples {
            return Ok(Some(RedactionScope::Samples));
        }
        let mut value = copier.input;
        value.take(b':')?;
        let token = value.token()?;
        if class == FieldClass::Pseudonym && self.hides_identity {
            self.replace_by_pseudonym(copier, name, value)?;
            return Ok(None);
        }
        let is_shown = match class {
            FieldClass::Unknown => is_boolean_or_null(token),
            FieldClass::Number => is_boolean_or_null(token) || matches!(token, b'-' | b'0'..=b'9'),
            known => !known.is_hidden(self.hidden),
        };
        if is_shown {
            return Ok(Some(RedactionScope::Shown));
        }
        let is_list = token == b'[' || name == b"internal_ip_addresses";
        let hidden = if is_list && self.form == HiddenForm::ZoomsShape { &b"[]"[..] } else { b"null" };
        value.skip_value()?;
        replace(copier, value, hidden)?;
        Ok(None)
    }

    /// Writes a placeholder for a value that identifies the person, and remembers a string or a number. For `null` or
    /// an empty string, writes `null`.
    fn replace_by_pseudonym(
        &mut self,
        copier: &mut Copier<'a, '_>,
        name: &[u8],
        mut value: Cursor<'a>,
    ) -> Result<(), Desynced> {
        let is_empty = match value.token()? {
            b'"' => {
                let text = value.text()?;
                if !text.raw.is_empty() {
                    self.person.record(name, text.name()?);
                }
                text.raw.is_empty()
            }
            b'-' | b'0'..=b'9' => {
                self.person.record(name, Cow::Borrowed(value.scalar()?));
                false
            }
            token => {
                value.skip_value()?;
                token == b'n'
            }
        };
        if is_empty {
            return replace(copier, value, b"null");
        }
        replace(copier, value, PLACEHOLDER)?;
        self.placeholders.push(copier.written().saturating_sub(PLACEHOLDER.len()));
        Ok(())
    }
}

fn is_boolean_or_null(token: u8) -> bool {
    matches!(token, b't' | b'f' | b'n')
}

/// Replaces the value of the key that the input has just passed. The rest of the input begins at `end`.
fn replace<'a>(copier: &mut Copier<'a, '_>, end: Cursor<'a>, value: &[u8]) -> Result<(), Desynced> {
    copier.copy_to_input()?;
    copier.out.push(b':');
    copier.out.extend_from_slice(value);
    copier.input = end;
    copier.drop_to_input();
    Ok(())
}
