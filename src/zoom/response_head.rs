//! The head of Zoom's response, as far as this service reads it.

use std::time::{Duration, SystemTime};

use awc::{
    ClientResponse,
    http::header::{DATE, RETRY_AFTER},
};

use super::{remaining_quota, retry_after};
use crate::failure::{RedactedText, Redactor, ZoomError};

#[derive(Clone, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) tracking_id: Option<RedactedText>,
    pub(super) limit_type: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) date: Option<SystemTime>,
    /// The calls that all apps of the account together have left for the day, if Zoom reports them.
    pub(super) account_has_left: Option<u64>,
}

impl ResponseHead {
    pub(super) fn new<S>(response: &ClientResponse<S>, redactor: &Redactor) -> Self {
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Self {
            status: response.status().as_u16(),
            tracking_id: header("x-zm-trackingid").map(|id| redactor.redact(&id)),
            limit_type: header("x-ratelimit-type"),
            retry_after: header(RETRY_AFTER.as_str()),
            date: header(DATE.as_str()).and_then(|date| httpdate::parse_http_date(&date).ok()),
            account_has_left: remaining_quota::read(header),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the time until `Retry-After`, if it is valid and in the future. Counts from the response's own `Date`, if it
    /// has one, because our clock and Zoom's may differ.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.retry_after.as_deref()?, self.date.unwrap_or_else(SystemTime::now))
    }

    pub(super) fn zoom_error(&self) -> ZoomError {
        ZoomError { status: self.status, tracking_id: self.tracking_id.clone(), ..ZoomError::default() }
    }
}
