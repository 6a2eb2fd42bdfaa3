//! The access token as the content of a record. Replicas share the token, so that a rollout does not request one for
//! each replica. Pure.
//!
//! The token is shared only if records are encrypted, because a stolen token would give access to much more than Redis
//! contains.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{
    Cluster,
    clock::{Micros, ServerClock},
    keys::RecordKey,
};

#[derive(Serialize, Deserialize)]
struct EncodedToken {
    access_token: String,
    renew_from: Micros,
    use_until: Micros,
}

/// An access token for other replicas. It is secret, so it implements neither `Debug` nor `Serialize`.
pub(crate) struct TokenRecord {
    pub(crate) text: String,
    pub(crate) renew_from: Instant,
    pub(crate) use_until: Instant,
}

impl TokenRecord {
    pub(crate) fn to_bytes(&self, clock: &ServerClock) -> Vec<u8> {
        let encoded = EncodedToken {
            access_token: self.text.clone(),
            renew_from: clock.at(self.renew_from),
            use_until: clock.at(self.use_until),
        };
        // This cannot fail, because only text and numbers are serialized. If it did, the other replicas would find no
        // token.
        serde_json::to_vec(&encoded).unwrap_or_default()
    }

    /// Parses a record's content. Returns `None` if the token has expired, is malformed or has times out of bounds.
    pub(crate) fn from_bytes(bytes: &[u8], clock: &ServerClock, now: Instant) -> Option<Self> {
        let encoded: EncodedToken = serde_json::from_slice(bytes).ok()?;
        let (renew_from, use_until) =
            (clock.when(encoded.renew_from).ok()?, clock.when(encoded.use_until).ok()?);
        let is_valid =
            now < use_until && encoded.use_until > clock.at(now) && !encoded.access_token.is_empty();
        is_valid.then_some(Self { text: encoded.access_token, renew_from, use_until })
    }
}

impl Cluster {
    pub(crate) fn shares_access_token(&self) -> bool {
        self.0.config.cipher.is_some()
    }

    /// Returns the key of the access token for these credentials; `None` if access tokens are not shared.
    pub(crate) fn access_token_key(&self, credentials: &[&str]) -> Option<RecordKey> {
        let cipher = self.0.config.cipher.as_deref()?;
        Some(RecordKey::access_token(&cipher.name(credentials)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::bounds::AHEAD_AT_MOST;

    #[test]
    fn a_token_expires_at_the_same_time_on_every_replica() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let here = ServerClock::observe(now, now, 1_800_000_000_000_000).unwrap();
        let after = |seconds| now + Duration::from_secs(seconds);
        let token =
            TokenRecord { text: "secret".to_owned(), renew_from: after(3_300), use_until: after(3_595) };
        let bytes = token.to_bytes(&here);
        // Another replica, whose monotonic clock started at a different time.
        let there = ServerClock::observe(after(500), after(500), 1_800_000_000_000_000).unwrap();
        let read = TokenRecord::from_bytes(&bytes, &there, after(500)).unwrap();
        assert_eq!((&*read.text, read.renew_from, read.use_until), ("secret", after(3_800), after(4_095)));
        assert!(TokenRecord::from_bytes(&bytes, &there, after(4_095)).is_none());
        assert!(TokenRecord::from_bytes(b"", &there, now).is_none());
    }

    proptest! {
        #[test]
        fn no_token_panics_or_is_valid_for_more_than_48_h(
            (renew_from, use_until) in (any::<u64>(), any::<u64>()),
            ahead in 0..400_000_000_000_u64,
            there in 0..1_u64 << 53,
        ) {
            let now = Instant::now();
            let clock = ServerClock::observe(now, now, there).unwrap();
            for (renew_from, use_until) in [(renew_from, use_until), (there, there + ahead)] {
                let encoded = EncodedToken { access_token: "secret".to_owned(), renew_from, use_until };
                let bytes = serde_json::to_vec(&encoded).unwrap();
                if let Some(token) = TokenRecord::from_bytes(&bytes, &clock, now) {
                    prop_assert!(token.use_until <= now + AHEAD_AT_MOST && token.renew_from <= now + AHEAD_AT_MOST);
                }
            }
        }
    }
}
