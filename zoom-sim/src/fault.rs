//! Misbehaviour on order: which request it befalls, how often, and what then happens.
//!
//! The first injected fault that fits a request and is not used up befalls it, and no other. Faults come after
//! the check of the access token and before the limits. A fault that replaces the answer counts in the limits
//! unless it is itself a 429; one that only spoils the natural answer is subject to them.

pub(crate) mod effect;

use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Any status with any body, sent as JSON.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body, verbatim.
        body: String,
    },
    /// The same with more headers, of which `date` and `x-zm-trackingid` take the place of the true ones.
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
    /// The same with HTTP status 300, as Zoom's specification has it.
    PageTokenInvalidStatus300,
    /// 400/300: the id is a webinar's.
    Webinar,
    /// 400/12702: the meeting is older than a year.
    TooOld,
    /// 404/3001: no details (yet).
    NotAvailable,
    /// 404/3001: no such meeting.
    DoesNotExist,
    /// 404/2300: no such path.
    EndpointUnknown,
    /// 400/4711: a scope is missing.
    MissingScope,
    /// 400/104: the same from older products.
    MissingScope104,
    /// 400 with unescaped quotes in `message`: not JSON.
    MissingScopeMalformed,
    /// 401/124: the access token is past its life.
    TokenExpired,
    /// 401/124: the access token is unknown.
    TokenInvalid,
    /// 400/124.
    TokenExpiredWith400,
    /// 200 with code 124 in the body.
    TokenExpiredIn200,
    /// 429: the second is full.
    RateSecond {
        /// `Retry-After`, verbatim.
        retry_after: Option<String>,
        /// With the `X-RateLimit-*` headers.
        headers: bool,
    },
    /// 429: the day is spent.
    RateDay {
        /// `Retry-After`, verbatim.
        retry_after: Option<String>,
        /// With the `X-RateLimit-*` headers.
        headers: bool,
    },
    /// 429 with an empty body and nothing that tells which limit it was.
    RateMystery {
        /// `Retry-After`, verbatim.
        retry_after: Option<String>,
    },
    /// An HTML page with this status.
    ServerErrorHtml(u16),
    /// Never answers; waits until the client closes.
    Hang,
    /// Sends the head and half of the body, then waits until the client closes.
    HangBody,
    /// Resets the connection instead of answering.
    ResetBeforeAnswer,
    /// Resets it after the head and half of the body (16 KiB at most, which surely arrive).
    ResetInBody,
    /// Closes the connection instead of answering.
    CloseBeforeAnswer,
    /// `Content-Length` of the whole, half of the body, close.
    Truncated,
    /// Chunked, half of the body, close without a last chunk.
    TruncatedChunked,
    /// The JSON is whole, but `Content-Length` is 1000 larger; close.
    ShortValidJson,
    /// 200 with an empty body.
    EmptyBody,
    /// Neither length nor chunks: the whole body, ended by closing.
    CloseDelimited,
    /// A valid page, made this many bytes long by one more field.
    Oversized(usize),
    /// 200 with a text that is not JSON.
    NotJson,
    /// 200 with `{}`.
    EmptyObject,
    /// 200 with an error body.
    ErrorIn200 {
        /// `code`.
        code: i64,
        /// `message`.
        message: String,
    },
    /// The right answer, in chunks of so many bytes, one per `every`.
    SlowDrip {
        /// Bytes at a time.
        chunk: usize,
        /// The pause after each.
        every: Duration,
    },
    /// The right answer, this much later.
    Slow(Duration),
    /// The right page, but its `next_page_token` is the one that the request carried.
    ///
    /// For a request without one it is a constant that leads to the second page.
    RepeatPageToken,
    /// The right page, and on the last one a new token that leads to it again.
    EndlessPages,
    /// Token endpoint: 400 `invalid_client`.
    InvalidClient,
    /// Token endpoint: 200 with a text that is not JSON.
    TokenNotJson,
    /// Token endpoint: a good access token without `expires_in`.
    TokenWithoutExpiry,
    /// 302 to this `Location`.
    Redirect(String),
}

/// One misbehaviour: what, to whom, how often.
#[derive(Debug, Clone)]
pub struct Fault {
    kind: FaultKind,
    token_endpoint: bool,
    meeting: Option<String>,
    page: Option<usize>,
    /// How often still; `None` = for ever.
    left: Option<usize>,
}

impl Fault {
    /// Befalls the next `QoS` request, or token request for the kinds that exist only there, once.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        let token_endpoint = matches!(
            kind,
            FaultKind::InvalidClient | FaultKind::TokenNotJson | FaultKind::TokenWithoutExpiry
        );
        Self { kind, token_endpoint, meeting: None, page: None, left: Some(1) }
    }

    /// Befalls `n` requests.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.left = Some(n);
        self
    }

    /// Befalls every request until the faults are cleared.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.left = None;
        self
    }

    /// Befalls token requests instead of `QoS` requests.
    #[must_use]
    pub fn on_token_endpoint(mut self) -> Self {
        self.token_endpoint = true;
        self
    }

    /// Befalls only requests for this meeting, by the id asked for or the meeting's other one.
    #[must_use]
    pub fn for_meeting(mut self, id: impl Into<String>) -> Self {
        self.meeting = Some(id.into());
        self
    }

    /// Befalls only requests for this page, from 0.
    #[must_use]
    pub fn on_page(mut self, page: usize) -> Self {
        self.page = Some(page);
        self
    }

    fn fits(&self, target: &Target<'_>) -> bool {
        if self.left == Some(0) {
            return false;
        }
        match target {
            Target::Token => self.token_endpoint,
            Target::Qos { meeting_ids, page } => {
                !self.token_endpoint
                    && self.meeting.as_deref().is_none_or(|id| meeting_ids.contains(&id))
                    && (self.page.is_none() || self.page == *page)
            }
        }
    }
}

/// What a request is about, as far as faults choose by it.
pub(crate) enum Target<'a> {
    Token,
    Qos { meeting_ids: &'a [&'a str], page: Option<usize> },
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

    /// The fault that befalls this request, used once by it.
    pub(crate) fn take(&mut self, target: &Target<'_>) -> Option<FaultKind> {
        let fault = self.0.iter_mut().find(|fault| fault.fits(target))?;
        fault.left = fault.left.map(|left| left - 1);
        let kind = fault.kind.clone();
        self.0.retain(|fault| fault.left != Some(0));
        Some(kind)
    }
}
