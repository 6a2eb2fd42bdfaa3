//! The access token: one at a time, asked for by one request at a time, renewed before it expires, and renewed at once
//! when Zoom no longer takes it. Refused credentials are held against for [`HOLD`], or until a secret changes.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use awc::{Client, http::header::AUTHORIZATION};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, Shared},
};
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    OwnedHead, ZoomConfig,
    error::CallError,
    secret::{Secret, SecretSource},
    whole,
};
use crate::{
    failure::ZoomSaid,
    metrics::{Metrics, RenewalResult},
};

/// Refused credentials are not tried again more often than this.
pub const HOLD: Duration = Duration::from_secs(30);
/// Mounted secrets are looked at this often; the promise is every 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Tries for one renewal: the first, and two after failures that may pass.
const TRIES: u32 = 3;
/// A token is renewed in the background when this much of its life is left, or half of it.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// And no longer used when this much is left: a call takes a moment to reach Zoom.
const LEAVE_UNUSED: Duration = Duration::from_secs(5);
/// Where Zoom does not say how long a token lives: short enough to be safe.
const LIFE_UNSAID: Duration = Duration::from_secs(600);
/// An answer of the token endpoint is below 2 KB.
const MAX_BODY: usize = 64 * 1024;

/// An access token in use.
#[derive(Clone)]
pub struct AccessToken(Rc<Token>);

struct Token {
    bearer: Secret,
    renew_from: Instant,
    use_until: Instant,
}

impl AccessToken {
    /// The value of the `Authorization` header.
    #[must_use]
    pub fn bearer(&self) -> &str {
        self.0.bearer.expose()
    }
}

/// Why there is no access token.
#[derive(Debug, Clone)]
pub enum TokenError {
    /// Zoom refuses the credentials; nothing is tried before the time given.
    Refused {
        /// End of the hold.
        until: Instant,
        /// Zoom's words.
        said: ZoomSaid,
    },
    /// Zoom did not answer in time.
    TimedOut,
    /// No connection, or no usable answer.
    Failed(Option<ZoomSaid>),
}

/// Whether Zoom takes our credentials, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not refused.
    Accepted,
    /// Refused, with Zoom's own message.
    Refused(String),
}

/// Hands out access tokens. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct AccessTokens(Rc<Inner>);

struct Inner {
    client: Client,
    oauth_url: String,
    account_id: SecretSource,
    client_id: SecretSource,
    client_secret: SecretSource,
    request_timeout: Duration,
    metrics: Arc<Metrics>,
    state: RefCell<State>,
    credentials: watch::Sender<Credentials>,
}

#[derive(Default)]
struct State {
    current: Option<AccessToken>,
    renewal: Option<Shared<LocalBoxFuture<'static, Result<AccessToken, TokenError>>>>,
    hold: Option<(Instant, ZoomSaid)>,
    /// After an early renewal failed: when to try the next. The token in use is good for some time yet.
    renew_early_from: Option<Instant>,
    secrets: Option<Secrets>,
}

#[derive(Clone, PartialEq, Eq)]
struct Secrets {
    account_id: Secret,
    client_id: Secret,
    client_secret: Secret,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Zoom's refusal at this endpoint: `{"reason": "...", "error": "invalid_client"}`.
#[derive(Deserialize)]
struct Denied {
    error: String,
    #[serde(default)]
    reason: Option<String>,
}

impl AccessTokens {
    /// No token yet.
    #[must_use]
    pub fn new(
        config: &ZoomConfig,
        client: Client,
        metrics: &Arc<Metrics>,
        credentials: watch::Sender<Credentials>,
    ) -> Self {
        Self(Rc::new(Inner {
            client,
            oauth_url: config.oauth_url.to_string(),
            account_id: config.account_id.clone(),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            request_timeout: config.request_timeout,
            metrics: Arc::clone(metrics),
            state: RefCell::default(),
            credentials,
        }))
    }

    /// A token that Zoom should take. Asks for one if there is none; everybody who waits, waits for the same request.
    ///
    /// # Errors
    /// When Zoom refuses the credentials, or has been refusing them within the last 30 s, or cannot be asked.
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        let now = Instant::now();
        self.refused(now).map_or(Ok(()), Err)?;
        match self.current(now) {
            Some(token) => {
                if now
                    >= self
                        .0
                        .state
                        .borrow()
                        .renew_early_from
                        .unwrap_or(now)
                        .max(token.0.renew_from)
                {
                    drop(self.renew()); // In the background: this one is good for some minutes more.
                }
                Ok(token)
            }
            None => self.renew().await,
        }
    }

    /// The token in use, if there is one: another call may have renewed it meanwhile.
    #[must_use]
    pub fn current(&self, now: Instant) -> Option<AccessToken> {
        self.0
            .state
            .borrow()
            .current
            .clone()
            .filter(|token| now < token.0.use_until)
    }

    /// Zoom did not take this token. A newer one, got meanwhile, is kept.
    pub fn discard(&self, refused: &AccessToken) {
        let mut state = self.0.state.borrow_mut();
        if state
            .current
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(&current.0, &refused.0))
        {
            state.current = None;
        }
    }

    /// The credentials are refused for good: a token renewed just now, its scopes or the plan. Holds all calls, and
    /// drops the token, because its scopes were fixed when it was made.
    pub fn reject(&self, said: ZoomSaid) -> TokenError {
        let now = Instant::now();
        // Calls that were under way together are refused together: said once.
        if let Some(held) = self.refused(now) {
            return held;
        }
        let until = now + HOLD;
        let message = said.message.clone().unwrap_or_else(|| "no message".to_owned());
        tracing::error!(
            zoom_status = said.status,
            zoom_code = said.code,
            zoom_message = message,
            "Zoom refuses the credentials; not asked again for 30 s"
        );
        {
            let mut state = self.0.state.borrow_mut();
            state.current = None;
            state.hold = Some((until, said.clone()));
        }
        self.0.credentials.send_replace(Credentials::Refused(message));
        TokenError::Refused { until, said }
    }

    /// The hold, if one is on.
    #[must_use]
    pub fn refused(&self, now: Instant) -> Option<TokenError> {
        let state = self.0.state.borrow();
        let (until, said) = state.hold.as_ref().filter(|(until, _)| now < *until)?;
        Some(TokenError::Refused {
            until: *until,
            said: said.clone(),
        })
    }

    /// Runs for as long as the service does: gets the first token, looks at mounted secrets, and ends holds.
    pub async fn keep(self) {
        drop(self.renew());
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let held_until = self.0.state.borrow().hold.as_ref().map(|(until, _)| *until);
            let Some(held_until) = held_until else { continue };
            if held_until <= Instant::now() || self.secrets_changed().await {
                // Asks for a token without waiting for a caller: nobody is sent to a replica that is not ready.
                self.0.state.borrow_mut().hold = None;
                if self.renew().await.is_ok() {
                    tracing::info!("Zoom takes the credentials again");
                }
            }
        }
    }

    async fn secrets_changed(&self) -> bool {
        let known = self.0.state.borrow().secrets.clone();
        let (Some(known), true) = (known, self.has_files()) else {
            return false;
        };
        self.read_secrets().await.is_some_and(|read| read != known)
    }

    fn has_files(&self) -> bool {
        [&self.0.account_id, &self.0.client_id, &self.0.client_secret]
            .iter()
            .any(|source| matches!(source, SecretSource::File(_)))
    }

    /// Starts a renewal, or joins the one under way. It goes on if nobody waits for it any more.
    fn renew(&self) -> Shared<LocalBoxFuture<'static, Result<AccessToken, TokenError>>> {
        if let Some(renewal) = &self.0.state.borrow().renewal {
            return renewal.clone();
        }
        let this = self.clone();
        let renewal = async move {
            let result = this.ask_until_answered().await;
            this.0.state.borrow_mut().renewal = None;
            this.settle(result)
        }
        .boxed_local()
        .shared();
        self.0.state.borrow_mut().renewal = Some(renewal.clone());
        drop(actix_rt::spawn(renewal.clone()));
        renewal
    }

    fn settle(&self, result: Result<AccessToken, TokenFailure>) -> Result<AccessToken, TokenError> {
        let now = Instant::now();
        self.0.state.borrow_mut().renew_early_from = result.is_err().then_some(now + HOLD);
        match result {
            Ok(token) => {
                self.0.metrics.renewal(RenewalResult::Ok);
                {
                    let mut state = self.0.state.borrow_mut();
                    state.current = Some(token.clone());
                    state.hold = None;
                }
                self.0.credentials.send_replace(Credentials::Accepted);
                Ok(token)
            }
            Err(TokenFailure::Denied(said)) => {
                self.0.metrics.renewal(RenewalResult::Refused);
                if self.current(now).is_some() {
                    tracing::error!("Zoom refuses to renew the access token; the one in use still serves");
                    return Err(TokenError::Failed(Some(said)));
                }
                Err(self.reject(said))
            }
            Err(TokenFailure::TimedOut) => {
                self.0.metrics.renewal(RenewalResult::Failed);
                tracing::warn!("Zoom's token endpoint did not answer in time");
                Err(TokenError::TimedOut)
            }
            Err(TokenFailure::Passing(said) | TokenFailure::Lasting(said)) => {
                self.0.metrics.renewal(RenewalResult::Failed);
                tracing::warn!(
                    zoom_status = said.as_ref().map(|said| said.status),
                    "no access token: Zoom's token endpoint could not be reached or gave no usable answer"
                );
                Err(TokenError::Failed(said))
            }
        }
    }

    async fn ask_until_answered(&self) -> Result<AccessToken, TokenFailure> {
        let secrets = match self.read_secrets().await {
            Some(secrets) => secrets,
            // A file that is being replaced: what it held a moment ago is the best guess.
            None => self
                .0
                .state
                .borrow()
                .secrets
                .clone()
                .ok_or(TokenFailure::Lasting(None))?,
        };
        self.0.state.borrow_mut().secrets = Some(secrets.clone());
        let mut tried = 1;
        loop {
            match self.ask(&secrets).await {
                Err(TokenFailure::Passing(_) | TokenFailure::TimedOut) if tried < TRIES => {
                    tokio::time::sleep(super::backoff(tried)).await;
                    tried += 1;
                }
                result => return result,
            }
        }
    }

    async fn ask(&self, secrets: &Secrets) -> Result<AccessToken, TokenFailure> {
        let basic = BASE64.encode(format!(
            "{}:{}",
            secrets.client_id.expose(),
            secrets.client_secret.expose()
        ));
        let asked = Instant::now();
        let request = self
            .0
            .client
            .post(&self.0.oauth_url)
            .insert_header((AUTHORIZATION, format!("Basic {basic}")))
            .send_form(&[
                ("grant_type", "account_credentials"),
                ("account_id", secrets.account_id.expose()),
            ]);
        let (head, body) =
            whole(request, self.0.request_timeout, MAX_BODY)
                .await
                .map_err(|error| match error {
                    CallError::TimedOut => TokenFailure::TimedOut,
                    CallError::Broken(said) => TokenFailure::Passing(Some(said)),
                    CallError::Refused(said) => TokenFailure::Lasting(Some(said)),
                    _ => TokenFailure::Passing(None),
                })?;
        understand(&head, &body, asked)
    }

    /// Off this thread, because a mounted file can hang. `None`: a file cannot be read, which is said in the log.
    async fn read_secrets(&self) -> Option<Secrets> {
        let sources = [
            self.0.account_id.clone(),
            self.0.client_id.clone(),
            self.0.client_secret.clone(),
        ];
        let read = actix_rt::task::spawn_blocking(move || {
            let [account_id, client_id, client_secret] = sources;
            Ok::<_, std::io::Error>(Secrets {
                account_id: account_id.read()?,
                client_id: client_id.read()?,
                client_secret: client_secret.read()?,
            })
        });
        match read.await {
            Ok(Ok(secrets)) => Some(secrets),
            Ok(Err(error)) => {
                tracing::error!(error = %error.kind(), "a mounted Zoom secret cannot be read; the last one read is used");
                None
            }
            Err(_) => None,
        }
    }
}

/// One failed try.
enum TokenFailure {
    Denied(ZoomSaid),
    TimedOut,
    Passing(Option<ZoomSaid>),
    Lasting(Option<ZoomSaid>),
}

fn understand(head: &OwnedHead, body: &[u8], asked: Instant) -> Result<AccessToken, TokenFailure> {
    let mut said = head.said();
    match head.status {
        200..=299 => {
            let granted: Granted =
                serde_json::from_slice(body).map_err(|_| TokenFailure::Passing(Some(said.clone())))?;
            if granted.access_token.is_empty()
                || !granted.access_token.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(TokenFailure::Passing(Some(said)));
            }
            let life = granted
                .expires_in
                .map_or(LIFE_UNSAID, Duration::from_secs)
                .min(Duration::from_secs(86_400));
            Ok(AccessToken(Rc::new(Token {
                bearer: Secret::new(&format!("Bearer {}", granted.access_token)),
                renew_from: asked + life.saturating_sub(RENEW_BEFORE.min(life / 2)),
                use_until: asked + life.saturating_sub(LEAVE_UNUSED.min(life / 10)),
            })))
        }
        400..=499 => match serde_json::from_slice::<Denied>(body) {
            Ok(denied) if head.status != 429 => {
                said.message = Some(denied.reason.unwrap_or(denied.error).chars().take(200).collect());
                Err(TokenFailure::Denied(said))
            }
            _ => Err(TokenFailure::Lasting(Some(said))),
        },
        500.. => Err(TokenFailure::Passing(Some(said))),
        _ => Err(TokenFailure::Lasting(Some(said))),
    }
}
