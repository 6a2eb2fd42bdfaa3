//! Requests to the token endpoint, with retries, and the meaning of its responses.

use std::time::{Duration, Instant};

use awc::http::header::AUTHORIZATION;
use serde::Deserialize;

use super::{secrets::Secrets, token::AccessToken};
use crate::{
    failure::{Redactor, ZoomError},
    metrics::Cause,
    zoom::{
        backoff,
        error::CallError,
        members,
        memory::BodyBytes,
        response::{IncompleteResponse, ReadOptions, send_and_read},
        response_head::ResponseHead,
        upstream::Upstream,
    },
};

/// A token is renewed in the background this long before it expires, or after half its lifetime if that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// A token is not used in this last part of its lifetime, or in its last tenth if that is shorter, because a call
/// takes a moment to reach Zoom.
const UNUSED_AT_END: Duration = Duration::from_secs(5);
/// A token may be used for at least this long, however slow the endpoint was. Otherwise a token that arrives late would
/// be requested again and again without ever being used.
const MIN_USE: Duration = Duration::from_millis(500);
/// The assumed lifetime of a token if Zoom does not name one. It is shorter than Zoom's hour.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
/// The maximum size of a response, in bytes. Zoom's responses are smaller than 2 KB.
const MAX_BODY: usize = 64 * 1024;
/// The maximum number of requests in one renewal: the first, and two retries.
const TRIES: u32 = 3;
/// The longest `Retry-After` that a renewal waits for. After a longer one, it fails.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2);

pub(super) enum RequestError {
    Denied(ZoomError),
    /// A retry may help.
    TimedOut,
    /// No usable response. A retry may help.
    Transient(Option<ZoomError>),
    /// An immediate retry would not help.
    Permanent(Option<ZoomError>),
    /// A rate limit or a server error with `Retry-After`.
    RetryAfter {
        zoom_error: ZoomError,
        /// The time until `Retry-After`, counted from the response.
        delay: Duration,
    },
}

pub(super) struct Endpoint {
    upstream: Upstream,
    options: ReadOptions,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    /// The lifetime in seconds. A value that is not a positive whole number counts as absent.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Endpoint {
    pub(super) fn new(upstream: Upstream, timeout: Duration) -> Self {
        let redactor = upstream.redactor.clone();
        Self { upstream, options: ReadOptions { timeout, max_body: MAX_BODY, redactor } }
    }

    /// Requests a token, with up to two retries if they may help.
    pub(super) async fn request(&self, secrets: &Secrets) -> Result<AccessToken, RequestError> {
        let mut tried = 1;
        loop {
            let pause = match self.request_once(secrets).await {
                Err(RequestError::Transient(_) | RequestError::TimedOut) if tried < TRIES => backoff(tried),
                Err(RequestError::RetryAfter { delay, .. }) if tried < TRIES && delay <= MAX_RETRY_WAIT => {
                    delay.max(backoff(tried))
                }
                result => return result,
            };
            tokio::time::sleep(pause).await;
            tried += 1;
        }
    }

    async fn request_once(&self, secrets: &Secrets) -> Result<AccessToken, RequestError> {
        let sent = Instant::now();
        let basic = format!("Basic {}", secrets.basic().expose());
        let request =
            self.upstream.token.post().insert_header((AUTHORIZATION, basic)).send_form(&[
                ("grant_type", "account_credentials"),
                ("account_id", secrets.account_id.expose()),
            ]);
        let response = send_and_read(request, &self.options, BodyBytes::uncounted()).await;
        self.upstream.token.record(&response);
        let (head, body, _) = response.map_err(|IncompleteResponse { error, .. }| match error {
            CallError::TimedOut | CallError::NotReached(Cause::Timeout) => RequestError::TimedOut,
            CallError::Broken(zoom_error) | CallError::CutShort(zoom_error) => {
                RequestError::Transient(Some(zoom_error))
            }
            CallError::TooLarge(zoom_error) => RequestError::Permanent(Some(zoom_error)),
            _ => RequestError::Transient(None),
        })?;
        parse_response(&head, &body, sent, &self.options.redactor)
    }
}

/// Parses the response to a request that was sent at `sent`. The token's lifetime is counted from that time, because it
/// cannot have begun earlier.
fn parse_response(
    head: &ResponseHead,
    body: &[u8],
    sent: Instant,
    redactor: &Redactor,
) -> Result<AccessToken, RequestError> {
    let zoom_error = head.zoom_error();
    if let (429 | 500.., Some(delay)) = (head.status, head.retry_after()) {
        return Err(RequestError::RetryAfter { zoom_error, delay });
    }
    match head.status {
        200..=299 => {
            let Ok(response) = serde_json::from_slice::<TokenResponse>(body) else {
                return Err(refusal(body, zoom_error.clone(), redactor)
                    .map_or_else(|| RequestError::Transient(Some(zoom_error)), RequestError::Denied));
            };
            let seconds = response.expires_in.as_u64().filter(|seconds| *seconds > 0);
            let lifetime = seconds.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(MAX_LIFETIME);
            let renew_from = sent + lifetime.saturating_sub(RENEW_BEFORE.min(lifetime / 2));
            let use_until = sent + lifetime.saturating_sub(UNUSED_AT_END.min(lifetime / 10));
            let use_until = use_until.max(Instant::now() + MIN_USE);
            AccessToken::new(&response.access_token, renew_from, use_until, redactor)
                .ok_or(RequestError::Transient(Some(zoom_error)))
        }
        // A retry would only prolong the rate limit.
        429 => Err(RequestError::Permanent(Some(zoom_error))),
        400..=499 => match refusal(body, zoom_error.clone(), redactor) {
            Some(denied) => Err(RequestError::Denied(denied)),
            None if matches!(head.status, 401 | 403) => Err(RequestError::Denied(zoom_error)),
            None => Err(RequestError::Permanent(Some(zoom_error))),
        },
        500.. => Err(RequestError::Transient(Some(zoom_error))),
        _ => Err(RequestError::Permanent(Some(zoom_error))),
    }
}

/// Adds the body's code and message to `zoom_error` if the body, or the beginning of it, refuses the credentials.
/// The body counts more than the status, which may be 200. The body has one of two forms:
///
/// - From the endpoint: `{"reason": "...", "error": "invalid_client"}`.
/// - From the service behind it: `{"status": false, "errorCode": 4702, "errorMessage": "...", "result": null}`.
fn refusal(body: &[u8], mut zoom_error: ZoomError, redactor: &Redactor) -> Option<ZoomError> {
    let names = ["error", "reason", "errorCode", "errorMessage"];
    let [error, reason, code, message] = members::read(body, names);
    let message = if let Some(error) = error.text() {
        Some(reason.text().unwrap_or(error))
    } else {
        zoom_error.code = Some(code.number()?);
        message.text()
    };
    zoom_error.message = message.map(|message| redactor.redact(&message));
    Some(zoom_error)
}
