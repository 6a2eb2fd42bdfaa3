//! Answers: a status, a body, and how they are delivered, whole or broken. `server/wire.rs` writes them to a socket.

use std::time::Duration;

use crate::endpoint::{MeetingKind, QosEndpoint};

/// How a reply is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Complete and valid HTTP.
    Whole,
    /// Nothing; waits until the client closes.
    Hang,
    /// Head and half of the body; waits until the client closes.
    HangInBody,
    /// RST instead of an answer.
    ResetBeforeAnswer,
    /// RST after the head and half of the body, or after 16 KiB of the body if half is more.
    ResetInBody,
    /// FIN instead of an answer.
    CloseBeforeAnswer,
    /// The whole length announced, half of the body sent, FIN.
    Truncated,
    /// Chunked, without the last chunk, FIN.
    TruncatedChunked,
    /// Announces this many bytes more than the whole body, FIN.
    Overannounced(usize),
    /// Neither length nor chunks: the body ends with the connection.
    CloseDelimited,
    /// The whole body in parts of `chunk` bytes, with this pause after each.
    Drip { chunk: usize, every: Duration },
}

impl Delivery {
    /// Whether any byte of an answer is sent.
    pub(crate) fn answers(&self) -> bool {
        !matches!(self, Self::Hang | Self::ResetBeforeAnswer | Self::CloseBeforeAnswer)
    }
}

/// One answer, ready to be sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The `code` in the body, which the record of the call repeats.
    pub(crate) code: Option<i64>,
    pub(crate) content_type: &'static str,
    /// Headers in addition to those of every answer.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
    /// Whether Zoom's usual headers are left out.
    pub(crate) bare: bool,
}

/// Zoom's JSON content type, in Zoom's spelling.
pub(crate) const JSON: &str = "application/json;charset=UTF-8";

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            code: None,
            content_type: JSON,
            headers: Vec::new(),
            body: body.into(),
            delivery: Delivery::Whole,
            bare: false,
        }
    }

    /// `{"code":…,"message":…}`, the usual form of errors of Zoom's API.
    pub(crate) fn error(status: u16, code: i64, message: &str) -> Self {
        let message = serde_json::Value::from(message);
        Self::json(status, format!(r#"{{"code":{code},"message":{message}}}"#)).coded(code)
    }

    /// An answer that is not JSON.
    pub(crate) fn text(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { content_type, ..Self::json(status, body) }
    }

    /// No answer; `delivery` says what happens instead.
    pub(crate) fn silence(delivery: Delivery) -> Self {
        Self { delivery, ..Self::json(0, Vec::new()) }
    }

    pub(crate) fn coded(mut self, code: i64) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(crate) const TOKEN_EXPIRED: &str = "Access token is expired.";
/// The access token is unknown, missing or revoked.
pub(crate) const TOKEN_INVALID: &str = "Invalid access token.";
/// The page token is unknown, too old, or belongs to other parameters.
pub(crate) const PAGE_TOKEN_INVALID: &str = "The next page token is invalid or expired.";
pub(crate) const NOT_RECOGNIZED: &str = "This API endpoint is not recognized.";
/// The meeting is known but has nothing to show (yet).
pub(crate) const NOT_AVAILABLE: &str = "This meeting's detail info is not available.";

/// `404/3001` for an unknown id.
pub(crate) fn does_not_exist(endpoint: QosEndpoint, id: &str) -> Reply {
    let kind = match endpoint.kind() {
        MeetingKind::Meeting => "Meeting",
        MeetingKind::Webinar => "Webinar",
    };
    Reply::error(404, 3001, &format!("{kind} does not exist: {id}."))
}

/// `400/300` for an id of this kind at an endpoint of the other kind.
pub(crate) fn is_another_kind(kind: MeetingKind, id: &str) -> Reply {
    let kind = match kind {
        MeetingKind::Meeting => "meeting",
        MeetingKind::Webinar => "webinar",
    };
    Reply::error(400, 300, &format!("Can not access {kind} info, {id}."))
}

/// Zoom's message about a missing scope.
pub(crate) fn lacks_scope(endpoint: QosEndpoint) -> String {
    format!("Invalid access token, does not contain scopes:[{}].", endpoint.scope())
}

/// `400/4711`: the access token lacks the endpoint's scope.
pub(crate) fn missing_scope(endpoint: QosEndpoint) -> Reply {
    Reply::error(400, 4711, &lacks_scope(endpoint))
}

/// `404/2300`: the path does not exist.
pub(crate) fn not_recognized() -> Reply {
    Reply::error(404, 2300, NOT_RECOGNIZED)
}
