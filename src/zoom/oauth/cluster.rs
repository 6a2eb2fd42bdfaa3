//! The access token that all replicas share: one replica requests it from Zoom, and the others read it from Redis,
//! encrypted.
//!
//! The token's key in Redis is derived from the complete credentials. A replica with wrong credentials therefore
//! does not find the others' token, and operators see that its own request fails. This file never calls Zoom:
//! without Redis, the replica requests a token itself.

mod codec;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{endpoint::RequestError, secrets::Secrets, token::AccessToken};
use crate::{
    cluster::{Claim, ClaimResult, Cluster, PutResult, Unavailable, events::Event, keys::RecordKey},
    failure::Redactor,
    zoom::secret::Secret,
};

/// How long a starting replica waits for Redis. If it asked Zoom immediately, a rollout would request one token for
/// each replica. A replica without Redis makes no call in its first 3 s anyway (`cluster/standalone`).
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How often this replica looks the token up while another replica makes the request. Normally an event announces
/// the outcome, but the event can be lost, and the other replica can end.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

pub(super) enum Acquired {
    /// A token from Redis, requested by another replica.
    Token(AccessToken),
    /// Another replica's request failed, and a request of this replica would probably fail for the same reason.
    Failed(RequestError),
    /// This replica must make the request, and pass the result to [`ClusterToken::publish`] with the claim, if there is one.
    RequestHere(Option<Claim>),
}

pub(super) struct ClusterToken {
    cluster: Cluster,
    redactor: Redactor,
    /// How long this replica waits for another replica's request.
    wait: Duration,
    last: RefCell<LastToken>,
    outcomes: watch::Sender<Option<ClaimOutcome>>,
}

#[derive(Default)]
struct LastToken {
    key: Option<RecordKey>,
    /// The fencing number of the token's record; 0 if this replica requested the token without a claim.
    fence: u64,
    token: Option<AccessToken>,
}

struct ClaimOutcome {
    fence: u64,
    /// The encoded error; empty after a success, or if the error may concern only the replica that made the request.
    encoded_error: String,
}

impl ClusterToken {
    /// Returns `None` without Redis or without an encryption key. Each replica then has its own token.
    pub(super) fn new(cluster: Option<Cluster>, wait: Duration, redactor: Redactor) -> Option<Self> {
        let cluster = cluster.filter(Cluster::shares_access_token)?;
        Some(Self { cluster, redactor, wait, last: RefCell::default(), outcomes: watch::Sender::new(None) })
    }

    /// Waits until another replica has a newer token than this replica's last one, its request has failed, or this
    /// replica must make the request.
    pub(super) async fn acquire(&self, secrets: &Secrets) -> Acquired {
        self.try_acquire(secrets).await.unwrap_or(Acquired::RequestHere(None))
    }

    async fn try_acquire(&self, secrets: &Secrets) -> Result<Acquired, Unavailable> {
        let key = self.select_key(secrets).ok_or(Unavailable)?;
        tokio::time::timeout(CONNECT_WITHIN, self.cluster.wait_until_known()).await.ok();
        let deadline = Instant::now() + self.wait;
        let mut outcomes = self.outcomes.subscribe();
        loop {
            let (known, token) = self.look_up(&key).await?;
            if let Some(token) = token {
                self.set_last(key, known, &token);
                return Ok(Acquired::Token(token));
            }
            match self.cluster.claim(&key, known).await? {
                ClaimResult::Granted(claim) => return Ok(Acquired::RequestHere(Some(claim))),
                ClaimResult::Recorded(_) => {}
                ClaimResult::Held(_) if Instant::now() >= deadline => return Ok(Acquired::RequestHere(None)),
                ClaimResult::Held(fence) => {
                    let until = deadline.min(Instant::now() + POLL_INTERVAL);
                    if tokio::time::timeout_at(until.into(), outcomes.changed()).await.is_ok()
                        && let Some(outcome) = &*outcomes.borrow_and_update()
                        && outcome.fence == fence
                        && let Some(error) = codec::decode_error(&self.cluster, &outcome.encoded_error)
                    {
                        return Ok(Acquired::Failed(error));
                    }
                }
            }
        }
    }

    /// Returns the key for these credentials. If they have changed, drops the last token.
    fn select_key(&self, secrets: &Secrets) -> Option<RecordKey> {
        let parts = [&secrets.account_id, &secrets.client_id, &secrets.client_secret];
        let key = self.cluster.access_token_key(&parts.map(Secret::expose))?;
        let mut last = self.last.borrow_mut();
        if last.key.as_ref() != Some(&key) {
            *last = LastToken { key: Some(key.clone()), ..LastToken::default() };
        }
        Some(key)
    }

    /// Returns the fencing number of the record in Redis, and its token if that was issued after the last token of
    /// this replica.
    async fn look_up(&self, key: &RecordKey) -> Result<(u64, Option<AccessToken>), Unavailable> {
        let found = self.cluster.retrying(async || self.cluster.look_up(key).await).await?;
        let clock = self.cluster.clock().ok_or(Unavailable)?;
        let last = self.last.borrow();
        let token = found.record.filter(|_| found.fence != last.fence);
        let token =
            token.and_then(|bytes| codec::decode_token(&self.cluster, key, &bytes, &clock, &self.redactor));
        // Tokens normally have the same lifetime, so the one that expires later was issued later.
        let is_newer = |token: &AccessToken| last.token.as_ref().is_none_or(|last| token.outlives(last));
        Ok((found.fence, token.filter(is_newer)))
    }

    /// Gives the other replicas the result of this replica's request, if it was made with a claim.
    pub(super) async fn publish(&self, claim: Option<Claim>, result: &Result<AccessToken, RequestError>) {
        let Some(claim) = claim else {
            if let (Ok(token), Some(key)) = (result, self.key()) {
                self.set_last(key, 0, token);
            }
            return;
        };
        let encoded_error = match result {
            Ok(token) => {
                // This is the last token even if Redis does not confirm the write, which may still have taken effect.
                self.set_last(claim.key.clone(), claim.fence, token);
                if self.put(&claim, token).await.is_ok() {
                    return;
                }
                String::new()
            }
            Err(error) => codec::encode_error(&self.cluster, error),
        };
        // If this also fails, the waiting replicas poll until the claim expires or they stop waiting.
        self.cluster.release(&claim, &encoded_error).await.ok();
    }

    async fn put(&self, claim: &Claim, token: &AccessToken) -> Result<(), Unavailable> {
        let (clock, now) = (self.cluster.clock().ok_or(Unavailable)?, Instant::now());
        let record = codec::encode_token(&self.cluster, &claim.key, token, &clock, now).ok_or(Unavailable)?;
        let keep = token.use_until().saturating_duration_since(now);
        match self.cluster.retrying(async || self.cluster.put(claim, &record, keep).await).await? {
            PutResult::Refused => Err(Unavailable),
            PutResult::Stored | PutResult::Superseded | PutResult::Purged => Ok(()),
        }
    }

    /// Removes from Redis a token that must be replaced, if it is this replica's last one.
    pub(super) fn forget(&self, token: &AccessToken) {
        let last = self.last.borrow();
        let is_last = last.token.as_ref().is_some_and(|last| last.same_grant(token)) && last.fence != 0;
        if let Some(key) = last.key.clone().filter(|_| is_last) {
            let (cluster, fence) = (self.cluster.clone(), last.fence);
            drop(actix_rt::spawn(async move { cluster.forget(&key, fence).await }));
        }
    }

    /// Handles another replica's event. Returns whether it announces a newer token.
    pub(super) fn on_event(&self, event: &Event) -> bool {
        let last = self.last.borrow();
        let (key, fence, encoded_error) = match event {
            Event::Recorded { key, fence } => (key, *fence, String::new()),
            Event::Failed { key, fence, encoded_failure } => (key, *fence, encoded_failure.clone()),
            Event::CoolDown { .. } | Event::Purged { .. } => return false,
        };
        let is_ours = last.key.as_ref().is_some_and(|ours| ours.as_str() == key);
        if is_ours {
            self.outcomes.send_replace(Some(ClaimOutcome { fence, encoded_error }));
        }
        is_ours && matches!(event, Event::Recorded { .. }) && fence != last.fence
    }

    /// Returns the newer token that an event announced. The caller passes all of it to [`Self::set_last`] if it uses the
    /// token.
    pub(super) async fn newer(&self) -> Option<(RecordKey, u64, AccessToken)> {
        let key = self.key()?;
        let (fence, token) = self.look_up(&key).await.ok()?;
        // The token is not used if the credentials have changed since the look-up began.
        token.filter(|_| self.key().as_ref() == Some(&key)).map(|token| (key, fence, token))
    }

    fn key(&self) -> Option<RecordKey> {
        self.last.borrow().key.clone()
    }

    pub(super) fn set_last(&self, key: RecordKey, fence: u64, token: &AccessToken) {
        *self.last.borrow_mut() = LastToken { key: Some(key), fence, token: Some(token.clone()) };
    }
}
