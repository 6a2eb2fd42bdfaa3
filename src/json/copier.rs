//! Copies the source to the output in long runs, except for parts that are replaced or dropped.

use super::cursor::{Cursor, Desynced};

pub(crate) struct Copier<'a, 'o> {
    pub(crate) input: Cursor<'a>,
    /// The offset up to which the source has been copied, replaced or dropped. The rest is copied only when
    /// something must change, so that most of a text is copied in a few long runs.
    copied: usize,
    pub(crate) out: &'o mut Vec<u8>,
    /// The offset in `out` at which the copy begins.
    pub(crate) begin: usize,
}

impl<'a, 'o> Copier<'a, 'o> {
    pub(crate) fn new(input: Cursor<'a>, out: &'o mut Vec<u8>) -> Self {
        Self { input, copied: input.at(), begin: out.len(), out }
    }

    /// Returns the number of bytes that this copy has written to `out`.
    pub(crate) fn written(&self) -> usize {
        self.out.len() - self.begin
    }

    /// Returns the first byte of the next token, and drops the white space before it.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<u8, Desynced> {
        let before = self.input.at();
        let token = self.input.token()?;
        if self.input.at() != before {
            self.copy_to(before)?;
            self.drop_to_input();
        }
        Ok(token)
    }

    #[inline]
    pub(crate) fn copy_to(&mut self, end: usize) -> Result<(), Desynced> {
        let run = self.input.source().get(self.copied..end).ok_or(Desynced)?;
        self.out.extend_from_slice(run);
        self.copied = end;
        Ok(())
    }

    #[inline]
    pub(crate) fn copy_to_input(&mut self) -> Result<(), Desynced> {
        self.copy_to(self.input.at())
    }

    /// Drops the source up to the input's position.
    #[inline]
    pub(crate) fn drop_to_input(&mut self) {
        self.copied = self.input.at();
    }
}
