//! Steps through the members of a list or an object, one after the other.

use super::cursor::{Cursor, Desynced};

/// An open list or object. The input is within it until [`Self::next`] returns `false`.
pub(crate) struct Container {
    begun: bool,
    close: u8,
}

impl Container {
    /// Steps into the value if it begins with `open`, which is `{` or `[`.
    pub(crate) fn open(input: &mut Cursor<'_>, open: u8) -> Option<Self> {
        let close = if open == b'{' { b'}' } else { b']' };
        input.take_if(open).then_some(Self { begun: false, close })
    }

    /// Steps to the next member, and returns true. After the last one, steps past the closing bracket, and returns
    /// false. The caller must step over each member itself.
    pub(crate) fn next(&mut self, input: &mut Cursor<'_>) -> Result<bool, Desynced> {
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(!input.take_if(self.close));
        }
        if input.take_if(b',') {
            return Ok(true);
        }
        input.take(self.close)?;
        Ok(false)
    }
}
