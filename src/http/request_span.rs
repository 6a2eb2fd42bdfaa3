//! Begins and ends the span of a request. The span belongs to the caller's trace if the request names one.

use actix_web::http::header::{HeaderMap, HeaderName};

use super::{
    context::{Completion, RequestContext},
    route::Route,
};
use crate::{
    metrics::Outcome,
    trace::{Span, SpanKind, TraceContext, Tracer},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Begins the span, unless tracing is off or the route is polled.
pub(super) fn begin(
    tracer: &Tracer,
    headers: &HeaderMap,
    method: &'static str,
    route: Option<&'static Route>,
) -> Span {
    if !tracer.is_on() || route.is_some_and(Route::is_polled) {
        return Span::default();
    }
    let mut parents = headers.get_all(TRACEPARENT);
    let parent = match (parents.next(), parents.next()) {
        (Some(only), None) => only.to_str().map(TraceContext::parse).unwrap_or_default(),
        // If the header is repeated, no value can be trusted.
        _ => TraceContext::default(),
    };
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {}", route.path));
    tracer.begin(name, SpanKind::Server, parent)
}

/// Sets the attributes, most of which are also in the log line. The span ends when it is dropped.
pub(super) fn end(span: &mut Span, context: &RequestContext, method: &'static str, completion: &Completion) {
    let RequestContext { id, identity, route, flight_link: Some(flight_link), .. } = context else { return };
    span.link(flight_link.joined());
    span.set("request_id", id.as_str().to_owned());
    span.set("caller", identity.name().to_owned());
    span.set("http.request.method", method);
    span.set("http.response.status_code", i64::from(completion.status));
    if let Some(route) = route {
        span.set("http.route", route.path);
    }
    if let Some(outcome) = completion.outcome {
        span.set("outcome", Outcome::as_str(outcome));
    }
    if let Some(by) = completion.refused_by {
        span.set("refused_by", by.as_str());
    }
    // A 4xx is the caller's mistake, not ours.
    if completion.status >= 500 {
        span.fail(completion.status);
    }
}
