//! Why a snapshot cannot be had: the reasons that the fetcher gives, the cache remembers and `http::problem` puts into words.
//!
//! No status codes here, and no text of an error of ours: only what happened, when to ask again, and what Zoom said.

mod redactor;

use std::{sync::Arc, time::Instant};

pub use self::redactor::{Redactor, Words};

/// What happened, in the vocabulary of the problem codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Zoom knows no such meeting.
    MeetingNotFound,
    /// The id belongs to a webinar.
    NotAMeeting,
    /// Zoom keeps a meeting's data for a year at most.
    MeetingTooOld,
    /// The access token, its scopes or the account's plan are refused.
    ZoomRejectedCredentials,
    /// No connection, a server error, or an answer that is not a whole page.
    ZoomFailed,
    /// Zoom did not answer in time.
    ZoomTimedOut,
    /// No permit can come within the caller's wait.
    ZoomRateLimited,
    /// Nothing is left of the day's calls.
    ZoomDailyQuotaSpent,
    /// The flight goes on, but longer than the caller can be kept.
    StillFetching,
    /// Too many calls wait for a permit already.
    Overloaded,
    /// This process is about to stop.
    ShuttingDown,
    /// The caller wants nothing fetched, and nothing of use is kept.
    NotCached,
    /// The caller's own ceiling of calls is reached.
    CallerOverLimit,
}

impl Reason {
    /// Every reason, in the order of the contract's table; a test in `http::problem` keeps it whole.
    pub const ALL: [Self; 13] = [
        Self::MeetingNotFound,
        Self::NotAMeeting,
        Self::MeetingTooOld,
        Self::CallerOverLimit,
        Self::ZoomRejectedCredentials,
        Self::ZoomFailed,
        Self::ZoomRateLimited,
        Self::ZoomDailyQuotaSpent,
        Self::StillFetching,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::ZoomTimedOut,
        Self::NotCached,
    ];

    /// Its word: the `code` of a problem, and what traces and other replicas call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MeetingNotFound => "meeting_not_found",
            Self::NotAMeeting => "not_a_meeting",
            Self::MeetingTooOld => "meeting_too_old",
            Self::ZoomRejectedCredentials => "zoom_rejected_credentials",
            Self::ZoomFailed => "zoom_failed",
            Self::ZoomTimedOut => "zoom_timed_out",
            Self::ZoomRateLimited => "zoom_rate_limited",
            Self::ZoomDailyQuotaSpent => "zoom_daily_quota_spent",
            Self::StillFetching => "still_fetching",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::NotCached => "not_cached",
            Self::CallerOverLimit => "caller_over_limit",
        }
    }
}

/// What Zoom answered when it was Zoom that refused or failed. Shown to callers, so that they can quote it to Zoom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoomSaid {
    /// The HTTP status, which often misleads.
    pub status: u16,
    /// The `code` of the body.
    pub code: Option<i64>,
    /// The `message` of the body.
    pub message: Option<Words>,
    /// `x-zm-trackingid`, which Zoom's support asks for.
    pub tracking_id: Option<Words>,
}

impl ZoomSaid {
    /// The id under which Zoom's support finds the call.
    #[must_use]
    pub fn tracking_id(&self) -> Option<&str> {
        self.tracking_id.as_ref().map(Words::as_str)
    }

    /// What callers may hear of an answer of the token endpoint, which is between Zoom and this service: that there was one.
    #[must_use]
    pub fn without_words(&self) -> Self {
        Self { status: self.status, ..Self::default() }
    }
}

/// Why asking Zoom for a meeting again would only repeat a [`Reason::ZoomFailed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lasting {
    /// Zoom refuses the request, in a way that says nothing about the meeting.
    Refused,
    /// An answer, or the whole meeting, is larger than the configured limits allow.
    TooLarge,
    /// Zoom's paging of the meeting does not end.
    EndlessPages,
    /// Zoom names the meeting's next page in a way in which it cannot be asked for.
    PageToken,
}

impl Lasting {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Refused, Self::TooLarge, Self::EndlessPages, Self::PageToken];

    /// The word by which replicas tell each other.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::EndlessPages => "endless_pages",
            Self::PageToken => "page_token",
        }
    }
}

/// The two rate limits that Zoom enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Calls per second.
    PerSecond,
    /// Calls per UTC day.
    PerDay,
}

impl LimitKind {
    /// Its name in metrics, `/status` and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerSecond => "per_second",
            Self::PerDay => "per_day",
        }
    }
}

/// Which limit, ours or Zoom's, refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// Ours: no permit within the caller's wait.
    BudgetSecond,
    /// Ours: no permits left today.
    BudgetDay,
    /// Ours: too many calls are queued.
    Queue,
    /// Ours: the caller reached its own limit.
    Caller,
    /// Zoom's: a 429 for the calls per second.
    ZoomSecond,
    /// Zoom's: a 429 for the calls per day.
    ZoomDay,
    /// Zoom rejects our credentials.
    Credentials,
}

impl RefusedBy {
    /// Every value.
    pub const ALL: [Self; 7] = [
        Self::BudgetSecond,
        Self::BudgetDay,
        Self::Queue,
        Self::Caller,
        Self::ZoomSecond,
        Self::ZoomDay,
        Self::Credentials,
    ];

    /// Its name in metrics, logs and traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BudgetSecond => "budget_second",
            Self::BudgetDay => "budget_day",
            Self::Queue => "queue",
            Self::Caller => "caller",
            Self::ZoomSecond => "zoom_second",
            Self::ZoomDay => "zoom_day",
            Self::Credentials => "credentials",
        }
    }
}

/// One reason, with what a caller can do about it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What happened.
    pub reason: Reason,
    /// Why another call would fail the same way; `None` where it may succeed, or where the reason says it all.
    pub lasting: Option<Lasting>,
    /// When asking again can help, if that is known.
    pub retry_at: Option<Instant>,
    /// What Zoom said, if it answered. Shared: a failure goes to every caller that waited.
    pub zoom: Option<Arc<ZoomSaid>>,
}

impl Failure {
    /// A failure of which nothing more is known.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self { reason, lasting: None, retry_at: None, zoom: None }
    }

    /// A [`Reason::ZoomFailed`] that another call would only repeat.
    #[must_use]
    pub fn lasting(lasting: Lasting) -> Self {
        Self { lasting: Some(lasting), ..Self::new(Reason::ZoomFailed) }
    }

    /// The same, with the time at which asking again can help.
    #[must_use]
    pub fn retry_at(mut self, at: Instant) -> Self {
        self.retry_at = Some(at);
        self
    }

    /// The same, with Zoom's own words.
    #[must_use]
    pub fn said(mut self, said: ZoomSaid) -> Self {
        self.zoom = Some(Arc::new(said));
        self
    }

    /// The limit that caused this failure; `None` if no limit did. Zoom's answer is there only if Zoom enforced it.
    #[must_use]
    pub fn refused_by(&self) -> Option<RefusedBy> {
        match (self.reason, self.zoom.is_some()) {
            (Reason::ZoomRateLimited, false) => Some(RefusedBy::BudgetSecond),
            (Reason::ZoomRateLimited, true) => Some(RefusedBy::ZoomSecond),
            (Reason::ZoomDailyQuotaSpent, false) => Some(RefusedBy::BudgetDay),
            (Reason::ZoomDailyQuotaSpent, true) => Some(RefusedBy::ZoomDay),
            (Reason::Overloaded, _) => Some(RefusedBy::Queue),
            (Reason::CallerOverLimit, _) => Some(RefusedBy::Caller),
            (Reason::ZoomRejectedCredentials, _) => Some(RefusedBy::Credentials),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zoom_refused_if_its_answer_is_there() {
        let ours = |reason| Failure::new(reason).refused_by();
        let zooms = |reason| Failure::new(reason).said(ZoomSaid::default()).refused_by();
        assert_eq!(ours(Reason::ZoomRateLimited), Some(RefusedBy::BudgetSecond));
        assert_eq!(zooms(Reason::ZoomRateLimited), Some(RefusedBy::ZoomSecond));
        assert_eq!(ours(Reason::ZoomDailyQuotaSpent), Some(RefusedBy::BudgetDay));
        assert_eq!(zooms(Reason::ZoomDailyQuotaSpent), Some(RefusedBy::ZoomDay));
        assert_eq!(ours(Reason::StillFetching), None);
        assert_eq!(zooms(Reason::MeetingNotFound), None);
    }
}
