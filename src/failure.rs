//! Failures to get a snapshot. The fetcher returns most of them, the cache keeps some, and `http` describes them to
//! callers.
//!
//! A failure contains neither the status nor the text of the response that callers get. It contains facts, such as the
//! reason, when to retry, and Zoom's response.

mod redactor;

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

pub(crate) use self::redactor::{RedactedText, Redactor};

vocabulary! {
    /// The reason of a failure. Its word is the `code` of the problem that callers get, and also appears in traces and
    /// in messages between replicas.
    pub enum Reason {
        /// Zoom has no such meeting, or no details of it yet.
        MeetingNotFound = "meeting_not_found",
        /// Zoom says that the id is not of the requested kind. If no kind was requested, it is neither a meeting's nor
        /// a webinar's.
        NotAMeeting = "not_a_meeting",
        /// Zoom no longer has the meeting's data, which it keeps for at most a year.
        MeetingTooOld = "meeting_too_old",
        /// The caller has reached a limit of its own, or its share of the day.
        CallerOverLimit = "caller_over_limit",
        /// Zoom refuses our credentials, the access token, its scopes or the account's plan.
        ZoomRejectedCredentials = "zoom_rejected_credentials",
        /// Any other failure of a call: no connection, a server error, an incomplete or invalid response, or a cause in
        /// [`Lasting`].
        ZoomFailed = "zoom_failed",
        /// No call can be made while the caller waits, because of our per-second limit or a 429 from Zoom.
        ZoomRateLimited = "zoom_rate_limited",
        /// The day's calls are used up.
        ZoomDailyQuotaSpent = "zoom_daily_quota_spent",
        /// The fetch takes longer than the caller can wait.
        StillFetching = "still_fetching",
        /// Too many calls wait for a permit, there is no memory for a fetch or a view, or no thread became free in time
        /// to make a view.
        Overloaded = "overloaded",
        /// This process is about to stop.
        ShuttingDown = "shutting_down",
        /// Zoom did not respond in time.
        ZoomTimedOut = "zoom_timed_out",
        /// The caller does not allow a fetch, and nothing usable is cached.
        NotCached = "not_cached",
    }
}

vocabulary! {
    /// The cause of a [`Reason::ZoomFailed`] that a retry would not fix.
    pub enum Lasting {
        /// Zoom rejects the request for a reason that no other [`Reason`] describes.
        Refused = "refused",
        /// A response, or the whole meeting, exceeds the configured limits.
        TooLarge = "too_large",
        /// Zoom's paging of the meeting does not end, or repeats a token.
        EndlessPages = "endless_pages",
        /// Zoom's token for the meeting's next page is too long to be sent back.
        PageToken = "page_token",
    }
}

vocabulary! {
    /// The two rate limits that Zoom enforces.
    pub enum LimitKind {
        /// Calls per second.
        PerSecond = "per_second",
        /// Calls per UTC day.
        PerDay = "per_day",
    }
}

vocabulary! {
    /// The limit that a caller has reached.
    pub enum CallerLimit {
        /// `calls_per_minute` in the callers' file.
        PerMinute = "calls_per_minute",
        /// `calls_per_day` in the callers' file.
        PerDay = "calls_per_day",
        /// The caller's share of the day. The remaining calls are reserved for other callers.
        Share = "share",
        /// A tenth of the caller's share, because most of its last fetches were for meetings that do not exist.
        NotFound = "not_found",
    }
}

vocabulary! {
    /// The cause of a refusal: one of our limits, one of Zoom's limits, or our credentials.
    pub enum RefusedBy {
        /// Our limit: no permit is available while the caller waits.
        BudgetSecond = "budget_second",
        /// Our limit: no permits are left today.
        BudgetDay = "budget_day",
        /// Our limit: [`Reason::Overloaded`].
        Queue = "queue",
        /// Our limit: the caller has reached one of its own limits.
        Caller = "caller",
        /// Zoom's limit: a 429 for the calls per second.
        ZoomSecond = "zoom_second",
        /// Zoom's limit: a 429 for the calls per day.
        ZoomDay = "zoom_day",
        /// Zoom rejects our credentials.
        Credentials = "credentials",
    }
}

/// Zoom's response to a failed call. Callers get it, or a part of it, so that they can quote it to Zoom's support.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ZoomError {
    /// The HTTP status, which is often misleading.
    pub(crate) status: u16,
    pub(crate) code: Option<i64>,
    pub(crate) message: Option<RedactedText>,
    /// `x-zm-trackingid`, which Zoom's support asks for.
    pub(crate) tracking_id: Option<RedactedText>,
}

impl ZoomError {
    pub(crate) fn tracking_id(&self) -> Option<&str> {
        self.tracking_id.as_ref().map(RedactedText::as_str)
    }

    /// Returns the part that a caller with hidden fields may see. Zoom's message can contain anything, so it is hidden
    /// like an unknown field.
    pub(crate) fn without_message(&self) -> Self {
        Self { message: None, ..self.clone() }
    }

    /// Returns the part of a token endpoint's response that callers may see: its status. The rest is about our app.
    pub(crate) fn status_only(&self) -> Self {
        Self { status: self.status, ..Self::default() }
    }
}

/// The reason why there is no snapshot, and when to retry.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// Set if another call would fail in the same way, for a cause that `reason` does not name.
    pub(crate) lasting: Option<Lasting>,
    /// The limit that the caller has reached, for a [`Reason::CallerOverLimit`].
    pub(crate) caller_limit: Option<CallerLimit>,
    pub(crate) retry_at: Option<Instant>,
    /// Zoom's response, if there was one. It is shared, because every waiting caller gets the failure.
    pub(crate) zoom: Option<Arc<ZoomError>>,
}

impl Failure {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, lasting: None, caller_limit: None, retry_at: None, zoom: None }
    }

    /// Makes a [`Reason::ZoomFailed`] that a retry would not fix.
    pub(crate) fn lasting(lasting: Lasting) -> Self {
        Self { lasting: Some(lasting), ..Self::new(Reason::ZoomFailed) }
    }

    pub(crate) fn caller_over_limit(limit: CallerLimit, until: Instant) -> Self {
        Self { caller_limit: Some(limit), ..Self::new(Reason::CallerOverLimit) }.retry_at(until)
    }

    pub(crate) fn retry_at(mut self, at: Instant) -> Self {
        self.retry_at = Some(at);
        self
    }

    pub(crate) fn with_zoom_error(mut self, zoom_error: ZoomError) -> Self {
        self.zoom = Some(Arc::new(zoom_error));
        self
    }

    /// Returns whether a retry is still too early.
    pub(crate) fn is_in_force(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// Returns the limit that caused this failure, or [`RefusedBy::Credentials`]; `None` for any other cause. A rate limit
    /// is Zoom's if the failure has a response from Zoom, and ours otherwise.
    pub(crate) fn refused_by(&self) -> Option<RefusedBy> {
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
        let zooms = |reason| Failure::new(reason).with_zoom_error(ZoomError::default()).refused_by();
        assert_eq!(ours(Reason::ZoomRateLimited), Some(RefusedBy::BudgetSecond));
        assert_eq!(zooms(Reason::ZoomRateLimited), Some(RefusedBy::ZoomSecond));
        assert_eq!(ours(Reason::ZoomDailyQuotaSpent), Some(RefusedBy::BudgetDay));
        assert_eq!(zooms(Reason::ZoomDailyQuotaSpent), Some(RefusedBy::ZoomDay));
        assert_eq!(ours(Reason::StillFetching), None);
        assert_eq!(zooms(Reason::MeetingNotFound), None);
    }
}
