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
    /// Returns a name that differs for different renderings, and is valid as part of an entity tag.
    fn name(&self) -> Cow<'static, str> {
        match self {
            Self::View(view) => view.name(),
            Self::Page(page) => page.name().into(),
        }
    }

    /// Returns the name of what this redaction leaves of it.
    pub(super) fn name_for(&self, redaction: Option<&Redaction>) -> Cow<'static, str> {
        match redaction {
            None => self.name(),
            Some(redaction) => format!("{}-{}", self.name(), redaction.name()).into(),
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

    pub(super) fn effort(&self) -> Effort {
        match self {
            Self::View(_) => Effort::Low,
            Self::Page(_) => Effort::High,
        }
    }

    /// Writes it. Returns `false`, and writes nothing, if it is of a participant that the meeting does not have.
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
