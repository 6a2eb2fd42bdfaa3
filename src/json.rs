//! Rewrites JSON text without building a tree: copies all tokens that do not change, byte for byte, in long runs.
//!
//! Has no side effects and never panics. The text must have been validated. On any other text, the functions can fail
//! with [`Desynced`].

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
