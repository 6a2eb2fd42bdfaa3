//! Around every request: its id, one log line, and for `/qos` one count.
//!
//! No clone of the request may be held here while it is routed: actix panics then.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

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

    /// The id that [`observe`] gave this request.
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

/// What a resource is called in the log, and whether its requests count. Set as `app_data` of the resource, so that no
/// path of a request is matched a second time.
#[derive(Clone, Copy)]
pub(super) enum Route {
    /// `/qos/{meetingId}`.
    Qos,
    /// One of the ops listener's; probes and scrapes are not worth a line each.
    Operators(&'static str),
}

/// Outermost, on both listeners: gives the request its id, its line in the log, and its place in the metrics.
///
/// # Errors
/// Passes on what the handler returns.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let began = Instant::now();
    let id =
        request.headers().get(X_REQUEST_ID).and_then(RequestId::from_caller).unwrap_or_else(RequestId::fresh);
    request.extensions_mut().insert(id.clone());
    let mut response = next.call(request).await?;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    tell(&response, &id, began.elapsed());
    Ok(response)
}

fn tell(response: &ServiceResponse<impl MessageBody>, id: &RequestId, took: Duration) {
    let (request, status) = (response.request(), response.status().as_u16());
    let outcome = response.response().extensions().get::<Outcome>().copied();
    // Whole microseconds, so that the text has no more digits than the clock.
    let duration_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0;
    macro_rules! line {
        ($level:ident, $route:expr) => {
            tracing::$level!(
                request_id = id.as_str(),
                caller = "anonymous",
                method = request.method().as_str(),
                route = $route,
                status,
                outcome = outcome.map(Outcome::as_str),
                duration_ms,
                "request"
            )
        };
    }
    match request.app_data::<Route>() {
        Some(Route::Qos) => {
            if let Some(state) = request.app_data::<Data<State>>() {
                state.metrics.request(outcome.unwrap_or(Outcome::Refused), status, took);
            }
            line!(info, "/qos/{meetingId}");
        }
        Some(Route::Operators(route)) => line!(debug, *route),
        None => line!(info, "unknown"),
    }
}
