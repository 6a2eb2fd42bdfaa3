//! Finds the caller of a bearer value: a key or a signed token.

use std::{sync::Arc, time::Instant};

use super::{
    caller::Caller,
    directory::{Callers, Directory},
    key,
    oidc::{
        FetchEnd, TokenError, TokenRule, Unverified, VerificationCost, Verified, looks_like_token, verify,
    },
};

/// The beginning of nearly every token: `{"` in base64. Other values are not looked up among the remembered tokens.
const TOKEN_START: &[u8] = b"ey";

/// The thread on which a caller is looked up. Workers serve all requests, so a look-up on a worker must be short.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupPlace {
    /// On a worker, which leaves expensive verifications to a blocking thread and the fetching of keys to the
    /// watcher.
    Worker,
    /// On a worker after keys were fetched. This look-up does not wait for another fetch.
    WorkerAfterFetch,
    /// On a blocking thread.
    BlockingThread,
}

/// The reason why a bearer value identifies no caller.
pub(crate) enum Unidentified {
    /// The value is not a known key. It does not look like a token, or no issuers are configured.
    UnknownKey,
    RefusedToken(TokenError),
    /// Keys that are being fetched may verify the token.
    AwaitsKeys(FetchEnd),
    /// The token may need more signature verifications than workers may make now.
    NeedsBlockingThread(VerificationCost),
    /// The token cannot be verified yet: the issuer's first keys have not arrived, or too many tokens wait for their
    /// verification. A retry may help at `retry_at`.
    NoKeys {
        retry_at: Instant,
    },
}

impl Callers {
    /// Returns the caller with this key or signed token.
    pub(crate) fn find_by_bearer(
        &self,
        value: &[u8],
        now: Instant,
        place: LookupPlace,
    ) -> Result<Arc<Caller>, Unidentified> {
        let directory = self.directory.load();
        // Remembered tokens come first, because hashing a token as a key would cost more than the rest of a hit. The
        // order does not change the result: no remembered token is also a key.
        let remembered = value.starts_with(TOKEN_START).then(|| directory.remembered.get(value));
        if let Some(caller) = remembered.flatten() {
            return Ok(caller);
        }
        let by_key = directory.by_key.as_ref().and_then(|by_key| by_key.get(&key::digest_of(value)));
        if let Some(caller) = by_key {
            return Ok(Arc::clone(caller));
        }
        if directory.issuers.is_empty() || !looks_like_token(value) {
            return Err(Unidentified::UnknownKey);
        }
        let may_verify =
            |signatures| place == LookupPlace::BlockingThread || self.signatures.take(signatures, now);
        let (issuer, is_unknown_id) = match verify(value, &directory.issuers, may_verify) {
            Ok(verified) => return directory.remember(value, verified),
            Err(Unverified::Refused(error)) => return Err(Unidentified::RefusedToken(error)),
            Err(Unverified::TooManySignatures(cost)) => return Err(Unidentified::NeedsBlockingThread(cost)),
            Err(Unverified::UnknownKey(issuer)) => (issuer, true),
            Err(Unverified::NoKeys(issuer)) => (issuer, false),
        };
        let may_wait = place == LookupPlace::Worker;
        // Asked only if the caller can wait, because an unknown key id uses up the issuer's next extra fetch.
        match may_wait.then(|| issuer.awaited_fetch(is_unknown_id, now)).flatten() {
            Some(end) => {
                self.keys_wanted.notify_one();
                Err(Unidentified::AwaitsKeys(end))
            }
            None if is_unknown_id => Err(Unidentified::RefusedToken(TokenError::UnknownKey)),
            // A fetch has brought the keys since `verify` looked for them.
            None if issuer.keys().is_some() => self.find_by_bearer(value, now, place),
            None => Err(Unidentified::NoKeys { retry_at: issuer.next_fetch() }),
        }
    }
}

impl Directory {
    /// Returns the first caller in the file that this token identifies, and remembers the token for later requests.
    fn remember(&self, token: &[u8], verified: Verified) -> Result<Arc<Caller>, Unidentified> {
        let Verified { issuer, key, claims } = verified;
        let is_of_issuer = |rule: &TokenRule| match &rule.issuer {
            Some(name) => *name == issuer.entry.name,
            None => self.issuers.first().is_some_and(|first| Arc::ptr_eq(first, &issuer)),
        };
        let found = self.by_token.iter().find(|(rule, _)| is_of_issuer(rule) && rule.matches(&claims));
        let Some((_, caller)) = found else { return Err(Unidentified::RefusedToken(TokenError::NoCaller)) };
        if let Some(expires) = claims.expires() {
            self.remembered.insert(token, caller, key, expires);
        }
        Ok(Arc::clone(caller))
    }
}
