//! The scope or plan that our app at Zoom lacks, in our own words.

use crate::snapshot::MeetingKind;

/// Why Zoom refuses one kind of call, and will until an operator changes something at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    Scope,
    Plan,
}

impl Lack {
    /// For operators.
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
