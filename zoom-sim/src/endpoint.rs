//! Names of Zoom's `QoS` endpoints, for faults and the record.

/// One of Zoom's four `QoS` endpoints. Zoom counts all of them as "Heavy" in its rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosEndpoint {
    /// `/metrics/meetings/{id}/participants/qos`.
    MeetingList,
    /// `/metrics/meetings/{id}/participants/{participantId}/qos`.
    MeetingParticipant,
    /// `/metrics/webinars/{id}/participants/qos`.
    WebinarList,
    /// `/metrics/webinars/{id}/participants/{participantId}/qos`.
    WebinarParticipant,
}

/// Whether an id is a meeting's or a webinar's. Each kind has endpoints of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeetingKind {
    /// Served by the meeting endpoints only.
    Meeting,
    /// Served by the webinar endpoints only.
    Webinar,
}

impl QosEndpoint {
    /// The kind of the ids that this endpoint serves.
    #[must_use]
    pub const fn kind(self) -> MeetingKind {
        match self {
            Self::MeetingList | Self::MeetingParticipant => MeetingKind::Meeting,
            Self::WebinarList | Self::WebinarParticipant => MeetingKind::Webinar,
        }
    }

    /// The granular scope that an access token needs for this endpoint.
    #[must_use]
    pub const fn scope(self) -> &'static str {
        match self {
            Self::MeetingList => "dashboard:read:list_meeting_participants_qos:admin",
            Self::MeetingParticipant => "dashboard:read:meeting_participant_qos:admin",
            Self::WebinarList => "dashboard:read:list_webinar_participants_qos:admin",
            Self::WebinarParticipant => "dashboard:read:webinar_participant_qos:admin",
        }
    }
}
