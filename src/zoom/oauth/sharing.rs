//! The access token as all replicas have it: one of them asks Zoom, the others take it over from Redis, encrypted.
//!
//! It lies under a name that is made of the whole credentials, so that nobody takes one that was made with others: what is
//! wrong about a replica's own shows. It never asks Zoom; where Redis is away it says that it is this replica's turn.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::endpoint::{AccessToken, TokenFailure};
use crate::{
    cluster::{
        Away, Claim, Claimed, Shared,
        clock::ServerClock,
        events::Event,
        keys::Subject,
        record::{self, Kind},
        token::SharedToken,
        words,
    },
    failure::{Failure, Reason, Redactor, ZoomSaid},
    zoom::secret::{Secret, Secrets},
};

/// At the start Redis is waited for: asking Zoom at once would mean one token for each replica of a rollout. A process on
/// its own makes no call in its first 3 s anyway (ADR 16).
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// While another replica asks: an event tells how that ended; one that was lost, or a replica that died, is found out by this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who gets the next access token.
pub(super) enum Turn {
    /// Another replica got it.
    Theirs(AccessToken),
    /// Another replica asked, and Zoom's answer holds for this one, too.
    InVain(TokenFailure),
    /// This one. What comes of it goes to [`Sharing::ended`], with the claim, if there is one.
    Ours(Option<Claimed>),
}

/// What this replica has in common with the others.
pub(super) struct Sharing {
    shared: Shared,
    redactor: Redactor,
    /// For so long another replica is waited for.
    patience: Duration,
    had: RefCell<Had>,
    told: watch::Sender<Option<Told>>,
}

/// The last token that was had here.
#[derive(Default)]
struct Had {
    /// The name that goes with the credentials.
    of: Option<Subject>,
    /// Its number; 0: the others do not have it.
    fence: u64,
    token: Option<AccessToken>,
}

/// What a look into Redis gave.
enum Looked {
    /// Another token than the last one here, made later, and its number.
    Newer(u64, AccessToken),
    /// Nothing of use; the number of what is there.
    Nothing(u64),
}

/// How a request of some replica ended.
struct Told {
    fence: u64,
    /// Why there is no token, where that is everybody's affair.
    words: String,
}

impl Sharing {
    /// `None` where records are not encrypted: then each replica has a token of its own.
    pub(super) fn new(shared: Option<Shared>, patience: Duration, redactor: Redactor) -> Option<Self> {
        let shared = shared.filter(Shared::shares_access_token)?;
        Some(Self { shared, redactor, patience, had: RefCell::default(), told: watch::Sender::new(None) })
    }

    /// Waits until another replica has a token that is newer than the last one here, or it is this one's turn to ask Zoom.
    pub(super) async fn turn(&self, secrets: &Secrets) -> Turn {
        self.await_turn(secrets).await.unwrap_or(Turn::Ours(None))
    }

    async fn await_turn(&self, secrets: &Secrets) -> Result<Turn, Away> {
        let of = self.named(secrets).ok_or(Away)?;
        tokio::time::timeout(CONNECT_WITHIN, self.shared.is_known()).await.ok();
        let give_up = Instant::now() + self.patience;
        let mut told = self.told.subscribe();
        loop {
            let known = match self.look(&of).await? {
                Looked::Newer(fence, token) => {
                    self.have(of, fence, &token);
                    return Ok(Turn::Theirs(token));
                }
                Looked::Nothing(fence) => fence,
            };
            match self.shared.claim(&of, known).await? {
                Claim::Yours(claimed) => return Ok(Turn::Ours(Some(claimed))),
                Claim::Landed(_) => {}
                Claim::Held(_) if Instant::now() >= give_up => return Ok(Turn::Ours(None)),
                Claim::Held(fence) => {
                    let until = give_up.min(Instant::now() + LOOK_AGAIN);
                    if tokio::time::timeout_at(until.into(), told.changed()).await.is_ok()
                        && let Some(failure) = self.failure(fence, told.borrow_and_update().as_ref())
                    {
                        return Ok(Turn::InVain(failure));
                    }
                }
            }
        }
    }

    /// The name for these credentials. Other credentials than before: nothing that was had with those counts.
    fn named(&self, secrets: &Secrets) -> Option<Subject> {
        let parts = [&secrets.account_id, &secrets.client_id, &secrets.client_secret];
        let of = self.shared.access_token(&parts.map(Secret::expose))?;
        let mut had = self.had.borrow_mut();
        if had.of.as_ref() != Some(&of) {
            *had = Had { of: Some(of.clone()), ..Had::default() };
        }
        Some(of)
    }

    async fn look(&self, of: &Subject) -> Result<Looked, Away> {
        let found = self.shared.retrying(async || self.shared.look_up(of).await).await?;
        let clock = self.shared.clock().ok_or(Away)?;
        let had = self.had.borrow();
        let token = found.record.filter(|_| found.fence != had.fence);
        let token = token.and_then(|bytes| self.read(of, &bytes, &clock));
        // All live for as long: what is of use for longer was made later.
        let is_newer = |token: &AccessToken| had.token.as_ref().is_none_or(|had| token.outlives(had));
        Ok(match token.filter(is_newer) {
            Some(token) => Looked::Newer(found.fence, token),
            None => Looked::Nothing(found.fence),
        })
    }

    fn read(&self, of: &Subject, bytes: &[u8], clock: &ServerClock) -> Option<AccessToken> {
        let sealer = self.shared.sealer();
        let record = record::read(sealer.as_deref(), of, bytes);
        let Some(record) = record.filter(|record| record.kind == Kind::AccessToken) else {
            if !record::is_foreign(sealer.as_deref(), bytes) {
                self.shared.record_rejected();
            }
            return None;
        };
        let SharedToken { text, renew_from, use_until } =
            SharedToken::from_bytes(&record.body, clock, Instant::now())?;
        AccessToken::new(&text, renew_from, use_until, &self.redactor)
    }

    /// Gives the others what came of this replica's turn.
    pub(super) async fn ended(&self, claimed: Option<Claimed>, result: &Result<AccessToken, TokenFailure>) {
        let Some(claimed) = claimed else {
            if let (Ok(token), Some(of)) = (result, self.of()) {
                self.have(of, 0, token);
            }
            return;
        };
        let words = match result {
            Ok(token) => {
                // Also where nobody says that it took effect.
                self.have(claimed.of.clone(), claimed.fence, token);
                if self.put(&claimed, token).await.is_ok() {
                    return;
                }
                String::new()
            }
            Err(failure) => self.words(failure),
        };
        // Those who wait notice by themselves if that fails, too.
        self.shared.release(&claimed, &words).await.ok();
    }

    async fn put(&self, claimed: &Claimed, token: &AccessToken) -> Result<(), Away> {
        let (clock, now) = (self.shared.clock().ok_or(Away)?, Instant::now());
        let content = SharedToken {
            text: token.text().to_owned(),
            renew_from: token.renew_from(),
            use_until: token.use_until(),
        };
        let (of, content) = (&claimed.of, content.to_bytes(&clock));
        let sealer = self.shared.sealer();
        let record = record::write(sealer.as_deref(), of, Kind::AccessToken, clock.at(now), &content);
        let keep = token.use_until().saturating_duration_since(now);
        let record = record.ok_or(Away)?;
        self.shared.retrying(async || self.shared.put(claimed, &record, keep).await).await.map(drop)
    }

    /// Of no use to anybody any more: nobody is to find it in Redis.
    pub(super) fn dropped(&self, token: &AccessToken) {
        let had = self.had.borrow();
        let is_that = had.token.as_ref().is_some_and(|had| had.is(token)) && had.fence != 0;
        if let Some(of) = had.of.clone().filter(|_| is_that) {
            let (shared, fence) = (self.shared.clone(), had.fence);
            drop(actix_rt::spawn(async move { shared.forget(&of, fence).await }));
        }
    }

    /// What a replica tells. Whether there is a newer token to be had.
    pub(super) fn hears(&self, event: &Event) -> bool {
        let had = self.had.borrow();
        let (of, fence, words) = match event {
            Event::Landed { of, fence } => (of, *fence, String::new()),
            Event::Failed { of, fence, words } => (of, *fence, words.clone()),
            Event::CoolDown { .. } | Event::Purged { .. } => return false,
        };
        let is_ours = had.of.as_ref().is_some_and(|ours| ours.as_str() == of);
        if is_ours {
            self.told.send_replace(Some(Told { fence, words }));
        }
        is_ours && matches!(event, Event::Landed { .. }) && fence != had.fence
    }

    /// The newer token, of which an event told. It counts as had when [`Self::taken`] says so.
    pub(super) async fn newer(&self) -> Option<(u64, AccessToken)> {
        let of = self.of()?;
        match self.look(&of).await.ok()? {
            // Unless other credentials have come meanwhile.
            Looked::Newer(fence, token) if self.of() == Some(of) => Some((fence, token)),
            _ => None,
        }
    }

    /// That one is in use now.
    pub(super) fn taken(&self, fence: u64, token: &AccessToken) {
        if let Some(of) = self.of() {
            self.have(of, fence, token);
        }
    }

    fn of(&self) -> Option<Subject> {
        self.had.borrow().of.clone()
    }

    fn have(&self, of: Subject, fence: u64, token: &AccessToken) {
        *self.had.borrow_mut() = Had { of: Some(of), fence, token: Some(token.clone()) };
    }

    /// Refused credentials are those of all who wait under this name, and what Zoom will say again it need not be asked
    /// again. The rest may be this replica's own trouble.
    fn words(&self, failure: &TokenFailure) -> String {
        let (reason, said, after) = match failure {
            TokenFailure::Denied(said) => (Reason::ZoomRejectedCredentials, said, None),
            TokenFailure::Lasting(Some(said)) => (Reason::ZoomFailed, said, None),
            TokenFailure::Later { said, retry_after } => (Reason::ZoomFailed, said, Some(*retry_after)),
            TokenFailure::Lasting(None) | TokenFailure::TimedOut | TokenFailure::Passing(_) => {
                return String::new();
            }
        };
        let mut failure = Failure::new(reason).said(said.clone());
        failure.retry_at = after.map(|after| Instant::now() + after);
        self.shared.clock().and_then(|clock| words::write(&failure, &clock)).unwrap_or_default()
    }

    /// Why the claim with this number came to nothing, if that was told and holds here, too.
    fn failure(&self, fence: u64, told: Option<&Told>) -> Option<TokenFailure> {
        let told = told.filter(|told| told.fence == fence)?;
        let now = Instant::now();
        let failure = words::read(&told.words, &self.shared.clock()?, now)?;
        let said = failure.zoom.map_or_else(ZoomSaid::default, |said| (*said).clone());
        match (failure.reason, failure.retry_at) {
            (Reason::ZoomRejectedCredentials, _) => Some(TokenFailure::Denied(said)),
            (Reason::ZoomFailed, None) => Some(TokenFailure::Lasting(Some(said))),
            (Reason::ZoomFailed, Some(at)) => {
                Some(TokenFailure::Later { said, retry_after: at.saturating_duration_since(now) })
            }
            _ => None,
        }
    }
}
