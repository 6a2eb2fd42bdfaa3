//! The access token: one at a time, asked for by one request at a time, renewed before it expires, and renewed at once
//! when Zoom no longer takes it. Refused credentials are held against for [`HOLD`], or until a secret changes. With Redis
//! and a key for it replicas share one token.

mod endpoint;
mod error;
mod sharing;

use std::{
    cell::RefCell,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{LocalBoxFuture, Shared},
};
use tokio::sync::watch;

pub use self::{
    endpoint::AccessToken,
    error::{Credentials, TokenError},
};
use self::{
    endpoint::{Endpoint, TokenFailure},
    sharing::{Sharing, Turn},
};
use super::{
    ZoomConfig,
    secret::{Secrets, Sources},
    upstream::Upstream,
};
use crate::{
    cluster::{self, events::Event},
    failure::ZoomSaid,
    metrics::{Metrics, RenewalResult},
};

/// Refused credentials are not tried again more often than this.
pub const HOLD: Duration = Duration::from_secs(30);
/// Mounted secrets are looked at this often; the promise is every 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After an answer of the token endpoint that asking again soon will not change, such as a 429 without `Retry-After`: how
/// long everybody gets the same failure, so that callers' misses do not become requests. Failures that may pass are tried again at once: a
/// renewal has its own tries and pauses, and only one is under way.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest `Retry-After` of the token endpoint that is believed: a wrong one must not stop the service for hours.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A `Retry-After` up to this is waited for by the renewal itself, and nobody hears of it.
const WAITED_FOR: Duration = Duration::from_secs(2);
/// Tries for one renewal: the first, and two after failures that may pass.
const TRIES: u32 = 3;

/// Hands out access tokens. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub struct AccessTokens(Rc<Inner>);

struct Inner {
    endpoint: Endpoint,
    /// Where replicas share the token.
    sharing: Option<Sharing>,
    sources: Sources,
    metrics: Arc<Metrics>,
    state: RefCell<State>,
    credentials: watch::Sender<Credentials>,
}

#[derive(Default)]
struct State {
    current: Option<AccessToken>,
    renewal: Option<Shared<LocalBoxFuture<'static, Result<AccessToken, TokenError>>>>,
    hold: Option<(Instant, ZoomSaid)>,
    /// After a renewal that failed and will fail again for a while.
    pause: Option<(Instant, TokenError)>,
    /// After an early renewal failed: when to try the next. The token in use is good for some time yet.
    renew_early_from: Option<Instant>,
    secrets: Option<Secrets>,
}

impl AccessTokens {
    /// No token yet.
    #[must_use]
    pub fn new(
        config: &ZoomConfig,
        upstream: Upstream,
        metrics: &Arc<Metrics>,
        credentials: watch::Sender<Credentials>,
        replicas: Option<cluster::Shared>,
    ) -> Self {
        Self(Rc::new(Inner {
            // For as long as this process itself would wait for Zoom's answer.
            sharing: Sharing::new(replicas, config.request_timeout, upstream.redactor.clone()),
            sources: Sources::new(config, upstream.redactor.clone()),
            endpoint: Endpoint::new(upstream, config.request_timeout),
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
            Some(token) => Ok(token),
            None => match self.paused(now) {
                Some(error) => Err(error),
                None => self.renew().await,
            },
        }
    }

    /// Whether [`Self::for_call`] would give a token now.
    #[must_use]
    pub fn are_good(&self, now: Instant) -> bool {
        self.refused(now).is_none() && self.current(now).is_some()
    }

    /// The token for a call that is made now, if there is one. An old one is renewed in the background meanwhile: it is
    /// good for some minutes more.
    #[must_use]
    pub fn for_call(&self, now: Instant) -> Option<AccessToken> {
        let token = self.current(now).filter(|_| self.refused(now).is_none())?;
        let renew_from = self.0.state.borrow().renew_early_from.max(Some(token.renew_from()));
        if renew_from.is_some_and(|from| now >= from) {
            drop(self.renew());
        }
        Some(token)
    }

    fn current(&self, now: Instant) -> Option<AccessToken> {
        self.0.state.borrow().current.clone().filter(|token| token.is_usable(now))
    }

    fn paused(&self, now: Instant) -> Option<TokenError> {
        let state = self.0.state.borrow();
        state.pause.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    /// Zoom did not take this token. A newer one, got meanwhile, is kept.
    pub fn discard(&self, refused: &AccessToken) {
        if self.0.state.borrow_mut().current.take_if(|current| current.is(refused)).is_some() {
            self.dropped(refused);
        }
    }

    fn dropped(&self, token: &AccessToken) {
        if let Some(sharing) = &self.0.sharing {
            sharing.dropped(token);
        }
    }

    /// What another replica did. A newer token than ours is taken over at once: Zoom may not take ours for much longer.
    pub fn hear(&self, event: &Event) {
        if self.0.sharing.as_ref().is_some_and(|sharing| sharing.hears(event)) && self.may_take_over() {
            drop(actix_rt::spawn(self.clone().take_over()));
        }
    }

    async fn take_over(self) {
        let Some(sharing) = &self.0.sharing else { return };
        if let Some((fence, token)) = sharing.newer().await
            && self.may_take_over()
        {
            sharing.taken(fence, &token);
            self.0.metrics.renewal(RenewalResult::Shared);
            let mut state = self.0.state.borrow_mut();
            state.renew_early_from = None;
            state.current = Some(token);
        }
    }

    /// A renewal that is under way, or the one after a hold, looks by itself.
    fn may_take_over(&self) -> bool {
        self.0.state.borrow().renewal.is_none() && *self.0.credentials.borrow() == Credentials::Accepted
    }

    /// The credentials are refused for good: a token renewed just now, its scopes or the plan. Holds all calls, and
    /// drops the token, because its scopes were fixed when it was made.
    #[must_use]
    pub fn reject(&self, said: &ZoomSaid) -> TokenError {
        // Calls that were under way together are refused together: the first one's hold is everybody's.
        self.refused(Instant::now()).unwrap_or_else(|| self.hold(said, said.clone()))
    }

    /// Operators hear Zoom's words, and callers what they may.
    fn hold(&self, words: &ZoomSaid, said: ZoomSaid) -> TokenError {
        let until = Instant::now() + HOLD;
        let message = words.message.as_ref().map_or_else(|| "no message".to_owned(), ToString::to_string);
        tracing::error!(
            zoom_status = words.status,
            zoom_code = words.code,
            zoom_message = message,
            zoom_tracking_id = words.tracking_id(),
            "Zoom refuses the credentials; not asked again for 30 s"
        );
        let dropped = self.0.state.borrow_mut().current.take();
        self.0.state.borrow_mut().hold = Some((until, said.clone()));
        if let Some(token) = dropped {
            self.dropped(&token);
        }
        self.0.credentials.send_replace(Credentials::Refused(message));
        TokenError::Refused { until, said }
    }

    /// The hold, if one is on.
    #[must_use]
    pub fn refused(&self, now: Instant) -> Option<TokenError> {
        let state = self.0.state.borrow();
        let (until, said) = state.hold.as_ref().filter(|(until, _)| now < *until)?;
        Some(TokenError::Refused { until: *until, said: said.clone() })
    }

    /// Runs for as long as the service does: gets the first token, looks at mounted secrets, and ends holds.
    pub async fn keep(self) {
        drop(self.renew());
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if *self.0.credentials.borrow() == Credentials::Accepted {
                continue;
            }
            let now = Instant::now();
            if self.secrets_changed().await {
                self.0.state.borrow_mut().hold = None;
            } else if self.refused(now).or_else(|| self.paused(now)).is_some() {
                continue;
            }
            // Asks for a token without waiting for a caller: nobody is sent to a replica that is not ready.
            if self.renew().await.is_ok() {
                tracing::info!("Zoom gives access tokens again");
            }
        }
    }

    async fn secrets_changed(&self) -> bool {
        let known = self.0.state.borrow().secrets.clone();
        let (Some(known), true) = (known, self.0.sources.has_files()) else {
            return false;
        };
        self.0.sources.read().await.is_some_and(|read| read != known)
    }

    /// Starts a renewal, or joins the one under way. It goes on if nobody waits for it any more.
    fn renew(&self) -> Shared<LocalBoxFuture<'static, Result<AccessToken, TokenError>>> {
        if let Some(renewal) = &self.0.state.borrow().renewal {
            return renewal.clone();
        }
        let this = self.clone();
        let held_before = self.0.state.borrow().hold.as_ref().map(|(until, _)| *until);
        let renewal = async move {
            // A panic, as when the system has no thread to give, must not be what all later renewals wait for.
            let result = AssertUnwindSafe(this.obtain()).catch_unwind().await;
            let result = result.unwrap_or(Err(TokenFailure::Passing(None)));
            this.0.state.borrow_mut().renewal = None;
            this.settle(result, held_before)
        }
        .boxed_local()
        .shared();
        self.0.state.borrow_mut().renewal = Some(renewal.clone());
        drop(actix_rt::spawn(renewal.clone()));
        renewal
    }

    fn settle(
        &self,
        result: Result<(AccessToken, RenewalResult), TokenFailure>,
        held_before: Option<Instant>,
    ) -> Result<AccessToken, TokenError> {
        let now = Instant::now();
        self.0.state.borrow_mut().renew_early_from = result.is_err().then_some(now + HOLD);
        match result {
            Ok((token, result)) => {
                self.0.metrics.renewal(result);
                {
                    let mut state = self.0.state.borrow_mut();
                    state.current = Some(token.clone());
                    if state.hold.as_ref().map(|(until, _)| *until) != held_before {
                        // Refused while this renewal was under way, for something that a token does not mend.
                        return Ok(token);
                    }
                    state.hold = None;
                }
                self.0.credentials.send_replace(Credentials::Accepted);
                Ok(token)
            }
            Err(TokenFailure::Denied(said)) => {
                self.0.metrics.renewal(RenewalResult::Refused);
                if self.current(now).is_some() {
                    tracing::error!("Zoom refuses to renew the access token; the one in use still serves");
                    return Err(TokenError::Failed { until: None, said: Some(said.without_words()) });
                }
                Err(self.hold(&said, said.without_words()))
            }
            Err(TokenFailure::TimedOut) => {
                tracing::warn!("Zoom's token endpoint did not answer in time");
                self.0.metrics.renewal(RenewalResult::Failed);
                Err(TokenError::TimedOut)
            }
            Err(TokenFailure::Passing(said)) => Err(self.unusable(said, None)),
            Err(TokenFailure::Lasting(said)) => Err(self.unusable(said, Some(now + PAUSE))),
            Err(TokenFailure::Later { said, retry_after }) => {
                Err(self.unusable(Some(said), Some(now + retry_after.min(LONGEST_PAUSE))))
            }
        }
    }

    /// Nobody asks the endpoint before `until`.
    fn unusable(&self, said: Option<ZoomSaid>, until: Option<Instant>) -> TokenError {
        self.0.metrics.renewal(RenewalResult::Failed);
        tracing::warn!(
            zoom_status = said.as_ref().map(|said| said.status),
            zoom_tracking_id = said.as_ref().and_then(ZoomSaid::tracking_id),
            "no access token: Zoom's token endpoint could not be reached or gave no usable answer"
        );
        let error = TokenError::Failed { until, said: said.map(|said| said.without_words()) };
        if let Some(until) = until {
            self.0.state.borrow_mut().pause = Some((until, error.clone()));
        }
        error
    }

    /// Another replica's token, or one from Zoom.
    async fn obtain(&self) -> Result<(AccessToken, RenewalResult), TokenFailure> {
        let secrets = self.secrets().await?;
        let Some(sharing) = &self.0.sharing else {
            return self.ask_until_answered(&secrets).await.map(|token| (token, RenewalResult::Ok));
        };
        match sharing.turn(&secrets).await {
            Turn::Theirs(token) => Ok((token, RenewalResult::Shared)),
            Turn::InVain(failure) => Err(failure),
            Turn::Ours(claimed) => {
                let result = self.ask_until_answered(&secrets).await;
                sharing.ended(claimed, &result).await;
                result.map(|token| (token, RenewalResult::Ok))
            }
        }
    }

    async fn secrets(&self) -> Result<Secrets, TokenFailure> {
        let secrets = match self.0.sources.read().await {
            Some(secrets) => secrets,
            // A file that is being replaced: what it held a moment ago is the best guess.
            None => self.0.state.borrow().secrets.clone().ok_or(TokenFailure::Lasting(None))?,
        };
        self.0.state.borrow_mut().secrets = Some(secrets.clone());
        Ok(secrets)
    }

    async fn ask_until_answered(&self, secrets: &Secrets) -> Result<AccessToken, TokenFailure> {
        let mut tried = 1;
        loop {
            match self.0.endpoint.ask(secrets).await {
                Err(TokenFailure::Passing(_) | TokenFailure::TimedOut) if tried < TRIES => {
                    tokio::time::sleep(super::backoff(tried)).await;
                    tried += 1;
                }
                Err(TokenFailure::Later { retry_after, .. })
                    if tried < TRIES && retry_after <= WAITED_FOR =>
                {
                    tokio::time::sleep(retry_after.max(super::backoff(tried))).await;
                    tried += 1;
                }
                result => return result,
            }
        }
    }
}
