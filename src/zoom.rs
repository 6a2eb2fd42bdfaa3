//! The upstream: one call for one page, the access token that it needs, and what Zoom's refusals mean.
//!
//! Only this folder knows Zoom's URLs, headers and error bodies, and awc. It makes one call per [`Permit`] and never
//! repeats one by itself: whether to try again is decided by the flight, which has to pay for it.

mod beginning;
mod body;
mod day_left;
mod decoder;
pub mod error;
mod members;
mod memory;
pub mod oauth;
pub mod reachability;
mod response_head;
pub mod retry_after;
pub mod secret;
pub mod transport;
mod trouble;
pub mod upstream;

use std::time::Duration;

use awc::{
    ClientResponse,
    error::{PayloadError, SendRequestError},
    http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH},
};
use bytes::Bytes;
use futures_util::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

pub use self::memory::{BodyBytes, FetchMemory, FlightMemory};
use self::{
    beginning::{JUDGED, Patience},
    body::{Body, BodyError, Extent},
    decoder::Decoder,
    error::CallError,
    oauth::AccessToken,
    reachability::{LastFailure, Trouble},
    response_head::ResponseHead,
    secret::SecretSource,
    upstream::Upstream,
};
use crate::{
    blocking::off_this_thread,
    egress::{MoreRoots, ProxySource},
    failure::{Redactor, ZoomSaid},
    metrics::Cause,
    quota::Permit,
    snapshot::SnapshotKey,
};

/// The most that Zoom gives; its default is 1. A refresh of N participants costs ⌈N / 10⌉ calls.
const PAGE_SIZE: u32 = 10;
/// Everything in a query value but RFC 3986's unreserved characters.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A call ends after so many times `zoom.request_timeout`, also if its body never pauses for that long. Time in which we do
/// not read on, because other meetings take the memory, does not count.
const CALL_TIMEOUTS: u32 = 6;
/// Bytes of a body that are judged on the thread that keeps the pace of calls; more take too long for that.
const JUDGED_HERE: usize = 4 * 1024;

/// Where Zoom is, who we are there, and how long one HTTP call may take.
pub struct ZoomConfig {
    /// Base of the API, without a trailing slash, for example `https://api.zoom.us/v2`.
    pub api_base_url: Url,
    /// The endpoint that hands out access tokens.
    pub oauth_url: Url,
    /// Server-to-Server OAuth: the account.
    pub account_id: SecretSource,
    /// Server-to-Server OAuth: the app.
    pub client_id: SecretSource,
    /// Server-to-Server OAuth: the app's secret.
    pub client_secret: SecretSource,
    /// Longest time for DNS and TCP; the TLS handshake may take as long again.
    pub connect_timeout: Duration,
    /// Longest wait for an answer's head, connecting included, and for every part of its body. A call ends after
    /// [`CALL_TIMEOUTS`] times that.
    pub request_timeout: Duration,
    /// Largest page accepted, in bytes after decompression.
    pub max_body: usize,
    /// The proxy on the way to the API.
    pub api_proxy: Option<ProxySource>,
    /// The proxy on the way to the token endpoint.
    pub oauth_proxy: Option<ProxySource>,
    /// Whom we trust beside Mozilla's authorities.
    pub more_roots: MoreRoots,
}

/// Zoom's QoS endpoint, over one pool of connections. Belongs to one thread.
pub struct Zoom {
    upstream: Upstream,
    reading: Reading,
}

/// How an answer is read.
struct Reading {
    /// For its head, and for every part of its body.
    timeout: Duration,
    /// In bytes, after decompression.
    max_body: usize,
    redactor: Redactor,
}

/// What came of a call.
pub struct Called {
    /// The answer, or everything but a 2xx with a whole body.
    pub answer: Result<Answer, CallError>,
    /// The permit, if no byte of the call can have left: Zoom has not counted it.
    pub unspent: Option<Permit>,
    /// How many of the day's calls are left to the whole account, where Zoom says so. Not with a 429, which says until
    /// when all calls stop.
    pub account_has_left: Option<u64>,
}

/// A successful answer whose body has arrived whole, as far as HTTP can tell. Whether it is a page is not known yet.
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// Counts it.
    pub counted: BodyBytes,
    head: ResponseHead,
    redactor: Redactor,
}

/// Why there is no whole answer.
struct NotWhole {
    error: CallError,
    /// Whether the request cannot have reached anybody.
    never_left: bool,
    /// Why, where the connection is to blame.
    trouble: Option<Box<Trouble>>,
}

impl From<CallError> for NotWhole {
    fn from(error: CallError) -> Self {
        Self { error, never_left: false, trouble: None }
    }
}

impl Answer {
    /// Which answer this was.
    #[must_use]
    pub fn said(&self) -> ZoomSaid {
        self.head.said()
    }

    /// The meaning of an answer that turned out not to be a page.
    pub async fn not_a_page(&self) -> CallError {
        judged(&self.head, &self.body, &self.redactor).await
    }
}

impl Zoom {
    /// The endpoint, reached in this way. No page may be larger than all meetings together.
    #[must_use]
    pub fn new(config: &ZoomConfig, upstream: Upstream, max_fetch_bytes: usize) -> Self {
        let ZoomConfig { request_timeout, max_body, .. } = *config;
        let redactor = upstream.redactor.clone();
        let max_body = max_body.min(max_fetch_bytes);
        Self { upstream, reading: Reading { timeout: request_timeout, max_body, redactor } }
    }

    /// Closes all idle connections to the API, and those in use when their calls end.
    pub fn forget_connections(&self) {
        self.upstream.api.forget_connections();
    }

    /// The last time that Zoom, or its token endpoint, could not be reached or did not answer whole.
    #[must_use]
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.upstream.last_failure()
    }

    /// Makes one call: asks for one page of a meeting's QoS. Of the caller's request only the meeting, its type and, where
    /// there are traces, their ids go to Zoom. `counted` counts the answer's body.
    pub async fn page(
        &self,
        permit: Permit,
        access_token: &AccessToken,
        key: &SnapshotKey,
        page_token: Option<&str>,
        traceparent: Option<String>,
        counted: BodyBytes,
    ) -> Called {
        let mut path = format!(
            "/metrics/meetings/{}/participants/qos?type={}&page_size={PAGE_SIZE}",
            key.meeting.encoded_for_zoom(),
            key.meeting_type.as_str(),
        );
        if let Some(token) = page_token {
            path.push_str("&next_page_token=");
            path.extend(utf8_percent_encode(token, QUERY_VALUE));
        }
        let mut request = self
            .upstream
            .api
            .get(&path)
            .insert_header((ACCEPT, "application/json"))
            .insert_header((AUTHORIZATION, access_token.bearer()));
        if let Some(traceparent) = traceparent {
            request = request.insert_header(("traceparent", traceparent));
        }
        let answer = whole(request.send(), &self.reading, counted).await;
        self.upstream.api.note(&answer);
        let (head, body, counted) = match answer {
            Ok(whole) => whole,
            Err(NotWhole { error, never_left, .. }) => {
                let unspent = never_left.then_some(permit);
                return Called { answer: Err(error), unspent, account_has_left: None };
            }
        };
        drop(permit); // Spent, whatever Zoom says.
        let mut account_has_left = head.account_has_left;
        let redactor = &self.reading.redactor;
        let answer = if head.is_success() {
            Ok(Answer { body, counted, head, redactor: redactor.clone() })
        } else {
            Err(judged(&head, &body, redactor).await)
        };
        if let Err(CallError::RateLimited { .. }) = answer {
            account_has_left = None;
        }
        Called { answer, unspent: None, account_has_left }
    }
}

/// The meaning of an answer that is not a page, by the beginning of its body.
async fn judged(head: &ResponseHead, body: &Bytes, redactor: &Redactor) -> CallError {
    let body = body.slice(..body.len().min(JUDGED));
    if body.len() <= JUDGED_HERE {
        return error::judge(head, &body, redactor);
    }
    let (head, redactor) = (head.clone(), redactor.clone());
    let judge = move || error::judge(&head, &body, &redactor);
    off_this_thread(judge).await
}

/// Sends, and reads an answer with status 2xx to its end, and of any other as much as is judged and arrives.
async fn whole<S>(
    request: impl Future<Output = Result<ClientResponse<S>, SendRequestError>>,
    reading: &Reading,
    mut counted: BodyBytes,
) -> Result<(ResponseHead, Bytes, BodyBytes), NotWhole>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let Reading { timeout, max_body, redactor } = reading;
    let timed_out = || NotWhole::from(CallError::TimedOut);
    let patience =
        Patience { gap: *timeout, deadline: tokio::time::Instant::now() + *timeout * CALL_TIMEOUTS };
    let response = tokio::time::timeout(*timeout, request).await.map_err(|_| timed_out())?;
    let response = response.map_err(|error| not_answered(&error))?;
    let head = ResponseHead::of(&response, redactor);
    let announced = announced_length(&response);
    let coding = response.headers().get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    let decoder = Decoder::new(coding);
    if !head.is_success() {
        let patience = patience.for_status(head.status);
        let bytes = beginning::read(response, decoder, announced, patience, &mut counted).await;
        return Ok((head, bytes, counted));
    }
    let whole = Extent::Whole(*max_body);
    match body::read(response, decoder, announced, patience, whole, &mut counted).await {
        // awc takes a body that ends early for a whole one.
        Ok(Body { bytes, is_whole: true }) if announced.is_some_and(|length| length != bytes.len()) => {
            Err(cut_short(&head, "the body is shorter than announced".to_owned()))
        }
        Ok(Body { bytes, .. }) => Ok((head, bytes, counted)),
        Err(BodyError::TooLarge) => {
            tracing::warn!(
                max_body,
                announced,
                "an answer from Zoom is larger than zoom.max_body or limits.max_fetch_bytes: refused"
            );
            Err(CallError::TooLarge(head.said()).into())
        }
        Err(BodyError::TimedOut) => Err(timed_out()),
        Err(BodyError::NoRoom) => Err(CallError::NoRoom.into()),
        Err(BodyError::Broken(error)) => Err(cut_short(&head, trouble::of_body(&error))),
    }
}

/// `Content-Length`, where it counts the bytes of the body: not of one that has a coding.
fn announced_length<S>(response: &ClientResponse<S>) -> Option<usize> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn cut_short(head: &ResponseHead, detail: String) -> NotWhole {
    let trouble = Some(Box::new(Trouble { cause: Cause::Broken, detail }));
    NotWhole { error: CallError::CutShort(head.said()), never_left: false, trouble }
}

fn not_answered(error: &SendRequestError) -> NotWhole {
    let (trouble, never_left) = trouble::of_request(error);
    tracing::debug!(
        cause = trouble.cause.as_str(),
        detail = trouble.detail,
        never_left,
        "no answer from Zoom"
    );
    NotWhole { error: CallError::NotReached(trouble.cause), never_left, trouble: Some(Box::new(trouble)) }
}

/// How long to wait before the n-th repetition: 0.25 to 0.5 s, then 0.5 to 1 s. Never 0, and never two clients in step.
#[must_use]
pub fn backoff(repetition: u32) -> Duration {
    let longest = 250 << repetition.min(6);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}
