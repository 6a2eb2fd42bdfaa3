//! Injected faults: which request each one hits, how often, and what then happens.
//!
//! A request is hit by at most one fault: the first one that matches it and is not used up. At the `QoS` endpoints,
//! faults come after the check of the access token and before the limits. Some faults replace the natural answer, the
//! one without a fault. Their request counts in the limits unless the replacement is a 429. Other faults only spoil the
//! natural answer. They do not change the limits, and can also spoil a 429 caused by the limits.

pub(crate) mod effect;

use std::time::Duration;

use crate::endpoint::QosEndpoint;

/// The kind of failure. `400/200` means HTTP status 400 with `code` 200 in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Any status with any body, sent as JSON.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body, verbatim.
        body: String,
    },
    /// Like [`Self::Status`], with additional headers. `date` and `x-zm-trackingid` replace the natural ones.
    StatusWith {
        /// The HTTP status.
        status: u16,
        /// Names and values, verbatim.
        headers: Vec<(&'static str, String)>,
        /// The body, verbatim.
        body: String,
    },
    /// 400/200: the account's plan has no Dashboard.
    PlanTooLow,
    /// 400/300: the page token is refused.
    PageTokenInvalid,
    /// Like [`Self::PageTokenInvalid`], but with HTTP status 300, as in Zoom's specification.
    PageTokenInvalidStatus300,
    /// 400/300: the id is a webinar's. The webinar endpoints send the same error, so no endpoint serves the id.
    Webinar,
    /// 400/12702: the meeting is older than a year.
    TooOld,
    /// 404/3001: the meeting has no details, or none yet.
    NotAvailable,
    /// 404/3001: no such meeting.
    DoesNotExist,
    /// 404/2300: no such path.
    EndpointUnknown,
    /// 400/4711: a scope is missing.
    MissingScope,
    /// 400/104: a scope is missing, as older products report it.
    MissingScope104,
    /// 400 with unescaped quotes in `message`: not JSON.
    MissingScopeMalformed,
    /// 401/124: the access token has expired.
    TokenExpired,
    /// 401/124: the access token is unknown.
    TokenInvalid,
    /// 400/124: the access token has expired.
    TokenExpiredWith400,
    /// 200 with code 124 in the body.
    TokenExpiredIn200,
    /// 429: the per-second limit is reached.
    RateSecond {
        /// The value of `Retry-After`, verbatim; `None` to leave the header out.
        retry_after: Option<String>,
        /// Whether the answer has the `X-RateLimit-*` headers.
        headers: bool,
    },
    /// 429: the day's calls are used up.
    RateDay {
        /// The value of `Retry-After`, verbatim; `None` to leave the header out.
        retry_after: Option<String>,
        /// Whether the answer has the `X-RateLimit-*` headers.
        headers: bool,
    },
    /// 429 with an empty body, which does not say which limit is full.
    RateMystery {
        /// The value of `Retry-After`, verbatim; `None` to leave the header out.
        retry_after: Option<String>,
    },
    /// An HTML page with this status.
    ServerErrorHtml(u16),
    /// Sends nothing, and waits until the client closes.
    Hang,
    /// Sends the head and half of the body, then waits until the client closes.
    HangBody,
    /// Resets the connection instead of answering.
    ResetBeforeAnswer,
    /// Resets the connection after the head and half of the body, or the first 16 KiB if half is more.
    ResetInBody,
    /// Closes the connection instead of answering.
    CloseBeforeAnswer,
    /// Announces the whole `Content-Length`, sends half of the body, then closes.
    Truncated,
    /// Sends half of the body as a chunk, then closes without the last chunk.
    TruncatedChunked,
    /// Announces 1000 bytes more than the complete JSON that it sends, then closes.
    ShortValidJson,
    /// 200 with an empty body.
    EmptyBody,
    /// Sends the whole body without a length and without chunks. The close of the connection marks its end.
    CloseDelimited,
    /// A valid page, padded to this many bytes with an additional field.
    Oversized(usize),
    /// 200 with a body that is not JSON.
    NotJson,
    /// 200 with `{}`.
    EmptyObject,
    /// 200 with an error body.
    ErrorIn200 {
        /// The body's `code`.
        code: i64,
        /// The body's `message`.
        message: String,
    },
    /// The right answer, written in parts of `chunk` bytes.
    SlowDrip {
        /// The bytes in each part.
        chunk: usize,
        /// The pause after each part.
        every: Duration,
    },
    /// The right answer after this additional delay.
    Slow(Duration),
    /// The right page, but its `next_page_token` is the one of the request.
    ///
    /// For a request without one, it is a constant that leads to the second page.
    RepeatPageToken,
    /// The right pages, but the token of the last page leads to the last page again.
    EndlessPages,
    /// Token endpoint: 400 `invalid_client`.
    InvalidClient,
    /// Token endpoint: 200 with a body that is not JSON.
    TokenNotJson,
    /// Token endpoint: a valid access token without `expires_in`.
    TokenWithoutExpiry,
    /// 302 to this `Location`.
    Redirect(String),
}

/// One fault: what goes wrong, for which requests, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: FaultKind,
    token_endpoint: bool,
    endpoint: Option<QosEndpoint>,
    meeting: Option<String>,
    page: Option<usize>,
    /// How many more requests the fault hits; `None` for all.
    left: Option<usize>,
}

impl Fault {
    /// A fault that hits the next `QoS` request. Kinds that only exist at the token endpoint hit the next token
    /// request.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        let token_endpoint = matches!(
            kind,
            FaultKind::InvalidClient | FaultKind::TokenNotJson | FaultKind::TokenWithoutExpiry
        );
        Self { kind, token_endpoint, endpoint: None, meeting: None, page: None, left: Some(1) }
    }

    /// Hits `n` requests.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.left = Some(n);
        self
    }

    /// Hits every request until the faults are cleared.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.left = None;
        self
    }

    /// Hits token requests instead of `QoS` requests.
    #[must_use]
    pub fn on_token_endpoint(mut self) -> Self {
        self.token_endpoint = true;
        self
    }

    /// Hits only requests to this `QoS` endpoint.
    #[must_use]
    pub fn on_endpoint(mut self, endpoint: QosEndpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Hits only requests for this meeting, by either of its ids.
    #[must_use]
    pub fn for_meeting(mut self, id: impl Into<String>) -> Self {
        self.meeting = Some(id.into());
        self
    }

    /// Hits only requests for this page, from 0.
    #[must_use]
    pub fn on_page(mut self, page: usize) -> Self {
        self.page = Some(page);
        self
    }

    fn matches(&self, target: &Target<'_>) -> bool {
        if self.left == Some(0) {
            return false;
        }
        match target {
            Target::Token => self.token_endpoint,
            Target::Qos { endpoint, meeting_ids, page } => {
                !self.token_endpoint
                    && self.endpoint.is_none_or(|only| only == *endpoint)
                    && self.meeting.as_deref().is_none_or(|id| meeting_ids.contains(&id))
                    && (self.page.is_none() || self.page == *page)
            }
        }
    }
}

/// The properties of a request that faults match.
pub(crate) enum Target<'a> {
    Token,
    Qos { endpoint: QosEndpoint, meeting_ids: &'a [&'a str], page: Option<usize> },
}

/// The injected faults, in order.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Uses up one hit of the first fault that matches the request.
    pub(crate) fn take(&mut self, target: &Target<'_>) -> Option<FaultKind> {
        let fault = self.0.iter_mut().find(|fault| fault.matches(target))?;
        fault.left = fault.left.map(|left| left - 1);
        let kind = fault.kind.clone();
        self.0.retain(|fault| fault.left != Some(0));
        Some(kind)
    }
}
