//! Copies the participants' list to the output and cleans it on the way; does not recurse, builds no tree.

use std::ops::Range;

use jiff::Timestamp;

use super::cursor::{Astray, Cursor, Text};
use super::field::{Field, Key};
use super::renames::{self, Renames, Undo};
use super::{Page, Unparsed, measure};

/// Which rules hold for a value, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// An element of `participants`.
    Participant,
    /// Below a participant, outside its `user_qos`: only `""` changes.
    Outside,
    /// A participant's `user_qos` and everything below it.
    Qos,
}

/// A list or object that is not closed yet. Two bytes, so that a million of them are two megabytes.
#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    scope: Scope,
}

/// What stands at the cursor.
enum Step {
    Value(Scope),
    /// The key of an object's entry.
    Entry,
    /// `,`, a closing bracket, or the end of the row.
    After,
    Done,
}

/// The list while it is copied.
pub(super) struct Participants<'a, 'o> {
    input: Cursor<'a>,
    /// The source up to here is in `out`, or replaced, or dropped. What follows is copied when something must
    /// change, in one run: most of a page is a few long copies.
    copied: usize,
    out: &'o mut Vec<u8>,
    begin: usize,
    open: Vec<Open>,
    renames: Renames<'a>,
    rows: Vec<Range<usize>>,
    newest_leave_time: Option<Timestamp>,
    unparsed: Unparsed,
}

impl<'a, 'o> Participants<'a, 'o> {
    /// Expects a list's first element at `input`.
    pub(super) fn new(input: Cursor<'a>, out: &'o mut Vec<u8>) -> Self {
        Self {
            input,
            copied: input.at(),
            begin: out.len(),
            out,
            open: Vec::new(),
            renames: Renames::default(),
            rows: Vec::new(),
            newest_leave_time: None,
            unparsed: Unparsed::default(),
        }
    }

    /// Cleans one element; true if another one follows.
    pub(super) fn row(&mut self) -> Result<bool, Astray> {
        self.token()?;
        let start = self.out.len() - self.begin;
        let mut step = Step::Value(Scope::Participant);
        loop {
            step = match step {
                Step::Value(scope) => self.value(scope)?,
                Step::Entry => self.entry()?,
                Step::After => self.after()?,
                Step::Done => break,
            };
        }
        self.copy_to(self.input.at())?;
        self.rows.push(start..self.out.len() - self.begin);

        match self.token()? {
            b',' => {
                self.input.step();
                self.copy_to(self.input.at())?;
                Ok(true)
            }
            b']' => {
                self.input.step();
                Ok(false)
            }
            _ => Err(Astray),
        }
    }

    /// Adds what was learnt to `page` and hands back the cursor, behind the list.
    pub(super) fn finish(self, page: &mut Page) -> Result<Cursor<'a>, Astray> {
        page.rows = self.rows;
        page.newest_leave_time = self.newest_leave_time;
        page.unparsed = self.unparsed;
        let undo = self.renames.into_undo();
        if !undo.is_empty() {
            renames::take_back(&undo, self.out, self.begin, &mut page.rows)?;
        }
        Ok(self.input)
    }

    fn value(&mut self, scope: Scope) -> Result<Step, Astray> {
        match self.token()? {
            b'{' => {
                self.input.step();
                self.open.push(Open { is_object: true, scope });
                if scope == Scope::Qos {
                    self.renames.open_object();
                }
                Ok(if self.token()? == b'}' { Step::After } else { Step::Entry })
            }
            b'[' => {
                self.input.step();
                // A list in the place of a participant is none: its elements are not participants either.
                let scope = if scope == Scope::Participant { Scope::Outside } else { scope };
                self.open.push(Open { is_object: false, scope });
                Ok(if self.token()? == b']' { Step::After } else { Step::Value(scope) })
            }
            b'"' => {
                let text = self.input.text()?;
                if text.raw.is_empty() {
                    self.copy_to(text.begin())?;
                    self.out.extend_from_slice(b"null");
                    self.copied = self.input.at();
                }
                Ok(Step::After)
            }
            _ => {
                self.input.scalar()?;
                Ok(Step::After)
            }
        }
    }

    fn after(&mut self) -> Result<Step, Astray> {
        let Some(&Open { is_object, scope }) = self.open.last() else {
            return Ok(Step::Done);
        };
        let token = self.token()?;
        self.input.step();
        match token {
            b',' if is_object => Ok(Step::Entry),
            b',' => Ok(Step::Value(scope)),
            b'}' | b']' => {
                self.open.pop();
                if is_object && scope == Scope::Qos {
                    self.renames.close_object()?;
                }
                Ok(Step::After)
            }
            _ => Err(Astray),
        }
    }

    fn entry(&mut self) -> Result<Step, Astray> {
        let scope = self.open.last().ok_or(Astray)?.scope;
        self.token()?;
        let key = self.input.text()?;
        let scope = match scope {
            Scope::Participant => self.participant_key(key)?,
            Scope::Outside => Scope::Outside,
            Scope::Qos => {
                let name = key.name()?;
                match Key::of(&name) {
                    Key::Zooms(field) if self.cleaned(key, &name, field)? => return Ok(Step::After),
                    Key::Ours(field) => self.renames.sent(key, &name, field),
                    Key::Zooms(_) | Key::Other => {}
                }
                Scope::Qos
            }
        };
        if self.token()? != b':' {
            return Err(Astray);
        }
        self.input.step();
        Ok(Step::Value(scope))
    }

    fn participant_key(&mut self, key: Text<'a>) -> Result<Scope, Astray> {
        match key.name()?.as_ref() {
            b"user_qos" => return Ok(Scope::Qos),
            b"leave_time" => {
                let mut ahead = self.input;
                ahead.take(b':')?;
                if ahead.token()? == b'"' {
                    let time = ahead.text()?.name()?;
                    let time = str::from_utf8(&time).ok().and_then(|time| time.parse().ok());
                    self.newest_leave_time = self.newest_leave_time.max(time);
                }
            }
            _ => {}
        }
        Ok(Scope::Outside)
    }

    /// Writes an entry whose key is Zoom's own of a field under its new key. False if it stays as it is: then the
    /// cursor still stands behind the key, and nothing is written but the part of the entry that is equal.
    fn cleaned(&mut self, key: Text<'a>, name: &[u8], field: Field) -> Result<bool, Astray> {
        let mut ahead = self.input;
        ahead.take(b':')?;
        let token = ahead.token()?;
        if !matches!(token, b'"' | b'n') {
            return Ok(false);
        }
        self.copy_to(key.closing_quote())?;
        let written = self.out.len();
        self.out.extend_from_slice(field.suffix().as_bytes());
        self.out.extend_from_slice(b"\":");

        let mut value = None;
        if token == b'n' {
            ahead.scalar()?;
        } else {
            value = Some(ahead.text()?).filter(|text| !text.raw.is_empty());
        }
        match value {
            None => self.out.extend_from_slice(b"null"),
            Some(text) if measure::append(field, &text.name()?, self.out).is_some() => {}
            Some(_) => {
                self.out.truncate(written);
                self.unparsed.count(field);
                return Ok(false);
            }
        }
        if !field.suffix().is_empty() {
            let key_begin = written.saturating_sub(self.begin + 1 + key.raw.len());
            let written = key_begin..self.out.len() - self.begin;
            let undo = Undo { written, key: key.raw, value: value.map(|text| text.raw) };
            self.renames.renamed(key, name, field, undo);
        }
        self.input = ahead;
        self.copied = ahead.at();
        Ok(true)
    }

    /// The next token; white space before it is left out of the output.
    #[inline]
    fn token(&mut self) -> Result<u8, Astray> {
        let before = self.input.at();
        let token = self.input.token()?;
        if self.input.at() != before {
            self.copy_to(before)?;
            self.copied = self.input.at();
        }
        Ok(token)
    }

    #[inline]
    fn copy_to(&mut self, end: usize) -> Result<(), Astray> {
        let run = self.input.source().get(self.copied..end).ok_or(Astray)?;
        self.out.extend_from_slice(run);
        self.copied = end;
        Ok(())
    }
}
