//! An access token as a record's content: shared so that a rollout does not ask Zoom for one per replica. Pure.
//!
//! Only where records are encrypted: a token in plain text would be worth more to a thief than all that it gives access to here.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{
    Shared,
    clock::{Micros, ServerClock},
    keys::Subject,
};

#[derive(Serialize, Deserialize)]
struct Written {
    access_token: String,
    renew_from: Micros,
    use_until: Micros,
}

/// A token of another replica. It has nothing that would print it.
pub struct SharedToken {
    /// Its text, for the one place that sends it.
    pub text: String,
    /// From here on it is good to have a new one soon.
    pub renew_from: Instant,
    /// And from here on it is of no use.
    pub use_until: Instant,
}

impl SharedToken {
    /// As a record's content.
    #[must_use]
    pub fn to_bytes(&self, clock: &ServerClock) -> Vec<u8> {
        let written = Written {
            access_token: self.text.clone(),
            renew_from: clock.at(self.renew_from),
            use_until: clock.at(self.use_until),
        };
        // Texts and numbers: this cannot fail; and an empty one is no token.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Of a record's content; `None` for one that is of no use any more.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], clock: &ServerClock, now: Instant) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        let (renew_from, use_until) =
            (clock.when(written.renew_from).ok()?, clock.when(written.use_until).ok()?);
        let is_of_use =
            now < use_until && written.use_until > clock.at(now) && !written.access_token.is_empty();
        is_of_use.then_some(Self { text: written.access_token, renew_from, use_until })
    }
}

impl Shared {
    /// Whether the access token is shared, too.
    #[must_use]
    pub fn shares_access_token(&self) -> bool {
        self.0.config.sealer.is_some()
    }

    /// Under which name, for these credentials; `None` where it is not.
    #[must_use]
    pub fn access_token(&self, credentials: &[&str]) -> Option<Subject> {
        let sealer = self.0.config.sealer.as_deref()?;
        Some(Subject::access_token(&sealer.name(credentials)))
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
        let here = ServerClock::heard(now, now, 1_800_000_000_000_000).unwrap();
        let after = |seconds| now + Duration::from_secs(seconds);
        let token =
            SharedToken { text: "secret".to_owned(), renew_from: after(3_300), use_until: after(3_595) };
        let bytes = token.to_bytes(&here);
        // Another replica, whose monotonic clock began elsewhere.
        let there = ServerClock::heard(after(500), after(500), 1_800_000_000_000_000).unwrap();
        let read = SharedToken::from_bytes(&bytes, &there, after(500)).unwrap();
        assert_eq!((&*read.text, read.renew_from, read.use_until), ("secret", after(3_800), after(4_095)));
        assert!(SharedToken::from_bytes(&bytes, &there, after(4_095)).is_none());
        assert!(SharedToken::from_bytes(b"", &there, now).is_none());
    }

    proptest! {
        #[test]
        fn no_token_panics_or_is_of_use_for_more_than_48_h(
            (renew_from, use_until) in (any::<u64>(), any::<u64>()),
            ahead in 0..400_000_000_000_u64,
            there in 0..1_u64 << 53,
        ) {
            let now = Instant::now();
            let clock = ServerClock::heard(now, now, there).unwrap();
            for (renew_from, use_until) in [(renew_from, use_until), (there, there + ahead)] {
                let written = Written { access_token: "secret".to_owned(), renew_from, use_until };
                let bytes = serde_json::to_vec(&written).unwrap();
                if let Some(token) = SharedToken::from_bytes(&bytes, &clock, now) {
                    prop_assert!(token.use_until <= now + AHEAD_AT_MOST && token.renew_from <= now + AHEAD_AT_MOST);
                }
            }
        }
    }
}
