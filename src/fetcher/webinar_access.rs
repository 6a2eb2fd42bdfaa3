//! Tracks whether Zoom lets our app read webinars.
//!
//! Webinars need a scope of their own, which an app made for meetings may lack. If Zoom refuses webinars, only calls
//! for webinars stop. Meetings are not affected, so the replica stays ready.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    failure::{Failure, Reason, ZoomError},
    snapshot::{MeetingKind, SnapshotKey},
    zoom::{error::Lack, oauth::CREDENTIALS_BACKOFF},
};

/// Zoom's refusal of all webinars. It is kept until a call for a webinar gets a page, or an error about that webinar
/// alone, such as "no such webinar".
#[derive(Debug, Clone)]
pub(crate) struct WebinarRefusal {
    /// The missing scope or plan, for operators.
    pub(crate) detail: &'static str,
    /// The failure that callers get until its `retry_at`. The next call after that shows whether Zoom still refuses.
    failure: Failure,
}

impl WebinarRefusal {
    /// Returns the failure if this snapshot is a webinar's and the refusal still keeps webinars from being fetched.
    pub(super) fn applies_to(&self, key: &SnapshotKey, now: Instant) -> Option<Failure> {
        (key.kind == MeetingKind::Webinar && self.failure.is_in_force(now)).then(|| self.failure.clone())
    }
}

/// The minimum time between two replacements of the access token because of refused webinars. Zoom fixes a token's
/// scopes when it issues the token, so an added scope takes effect only with a new token. For some accounts, a new
/// token revokes the old token, which calls for meetings use, so replacements must be rare.
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
    /// The snapshot is a webinar's, and Zoom has refused webinars within the last 30 s.
    pub(super) fn check(&self, key: &SnapshotKey) -> Result<(), Failure> {
        let refusal = self.refusal.borrow();
        let failure = refusal.as_ref().and_then(|refusal| refusal.applies_to(key, Instant::now()));
        failure.map_or(Ok(()), Err)
    }

    /// Records that Zoom refused a call for a webinar. Returns the failure for callers.
    pub(super) fn refuse(
        &self,
        key: &SnapshotKey,
        (lack, zoom_error): (Lack, ZoomError),
        replace_token: impl FnOnce(),
    ) -> Failure {
        // Several calls in flight may be refused at about the same time. Only the first refusal starts the backoff.
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

    /// Records that Zoom did not refuse a call for this snapshot. If the snapshot is a webinar's, this ends the refusal
    /// of webinars.
    pub(super) fn grant(&self, key: &SnapshotKey) {
        if key.kind == MeetingKind::Webinar && self.refusal.send_replace(None).is_some() {
            tracing::info!("Zoom accepts calls for webinars again");
        }
    }
}
