//! Whether Zoom lets our app read webinars.
//!
//! They need a scope of their own, which an app made for meetings lacks. Its refusal stops webinars alone: it says nothing about
//! meetings, and no replica becomes unready for it.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    failure::{Failure, Reason, ZoomError},
    snapshot::{MeetingKind, SnapshotKey},
    zoom::{Lack, oauth::CREDENTIALS_BACKOFF},
};

/// Zoom's refusal of all webinars, until it answers a call for one otherwise.
#[derive(Debug, Clone)]
pub struct WebinarRefusal {
    /// The missing scope or plan, for operators.
    pub detail: &'static str,
    /// Callers get it until its `retry_at`. The next call after that shows whether the refusal still holds.
    failure: Failure,
}

impl WebinarRefusal {
    /// Why this snapshot may not be fetched now, if it is a webinar's.
    pub(super) fn applies_to(&self, key: &SnapshotKey, now: Instant) -> Option<Failure> {
        let is_in_force = self.failure.retry_at.is_some_and(|until| now < until);
        (key.kind == MeetingKind::Webinar && is_in_force).then(|| self.failure.clone())
    }
}

/// A token's scopes are those of the moment when Zoom issued it, so an added scope needs another token. Not more often than this,
/// because with some accounts a new token revokes the one that meetings are fetched with.
const TOKEN_REPLACED_EVERY: Duration = Duration::from_secs(300);

pub(super) struct WebinarAccess {
    refusal: watch::Sender<Option<WebinarRefusal>>,
    token_replaced: Cell<Option<Instant>>,
}

impl WebinarAccess {
    pub(super) fn new(published: watch::Sender<Option<WebinarRefusal>>) -> Self {
        Self { refusal: published, token_replaced: Cell::default() }
    }

    /// # Errors
    /// Zoom has just refused webinars, and this is one.
    pub(super) fn check(&self, key: &SnapshotKey) -> Result<(), Failure> {
        let refusal = self.refusal.borrow();
        let failure = refusal.as_ref().and_then(|refusal| refusal.applies_to(key, Instant::now()));
        failure.map_or(Ok(()), Err)
    }

    /// Zoom refused a webinar's call.
    pub(super) fn refuse(
        &self,
        key: &SnapshotKey,
        (lack, zoom_error): (Lack, ZoomError),
        replace_token: impl FnOnce(),
    ) -> Failure {
        // Calls in flight together are refused together; only the first one starts the backoff.
        if let Err(failure) = self.check(key) {
            return failure;
        }
        let detail = lack.detail(key.kind);
        tracing::warn!(
            zoom_status = zoom_error.status,
            zoom_code = zoom_error.code,
            zoom_tracking_id = zoom_error.tracking_id(),
            detail,
            "Zoom refuses webinars; next try in 30 s, meetings go on"
        );
        let now = Instant::now();
        if self.token_replaced.get().is_none_or(|at| now.duration_since(at) >= TOKEN_REPLACED_EVERY) {
            self.token_replaced.set(Some(now));
            replace_token();
        }
        let failure = Failure::new(Reason::ZoomRejectedCredentials)
            .retry_at(now + CREDENTIALS_BACKOFF)
            .with_zoom_error(zoom_error);
        self.refusal.send_replace(Some(WebinarRefusal { detail, failure: failure.clone() }));
        failure
    }

    /// Zoom answered a call for this snapshot as it does if nothing is missing.
    pub(super) fn grant(&self, key: &SnapshotKey) {
        if key.kind == MeetingKind::Webinar && self.refusal.send_replace(None).is_some() {
            tracing::info!("Zoom accepts calls for webinars again");
        }
    }
}
