//! Rewrites a value by rules. Does not recurse, so the value may have any depth.

use super::copier::Copier;
use super::cursor::{Cursor, Desynced, Text};
use super::renames::Renames;

/// The changes that a [`Rewriter`] makes. It copies everything that these methods neither write nor drop.
pub(crate) trait Rules<'a> {
    /// The place of a value, which decides which rules apply to it.
    type Scope: Copy;

    /// Returns the scope of a list's elements.
    fn element(list: Self::Scope) -> Self::Scope;

    /// Returns the recorder of the keys of objects in this scope; `None` if their keys are not recorded.
    fn renames(&mut self, _: Self::Scope) -> Option<&mut Renames<'a>> {
        None
    }

    /// Handles an entry of an object in `scope`, with the input after the key. Returns the scope of the value if the
    /// rewriter must handle the value; `None` if the input is already after it.
    fn entry(
        &mut self,
        copier: &mut Copier<'a, '_>,
        scope: Self::Scope,
        key: Text<'a>,
    ) -> Result<Option<Self::Scope>, Desynced>;

    /// Handles a value other than a list or an object, and steps over it. `token` is its first byte.
    fn scalar(&mut self, copier: &mut Copier<'a, '_>, scope: Self::Scope, token: u8) -> Result<(), Desynced>;
}

/// An open list or object. It takes two bytes if the scope takes one, so a million open levels take two megabytes.
#[derive(Clone, Copy)]
struct Open<S> {
    is_object: bool,
    scope: S,
}

/// The position of the input in the value.
enum Position<S> {
    Value(S),
    /// The key of an object's entry.
    Entry,
    /// `,`, a closing bracket, or the end of the value.
    After,
    Done,
}

pub(crate) struct Rewriter<'a, 'o, R: Rules<'a>> {
    pub(crate) copier: Copier<'a, 'o>,
    pub(crate) rules: R,
    open: Vec<Open<R::Scope>>,
}

impl<'a, 'o, R: Rules<'a>> Rewriter<'a, 'o, R> {
    pub(crate) fn new(input: Cursor<'a>, out: &'o mut Vec<u8>, rules: R) -> Self {
        Self { copier: Copier::new(input, out), rules, open: Vec::new() }
    }

    /// Rewrites the value that the input is at.
    pub(crate) fn value(&mut self, scope: R::Scope) -> Result<(), Desynced> {
        let mut position = Position::Value(scope);
        loop {
            position = match position {
                Position::Value(scope) => self.begin(scope)?,
                Position::Entry => self.entry()?,
                Position::After => self.after()?,
                Position::Done => break,
            };
        }
        self.copier.copy_to_input()
    }

    fn begin(&mut self, scope: R::Scope) -> Result<Position<R::Scope>, Desynced> {
        let token = self.copier.token()?;
        match token {
            b'{' => {
                self.copier.input.step();
                self.open.push(Open { is_object: true, scope });
                if let Some(renames) = self.rules.renames(scope) {
                    renames.open_object();
                }
                Ok(if self.copier.token()? == b'}' { Position::After } else { Position::Entry })
            }
            b'[' => {
                self.copier.input.step();
                let scope = R::element(scope);
                self.open.push(Open { is_object: false, scope });
                Ok(if self.copier.token()? == b']' { Position::After } else { Position::Value(scope) })
            }
            _ => {
                self.rules.scalar(&mut self.copier, scope, token)?;
                Ok(Position::After)
            }
        }
    }

    fn entry(&mut self) -> Result<Position<R::Scope>, Desynced> {
        let scope = self.open.last().ok_or(Desynced)?.scope;
        self.copier.token()?;
        let key = self.copier.input.text()?;
        let Some(scope) = self.rules.entry(&mut self.copier, scope, key)? else {
            return Ok(Position::After);
        };
        if self.copier.token()? != b':' {
            return Err(Desynced);
        }
        self.copier.input.step();
        Ok(Position::Value(scope))
    }

    fn after(&mut self) -> Result<Position<R::Scope>, Desynced> {
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
                if is_object && let Some(renames) = self.rules.renames(scope) {
                    renames.close_object()?;
                }
                Ok(Position::After)
            }
            _ => Err(Desynced),
        }
    }
}
