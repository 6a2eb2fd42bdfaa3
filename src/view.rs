//! Writes a snapshot's participants in other forms. Pure: a form depends only on the snapshot, the parameters of the
//! view, and what is hidden from the caller.
//!
//! No view builds a tree, recurses or panics.

use crate::json::Desynced;

pub(crate) mod heatmap;
pub(crate) mod identity;
pub(crate) mod known_fields;
pub mod redact;
pub mod rows;
pub mod select;
mod selected;
pub(crate) mod snapshot_view;
mod summarized;
pub mod summary;
pub(crate) mod visible;
pub(crate) mod whole;
mod zoom_page;
pub mod zoom_shape;

/// The text is not exactly one cleaned participant. This can only be a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text of one cleaned participant")]
pub struct NotAParticipant;

impl From<Desynced> for NotAParticipant {
    fn from(Desynced: Desynced) -> Self {
        Self
    }
}
