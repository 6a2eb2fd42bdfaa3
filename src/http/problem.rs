//! Errors as callers see them: the ONE table from what happened to status, code and a sentence to act on (RFC 9457).
//!
//! Nothing in here comes from an error type of ours or of a library: every text is written for callers.

use std::{borrow::Cow, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse, Route,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    web,
};
use serde::Serialize;

use super::{access_log::Notes, rate_limit};
use crate::{
    failure::{Failure, Lasting, Reason, Words, ZoomSaid},
    meeting_id::InvalidMeetingId,
    metrics::Outcome,
};

/// Of every problem's body.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// What `Allow` says where GET is served.
pub(super) const ALLOWED: &str = "GET, HEAD";

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum Problem {
    /// A key of a caller is needed, and this is none.
    UnknownCaller,
    /// Not the id of a meeting.
    InvalidMeetingId(InvalidMeetingId),
    /// A query parameter of ours that is not of its form; the sentence says which and how it should be.
    InvalidQuery(Cow<'static, str>),
    /// A paging token that is none of ours, or whose snapshot is gone.
    InvalidPageToken,
    /// Nothing lives at this path.
    NotFound,
    /// The path lives, and does not take this method.
    MethodNotAllowed {
        /// Those that it takes, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// A bug of ours.
    Internal,
    /// No snapshot could be had.
    NoSnapshot(Failure),
}

/// One row of the table.
pub(super) struct Row {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: Cow<'static, str>,
    /// Whether `Retry-After` can be there: when asking again can help is known.
    pub(super) tells_when: bool,
    /// Whether the limits can be told with it: a call can have been made, or refused.
    pub(super) tells_limits: bool,
    outcome: Outcome,
}

/// The answer's body.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zoom: Option<Zoom<'a>>,
}

#[derive(Serialize)]
struct Zoom<'a> {
    status: u16,
    code: Option<i64>,
    message: Option<&'a str>,
    tracking_id: Option<&'a str>,
}

impl Problem {
    /// The answer to the request of these notes.
    pub(super) fn respond(&self, notes: &Notes) -> HttpResponse {
        let row = self.row();
        notes.outcome.set(Some(row.outcome));
        notes.code.set(Some(row.code));
        let body = Body::of(&row, notes.id.as_str(), self.zoom());
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.content_type(MEDIA_TYPE);
        // What went wrong a moment ago may go right now: nobody on the way may keep it.
        response.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after(Instant::now()) {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((ALLOW, *allow));
        }
        if let Self::UnknownCaller = self {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(serde_json::to_string(&body).unwrap_or_default())
    }

    /// One of each, in the order of the contract: all rows of the table.
    pub(super) fn each() -> impl Iterator<Item = Self> {
        let of_the_request = [
            Self::UnknownCaller,
            Self::InvalidMeetingId(InvalidMeetingId::Form),
            Self::InvalidQuery(Cow::Borrowed("type must be live or past.")),
            Self::InvalidPageToken,
            Self::NotFound,
            Self::MethodNotAllowed { allow: ALLOWED },
            Self::Internal,
        ];
        let of_zoom = Reason::ALL.map(|reason| Self::NoSnapshot(Failure::new(reason)));
        of_the_request.into_iter().chain(of_zoom)
    }

    /// The code of a failure, which is also its name in `/status`.
    pub(super) fn code_of(reason: Reason) -> &'static str {
        no_snapshot(reason).code
    }

    /// Whether a stale snapshot is the better answer: to every 502, 503 and 504, but not when this process stops, and
    /// not to a caller who wanted just that. Also to a caller over its limit: a stale answer costs no call, and the limit
    /// is about calls.
    pub(super) fn is_covered_by_stale(reason: Reason) -> bool {
        match reason {
            Reason::ShuttingDown | Reason::NotCached => false,
            Reason::CallerOverLimit => true,
            reason => matches!(no_snapshot(reason).status, 502..=504),
        }
    }

    fn zoom(&self) -> Option<&ZoomSaid> {
        match self {
            Self::NoSnapshot(failure) => failure.zoom.as_deref(),
            _ => None,
        }
    }

    fn retry_after(&self, now: Instant) -> Option<u64> {
        let Self::NoSnapshot(Failure { retry_at, .. }) = self else {
            return None;
        };
        seconds_until(*retry_at, now)
    }

    pub(super) fn row(&self) -> Row {
        match self {
            Self::UnknownCaller => Row::refused(401, "unknown_caller", "No caller has this key").saying(
                "Send the caller key that those who run this service gave you, as Authorization: Bearer <key> or as \
                 X-Api-Key: <key>; where both are sent, they must be the same.",
            ),
            Self::InvalidMeetingId(reason) => Row::refused(400, "invalid_meeting_id", "Not a meeting id")
                .saying(format!(
                    "{}: ask with a meeting number (9 to 12 digits) or a meeting UUID \
                 (22 of A-Z a-z 0-9 + / and ==; raw, or percent-encoded once or twice).",
                    sentence_start(&reason.to_string()),
                )),
            Self::InvalidQuery(detail) => {
                Row::refused(400, "invalid_query", "Query parameter out of form").saying(detail.clone())
            }
            Self::InvalidPageToken => Row::refused(400, "invalid_page_token", "Paging token not good")
                .saying("This next_page_token is malformed, of another meeting or type, or its snapshot is gone; begin again without it."),
            Self::NotFound => Row::refused(404, "not_found", "No such path").saying(
                "Nothing lives at this path; meetings are at /qos/{meetingId} of the callers' listener.",
            ),
            Self::MethodNotAllowed { .. } => Row::refused(405, "method_not_allowed", "Method not allowed")
                .saying("This path takes the methods that the Allow header names."),
            Self::Internal => Row::failed(500, "internal_error", "A fault of this service")
                .saying("The service failed on this request; quote the request_id to those who run it."),
            Self::NoSnapshot(Failure { reason, lasting, .. }) => {
                let mut row = no_snapshot(*reason);
                if let Some(lasting) = lasting {
                    row = row.saying(detail_of(*lasting));
                }
                Row { tells_limits: rate_limit::is_told_with(*reason), ..row }
            }
        }
    }
}

/// Whole seconds, rounded up, at least 1: asking again exactly then must not be too early.
pub(super) fn seconds_until(at: Option<Instant>, now: Instant) -> Option<u64> {
    let wait = at?.saturating_duration_since(now);
    Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
}

fn no_snapshot(reason: Reason) -> Row {
    let code = reason.as_str();
    match reason {
        Reason::MeetingNotFound => Row::failed(404, code, "Zoom knows no such meeting").saying(
            "Check the id and the type: a meeting that goes on is type=live (Zoom shows it about two minutes after its \
             start), one that is over is type=past.",
        ),
        Reason::NotAMeeting => Row::failed(404, code, "This id belongs to a webinar")
            .saying("Zoom gives the QoS of webinars elsewhere; this service covers meetings only."),
        Reason::MeetingTooOld => Row::failed(410, code, "Zoom no longer keeps this meeting")
            .saying("Zoom gives the QoS of meetings of the last year only; asking again will not help."),
        Reason::ZoomRejectedCredentials => {
            Row::failed(502, code, "Zoom refuses this service's credentials").telling_when().saying(
                "Those who run this service have to mend its Zoom app: its secret, its scopes, or the account's plan.",
            )
        }
        Reason::ZoomFailed => Row::failed(502, code, "Zoom failed")
            .telling_when().saying("Zoom could not be reached or gave no usable answer, after retries where they could help; ask again later."),
        Reason::ZoomTimedOut => Row::failed(504, code, "Zoom did not answer in time")
            .telling_when().saying("Zoom took too long, after retries; ask again later."),
        Reason::ZoomRateLimited => Row::refused(503, code, "No Zoom call can be made in time")
            .telling_when().saying("The account's calls per second are in use; ask again after Retry-After."),
        Reason::ZoomDailyQuotaSpent => Row::refused(503, code, "The day's Zoom calls are spent")
            .telling_when().saying("The account's calls of this UTC day are used up; ask again after Retry-After."),
        Reason::StillFetching => Row::failed(503, code, "The meeting is still being fetched")
            .telling_when().saying("It is a large meeting or Zoom is slow; the fetch goes on, and a request after Retry-After joins it or finds its result."),
        Reason::Overloaded => Row::refused(503, code, "Too many calls wait already")
            .telling_when().saying("More meetings are asked for than Zoom can be asked about; ask again after Retry-After."),
        Reason::CallerOverLimit => Row::refused(429, code, "This caller's Zoom calls of the minute are spent")
            .telling_when().saying("What is cached is still answered; ask again for the rest after Retry-After, or ask those who run this service for a higher calls_per_minute."),
        Reason::NotCached => Row::refused(504, code, "Nothing of use is cached")
            .saying("Ask without Cache-Control: only-if-cached to have the meeting fetched."),
        Reason::ShuttingDown => Row::refused(503, code, "This process is about to stop")
            .saying("Ask again on a new connection: another replica answers."),
    }
}

/// What a caller can do about a failure that another call would only repeat.
fn detail_of(lasting: Lasting) -> &'static str {
    match lasting {
        Lasting::Refused => {
            "Zoom refuses this request, in the words of the zoom member; it is not asked again before Retry-After. If \
             this goes on, tell those who run this service."
        }
        Lasting::TooLarge => {
            "This meeting is larger than this service accepts; asking again does not help. Those who run it can raise \
             zoom.max_body and limits.max_fetch_bytes."
        }
        Lasting::EndlessPages => {
            "Zoom's pages of this meeting do not end; Zoom is not asked again before Retry-After."
        }
        Lasting::PageToken => {
            "Zoom's token for this meeting's next page is too long to be sent back; Zoom is not asked again before Retry-After."
        }
    }
}

impl Row {
    fn refused(status: u16, code: &'static str, title: &'static str) -> Self {
        let detail = Cow::Borrowed("");
        Self {
            status,
            code,
            title,
            detail,
            tells_when: false,
            tells_limits: false,
            outcome: Outcome::Refused,
        }
    }

    fn failed(status: u16, code: &'static str, title: &'static str) -> Self {
        Self { outcome: Outcome::Failed, ..Self::refused(status, code, title) }
    }

    fn telling_when(self) -> Self {
        Self { tells_when: true, ..self }
    }

    fn saying(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

impl<'a> Body<'a> {
    /// What a row says to one request.
    pub(super) fn of(row: &'a Row, request_id: &'a str, zoom: Option<&'a ZoomSaid>) -> Self {
        Self {
            r#type: type_of(row.code),
            title: row.title,
            status: row.status,
            detail: &row.detail,
            code: row.code,
            request_id,
            zoom: zoom.map(Zoom::from),
        }
    }
}

/// The `type` of a problem.
pub(super) fn type_of(code: &str) -> String {
    format!("urn:zoom-qos-proxy:problem:{code}")
}

impl<'a> From<&'a ZoomSaid> for Zoom<'a> {
    fn from(said: &'a ZoomSaid) -> Self {
        Self {
            status: said.status,
            code: said.code,
            message: said.message.as_ref().map(Words::as_str),
            tracking_id: said.tracking_id(),
        }
    }
}

/// The answer for paths that nothing lives at.
pub(super) async fn no_such_path(request: HttpRequest) -> HttpResponse {
    Problem::NotFound.respond(&Notes::of(&request))
}

/// The answer for methods that a path does not take; `allow` lists those that it does.
pub(super) fn only(allow: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        Problem::MethodNotAllowed { allow }.respond(&Notes::of(&request))
    })
}

fn sentence_start(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Whoever adds a problem or a reason is sent here by the compiler: it belongs into [`Problem::each`] or
    /// [`Reason::ALL`] too, or it is missing in `/openapi.json`.
    fn place(problem: &Problem) -> usize {
        match problem {
            Problem::UnknownCaller => 0,
            Problem::InvalidMeetingId(_) => 1,
            Problem::InvalidQuery(_) => 2,
            Problem::InvalidPageToken => 3,
            Problem::NotFound => 4,
            Problem::MethodNotAllowed { .. } => 5,
            Problem::Internal => 6,
            Problem::NoSnapshot(failure) => match failure.reason {
                Reason::MeetingNotFound => 7,
                Reason::NotAMeeting => 8,
                Reason::MeetingTooOld => 9,
                Reason::CallerOverLimit => 10,
                Reason::ZoomRejectedCredentials => 11,
                Reason::ZoomFailed => 12,
                Reason::ZoomRateLimited => 13,
                Reason::ZoomDailyQuotaSpent => 14,
                Reason::StillFetching => 15,
                Reason::Overloaded => 16,
                Reason::ShuttingDown => 17,
                Reason::ZoomTimedOut => 18,
                Reason::NotCached => 19,
            },
        }
    }

    #[test]
    fn each_problem_is_listed_once_and_has_a_code_of_its_own() {
        let places: Vec<_> = Problem::each().map(|problem| place(&problem)).collect();
        assert_eq!(places, (0..20).collect::<Vec<_>>());
        let codes: BTreeSet<_> = Problem::each().map(|problem| problem.row().code).collect();
        assert_eq!(codes.len(), places.len());
    }
}
