//! The head of a response from Zoom: its status, and the headers that this service reads.

use std::time::{Duration, SystemTime};

use awc::{
    ClientResponse,
    http::header::{DATE, RETRY_AFTER},
};

use super::{day_left, retry_after};
use crate::failure::{Redactor, Words, ZoomSaid};

#[derive(Clone)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    /// `x-zm-trackingid`.
    pub(super) tracking_id: Option<Words>,
    /// `X-RateLimit-Type`.
    pub(super) limit_type: Option<String>,
    /// `Retry-After`.
    pub(super) retry_after: Option<String>,
    /// `Date`.
    pub(super) date: Option<SystemTime>,
    pub(super) account_has_left: Option<u64>,
}

impl ResponseHead {
    pub(super) fn of<S>(response: &ClientResponse<S>, redactor: &Redactor) -> Self {
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Self {
            status: response.status().as_u16(),
            tracking_id: header("x-zm-trackingid").map(|id| redactor.words(&id)),
            limit_type: header("x-ratelimit-type"),
            retry_after: header(RETRY_AFTER.as_str()),
            date: header(DATE.as_str()).and_then(|date| httpdate::parse_http_date(&date).ok()),
            account_has_left: day_left::read(header),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `Retry-After` from the response's own date, which is Zoom's clock; from our clock where there is none.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.retry_after.as_deref()?, self.date.unwrap_or_else(SystemTime::now))
    }

    pub(super) fn said(&self) -> ZoomSaid {
        ZoomSaid { status: self.status, tracking_id: self.tracking_id.clone(), ..ZoomSaid::default() }
    }
}
