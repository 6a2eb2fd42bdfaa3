//! `next_page_token`s: opaque, bound to their parameters, short-lived.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::random::Dice;

/// What a page token belongs to: the request that it was handed out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) meeting: String,
    pub(crate) live: bool,
    pub(crate) page_size: usize,
}

#[derive(Debug)]
struct HandedOut {
    bound: Bound,
    page: usize,
    at: Instant,
    expired: bool,
}

/// The page tokens handed out so far.
#[derive(Debug, Default)]
pub(crate) struct PageTokens(HashMap<String, HandedOut>);

/// What `RepeatPageToken` gives to a request without one.
const CONSTANT: &str = "sim+constant/page+token==";
/// Dead tokens are thrown away when there are this many.
const MANY: usize = 4_096;

impl PageTokens {
    /// A token for `page`, never the same twice, with the characters that need encoding in a query.
    pub(crate) fn hand_out(
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
        self.0.insert(token.clone(), HandedOut { bound, page, at: now, expired: false });
        token
    }

    /// The constant token, which leads to the second page of whoever got it last.
    pub(crate) fn constant(&mut self, bound: Bound, now: Instant) -> String {
        self.0.insert(CONSTANT.to_owned(), HandedOut { bound, page: 1, at: now, expired: false });
        CONSTANT.to_owned()
    }

    /// The page that a token was handed out for, good or not.
    pub(crate) fn page(&self, token: &str) -> Option<usize> {
        self.0.get(token).map(|handed_out| handed_out.page)
    }

    /// The page that a token is good for with these parameters.
    pub(crate) fn redeem(&self, token: &str, bound: &Bound, now: Instant, life: Duration) -> Option<usize> {
        let found = self.0.get(token).filter(|found| !found.expired && found.bound == *bound)?;
        (now.saturating_duration_since(found.at) < life).then_some(found.page)
    }

    /// Makes all tokens handed out so far invalid.
    pub(crate) fn expire_all(&mut self) {
        self.0.values_mut().for_each(|token| token.expired = true);
    }
}
