//! Copies the list of participants to the output and cleans it on the way. Does not recurse, and does not build a tree.

use std::ops::Range;

use jiff::Timestamp;

use super::field::{Field, Key, Unparsed};
use super::measure;
use super::page::Page;
use super::scope::Scope;
use crate::json::{Copier, Cursor, Desynced, Renames, Rewriter, Rules, Text, Ties, Undo};

/// The list of participants while it is copied.
pub(super) struct Participants<'a, 'o> {
    rewriter: Rewriter<'a, 'o, Cleaner<'a>>,
    rows: Vec<Range<usize>>,
}

/// The rules that clean one participant after the other.
struct Cleaner<'a> {
    renames: Renames<'a>,
    newest_leave_time: Option<Timestamp>,
    unparsed: Unparsed,
}

impl<'a, 'o> Participants<'a, 'o> {
    /// `input` must be at a list's first element.
    pub(super) fn new(input: Cursor<'a>, out: &'o mut Vec<u8>) -> Self {
        let cleaner = Cleaner {
            renames: Renames::new(Ties::FirstStays),
            newest_leave_time: None,
            unparsed: Unparsed::default(),
        };
        Self { rewriter: Rewriter::new(input, out, cleaner), rows: Vec::new() }
    }

    /// Cleans one element. Returns whether another element follows.
    pub(super) fn row(&mut self) -> Result<bool, Desynced> {
        self.rewriter.copier.token()?;
        let start = self.rewriter.copier.written();
        self.rewriter.value(Scope::Participant)?;
        let copier = &mut self.rewriter.copier;
        self.rows.push(start..copier.written());

        let token = copier.token()?;
        copier.input.step();
        match token {
            b',' => {
                copier.copy_to_input()?;
                Ok(true)
            }
            b']' => Ok(false),
            _ => Err(Desynced),
        }
    }

    /// Fills in the fields of `page` that cleaning finds.
    pub(super) fn finish(self, page: &mut Page) -> Result<(), Desynced> {
        let Rewriter { copier: Copier { out, begin, .. }, rules, .. } = self.rewriter;
        page.rows = self.rows;
        page.newest_leave_time = rules.newest_leave_time;
        page.unparsed = rules.unparsed;
        rules.renames.finish(out, begin, &mut page.rows)
    }
}

impl<'a> Rules<'a> for Cleaner<'a> {
    type Scope = Scope;

    fn element(list: Scope) -> Scope {
        list.element()
    }

    fn renames(&mut self, scope: Scope) -> Option<&mut Renames<'a>> {
        (scope == Scope::Qos).then_some(&mut self.renames)
    }

    fn entry(
        &mut self,
        copier: &mut Copier<'a, '_>,
        scope: Scope,
        key: Text<'a>,
    ) -> Result<Option<Scope>, Desynced> {
        if scope == Scope::Outside {
            return Ok(Some(Scope::Outside));
        }
        let name = key.name()?;
        match (scope, Key::of(&name)) {
            (Scope::Qos, Key::Zooms(field)) if self.clean(copier, key, &name, field)? => return Ok(None),
            (Scope::Qos, Key::Ours(field)) => self.renames.record(field.bit(&name), key, "", None),
            (Scope::Participant, _) if *name == *b"leave_time" => self.leave_time(copier.input)?,
            _ => {}
        }
        Ok(Some(scope.entry(&name)))
    }

    #[inline]
    fn scalar(&mut self, copier: &mut Copier<'a, '_>, _: Scope, token: u8) -> Result<(), Desynced> {
        if token != b'"' {
            copier.input.scalar()?;
            return Ok(());
        }
        let text = copier.input.text()?;
        if text.raw.is_empty() {
            copier.copy_to(text.begin())?;
            copier.out.extend_from_slice(b"null");
            copier.drop_to_input();
        }
        Ok(())
    }
}

impl<'a> Cleaner<'a> {
    fn leave_time(&mut self, mut ahead: Cursor<'a>) -> Result<(), Desynced> {
        ahead.take(b':')?;
        if ahead.token()? == b'"' {
            let time = ahead.text()?.name()?;
            let time = str::from_utf8(&time).ok().and_then(|time| time.parse().ok());
            self.newest_leave_time = self.newest_leave_time.max(time);
        }
        Ok(())
    }

    /// Writes the entry of one of Zoom's fields under its new key. Returns `false` if the entry must stay as it is.
    /// The cursor is then still after the key, and at most the beginning that both forms share has been written.
    fn clean(
        &mut self,
        copier: &mut Copier<'a, '_>,
        key: Text<'a>,
        name: &[u8],
        field: Field,
    ) -> Result<bool, Desynced> {
        let mut ahead = copier.input;
        ahead.take(b':')?;
        let token = ahead.token()?;
        if !matches!(token, b'"' | b'n') {
            return Ok(false);
        }
        copier.copy_to(key.closing_quote())?;
        let common = copier.out.len();
        copier.out.extend_from_slice(field.suffix().as_bytes());
        copier.out.extend_from_slice(b"\":");

        // `""` becomes `null` under any key, so undoing a rename also writes `null`.
        let mut value = &b"null"[..];
        let mut text = None;
        if token == b'n' {
            ahead.scalar()?;
        } else {
            text = Some(ahead.text()?).filter(|text| !text.raw.is_empty());
        }
        match text {
            None => copier.out.extend_from_slice(value),
            Some(text) if measure::append(field, &text.name()?, copier.out).is_some() => {
                value = copier.input.source().get(text.begin()..=text.closing_quote()).ok_or(Desynced)?;
            }
            Some(_) => {
                copier.out.truncate(common);
                self.unparsed.count(field);
                return Ok(false);
            }
        }
        if !field.suffix().is_empty() {
            let key_begin = common.saturating_sub(copier.begin + 1 + key.raw.len());
            let undo = Undo { written: key_begin..copier.written(), value };
            self.renames.record(field.bit(name), key, field.suffix(), Some(undo));
        }
        copier.input = ahead;
        copier.drop_to_input();
        Ok(true)
    }
}
