//! Classifies Zoom's error responses, mostly by the body's `code` and `message`, because the HTTP status can mislead:
//! some error bodies come with status 200. Some bodies are not even JSON. Sources: Zoom's error tables, and responses
//! that its users have published.

use std::time::Duration;

use super::{members, response_head::ResponseHead};
use crate::{
    failure::{LimitKind, Redactor, ZoomError},
    metrics::Cause,
    snapshot::MeetingKind,
};

#[derive(Debug)]
pub(crate) enum CallError {
    /// Zoom does not accept the access token: renew it once and repeat the call once.
    AccessTokenRefused(ZoomError),
    /// The scopes or the plan are insufficient. A retry does not help until an operator changes them.
    CredentialsRejected { lack: Lack, zoom_error: ZoomError },
    RateLimited {
        kind: LimitKind,
        /// The time until `Retry-After`; `None` if the response has no valid one, or if the time has passed.
        retry_after: Option<Duration>,
        zoom_error: ZoomError,
    },
    /// No such meeting, or not yet.
    MeetingNotFound(ZoomError),
    /// The id is of the other kind: a webinar's at the meeting endpoint, or a meeting's at the webinar endpoint.
    OtherKind(ZoomError),
    /// Zoom no longer keeps the data.
    MeetingTooOld(ZoomError),
    /// The page token is expired or invalid: the flight starts over.
    PageTokenRefused(ZoomError),
    /// The head, a part of the body or the complete response did not arrive in time. A retry may help.
    TimedOut,
    /// No connection, or no valid head of a response over it. A retry may help.
    NotReached(Cause),
    /// The head of a 2xx arrived, but its body is incomplete or corrupt. A retry may help.
    CutShort(ZoomError),
    /// A server error without `Retry-After`, or a 2xx that is neither a page nor a known error. A retry may help.
    Broken(ZoomError),
    /// A server error with `Retry-After`. A retry may help after that time.
    Unavailable {
        zoom_error: ZoomError,
        /// The time until `Retry-After`, counted from the response.
        retry_after: Duration,
    },
    /// Any other response from Zoom. An immediate retry would not help.
    Refused(ZoomError),
    /// A body larger than `zoom.max_body` or `limits.max_fetch_bytes`. A retry would not help.
    TooLarge(ZoomError),
    /// We stopped reading the body, because other meetings need the memory.
    NoRoom,
}

impl CallError {
    pub(crate) fn zoom_error(&self) -> Option<&ZoomError> {
        match self {
            Self::AccessTokenRefused(zoom_error)
            | Self::CredentialsRejected { zoom_error, .. }
            | Self::RateLimited { zoom_error, .. }
            | Self::Unavailable { zoom_error, .. }
            | Self::MeetingNotFound(zoom_error)
            | Self::OtherKind(zoom_error)
            | Self::MeetingTooOld(zoom_error)
            | Self::PageTokenRefused(zoom_error)
            | Self::CutShort(zoom_error)
            | Self::Broken(zoom_error)
            | Self::Refused(zoom_error)
            | Self::TooLarge(zoom_error) => Some(zoom_error),
            Self::TimedOut | Self::NotReached(_) | Self::NoRoom => None,
        }
    }
}

/// The reason why Zoom refuses one kind of call until an operator changes something at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    Scope,
    Plan,
}

impl Lack {
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

/// Classifies a response that is not a page. `body` may be cut off.
pub(super) fn classify(head: &ResponseHead, body: &[u8], redactor: &Redactor) -> CallError {
    let [code, message] = members::read(body, ["code", "message"]);
    let (code, message) = (code.number(), message.text());
    let zoom_error = ZoomError {
        code,
        message: message.as_deref().map(|message| redactor.redact(message)),
        ..head.zoom_error()
    };
    // A body that is not JSON has no message; we search its text but never pass it on.
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = text.to_ascii_lowercase();
    let rejected = |lack, zoom_error| CallError::CredentialsRejected { lack, zoom_error };
    match (code, head.status) {
        (Some(429), _) | (_, 429) => {
            let kind = limit_kind(head, &text);
            CallError::RateLimited { kind, retry_after: head.retry_after(), zoom_error }
        }
        // Not a refused token, even with a 401: until an operator adds the scope, a new token would lack it as well.
        (Some(4711 | 104), _) => rejected(Lack::Scope, zoom_error),
        // Malformed JSON: Zoom was seen to send unescaped quotes inside the message.
        (None, _) if text.contains("does not contain scopes") => rejected(Lack::Scope, zoom_error),
        (Some(124), _) | (_, 401) => CallError::AccessTokenRefused(zoom_error),
        (Some(200), _) if text.contains("only available for") || head.status >= 400 => {
            rejected(Lack::Plan, zoom_error)
        }
        (Some(300), _) if text.contains("page token") => CallError::PageTokenRefused(zoom_error),
        // The meeting endpoint sends the first text for the id of a webinar. The webinar endpoint sends the second
        // text for the id of a meeting.
        (Some(300), _) if text.contains("webinar") || text.contains("access meeting info") => {
            CallError::OtherKind(zoom_error)
        }
        (Some(3001), _) => CallError::MeetingNotFound(zoom_error),
        (Some(12702), _) => CallError::MeetingTooOld(zoom_error),
        (_, 500..) => match head.retry_after() {
            Some(retry_after) => CallError::Unavailable { zoom_error, retry_after },
            None => CallError::Broken(zoom_error),
        },
        // A 2xx without a page is broken, unless it has an error code.
        (None, 200..=299) => CallError::Broken(zoom_error),
        _ => CallError::Refused(zoom_error),
    }
}

fn limit_kind(head: &ResponseHead, text: &str) -> LimitKind {
    match head.limit_type.as_deref().map(str::trim) {
        Some(named) if named.eq_ignore_ascii_case("QPS") => LimitKind::PerSecond,
        Some(named) if named.eq_ignore_ascii_case("Daily-limit") => LimitKind::PerDay,
        _ if text.contains("daily") => LimitKind::PerDay,
        // A 429 that names no limit counts as per second. If this pause is too short, the next call gets another 429.
        _ => LimitKind::PerSecond,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn head(status: u16) -> ResponseHead {
        ResponseHead { status, date: Some(SystemTime::UNIX_EPOCH), ..ResponseHead::default() }
    }

    fn name(status: u16, body: &str) -> &'static str {
        match classify(&head(status), body.as_bytes(), &Redactor::default()) {
            CallError::AccessTokenRefused(_) => "renew",
            CallError::CredentialsRejected { lack: Lack::Scope, .. } => "scope",
            CallError::CredentialsRejected { lack: Lack::Plan, .. } => "plan",
            CallError::RateLimited { kind: LimitKind::PerSecond, .. } => "second",
            CallError::RateLimited { kind: LimitKind::PerDay, .. } => "day",
            CallError::MeetingNotFound(_) => "not found",
            CallError::OtherKind(_) => "other kind",
            CallError::MeetingTooOld(_) => "too old",
            CallError::PageTokenRefused(_) => "start over",
            CallError::TimedOut | CallError::NotReached(_) => "no answer",
            CallError::CutShort(_) | CallError::Broken(_) => "broken",
            CallError::Unavailable { .. } => "come back",
            CallError::Refused(_) => "refused",
            CallError::TooLarge(_) => "too large",
            CallError::NoRoom => "no room",
        }
    }

    #[test]
    fn every_row_of_the_error_table_is_classified() {
        let scopes = r#"{"code":4711,"message":"Invalid access token, does not contain scopes:[a, b]."}"#;
        let malformed = r#"{"code":4711,"message":"Invalid access token, does not contain scopes:["a"]."}"#;
        let plan =
            r#"{"code":200,"message":"This API is only available for ZMP and Business or higher accounts."}"#;
        let token = r#"{"code":124,"message":"Access token is expired."}"#;
        let page = r#"{"code":300,"message":"The next page token is invalid or expired."}"#;
        for (status, body, meaning) in [
            (400, plan, "plan"),
            (400, page, "start over"),
            (300, page, "start over"),
            (400, r#"{"code":300,"message":"Can not access webinar info, 123456789."}"#, "other kind"),
            (400, r#"{"code":300,"message":"Can not access meeting info, 123456789."}"#, "other kind"),
            (400, r#"{"code":300,"message":"Something else."}"#, "refused"),
            (400, r#"{"code":12702,"message":"Can not access a meeting a year ago."}"#, "too old"),
            (404, r#"{"code":3001,"message":"Meeting does not exist: 1."}"#, "not found"),
            (200, r#"{"code":3001,"message":"Meeting does not exist: 1."}"#, "not found"),
            (404, r#"{"code":"3001","message":"Meeting does not exist: 1."}"#, "not found"),
            (404, r#"{"code":2300,"message":"This API endpoint is not recognized."}"#, "refused"),
            (400, scopes, "scope"),
            (400, malformed, "scope"),
            (400, r#"{"code":104,"message":"Invalid access token, does not contain scopes"}"#, "scope"),
            (401, token, "renew"),
            (400, token, "renew"),
            (200, token, "renew"),
            (401, "<html>", "renew"),
            (401, scopes, "scope"),
            (401, malformed, "scope"),
            (404, r#"{"code":3001,"message":null}"#, "not found"),
            (404, r#"{"code":3001,"message":["x"]}"#, "not found"),
            (500, "<html>oops</html>", "broken"),
            (503, "", "broken"),
            (200, "", "broken"),
            (200, "{}", "broken"),
            (200, "<html>", "broken"),
            (404, "", "refused"),
            (302, "", "refused"),
            (
                429,
                r#"{"code":429,"message":"You have reached the maximum per-second rate limit."}"#,
                "second",
            ),
            (429, r#"{"code":429,"message":"You have reached the maximum daily rate limit."}"#, "day"),
            (200, r#"{"code":429,"message":"You have reached the maximum daily rate limit."}"#, "day"),
            (429, "", "second"),
        ] {
            assert_eq!(name(status, body), meaning, "{status} {body}");
        }
    }

    #[test]
    fn the_header_names_the_limit_before_the_message_does() {
        let mut head = head(429);
        head.limit_type = Some("QPS".to_owned());
        head.retry_after = Some("7".to_owned());
        let body = br#"{"code":429,"message":"daily rate limit"}"#;
        let error = classify(&head, body, &Redactor::default());
        let CallError::RateLimited { kind, retry_after, zoom_error } = error else { panic!("{error:?}") };
        assert_eq!((kind, retry_after), (LimitKind::PerSecond, Some(Duration::from_secs(7))));
        assert_eq!((zoom_error.status, zoom_error.code), (429, Some(429)));
    }

    #[test]
    fn the_retry_after_of_a_server_error_is_obeyed() {
        for (status, meaning) in [(503, "come back"), (500, "come back"), (404, "refused")] {
            let head = ResponseHead { retry_after: Some("7".to_owned()), ..head(status) };
            match classify(&head, b"<html>", &Redactor::default()) {
                CallError::Unavailable { retry_after, .. } => {
                    assert_eq!((meaning, retry_after), ("come back", Duration::from_secs(7)));
                }
                other => assert_eq!(meaning, "refused", "{other:?}"),
            }
        }
    }

    #[test]
    fn a_cut_body_is_classified_by_its_beginning() {
        for (body, meaning) in [
            (r#"{"code":3001,"message":"Meeting does not exist: 1.","more":"xx"#, "not found"),
            (r#"{"code":3001,"message":"Meeting does not"#, "not found"),
            (r#"{"message":"Can not access webinar info.","code":300,"more":["#, "other kind"),
            (r#"{"code":300,"message":"Can not access webinar in"#, "other kind"),
            (r#"{"more":"xx"#, "refused"),
            (r#"{"code":3001"#, "refused"),
            (r#"{"code":429"#, "refused"),
            (r#"{"code":3001 x"#, "refused"),
            ("[3001,", "refused"),
        ] {
            assert_eq!(name(400, body), meaning, "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_put_on_one_line() {
        let body = format!(r#"{{"code":1,"message":"a\r\nb{}"}}"#, "x ".repeat(500));
        let CallError::Refused(zoom_error) = classify(&head(400), body.as_bytes(), &Redactor::default())
        else {
            panic!()
        };
        let message = zoom_error.message.unwrap().to_string();
        assert!(message.starts_with("abx x") && message.len() == 300, "{message}");
    }
}
