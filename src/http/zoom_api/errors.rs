//! Reports problems in Zoom's format, `{"code": …, "message": "…"}`, with Zoom's own code for each error that Zoom has.

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, RETRY_AFTER},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::{
    failure::{CallerLimit, Failure, Reason, RedactedText, ZoomError},
    hiding::{FieldGroup, HiddenFields},
    http::{exchange::Exchange, params::path_ids, problem::Problem},
    view::redact::is_pseudonym,
};

const X_RATELIMIT_TYPE: HeaderName = HeaderName::from_static("x-ratelimit-type");

/// The maximum length of an id in a message, in characters, because a caller may send any text as an id.
const LONGEST_ID: usize = 64;

const PER_SECOND: &str = "You have reached the maximum per-second rate limit for this API. Try again later.";
const PER_DAY: &str = "You have reached the maximum daily rate limit for this API. Refer to the response header for \
                       details on when you can make another request.";

/// Zoom's error codes; docs/CALLERS.md lists them; `docs/CALLERS.md` lists them.
const CODE_VALIDATION: i64 = 300;
const CODE_NO_PARTICIPANT: i64 = 1010;
const CODE_NO_PATH: i64 = 2300;
const CODE_NO_MEETING: i64 = 3001;
const CODE_TOO_OLD: i64 = 12702;
const CODE_TOKEN: i64 = 124;

#[derive(Debug, Serialize)]
struct ErrorDocument<'a> {
    code: i64,
    message: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[FieldError<'a>; 1]>,
}

#[derive(Debug, Serialize)]
struct FieldError<'a> {
    field: &'a str,
    message: &'a str,
}

/// Responds with this problem in Zoom's format, and records the outcome in the request's context.
pub(in crate::http) fn respond(problem: &Problem, exchange: Exchange<'_>) -> HttpResponse {
    let ids = path_ids(exchange);
    let hidden = exchange.context.identity.hidden_fields();
    let (status, body) = translate(problem, (ids.meeting, ids.participant), hidden);
    let mut response = problem.begin_response(&problem.row(), status, exchange.context);
    let retry_at = match problem {
        Problem::NoSnapshot(failure) => {
            if status == 429 {
                let limit = if is_daily(failure) { "Daily-limit" } else { "QPS" };
                response.insert_header((X_RATELIMIT_TYPE, limit));
            }
            failure.retry_at
        }
        Problem::IssuerUnavailable { retry_at } => *retry_at,
        _ => None,
    };
    if let Some(at) = retry_at {
        response.insert_header((RETRY_AFTER, http_date(at, Instant::now(), SystemTime::now())));
    }
    response.json(body)
}

/// Returns the status and Zoom's code of a problem, for the description of the API.
pub(in crate::http) fn status_and_code(problem: &Problem) -> (u16, i64) {
    let (status, body) = translate(problem, ("", ""), HiddenFields::default());
    (status, body.code)
}

fn translate<'p>(
    problem: &'p Problem,
    (meeting, participant): (&str, &str),
    hidden: HiddenFields,
) -> (u16, ErrorDocument<'p>) {
    let row = problem.row();
    let zoom = match problem {
        Problem::NoSnapshot(failure) => failure.zoom.as_deref(),
        _ => None,
    };
    let hides = !hidden.is_empty();
    let no_meeting = || format!("Meeting does not exist: {}.", shown(meeting));
    match problem {
        Problem::UnknownCaller(_) | Problem::UnknownOperator => {
            (401, document(CODE_TOKEN, "Invalid access token."))
        }
        Problem::InvalidMeetingId(_) => (404, document(CODE_NO_MEETING, no_meeting())),
        Problem::InvalidQuery { parameter, detail } => {
            let errors = Some([FieldError { field: parameter, message: detail }]);
            (400, ErrorDocument { errors, ..document(CODE_VALIDATION, "Validation Failed.") })
        }
        Problem::InvalidPageToken => {
            (400, document(CODE_VALIDATION, "The next page token is invalid or expired."))
        }
        Problem::ParticipantNotFound => {
            (404, document(CODE_NO_PARTICIPANT, no_participant(&shown(participant), hidden)))
        }
        Problem::NotFound => (404, document(CODE_NO_PATH, "This API endpoint is not recognized.")),
        Problem::NoSnapshot(failure) if is_daily(failure) => (429, document(429, PER_DAY)),
        Problem::NoSnapshot(failure) => match failure.reason {
            Reason::MeetingNotFound => zooms_own((zoom, hides), row.status, CODE_NO_MEETING, no_meeting()),
            Reason::NotAMeeting => {
                let message = format!("Can not access webinar info, {}.", shown(meeting));
                zooms_own((zoom, hides), row.status, CODE_VALIDATION, message)
            }
            Reason::MeetingTooOld => zooms_own(
                (zoom, hides),
                row.status,
                CODE_TOO_OLD,
                "Can not access a meeting a year ago.".to_owned(),
            ),
            Reason::ZoomRateLimited | Reason::CallerOverLimit | Reason::Overloaded => {
                (429, document(429, PER_SECOND))
            }
            _ => (row.status, document(row.status.into(), format!("{}.", row.title))),
        },
        Problem::MethodNotAllowed { .. }
        | Problem::NotAcceptable
        | Problem::Internal
        | Problem::IssuerUnavailable { .. } => {
            (row.status, document(row.status.into(), format!("{}.", row.title)))
        }
    }
}

/// Returns whether a limit of the day refused the request: the account's, or the caller's.
fn is_daily(failure: &Failure) -> bool {
    match failure.reason {
        Reason::ZoomDailyQuotaSpent => true,
        Reason::CallerOverLimit => failure.caller_limit.is_some_and(|limit| limit != CallerLimit::PerMinute),
        _ => false,
    }
}

fn document<'a>(code: i64, message: impl Into<Cow<'a, str>>) -> ErrorDocument<'a> {
    ErrorDocument { code, message: message.into(), errors: None }
}

/// Returns the message about a participant who was not found. To a caller who may not see ids, it repeats only
/// pseudonyms, so that such a caller's logs of these messages contain no id.
fn no_participant(id: &str, hidden: HiddenFields) -> Cow<'static, str> {
    if hidden.contains(FieldGroup::Identity) && !is_pseudonym(id) {
        return "Participant does not exist.".into();
    }
    format!("Participant does not exist: {id}.").into()
}

/// Returns the status, the code and the message of Zoom's response, or the given ones where the response has none. A
/// status below 400 is no error, so the given status replaces it. Zoom's message is withheld from a caller from whom
/// fields are hidden.
fn zooms_own(
    (zoom, hides): (Option<&ZoomError>, bool),
    status: u16,
    code: i64,
    message: String,
) -> (u16, ErrorDocument<'_>) {
    let status = zoom.map(|zoom| zoom.status).filter(|status| *status >= 400).unwrap_or(status);
    let code = zoom.and_then(|zoom| zoom.code).unwrap_or(code);
    let zooms_message =
        zoom.and_then(|zoom| zoom.message.as_ref()).filter(|_| !hides).map(RedactedText::as_str);
    (status, document(code, zooms_message.map_or(Cow::Owned(message), Cow::Borrowed)))
}

/// Returns an id from a path, percent-decoded once and cut to [`LONGEST_ID`].
fn shown(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().chars().take(LONGEST_ID).collect()
}

/// Returns the HTTP date of `at`, rounded up, and at least one second after `now`.
///
/// Example: at 10:00:00.4, a wait of 2.1 s ends at 10:00:02.5, so the date is 10:00:03.
fn http_date(at: Instant, now: Instant, wall_clock: SystemTime) -> String {
    let wait = at.saturating_duration_since(now).max(Duration::from_secs(1));
    // Adding almost a second rounds up, because an HTTP date is cut to whole seconds.
    httpdate::fmt_http_date(wall_clock + wait + Duration::from_nanos(999_999_999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting_id::InvalidMeetingId;

    fn body_of(problem: &Problem) -> (u16, serde_json::Value) {
        let (status, body) = translate(problem, ("%2Fabc%3D%3D", "16778240"), HiddenFields::default());
        (status, serde_json::to_value(body).unwrap())
    }

    #[test]
    fn ids_in_messages_are_decoded_once_and_cut() {
        let (status, body) = body_of(&Problem::InvalidMeetingId(InvalidMeetingId::Form));
        assert_eq!((status, body["message"].as_str()), (404, Some("Meeting does not exist: /abc==.")));
        assert_eq!(shown(&"é".repeat(100)), "é".repeat(64));
        assert_eq!(shown("%252F%ff"), "%2F\u{fffd}");
    }

    #[test]
    fn only_pseudonyms_are_repeated_to_callers_who_see_no_ids() {
        let identity = [FieldGroup::Identity].into_iter().collect();
        let device = [FieldGroup::Device].into_iter().collect();
        for (id, hidden, message) in [
            ("16778240", identity, "Participant does not exist."),
            ("p-00000000000", identity, "Participant does not exist."),
            ("p-0123456789", identity, "Participant does not exist: p-0123456789."),
            ("16778240", device, "Participant does not exist: 16778240."),
        ] {
            assert_eq!(no_participant(id, hidden), message);
        }
    }

    #[test]
    fn every_problem_is_an_error_with_an_integer_code_and_a_message() {
        for problem in Problem::each() {
            let (status, body) = body_of(&problem);
            assert!((400..600).contains(&status), "{problem:?}");
            assert!(
                body["code"].is_i64() && body["message"].as_str().is_some_and(|text| text.ends_with('.')),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn dates_are_rounded_up_and_ahead() {
        let (now, clock) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_400));
        for (wait_ms, date) in [(2_100, "00:00:04"), (0, "00:00:03"), (600, "00:00:03"), (1_600, "00:00:03")]
        {
            let at = now + Duration::from_millis(wait_ms);
            assert_eq!(http_date(at, now, clock), format!("Thu, 01 Jan 1970 {date} GMT"), "{wait_ms}");
        }
    }
}
