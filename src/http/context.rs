//! The state of one request while it is served, shared between its handler and the access log.

use std::{cell::Cell, time::Instant};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{auth::Identity, route::Route};
use crate::{failure::RefusedBy, metrics::Outcome, snapshot::MeetingType, trace::FlightLink};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const LONGEST_REQUEST_ID: usize = 128;
/// The status that is logged and counted if the caller disconnected before the response. nginx introduced this
/// status.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The context of one request. The plain fields are set before the handler runs; the handler fills the cells.
pub(super) struct RequestContext {
    /// `None` if no route has this path.
    pub(super) route: Option<&'static Route>,
    pub(super) id: RequestId,
    pub(super) identity: Identity,
    pub(super) received: Instant,
    /// Links the request's span with the span of the flight that it waits for. `None` if the request is not traced.
    /// Boxed, so that the future of a hit needs no room for it.
    pub(super) flight_link: Option<Box<FlightLink>>,
    pub(super) outcome: Cell<Option<Outcome>>,
    pub(super) refused_by: Cell<Option<RefusedBy>>,
    /// The code of the problem that the response reports, if it reports one.
    pub(super) problem_code: Cell<Option<&'static str>>,
    /// The type of the meeting whose page is requested, for the page of a problem.
    pub(super) page_type: Cell<Option<MeetingType>>,
    /// Whether the caller closed its side of the connection while it waited.
    pub(super) disconnected: Cell<bool>,
}

/// The end of a request, as the log line, the metrics and the span report it.
pub(super) struct Completion {
    pub(super) status: u16,
    pub(super) outcome: Option<Outcome>,
    pub(super) refused_by: Option<RefusedBy>,
    pub(super) problem_code: Option<&'static str>,
}

impl RequestContext {
    /// Returns the end of the request. `answered` is the status of the response; `None` if the caller has probably not
    /// received one.
    pub(super) fn completion(&self, answered: Option<u16>) -> Completion {
        match answered {
            Some(status) => Completion {
                status,
                outcome: self.outcome.get(),
                refused_by: self.refused_by.get(),
                problem_code: self.problem_code.get(),
            },
            None => Completion {
                status: CLIENT_CLOSED_REQUEST,
                outcome: Some(Outcome::Failed),
                refused_by: None,
                problem_code: None,
            },
        }
    }
}

/// The request's id, which its response returns.
pub(super) enum RequestId {
    /// The value of the caller's `X-Request-Id`.
    FromCaller(HeaderValue),
    /// 32 random hexadecimal digits.
    Random([u8; 32]),
}

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        headers.get(X_REQUEST_ID).and_then(Self::from_caller).unwrap_or_else(Self::random)
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::FromCaller(value) => value.to_str().unwrap_or_default(),
            Self::Random(digits) => str::from_utf8(digits).unwrap_or_default(),
        }
    }

    pub(super) fn to_header(&self) -> HeaderValue {
        match self {
            Self::FromCaller(value) => value.clone(),
            Self::Random(digits) => {
                HeaderValue::from_bytes(digits).unwrap_or(HeaderValue::from_static("none"))
            }
        }
    }

    fn from_caller(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let is_valid = (1..=LONGEST_REQUEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        is_valid.then(|| Self::FromCaller(value.clone()))
    }

    /// Makes a random id. It does without `format!`, which would cost a hit more than its cache look-up.
    fn random() -> Self {
        let digit = |four_bits: u8| if four_bits < 10 { b'0' + four_bits } else { b'a' - 10 + four_bits };
        let digits = fastrand::u128(..).to_be_bytes().map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Self::Random(digits.as_flattened().try_into().unwrap_or([b'0'; 32]))
    }
}
