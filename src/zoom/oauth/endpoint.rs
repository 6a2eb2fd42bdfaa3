//! One request to the token endpoint, and what its answer means. Whether to ask again is decided by its user.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use awc::http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::{
    failure::{Redactor, ZoomSaid},
    metrics::Cause,
    zoom::{
        BodyBytes, NotWhole, Reading,
        error::CallError,
        members,
        response_head::ResponseHead,
        secret::{Secret, Secrets},
        upstream::Upstream,
        whole,
    },
};

/// A token is renewed in the background when this much of its life is left, or half of it.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// And no longer used when this much is left: a call takes a moment to reach Zoom.
const LEAVE_UNUSED: Duration = Duration::from_secs(5);
/// However slow the endpoint was: a token that is never used would be asked for again and again.
const USE_AT_LEAST: Duration = Duration::from_millis(500);
/// Where Zoom does not say how long a token lives: short enough to be safe.
const LIFE_UNSAID: Duration = Duration::from_secs(600);
/// An answer of the token endpoint is below 2 KB.
const MAX_BODY: usize = 64 * 1024;

/// An access token in use.
#[derive(Clone)]
pub struct AccessToken(Rc<Token>);

struct Token {
    bearer: Secret,
    /// From here on it is good to have a new one soon.
    renew_from: Instant,
    use_until: Instant,
}

impl AccessToken {
    /// `None` for a text that cannot be sent as one. The redactor learns it.
    pub(super) fn new(
        text: &str,
        renew_from: Instant,
        use_until: Instant,
        redactor: &Redactor,
    ) -> Option<Self> {
        redactor.learn_access_token(text);
        let can_be_sent = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = Secret::new(&format!("Bearer {text}"));
        can_be_sent.then(|| Self(Rc::new(Token { bearer, renew_from, use_until })))
    }

    /// The value of the `Authorization` header.
    #[must_use]
    pub fn bearer(&self) -> &str {
        self.0.bearer.expose()
    }

    /// The token alone.
    #[must_use]
    pub fn text(&self) -> &str {
        self.bearer().trim_start_matches("Bearer ")
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.0.use_until
    }

    pub(super) fn renew_from(&self) -> Instant {
        self.0.renew_from
    }

    pub(super) fn use_until(&self) -> Instant {
        self.0.use_until
    }

    pub(super) fn outlives(&self, other: &Self) -> bool {
        self.0.use_until > other.0.use_until
    }

    /// Whether both are the same grant of Zoom's.
    pub(super) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// One failed try.
pub(super) enum TokenFailure {
    /// Zoom refuses the credentials.
    Denied(ZoomSaid),
    /// No answer in time; may pass.
    TimedOut,
    /// No usable answer; may pass.
    Passing(Option<ZoomSaid>),
    /// An answer that asking again would not change.
    Lasting(Option<ZoomSaid>),
    /// A rate limit or a server error that says when to ask again.
    Later {
        /// Zoom's words.
        said: ZoomSaid,
        /// From now.
        retry_after: Duration,
    },
}

/// Zoom's token endpoint.
pub(super) struct Endpoint {
    upstream: Upstream,
    reading: Reading,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; anything else but a whole number is as if it were not said.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Endpoint {
    pub(super) fn new(upstream: Upstream, timeout: Duration) -> Self {
        let redactor = upstream.redactor.clone();
        Self { upstream, reading: Reading { timeout, max_body: MAX_BODY, redactor } }
    }

    /// Asks once.
    pub(super) async fn ask(&self, secrets: &Secrets) -> Result<AccessToken, TokenFailure> {
        let asked = Instant::now();
        let basic = format!("Basic {}", secrets.basic().expose());
        let request =
            self.upstream.token.post().insert_header((AUTHORIZATION, basic)).send_form(&[
                ("grant_type", "account_credentials"),
                ("account_id", secrets.account_id.expose()),
            ]);
        let answer = whole(request, &self.reading, BodyBytes::uncounted()).await;
        self.upstream.token.note(&answer);
        let (head, body, _) = answer.map_err(|NotWhole { error, .. }| match error {
            CallError::TimedOut | CallError::NotReached(Cause::Timeout) => TokenFailure::TimedOut,
            CallError::Broken(said) | CallError::CutShort(said) => TokenFailure::Passing(Some(said)),
            CallError::TooLarge(said) => TokenFailure::Lasting(Some(said)),
            _ => TokenFailure::Passing(None),
        })?;
        understand(&head, &body, asked, &self.reading.redactor)
    }
}

fn understand(
    head: &ResponseHead,
    body: &[u8],
    asked: Instant,
    redactor: &Redactor,
) -> Result<AccessToken, TokenFailure> {
    let said = head.said();
    if let (429 | 500.., Some(retry_after)) = (head.status, head.retry_after()) {
        return Err(TokenFailure::Later { said, retry_after });
    }
    match head.status {
        200..=299 => {
            let Ok(granted) = serde_json::from_slice::<Granted>(body) else {
                return Err(refusal(body, said.clone(), redactor)
                    .map_or_else(|| TokenFailure::Passing(Some(said)), TokenFailure::Denied));
            };
            let said_life = granted.expires_in.as_u64().filter(|life| *life > 0);
            let life = said_life.map_or(LIFE_UNSAID, Duration::from_secs).min(Duration::from_secs(86_400));
            let renew_from = asked + life.saturating_sub(RENEW_BEFORE.min(life / 2));
            let use_until =
                (asked + life.saturating_sub(LEAVE_UNUSED.min(life / 10))).max(Instant::now() + USE_AT_LEAST);
            AccessToken::new(&granted.access_token, renew_from, use_until, redactor)
                .ok_or(TokenFailure::Passing(Some(said)))
        }
        // Asking again soon only makes it worse.
        429 => Err(TokenFailure::Lasting(Some(said))),
        400..=499 => match refusal(body, said.clone(), redactor) {
            Some(denied) => Err(TokenFailure::Denied(denied)),
            None if matches!(head.status, 401 | 403) => Err(TokenFailure::Denied(said)),
            None => Err(TokenFailure::Lasting(Some(said))),
        },
        500.. => Err(TokenFailure::Passing(Some(said))),
        _ => Err(TokenFailure::Lasting(Some(said))),
    }
}

/// Zoom's words, if the body is a refusal, or the beginning of one: judged before the status, which may be 200.
///
/// `{"reason": "...", "error": "invalid_client"}`, or, from what lies behind this endpoint,
/// `{"status": false, "errorCode": 4702, "errorMessage": "...", "result": null}`.
fn refusal(body: &[u8], mut said: ZoomSaid, redactor: &Redactor) -> Option<ZoomSaid> {
    let names = ["error", "reason", "errorCode", "errorMessage"];
    let [error, reason, code, message] = members::read(body, names);
    let message = if let Some(error) = error.text() {
        Some(reason.text().unwrap_or(error))
    } else {
        said.code = Some(code.number()?);
        message.text()
    };
    said.message = message.map(|message| redactor.words(&message));
    Some(said)
}
