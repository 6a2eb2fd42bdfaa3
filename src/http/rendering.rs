//! A response that is made from a snapshot: a view, or the page for people.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use bytes::Bytes;

use super::pages::MeetingPage;
use crate::{snapshot::Snapshot, view::snapshot_view::View};

#[derive(Debug, Clone)]
pub(super) enum Rendering {
    View(View),
    Page(MeetingPage),
}

impl Rendering {
    /// Returns a name that differs for different renderings, and is valid as part of an entity tag.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::View(view) => view.name(),
            Self::Page(page) => page.name().into(),
        }
    }

    /// Returns the participant who is shown alone.
    pub(super) fn participant(&self) -> Option<&str> {
        match self {
            Self::View(view) => view.participant(),
            Self::Page(_) => None,
        }
    }

    /// Returns the length of the participants that it is made from, in bytes, to decide whether it is large.
    pub(super) fn input_length(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::View(view) => view.input_length(snapshot),
            Self::Page(_) => snapshot.length,
        }
    }

    /// Writes it. Returns `false`, and writes nothing, if it is of a participant that the meeting does not have.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, or the writer failed.
    pub(super) fn write(
        &self,
        snapshot: &Snapshot,
        plain: Option<&Bytes>,
        out: &mut impl Write,
    ) -> io::Result<bool> {
        match self {
            Self::View(view) => view.write(snapshot, plain, out),
            Self::Page(page) => page.write(snapshot, plain, out).map(|()| true),
        }
    }
}
