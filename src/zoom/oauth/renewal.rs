//! One renewal of the access token: from another replica, or from Zoom.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;

use super::{
    AccessTokens, CREDENTIALS_BACKOFF,
    cluster::Acquired,
    endpoint::RequestError,
    secrets::Secrets,
    state::{Credentials, Renewal},
    token::AccessToken,
};
use crate::{
    failure::{Failure, Reason, ZoomError},
    metrics::RenewalResult,
};

/// After an error that an immediate retry would not fix, such as a 429 without `Retry-After`, callers that need a new
/// token get the same error for this long. Otherwise each cache miss would become a token request.
const TOKEN_ERROR_TTL: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is obeyed: a wrong one must not stop the service for hours.
const MAX_TOKEN_ERROR_TTL: Duration = Duration::from_secs(60);

impl AccessTokens {
    /// Starts a renewal, or joins the one in flight. The renewal continues even if no caller waits for it.
    pub(super) fn renew(&self) -> Renewal {
        if let Some(renewal) = &*self.0.renewal.borrow() {
            return renewal.clone();
        }
        let this = self.clone();
        let refused_before = self.0.state.borrow().refused_until();
        let renewal = async move {
            // tokio panics if it cannot start a thread. Uncaught, the panic would leave all later callers waiting for
            // this renewal.
            let result = AssertUnwindSafe(this.acquire()).catch_unwind().await;
            let result = result.unwrap_or(Err(RequestError::Transient(None)));
            *this.0.renewal.borrow_mut() = None;
            this.settle(result, refused_before)
        }
        .boxed_local()
        .shared();
        *self.0.renewal.borrow_mut() = Some(renewal.clone());
        drop(actix_rt::spawn(renewal.clone()));
        renewal
    }

    async fn acquire(&self) -> Result<(AccessToken, RenewalResult), RequestError> {
        let secrets = self.read_secrets().await?;
        let Some(shared) = &self.0.shared else {
            return self.0.endpoint.request(&secrets).await.map(|token| (token, RenewalResult::Ok));
        };
        match shared.acquire(&secrets).await {
            Acquired::Token(token) => Ok((token, RenewalResult::Shared)),
            Acquired::Failed(error) => Err(error),
            Acquired::RequestHere(claim) => {
                let result = self.0.endpoint.request(&secrets).await;
                shared.publish(claim, &result).await;
                result.map(|token| (token, RenewalResult::Ok))
            }
        }
    }

    async fn read_secrets(&self) -> Result<Secrets, RequestError> {
        let secrets = match self.0.sources.read().await {
            Some(secrets) => secrets,
            // A file may be missing for a moment while it is replaced: use its last content.
            None => self.0.secrets.borrow().clone().ok_or(RequestError::Permanent(None))?,
        };
        *self.0.secrets.borrow_mut() = Some(secrets.clone());
        Ok(secrets)
    }

    fn settle(
        &self,
        result: Result<(AccessToken, RenewalResult), RequestError>,
        refused_before: Option<Instant>,
    ) -> Result<AccessToken, Failure> {
        let now = Instant::now();
        self.0.state.borrow_mut().renew_early_from = result.is_err().then_some(now + CREDENTIALS_BACKOFF);
        match result {
            Ok((token, result)) => {
                self.0.metrics.count_access_token_renewals(result);
                {
                    let mut state = self.0.state.borrow_mut();
                    state.current = Some(token.clone());
                    // If Zoom rejected a call during this renewal, keep the backoff: the new token may have the same scopes.
                    if state.refused_until() != refused_before {
                        return Ok(token);
                    }
                    state.refused = None;
                }
                self.0.credentials.send_replace(Credentials::Accepted);
                Ok(token)
            }
            Err(RequestError::Denied(zoom_error)) => {
                self.0.metrics.count_access_token_renewals(RenewalResult::Refused);
                if self.current(now).is_some() {
                    tracing::error!("Zoom refuses to renew the access token; the current one still serves");
                    return Err(Failure::new(Reason::ZoomFailed).with_zoom_error(zoom_error.status_only()));
                }
                Err(self.back_off(&zoom_error, zoom_error.status_only(), None))
            }
            Err(RequestError::TimedOut) => {
                tracing::warn!("Zoom's token endpoint did not respond in time");
                self.0.metrics.count_access_token_renewals(RenewalResult::Failed);
                Err(Failure::new(Reason::ZoomTimedOut))
            }
            Err(RequestError::Transient(zoom_error)) => Err(self.fail(zoom_error, None)),
            Err(RequestError::Permanent(zoom_error)) => {
                Err(self.fail(zoom_error, Some(now + TOKEN_ERROR_TTL)))
            }
            Err(RequestError::RetryAfter { zoom_error, delay }) => {
                Err(self.fail(Some(zoom_error), Some(now + delay.min(MAX_TOKEN_ERROR_TTL))))
            }
        }
    }

    /// Records a failed renewal. If `retry_at` is set, callers that need a new token get this failure until then.
    fn fail(&self, zoom_error: Option<ZoomError>, retry_at: Option<Instant>) -> Failure {
        self.0.metrics.count_access_token_renewals(RenewalResult::Failed);
        tracing::warn!(
            zoom_status = zoom_error.as_ref().map(|zoom_error| zoom_error.status),
            zoom_tracking_id = zoom_error.as_ref().and_then(ZoomError::tracking_id),
            "no access token: Zoom's token endpoint cannot be reached or sent no usable response"
        );
        let zoom = zoom_error.map(|zoom_error| Arc::new(zoom_error.status_only()));
        let failure = Failure { retry_at, zoom, ..Failure::new(Reason::ZoomFailed) };
        if retry_at.is_some() {
            self.0.state.borrow_mut().failed = Some(failure.clone());
        }
        failure
    }
}
