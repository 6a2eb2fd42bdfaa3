//! An access token, and the times of its renewal and its last use.

use std::{rc::Rc, time::Instant};

use crate::{failure::Redactor, zoom::secret::Secret};

/// An access token. It belongs to one thread; its clones share the text.
#[derive(Clone)]
pub(crate) struct AccessToken(Rc<Token>);

struct Token {
    bearer: Secret,
    renew_from: Instant,
    use_until: Instant,
}

impl AccessToken {
    /// Returns `None` if the text is empty or has characters other than visible ASCII. The redactor learns the text in
    /// any case.
    pub(super) fn new(
        text: &str,
        renew_from: Instant,
        use_until: Instant,
        redactor: &Redactor,
    ) -> Option<Self> {
        redactor.learn_access_token(text);
        let can_be_sent = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = Secret::new(&format!("Bearer {text}"));
        can_be_sent.then(|| Self(Rc::new(Token { bearer, renew_from, use_until })))
    }

    pub(crate) fn bearer(&self) -> &str {
        self.0.bearer.expose()
    }

    pub(crate) fn text(&self) -> &str {
        self.bearer().trim_start_matches("Bearer ")
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.0.use_until
    }

    pub(super) fn renew_from(&self) -> Instant {
        self.0.renew_from
    }

    pub(super) fn use_until(&self) -> Instant {
        self.0.use_until
    }

    pub(super) fn outlives(&self, other: &Self) -> bool {
        self.0.use_until > other.0.use_until
    }

    /// Returns whether both are clones of one token.
    pub(super) fn same_grant(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
