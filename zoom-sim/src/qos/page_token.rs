//! `next_page_token`s: opaque, bound to their parameters, and short-lived.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::random::Dice;

/// The parameters of the request for which a page token was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) meeting: String,
    pub(crate) live: bool,
    pub(crate) page_size: usize,
}

#[derive(Debug)]
struct IssuedToken {
    bound: Bound,
    page: usize,
    at: Instant,
    expired: bool,
}

/// The page tokens that were issued and not yet removed.
#[derive(Debug, Default)]
pub(crate) struct PageTokens(HashMap<String, IssuedToken>);

/// The token of `RepeatPageToken` for a request without one.
const CONSTANT: &str = "sim+constant/page+token==";
/// Issuing a token removes the expired ones whenever the number of tokens is a multiple of this.
const MANY: usize = 4_096;

impl PageTokens {
    /// A new token for `page`. It contains characters that must be encoded in a query.
    pub(crate) fn issue(
        &mut self,
        bound: Bound,
        page: usize,
        now: Instant,
        life: Duration,
        dice: &mut Dice,
    ) -> String {
        if self.0.len().is_multiple_of(MANY) {
            self.0.retain(|_, token| now.saturating_duration_since(token.at) < life);
        }
        let part = |dice: &mut Dice| STANDARD_NO_PAD.encode(dice.bytes(2));
        let token = format!("{}+{}/==", part(dice), part(dice));
        self.0.insert(token.clone(), IssuedToken { bound, page, at: now, expired: false });
        token
    }

    /// Issues the constant token. It leads to the second page of the meeting for which it was last issued.
    pub(crate) fn constant(&mut self, bound: Bound, now: Instant) -> String {
        self.0.insert(CONSTANT.to_owned(), IssuedToken { bound, page: 1, at: now, expired: false });
        CONSTANT.to_owned()
    }

    /// The page that a token was issued for, even if it is no longer valid; `None` if it is unknown or has been removed.
    pub(crate) fn page(&self, token: &str) -> Option<usize> {
        self.0.get(token).map(|issued| issued.page)
    }

    /// The page of a token; `None` if it is unknown or expired, or belongs to other parameters.
    pub(crate) fn redeem(&self, token: &str, bound: &Bound, now: Instant, life: Duration) -> Option<usize> {
        let found = self.0.get(token).filter(|found| !found.expired && found.bound == *bound)?;
        (now.saturating_duration_since(found.at) < life).then_some(found.page)
    }

    /// Invalidates all tokens issued so far.
    pub(crate) fn expire_all(&mut self) {
        self.0.values_mut().for_each(|token| token.expired = true);
    }
}
