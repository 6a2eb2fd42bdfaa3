//! The table of problems (RFC 9457): for each error, its status, its code, and a sentence about what the caller can
//! do.
//!
//! The sentences are written for callers. None is the message of a library's error.

pub(super) mod render;

use std::{borrow::Cow, time::Instant};

use super::{rate_limit, route::Methods};
use crate::{
    callers::TokenError,
    failure::{CallerLimit, Failure, Lasting, Reason},
    meeting_id::InvalidMeetingId,
    metrics::Outcome,
};

#[derive(Debug)]
pub(super) enum Problem {
    /// The route requires a caller's credential, and the request has no valid one; with the reason if a signed token
    /// is refused.
    UnknownCaller(Option<TokenError>),
    /// A signed token cannot be verified yet, for example because its issuer's keys have not arrived.
    IssuerUnavailable {
        retry_at: Option<Instant>,
    },
    /// Purges require the operators' key, and the request has no key or a wrong key.
    UnknownOperator,
    InvalidMeetingId(InvalidMeetingId),
    InvalidQuery {
        parameter: &'static str,
        /// The sentence that names the parameter and the valid values.
        detail: Cow<'static, str>,
    },
    /// The token is malformed or belongs to another request, or its snapshot is gone.
    InvalidPageToken,
    ParticipantNotFound,
    /// No route has this path.
    NotFound,
    MethodNotAllowed {
        allow: &'static str,
    },
    /// No representation has a media type that the caller accepts.
    NotAcceptable,
    /// An unexpected error of this service.
    Internal,
    NoSnapshot(Failure),
}

pub(super) struct Row {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: Cow<'static, str>,
    pub(super) has_retry_after: bool,
    pub(super) has_rate_limit: bool,
    pub(super) outcome: Outcome,
}

impl Problem {
    /// Returns the problem of a parameter with an invalid value. `detail` names the parameter and the valid values.
    pub(super) fn invalid(parameter: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidQuery { parameter, detail: detail.into() }
    }

    /// Returns one problem for each row of the table that callers can get.
    pub(super) fn each() -> impl Iterator<Item = Self> {
        let of_the_request = [
            Self::UnknownCaller(None),
            Self::IssuerUnavailable { retry_at: None },
            Self::InvalidMeetingId(InvalidMeetingId::Form),
            Self::InvalidQuery { parameter: "type", detail: Cow::Borrowed("type must be live or past.") },
            Self::InvalidPageToken,
            Self::ParticipantNotFound,
            Self::NotFound,
            Self::MethodNotAllowed { allow: Methods::Read.as_str() },
            Self::NotAcceptable,
            Self::Internal,
        ];
        let of_zoom = Reason::ALL.map(|reason| Self::NoSnapshot(Failure::new(reason)));
        of_the_request.into_iter().chain(of_zoom)
    }

    pub(super) fn row(&self) -> Row {
        match self {
            Self::IssuerUnavailable { .. } => {
                Row::failed(503, "issuer_unavailable", "The keys of the token's issuer are not there yet")
                    .with_retry_after()
                    .with_detail("The service cannot verify signed tokens of this issuer yet; try again after Retry-After.")
            }
            Self::UnknownCaller(error) => unknown_caller(*error),
            Self::UnknownOperator => Row::refused(401, "unknown_caller", "Unknown operators' key").with_detail(
                "Purges require the operators' key: send it as Authorization: Bearer <key> or as X-Api-Key: <key>.",
            ),
            Self::InvalidMeetingId(reason) => {
                Row::refused(400, "invalid_meeting_id", "Invalid meeting id").with_detail(format!(
                    "{}: use a meeting number (9 to 12 digits) or a meeting UUID (22 of A-Z a-z 0-9 + / and ==; raw, or \
                     percent-encoded once or twice).",
                    capitalized(&reason.to_string()),
                ))
            }
            Self::InvalidQuery { detail, .. } => {
                Row::refused(400, "invalid_query", "Invalid query parameter").with_detail(detail.clone())
            }
            Self::InvalidPageToken => {
                Row::refused(400, "invalid_page_token", "Invalid page token").with_detail(
                    "This next_page_token is malformed, belongs to another meeting, kind or type, or its snapshot has \
                     expired; start again without it.",
                )
            }
            Self::ParticipantNotFound => Row::refused(404, "participant_not_found", "No such participant")
                .with_detail("Nobody in this meeting has this id; compare it with the participants in this service's responses to you."),
            Self::NotFound => Row::refused(404, "not_found", "No such path")
                .with_detail(
                    "There is no such path; the callers' listener has /, /guide, /meetings/{meetingId}, /qos/{meetingId}, /qos/{meetingId}/summary, /openapi.json and, for clients made for \
                     Zoom, /v2/metrics/{meetings|webinars}/{id}/participants/qos and /oauth/token.",
                ),
            Self::MethodNotAllowed { .. } => Row::refused(405, "method_not_allowed", "Method not allowed")
                .with_detail("This path accepts only the methods in the Allow header."),
            Self::NotAcceptable => Row::refused(406, "not_acceptable", "No acceptable representation").with_detail(
                "This path offers application/json and, unless it is a summary, application/x-ndjson and text/csv; accept \
                 one of them, or choose by format=json, format=ndjson or format=csv where there are several.",
            ),
            Self::Internal => Row::failed(500, "internal_error", "Internal error")
                .with_detail("The service failed on this request; report its request_id to the operators."),
            Self::NoSnapshot(Failure { reason, lasting, caller_limit, .. }) => {
                let mut row = no_snapshot(*reason);
                if let Some(lasting) = lasting {
                    row = row.with_detail(lasting_detail(*lasting));
                }
                if let Some(limit) = caller_limit {
                    row = row.with_detail(caller_limit_detail(*limit));
                }
                Row { has_rate_limit: rate_limit::applies_to(*reason), ..row }
            }
        }
    }
}

fn unknown_caller(refused_token: Option<TokenError>) -> Row {
    match refused_token {
        Some(error) => Row::refused(401, "unknown_caller", "Signed token refused").with_detail(format!(
            "{}: get a new one from its issuer, for this service's audience, or ask the operators.",
            capitalized(&error.to_string()),
        )),
        None => Row::refused(401, "unknown_caller", "Unknown caller key").with_detail(
                "Send the caller key issued to you by the operators of this service as Authorization: Bearer <key>, as \
                 Basic, with your caller's name as the user, or as X-Api-Key: <key>; if you send several, the first of them \
                 counts.",
            ),
    }
}

fn no_snapshot(reason: Reason) -> Row {
    let code = reason.as_str();
    match reason {
        Reason::MeetingNotFound => Row::failed(404, code, "Zoom has no such meeting").with_detail(
            "Check the id and the type: an ongoing meeting is type=live (Zoom shows it about two minutes after it \
             starts), one that is over is type=past.",
        ),
        Reason::NotAMeeting => Row::failed(404, code, "This id is not of the requested kind").with_detail(
            "Zoom says that the id is not of the kind that you named: leave kind out to have both kinds asked; if you did, \
             the id is neither a meeting nor a webinar of this account.",
        ),
        Reason::MeetingTooOld => Row::failed(410, code, "Zoom no longer keeps this meeting")
            .with_detail("Zoom keeps the QoS of meetings for a year; retrying will not help."),
        Reason::ZoomRejectedCredentials => Row::failed(502, code, "Zoom rejects this service's credentials")
            .with_retry_after()
            .with_detail(
                "The operators must fix this service's Zoom app: its secret, scopes or the account's plan.",
            ),
        Reason::ZoomFailed => Row::failed(502, code, "Zoom failed").with_retry_after().with_detail(
            "Zoom could not be reached or gave no usable answer, after retries where they could help; try again later.",
        ),
        Reason::ZoomTimedOut => Row::failed(504, code, "Zoom did not answer in time")
            .with_retry_after()
            .with_detail("Zoom took too long, after retries; try again later."),
        Reason::ZoomRateLimited => Row::refused(503, code, "No Zoom call can be made in time")
            .with_retry_after()
            .with_detail("The account's calls per second are in use; try again after Retry-After."),
        Reason::ZoomDailyQuotaSpent => Row::refused(503, code, "The day's Zoom calls are used up")
            .with_retry_after()
            .with_detail("The account's calls for this UTC day are used up; try again after Retry-After."),
        Reason::StillFetching => {
            Row::failed(503, code, "The meeting is still being fetched").with_retry_after().with_detail(
                "The meeting is large or Zoom is slow; the fetch continues, and a request after Retry-After joins it or \
                 finds its result.",
            )
        }
        Reason::Overloaded => Row::refused(503, code, "Too many Zoom calls are queued")
            .with_retry_after()
            .with_detail("Callers request more meetings than Zoom can be asked for; try again after Retry-After."),
        Reason::CallerOverLimit => {
            Row::refused(429, code, "This caller's Zoom calls are used up for now")
                .with_retry_after()
                .with_detail(caller_limit_detail(CallerLimit::PerMinute))
        }
        Reason::NotCached => Row::refused(504, code, "Nothing usable is cached")
            .with_detail("Leave out Cache-Control: only-if-cached to have the meeting fetched."),
        Reason::ShuttingDown => Row::refused(503, code, "This process is shutting down")
            .with_detail("Try again on a new connection: another replica answers."),
    }
}

fn caller_limit_detail(limit: CallerLimit) -> &'static str {
    match limit {
        CallerLimit::PerMinute => {
            "This caller's calls for this minute are used up. Cached meetings are still answered; request others after \
             Retry-After, or ask the operators for a higher calls_per_minute."
        }
        CallerLimit::PerDay => {
            "This caller's calls for this UTC day are used up. Cached meetings are still answered; request others after \
             Retry-After, or ask the operators for a higher calls_per_day."
        }
        CallerLimit::Share => {
            "This caller's share of the UTC day is used up, and the calls that are left are reserved to other callers. Some \
             of them become available after Retry-After; cached meetings are still answered."
        }
        CallerLimit::NotFound => {
            "Nearly all meetings that this caller requested do not exist, so it gets a tenth of its share of the day until it \
             requests one that exists; try again after Retry-After."
        }
    }
}

/// Returns the detail of a failure that another call would only repeat.
fn lasting_detail(lasting: Lasting) -> &'static str {
    match lasting {
        Lasting::Refused => {
            "Zoom refuses this request, and repeating it would not help; this service asks Zoom again only after \
             Retry-After. If it persists, tell the operators."
        }
        Lasting::TooLarge => {
            "This meeting is larger than this service accepts; retrying does not help. The operators can raise \
             zoom.max_body and limits.max_fetch_bytes."
        }
        Lasting::EndlessPages => {
            "Zoom's list of pages for this meeting does not end; this service asks Zoom again only after Retry-After."
        }
        Lasting::PageToken => {
            "Zoom's token for this meeting's next page is too long to send back; this service asks Zoom again only \
             after Retry-After."
        }
    }
}

impl Row {
    fn refused(status: u16, code: &'static str, title: &'static str) -> Self {
        Self {
            status,
            code,
            title,
            detail: Cow::Borrowed(""),
            has_retry_after: false,
            has_rate_limit: false,
            outcome: Outcome::Refused,
        }
    }

    fn failed(status: u16, code: &'static str, title: &'static str) -> Self {
        Self { outcome: Outcome::Failed, ..Self::refused(status, code, title) }
    }

    fn with_retry_after(self) -> Self {
        Self { has_retry_after: true, ..self }
    }

    fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cache::policy::is_covered_by_stale;

    /// A new problem or reason does not compile until it is added here. A new problem must also be added to
    /// [`Problem::each`]; otherwise `/openapi.json` lacks it.
    fn place(problem: &Problem) -> usize {
        match problem {
            Problem::UnknownCaller(_) => 0,
            Problem::IssuerUnavailable { .. } => 1,
            Problem::InvalidMeetingId(_) => 2,
            Problem::InvalidQuery { .. } => 3,
            Problem::InvalidPageToken => 4,
            Problem::ParticipantNotFound => 5,
            Problem::NotFound => 6,
            Problem::MethodNotAllowed { .. } => 7,
            Problem::NotAcceptable => 8,
            Problem::Internal => 9,
            Problem::NoSnapshot(failure) => match failure.reason {
                Reason::MeetingNotFound => 10,
                Reason::NotAMeeting => 11,
                Reason::MeetingTooOld => 12,
                Reason::CallerOverLimit => 13,
                Reason::ZoomRejectedCredentials => 14,
                Reason::ZoomFailed => 15,
                Reason::ZoomRateLimited => 16,
                Reason::ZoomDailyQuotaSpent => 17,
                Reason::StillFetching => 18,
                Reason::Overloaded => 19,
                Reason::ShuttingDown => 20,
                Reason::ZoomTimedOut => 21,
                Reason::NotCached => 22,
            },
            // Only on the operators' listener, which `/openapi.json` does not describe.
            Problem::UnknownOperator => 23,
        }
    }

    #[test]
    fn each_problem_is_listed_once_and_has_a_code_of_its_own() {
        let places: Vec<_> = Problem::each().map(|problem| place(&problem)).collect();
        assert_eq!(places, (0..23).collect::<Vec<_>>());
        let codes: BTreeSet<_> = Problem::each().map(|problem| problem.row().code).collect();
        assert_eq!(codes.len(), places.len());
    }

    #[test]
    fn stale_snapshots_cover_every_502_503_504_and_callers_over_their_limit() {
        for reason in Reason::ALL {
            let by_status = matches!(no_snapshot(reason).status, 502..=504);
            let is_exempt = matches!(reason, Reason::ShuttingDown | Reason::NotCached);
            let is_covered = (by_status && !is_exempt) || reason == Reason::CallerOverLimit;
            assert_eq!(is_covered_by_stale(reason), is_covered, "{reason:?}");
        }
    }
}
