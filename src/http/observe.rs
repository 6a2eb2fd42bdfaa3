//! Around every request: its id, and for `/qos` one log line and one count.
//!
//! No clone of the request may be held here while it is routed: actix panics then.

use std::{rc::Rc, time::Instant};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};

use super::State;
use crate::metrics::Outcome;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

/// The caller's id of this request, or one of ours.
#[derive(Clone)]
pub(super) struct RequestId(Rc<str>);

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that [`answer_with_id`] gave this request.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(Self::fresh)
    }

    fn from_caller(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let fits = (1..=LONGEST_REQUEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        fits.then(|| Self(text.into()))
    }

    fn fresh() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)).into())
    }
}

/// Outermost, on both listeners: gives the request its id, and every answer that id.
///
/// # Errors
/// Passes on what the handler returns.
pub async fn answer_with_id(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id =
        request.headers().get(X_REQUEST_ID).and_then(RequestId::from_caller).unwrap_or_else(RequestId::fresh);
    request.extensions_mut().insert(id.clone());
    let mut response = next.call(request).await?;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    Ok(response)
}

/// Around `/qos`: the request's line in the log, and its count.
///
/// # Errors
/// Passes on what the handler returns.
pub async fn log_and_count(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let began = Instant::now();
    let response = next.call(request).await?;
    let took = began.elapsed();
    let status = response.status().as_u16();
    let outcome = response.response().extensions().get::<Outcome>().copied().unwrap_or(Outcome::Refused);
    let request = response.request();
    if let Some(state) = request.app_data::<Data<State>>() {
        state.metrics.request(outcome, status, took);
    }
    tracing::info!(
        request_id = RequestId::of(request).as_str(),
        caller = "anonymous",
        method = request.method().as_str(),
        route = "/qos/{meetingId}",
        status,
        outcome = outcome.as_str(),
        duration_ms = took.as_secs_f64() * 1_000.0,
        "request"
    );
    Ok(response)
}
