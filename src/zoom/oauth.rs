//! The access token. Each process uses one at a time, and runs at most one renewal. A token is renewed before it
//! expires, or when Zoom no longer accepts it. If Zoom refuses the credentials and no usable token is left, nothing is
//! tried for 30 s or until a mounted secret changes. With Redis and an encryption key, replicas share a token.

mod attempt;
mod cluster;
mod endpoint;
mod renewal;
mod secrets;
mod state;
mod token;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub(crate) use self::attempt::try_credentials;
pub(crate) use self::state::Credentials;
pub(crate) use self::token::AccessToken;
use self::{
    cluster::ClusterToken,
    endpoint::Endpoint,
    secrets::{Secrets, Sources},
    state::{Renewal, TokenState},
};
use super::{config::ZoomConfig, upstream::Upstream};
use crate::{
    cluster::events::Event,
    failure::{Failure, Reason, ZoomError},
    metrics::{Metrics, RenewalResult},
};

/// How long nothing is tried after Zoom refused the credentials, and how long a usable token is not renewed early after
/// a failed renewal.
pub(crate) const CREDENTIALS_BACKOFF: Duration = Duration::from_secs(30);
/// How often mounted secrets are read while the credentials are refused. docs/OPERATIONS.md promises 5 s.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Hands out access tokens. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub(crate) struct AccessTokens(Rc<TokenStore>);

struct TokenStore {
    endpoint: Endpoint,
    /// `None` if replicas do not share the token.
    shared: Option<ClusterToken>,
    sources: Sources,
    metrics: Arc<Metrics>,
    state: RefCell<TokenState>,
    renewal: RefCell<Option<Renewal>>,
    secrets: RefCell<Option<Secrets>>,
    credentials: watch::Sender<Credentials>,
}

impl AccessTokens {
    pub(crate) fn new(
        config: &ZoomConfig,
        upstream: Upstream,
        metrics: &Arc<Metrics>,
        credentials: watch::Sender<Credentials>,
        replicas: Option<crate::cluster::Cluster>,
    ) -> Self {
        Self(Rc::new(TokenStore {
            // `zoom.request_timeout` also bounds the wait for another replica's request.
            shared: ClusterToken::new(replicas, config.request_timeout, upstream.redactor.clone()),
            sources: Sources::new(config, upstream.redactor.clone()),
            endpoint: Endpoint::new(upstream, config.request_timeout),
            metrics: Arc::clone(metrics),
            state: RefCell::default(),
            renewal: RefCell::default(),
            secrets: RefCell::default(),
            credentials,
        }))
    }

    /// Returns the current token, or gets a new one. All callers wait for the same renewal.
    ///
    /// # Errors
    /// Zoom refuses the credentials, a secret cannot be read, or the token endpoint sent no usable response; or such a
    /// failure is still in force.
    pub(crate) async fn token(&self) -> Result<AccessToken, Failure> {
        let now = Instant::now();
        self.refused(now).map_or(Ok(()), Err)?;
        if let Some(token) = self.current(now) {
            return Ok(token);
        }
        let failed = self.0.state.borrow().failed(now);
        match failed {
            Some(error) => Err(error),
            None => self.renew().await,
        }
    }

    /// Returns whether [`Self::for_call`] would return a token now.
    pub(crate) fn are_usable(&self, now: Instant) -> bool {
        self.refused(now).is_none() && self.current(now).is_some()
    }

    /// Returns the token for a call that is made now; `None` if there is no usable token or the credentials are
    /// refused. If it is time to renew the token, starts a renewal in the background.
    pub(crate) fn for_call(&self, now: Instant) -> Option<AccessToken> {
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

    /// Drops a token that Zoom did not accept, unless it has been replaced already.
    pub(crate) fn discard(&self, refused: &AccessToken) {
        if self.0.state.borrow_mut().current.take_if(|current| current.same_grant(refused)).is_some() {
            self.forget_shared(refused);
        }
    }

    fn forget_shared(&self, token: &AccessToken) {
        if let Some(shared) = &self.0.shared {
            shared.forget(token);
        }
    }

    /// Handles an event of another replica. A token newer than ours is taken over, if [`Self::may_take_over`] allows it,
    /// because Zoom may not accept ours for much longer.
    pub(crate) fn on_event(&self, event: &Event) {
        if self.0.shared.as_ref().is_some_and(|shared| shared.on_event(event)) && self.may_take_over() {
            drop(actix_rt::spawn(self.clone().take_over()));
        }
    }

    async fn take_over(self) {
        let Some(shared) = &self.0.shared else { return };
        if let Some((key, fence, token)) = shared.newer().await
            && self.may_take_over()
        {
            shared.set_last(key, fence, &token);
            self.0.metrics.count_access_token_renewals(RenewalResult::Shared);
            let mut state = self.0.state.borrow_mut();
            state.renew_early_from = None;
            state.current = Some(token);
        }
    }

    /// Returns false during a renewal and while the credentials are refused: then the renewal, or the retry after
    /// the backoff, looks for the shared token.
    fn may_take_over(&self) -> bool {
        self.0.renewal.borrow().is_none() && *self.0.credentials.borrow() == Credentials::Accepted
    }

    /// Requests a token to replace this one, whose scopes are not enough for some calls: Zoom fixed them when it issued
    /// the token. Until the new token arrives, this one stays in use.
    pub(crate) fn replace(&self, token: &AccessToken) {
        if self.current(Instant::now()).is_some_and(|current| current.same_grant(token)) {
            self.forget_shared(token);
            drop(self.renew());
        }
    }

    /// Stops all calls, because Zoom refuses our scopes, the plan or a renewed token. Drops the token, because Zoom
    /// fixed its scopes when it issued the token: an added scope applies only to new tokens.
    /// `scope` names the missing scope, if a scope is missing.
    pub(crate) fn reject(&self, zoom_error: &ZoomError, scope: Option<&str>) -> Failure {
        // Calls in flight together are refused together; only the first one starts the backoff.
        self.refused(Instant::now()).unwrap_or_else(|| self.back_off(zoom_error, zoom_error.clone(), scope))
    }

    /// Stops all calls for `CREDENTIALS_BACKOFF` or until a mounted secret changes, and logs `words` for operators.
    /// `zoom_error` is what callers see: the complete error of the QoS endpoint, but only the status of an error of the
    /// token endpoint.
    fn back_off(&self, words: &ZoomError, zoom_error: ZoomError, scope: Option<&str>) -> Failure {
        let retry_at = Instant::now() + CREDENTIALS_BACKOFF;
        let failure =
            Failure::new(Reason::ZoomRejectedCredentials).retry_at(retry_at).with_zoom_error(zoom_error);
        let message = words.message.as_ref().map_or_else(|| "no message".to_owned(), ToString::to_string);
        tracing::error!(
            zoom_status = words.status,
            zoom_code = words.code,
            zoom_message = message,
            zoom_tracking_id = words.tracking_id(),
            "Zoom refuses the credentials; next try in 30 s, or when a mounted secret changes"
        );
        let dropped = self.0.state.borrow_mut().current.take();
        self.0.state.borrow_mut().refused = Some(failure.clone());
        if let Some(token) = dropped {
            self.forget_shared(&token);
        }
        let reason = scope.map_or(message, str::to_owned);
        self.0.credentials.send_replace(Credentials::Refused(reason));
        failure
    }

    /// Returns the failure of refused credentials while the backoff lasts.
    pub(crate) fn refused(&self, now: Instant) -> Option<Failure> {
        self.0.state.borrow().refused(now)
    }

    /// Runs as long as the service: gets the first token, and while the credentials are refused, watches mounted secrets and
    /// tries again after each backoff.
    pub(crate) async fn run(self) {
        drop(self.renew());
        let mut every = tokio::time::interval(POLL_INTERVAL);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if *self.0.credentials.borrow() == Credentials::Accepted {
                continue;
            }
            let now = Instant::now();
            if self.secrets_changed().await {
                self.0.state.borrow_mut().refused = None;
            } else if self.refused(now).or_else(|| self.0.state.borrow().failed(now)).is_some() {
                continue;
            }
            // Perhaps no caller would trigger this renewal, because a replica that is not ready may get no requests.
            if self.renew().await.is_ok() {
                tracing::info!("Zoom accepts our credentials again");
            }
        }
    }

    async fn secrets_changed(&self) -> bool {
        let known = self.0.secrets.borrow().clone();
        let (Some(known), true) = (known, self.0.sources.has_files()) else {
            return false;
        };
        self.0.sources.read().await.is_some_and(|read| read != known)
    }
}
