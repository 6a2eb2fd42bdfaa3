//! The upstream: one call for one page, the access token that it needs, and the meaning of Zoom's errors.
//!
//! Only this folder calls Zoom, interprets its headers and error bodies, and uses awc. It makes one QoS call per
//! [`Permit`] and does not retry it: the flight decides whether to retry, because each retry costs another permit. Token
//! requests need no permit, and `oauth` retries them itself.

mod body;
mod config;
mod decoder;
pub(crate) mod error;
mod members;
mod memory;
pub(crate) mod oauth;
pub(crate) mod reachability;
mod remaining_quota;
mod response;
mod response_head;
mod retry_after;
pub mod secret;
pub mod transport;
pub(crate) mod upstream;

use std::time::Duration;

use awc::http::header::{ACCEPT, AUTHORIZATION};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::config::ZoomConfig;
pub(crate) use self::memory::{BodyBytes, FetchMemory, FlightMemory};
pub(crate) use self::oauth::try_credentials;
use self::{
    error::CallError,
    oauth::AccessToken,
    response::{IncompleteResponse, ReadOptions, send_and_read},
    response_head::ResponseHead,
    upstream::Upstream,
};
use crate::{
    blocking::spawn_blocking,
    failure::{Redactor, ZoomError},
    quota::Permit,
    snapshot::SnapshotKey,
};

/// The largest page that Zoom allows; its default is 1. Fetching N participants takes about N / 10 calls.
const PARTICIPANTS_PER_PAGE: u32 = 10;
/// Everything in a query value except RFC 3986's unreserved characters.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Error bodies larger than this, in bytes, are classified on a blocking thread.
const CLASSIFIED_HERE: usize = 4 * 1024;

/// Zoom's two QoS endpoints, over one pool of connections. Belongs to one thread.
pub(crate) struct Zoom {
    pub(crate) upstream: Upstream,
    options: ReadOptions,
}

pub(crate) struct CallOutcome {
    pub(crate) answer: Result<WholeResponse, CallError>,
    /// The permit, if it is certain that no byte of the call was sent: Zoom did not count such a call.
    pub(crate) unspent: Option<Permit>,
    /// The calls that all apps of the account together have left for the day, if Zoom reports them. `None` after a
    /// rate-limit error, because its pause counts instead.
    pub(crate) account_has_left: Option<u64>,
}

/// A 2xx with a complete body, as far as HTTP can show. It may still not be a page.
pub(crate) struct WholeResponse {
    pub(crate) body: Bytes,
    pub(crate) counted: BodyBytes,
    head: ResponseHead,
    redactor: Redactor,
}

impl WholeResponse {
    pub(crate) fn zoom_error(&self) -> ZoomError {
        self.head.zoom_error()
    }

    /// Classifies the response after it has turned out not to be a page.
    pub(crate) async fn not_a_page(&self) -> CallError {
        classify(&self.head, &self.body, &self.redactor).await
    }
}

impl Zoom {
    /// `max_fetch_bytes` bounds the memory of all meetings being fetched, so no page may be larger.
    pub(crate) fn new(config: &ZoomConfig, upstream: Upstream, max_fetch_bytes: usize) -> Self {
        let options = ReadOptions {
            timeout: config.request_timeout,
            max_body: config.max_body.min(max_fetch_bytes),
            redactor: upstream.redactor.clone(),
        };
        Self { upstream, options }
    }

    /// Requests one page of a meeting's QoS. Only these parts of the caller's request reach Zoom: the meeting, its kind
    /// and type and, with tracing on, the trace context. `counted` counts the memory of the response's body.
    pub(crate) async fn page(
        &self,
        permit: Permit,
        access_token: &AccessToken,
        key: &SnapshotKey,
        page_token: Option<&str>,
        traceparent: Option<String>,
        counted: BodyBytes,
    ) -> CallOutcome {
        let mut request = self
            .upstream
            .api
            .get(&page_path(key, page_token))
            .insert_header((ACCEPT, "application/json"))
            .insert_header((AUTHORIZATION, access_token.bearer()));
        if let Some(traceparent) = traceparent {
            request = request.insert_header(("traceparent", traceparent));
        }
        let response = send_and_read(request.send(), &self.options, counted).await;
        self.upstream.api.record(&response);
        let (head, body, counted) = match response {
            Ok(response) => response,
            Err(IncompleteResponse { error, never_left, .. }) => {
                let unspent = never_left.then_some(permit);
                return CallOutcome { answer: Err(error), unspent, account_has_left: None };
            }
        };
        drop(permit); // Zoom counted the call, whatever the response.
        let mut account_has_left = head.account_has_left;
        let redactor = &self.options.redactor;
        let answer = if head.is_success() {
            Ok(WholeResponse { body, counted, head, redactor: redactor.clone() })
        } else {
            Err(classify(&head, &body, redactor).await)
        };
        if let Err(CallError::RateLimited { .. }) = answer {
            account_has_left = None;
        }
        CallOutcome { answer, unspent: None, account_has_left }
    }
}

fn page_path(key: &SnapshotKey, page_token: Option<&str>) -> String {
    let mut path = format!(
        "/metrics/{}s/{}/participants/qos?type={}&page_size={PARTICIPANTS_PER_PAGE}",
        key.kind.as_str(),
        key.meeting.encoded_for_zoom(),
        key.meeting_type.as_str(),
    );
    if let Some(token) = page_token {
        path.push_str("&next_page_token=");
        path.extend(utf8_percent_encode(token, QUERY_VALUE));
    }
    path
}

async fn classify(head: &ResponseHead, body: &Bytes, redactor: &Redactor) -> CallError {
    let body = body.slice(..body.len().min(body::BEGINNING));
    if body.len() <= CLASSIFIED_HERE {
        return error::classify(head, &body, redactor);
    }
    let (head, redactor) = (head.clone(), redactor.clone());
    spawn_blocking(move || error::classify(&head, &body, &redactor)).await
}

/// Returns the pause before a retry: 0.25 to 0.5 s before the first, 0.5 to 1 s before the second, and so on up to 8 to
/// 16 s. Random, so that clients do not retry in step.
pub(crate) fn backoff(repetition: u32) -> Duration {
    let longest = 250 << repetition.min(6);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}
