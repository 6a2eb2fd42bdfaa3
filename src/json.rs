//! Rewrites JSON text without a tree: what does not change is copied in long runs, byte for byte.
//!
//! Pure, and panics on nothing. The text must have been validated; if it is not valid after all, the result is [`Desynced`].

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
