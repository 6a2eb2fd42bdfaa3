//! Copies the list of participants to the output and cleans it on the way. Does not recurse, and does not build a tree.

use std::ops::Range;

use jiff::Timestamp;

use super::copier::Copier;
use super::cursor::{Cursor, Desynced, Text};
use super::field::{Field, Key, Unparsed};
use super::measure;
use super::page::Page;
use super::renames::{self, Renames, Undo};

/// The place of a value, which decides which rules apply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// An element of `participants`.
    Participant,
    /// Below a participant, outside its `user_qos`: only `""` changes.
    Outside,
    /// A participant's `user_qos` and everything below it.
    Qos,
}

/// An open list or object. Two bytes, so that a million of them take two megabytes.
#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    scope: Scope,
}

/// The position of the input in the document.
enum Position {
    Value(Scope),
    /// The key of an object's entry.
    Entry,
    /// `,`, a closing bracket, or the end of the row.
    After,
    Done,
}

/// The list of participants while it is copied.
pub(super) struct Participants<'a, 'o> {
    copier: Copier<'a, 'o>,
    open: Vec<Open>,
    renames: Renames<'a>,
    rows: Vec<Range<usize>>,
    newest_leave_time: Option<Timestamp>,
    unparsed: Unparsed,
}

impl<'a, 'o> Participants<'a, 'o> {
    /// `input` must be at a list's first element.
    pub(super) fn new(input: Cursor<'a>, out: &'o mut Vec<u8>) -> Self {
        Self {
            copier: Copier::new(input, out),
            open: Vec::new(),
            renames: Renames::default(),
            rows: Vec::new(),
            newest_leave_time: None,
            unparsed: Unparsed::default(),
        }
    }

    /// Cleans one element. Returns whether another one follows.
    pub(super) fn row(&mut self) -> Result<bool, Desynced> {
        self.copier.token()?;
        let start = self.copier.written();
        let mut position = Position::Value(Scope::Participant);
        loop {
            position = match position {
                Position::Value(scope) => self.value(scope)?,
                Position::Entry => self.entry()?,
                Position::After => self.after()?,
                Position::Done => break,
            };
        }
        self.copier.copy_to_input()?;
        self.rows.push(start..self.copier.written());

        let token = self.copier.token()?;
        self.copier.input.step();
        match token {
            b',' => {
                self.copier.copy_to_input()?;
                Ok(true)
            }
            b']' => Ok(false),
            _ => Err(Desynced),
        }
    }

    /// Fills in `page`, and returns the cursor after the list.
    pub(super) fn finish(self, page: &mut Page) -> Result<Cursor<'a>, Desynced> {
        page.rows = self.rows;
        page.newest_leave_time = self.newest_leave_time;
        page.unparsed = self.unparsed;
        let Copier { input, out, begin, .. } = self.copier;
        let undo = self.renames.into_undo();
        if !undo.is_empty() {
            renames::take_back(&undo, out, begin, &mut page.rows)?;
        }
        Ok(input)
    }

    fn value(&mut self, scope: Scope) -> Result<Position, Desynced> {
        let copier = &mut self.copier;
        match copier.token()? {
            b'{' => {
                copier.input.step();
                self.open.push(Open { is_object: true, scope });
                if scope == Scope::Qos {
                    self.renames.open_object();
                }
                Ok(if copier.token()? == b'}' { Position::After } else { Position::Entry })
            }
            b'[' => {
                copier.input.step();
                // A list in the place of a participant is not a participant, and neither are its elements.
                let scope = if scope == Scope::Participant { Scope::Outside } else { scope };
                self.open.push(Open { is_object: false, scope });
                Ok(if copier.token()? == b']' { Position::After } else { Position::Value(scope) })
            }
            b'"' => {
                let text = copier.input.text()?;
                if text.raw.is_empty() {
                    copier.copy_to(text.begin())?;
                    copier.out.extend_from_slice(b"null");
                    copier.drop_to_input();
                }
                Ok(Position::After)
            }
            _ => {
                copier.input.scalar()?;
                Ok(Position::After)
            }
        }
    }

    fn after(&mut self) -> Result<Position, Desynced> {
        let Some(&Open { is_object, scope }) = self.open.last() else {
            return Ok(Position::Done);
        };
        let token = self.copier.token()?;
        self.copier.input.step();
        match token {
            b',' if is_object => Ok(Position::Entry),
            b',' => Ok(Position::Value(scope)),
            b'}' | b']' => {
                self.open.pop();
                if is_object && scope == Scope::Qos {
                    self.renames.close_object()?;
                }
                Ok(Position::After)
            }
            _ => Err(Desynced),
        }
    }

    fn entry(&mut self) -> Result<Position, Desynced> {
        let scope = self.open.last().ok_or(Desynced)?.scope;
        self.copier.token()?;
        let key = self.copier.input.text()?;
        let scope = match scope {
            Scope::Participant => self.participant_key(key)?,
            Scope::Outside => Scope::Outside,
            Scope::Qos => {
                let name = key.name()?;
                match Key::of(&name) {
                    Key::Zooms(field) if self.clean(key, &name, field)? => return Ok(Position::After),
                    Key::Ours(field) => self.renames.sent(key, &name, field),
                    Key::Zooms(_) | Key::Other => {}
                }
                Scope::Qos
            }
        };
        if self.copier.token()? != b':' {
            return Err(Desynced);
        }
        self.copier.input.step();
        Ok(Position::Value(scope))
    }

    fn participant_key(&mut self, key: Text<'a>) -> Result<Scope, Desynced> {
        match key.name()?.as_ref() {
            b"user_qos" => return Ok(Scope::Qos),
            b"leave_time" => {
                let mut ahead = self.copier.input;
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

    /// Writes the entry of one of Zoom's fields under its new key. Returns `false` if the entry must stay as it is:
    /// then the cursor is still after the key, and at most the beginning that both forms share has been written.
    fn clean(&mut self, key: Text<'a>, name: &[u8], field: Field) -> Result<bool, Desynced> {
        let copier = &mut self.copier;
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

        let mut value = None;
        if token == b'n' {
            ahead.scalar()?;
        } else {
            value = Some(ahead.text()?).filter(|text| !text.raw.is_empty());
        }
        match value {
            None => copier.out.extend_from_slice(b"null"),
            Some(text) if measure::append(field, &text.name()?, copier.out).is_some() => {}
            Some(_) => {
                copier.out.truncate(common);
                self.unparsed.count(field);
                return Ok(false);
            }
        }
        if !field.suffix().is_empty() {
            let key_begin = common.saturating_sub(copier.begin + 1 + key.raw.len());
            let written = key_begin..copier.written();
            let undo = Undo { written, key: key.raw, value: value.map(|text| text.raw) };
            self.renames.renamed(key, name, field, undo);
        }
        copier.input = ahead;
        copier.drop_to_input();
        Ok(true)
    }
}
