//! One access token, and for how long it is used.

use std::{rc::Rc, time::Instant};

use crate::{failure::Redactor, zoom::secret::Secret};

/// An access token in use. Belongs to one thread; clones share the text.
#[derive(Clone)]
pub(crate) struct AccessToken(Rc<Token>);

struct Token {
    bearer: Secret,
    renew_from: Instant,
    use_until: Instant,
}

impl AccessToken {
    /// `None` if the text cannot be sent in a header. The redactor learns it either way.
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

    /// Whether both are clones of one token that Zoom issued.
    pub(super) fn same_grant(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
