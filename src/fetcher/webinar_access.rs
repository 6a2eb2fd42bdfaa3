//! Whether Zoom lets our app read webinars.
//!
//! They need a scope of their own, which an app made for meetings lacks. Its refusal stops webinars alone: it says nothing about
//! meetings, and no replica becomes unready for it.

use std::time::Instant;

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

pub(super) struct WebinarAccess(watch::Sender<Option<WebinarRefusal>>);

impl WebinarAccess {
    pub(super) fn new(published: watch::Sender<Option<WebinarRefusal>>) -> Self {
        Self(published)
    }

    /// # Errors
    /// Zoom has just refused webinars, and this is one.
    pub(super) fn check(&self, key: &SnapshotKey) -> Result<(), Failure> {
        let refusal = self.0.borrow();
        let failure = refusal.as_ref().and_then(|refusal| refusal.applies_to(key, Instant::now()));
        failure.map_or(Ok(()), Err)
    }

    /// Zoom refused a webinar's call.
    pub(super) fn refuse(&self, key: &SnapshotKey, lack: Lack, zoom_error: ZoomError) -> Failure {
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
        let failure = Failure::new(Reason::ZoomRejectedCredentials)
            .retry_at(Instant::now() + CREDENTIALS_BACKOFF)
            .with_zoom_error(zoom_error);
        self.0.send_replace(Some(WebinarRefusal { detail, failure: failure.clone() }));
        failure
    }

    /// Zoom answered a call for this snapshot as it does if nothing is missing.
    pub(super) fn grant(&self, key: &SnapshotKey) {
        if key.kind == MeetingKind::Webinar && self.0.send_replace(None).is_some() {
            tracing::info!("Zoom accepts calls for webinars again");
        }
    }
}
