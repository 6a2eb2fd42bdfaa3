//! A response that is made from a snapshot: a view, or the page for people.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::pages::MeetingPage;
use crate::{
    snapshot::{Effort, Snapshot},
    view::{
        snapshot_view::View,
        visible::{Redaction, VisibleMeeting},
    },
};

#[derive(Debug, Clone)]
pub(super) enum Rendering {
    View(View),
    Page(MeetingPage),
}

impl Rendering {
    /// Returns a name that differs for different renderings and redactions, and is valid as part of an entity tag.
    pub(super) fn name_for(&self, redaction: Option<&Redaction>) -> Cow<'static, str> {
        let name = match self {
            Self::View(view) => view.name(),
            Self::Page(page) => page.name().into(),
        };
        match redaction {
            None => name,
            Some(redaction) => format!("{name}-{}", redaction.name()).into(),
        }
    }

    /// Returns the participant to whom the rendering is restricted, if it is.
    pub(super) fn participant(&self) -> Option<&str> {
        match self {
            Self::View(view) => view.participant(),
            Self::Page(_) => None,
        }
    }

    /// Returns the size of the input in bytes, which decides whether the rendering counts as large.
    pub(super) fn input_length(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::View(view) => view.input_length(snapshot),
            Self::Page(_) => snapshot.length,
        }
    }

    pub(super) fn effort(&self) -> Effort {
        match self {
            Self::View(_) => Effort::Low,
            Self::Page(_) => Effort::High,
        }
    }

    /// Writes the response's body. Returns `false`, and writes nothing, if the meeting lacks the participant to whom it is
    /// restricted.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, or the writer failed.
    pub(super) fn write(&self, meeting: &VisibleMeeting<'_>, out: &mut impl Write) -> io::Result<bool> {
        match self {
            Self::View(view) => view.write(meeting, out),
            Self::Page(page) => page.write(meeting, out).map(|()| true),
        }
    }
}
