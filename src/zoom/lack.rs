//! Names the scope or plan that our Zoom app lacks, in our own wording.

use crate::snapshot::MeetingKind;

/// The reason why Zoom refuses one kind of call until an operator changes something at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    Scope,
    Plan,
}

impl Lack {
    /// Returns the description for operators.
    pub(crate) fn detail(self, kind: MeetingKind) -> &'static str {
        match (self, kind) {
            (Self::Scope, MeetingKind::Meeting) => {
                "the app lacks the scope dashboard:read:list_meeting_participants_qos:admin"
            }
            (Self::Scope, MeetingKind::Webinar) => {
                "the app lacks the scope dashboard:read:list_webinar_participants_qos:admin"
            }
            (Self::Plan, _) => "the account's plan or settings have no Dashboard",
        }
    }
}
