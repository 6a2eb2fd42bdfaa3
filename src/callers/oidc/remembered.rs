//! The tokens that were verified, so that most hits do not verify a signature.
//!
//! A look-up hashes the token with a fast hash and then compares all of it. SHA-256 of a token of 1 KB would cost
//! more than the rest of a hit. The set therefore contains complete tokens, which are in memory anyway while
//! requests are served. A new callers' file starts with an empty set.
//!
//! A look-up takes no lock, because each new token makes a copy of the map. With 10,000 tokens, a copy takes about
//! as long as verifying a few signatures.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::{super::caller::Caller, jwks::SigningKey};

const MAX_ENTRIES: usize = 10_000;
/// The maximum size of all tokens together, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The verified tokens, with their callers. It has no `Debug`, because it contains credentials.
#[derive(Default)]
pub(in crate::callers) struct RememberedTokens {
    map: ArcSwap<TokenMap>,
    /// Held while a token is added, so that no token is lost when two are added at the same time.
    adding: Mutex<()>,
}

#[derive(Default, Clone)]
struct TokenMap {
    by_token: HashMap<Arc<[u8]>, Arc<RememberedToken>, RandomState>,
    bytes: usize,
}

struct RememberedToken {
    caller: Arc<Caller>,
    key: Arc<SigningKey>,
    /// The expiry on the wall clock, as in the token. The monotonic clock stands still while a machine is suspended,
    /// so an expired token could pass.
    expires: SystemTime,
}

impl RememberedToken {
    fn is_valid(&self, now: SystemTime) -> bool {
        now < self.expires && !self.key.is_removed()
    }
}

impl RememberedTokens {
    /// Returns the caller of a token that was verified before, if it has not expired and its key is still in use.
    pub(in crate::callers) fn get(&self, token: &[u8]) -> Option<Arc<Caller>> {
        let entries = self.map.load();
        let entry = entries.by_token.get(token)?;
        entry.is_valid(SystemTime::now()).then(|| Arc::clone(&entry.caller))
    }

    pub(in crate::callers) fn insert(
        &self,
        token: &[u8],
        caller: &Arc<Caller>,
        key: Arc<SigningKey>,
        expires: SystemTime,
    ) {
        let now = SystemTime::now();
        let entry = RememberedToken { caller: Arc::clone(caller), key, expires };
        if !entry.is_valid(now) {
            return;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = TokenMap::clone(&self.map.load());
        if entries.by_token.len() >= MAX_ENTRIES || entries.bytes + token.len() > MAX_BYTES {
            entries.make_room(now);
        }
        if entries.by_token.insert(token.into(), Arc::new(entry)).is_none() {
            entries.bytes += token.len();
        }
        self.map.store(Arc::new(entries));
    }
}

impl TokenMap {
    /// Drops the entries that are no longer valid. If the set is still more than half full, drops every entry,
    /// because otherwise each new token would search a full set again. A dropped token is verified again at its next
    /// use.
    fn make_room(&mut self, now: SystemTime) {
        self.by_token.retain(|_, entry| entry.is_valid(now));
        self.bytes = self.by_token.keys().map(|token| token.len()).sum();
        if self.by_token.len() > MAX_ENTRIES / 2 || self.bytes > MAX_BYTES / 2 {
            *self = Self::default();
        }
    }
}
