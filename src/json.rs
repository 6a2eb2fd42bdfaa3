//! Rewrites JSON text without building a tree: copies all tokens that do not change, byte for byte, in long runs.
//!
//! Has no side effects and never panics. The text must have been validated; if it is not valid after all, the result is
//! [`Desynced`].

mod container;
mod copier;
mod cursor;
mod renames;
mod rewriter;

pub(crate) use container::Container;
pub(crate) use copier::Copier;
pub(crate) use cursor::{Cursor, Desynced, Text};
pub(crate) use renames::{Renames, Ties, Undo};
pub(crate) use rewriter::{Rewriter, Rules};
