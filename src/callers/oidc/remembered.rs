//! The tokens that were verified, so that a hit does not verify a signature.
//!
//! A look-up hashes the token quickly and then compares all of it. SHA-256 of a token of 1 KB would cost more than the rest of
//! a hit. Tokens are in memory anyway while a request is served; a set ends with the callers' file that it was made for.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use foldhash::fast::RandomState;

use super::{super::caller::Caller, jwks::SigningKey};

const MAX_ENTRIES: usize = 10_000;
/// The maximum size of all tokens together.
const MAX_BYTES: usize = 16 << 20;

/// The verified tokens, with their callers. It has no `Debug`, because it contains credentials.
#[derive(Default)]
pub(in crate::callers) struct RememberedTokens(RwLock<TokenMap>);

#[derive(Default)]
struct TokenMap {
    by_token: HashMap<Box<[u8]>, RememberedToken, RandomState>,
    bytes: usize,
}

struct RememberedToken {
    caller: Arc<Caller>,
    key: Arc<SigningKey>,
    expires: Instant,
}

impl RememberedToken {
    fn is_valid(&self, now: Instant) -> bool {
        now < self.expires && !self.key.is_removed()
    }
}

impl RememberedTokens {
    /// Returns the caller of a token that was verified before, if it has not expired and its key is still in use.
    pub(in crate::callers) fn get(&self, token: &[u8], now: Instant) -> Option<Arc<Caller>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.by_token.get(token).filter(|entry| entry.is_valid(now))?;
        Some(Arc::clone(&entry.caller))
    }

    pub(in crate::callers) fn insert(
        &self,
        token: &[u8],
        caller: &Arc<Caller>,
        key: Arc<SigningKey>,
        (now, expires): (Instant, Instant),
    ) {
        let entry = RememberedToken { caller: Arc::clone(caller), key, expires };
        if !entry.is_valid(now) {
            return;
        }
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.by_token.len() >= MAX_ENTRIES || entries.bytes + token.len() > MAX_BYTES {
            entries.make_room(now);
        }
        if entries.by_token.insert(token.into(), entry).is_none() {
            entries.bytes += token.len();
        }
    }
}

impl TokenMap {
    /// Drops the entries that are no longer valid. If more than half of them are, drops all, so that a full set is not searched
    /// for every new token; each is verified again when it is next used.
    fn make_room(&mut self, now: Instant) {
        self.by_token.retain(|_, entry| entry.is_valid(now));
        self.bytes = self.by_token.keys().map(|token| token.len()).sum();
        if self.by_token.len() > MAX_ENTRIES / 2 || self.bytes > MAX_BYTES / 2 {
            *self = Self::default();
        }
    }
}
