//! Ends every request: writes its log line, counts it in the metrics if it is for a meeting, and ends its span.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use actix_web::{
    dev::ServiceRequest,
    http::{Method, StatusCode, header::HeaderMap},
    web::Data,
};

use super::{
    auth::Identity,
    context::{Completion, RequestContext, RequestId},
    request_span,
    route::Route,
    state::AppState,
    zoom_api,
};
use crate::{
    callers::CallerName,
    failure::RefusedBy,
    meeting_id::MeetingId,
    metrics::Outcome,
    trace::{FlightLink, Span},
};

/// A request that is being served. Dropping it writes the log line. It is dropped when the response is ready to be
/// sent, or when actix drops the handler, for example because the connection was reset.
pub(super) struct InFlight {
    pub(super) state: Data<AppState>,
    pub(super) context: RequestContext,
    method: &'static str,
    peer: Option<SocketAddr>,
    /// The meeting for the log line; `None` unless `telemetry.log_meeting_ids` is set.
    meeting: Option<MeetingId>,
    /// The status of the response. `None` if there is no response, or if it is not a 2xx and the caller has probably
    /// disconnected.
    answered: Option<u16>,
    span: Span,
}

impl InFlight {
    pub(super) fn begin(
        request: &ServiceRequest,
        state: Data<AppState>,
        route: Option<&'static Route>,
    ) -> Self {
        let (id, received) = (RequestId::of(request.headers()), Instant::now());
        let identity = match route {
            Some(route) if route.needs_caller() => Identity::of(request.headers(), &state.callers, received),
            _ => Identity::NotRequired,
        };
        let method = known_method(request.method());
        let span = request_span::begin(&state.tracer, request.headers(), method, route);
        let context = RequestContext {
            route,
            id,
            identity,
            received,
            flight_link: FlightLink::of(&span).map(Box::new),
            outcome: None.into(),
            refused_by: None.into(),
            problem_code: None.into(),
            page_type: None.into(),
            disconnected: false.into(),
        };
        let meeting = if state.log_meeting_ids {
            route.and_then(|route| route.meeting(request.uri().path()).ok())
        } else {
            None
        };
        Self { state, context, method, peer: request.peer_addr(), meeting, answered: None, span }
    }

    /// If a signed token is still being verified, waits for the result and identifies the token's caller.
    pub(super) async fn await_identity(&mut self, headers: &HeaderMap) {
        let identity = std::mem::replace(&mut self.context.identity, Identity::Unknown);
        self.context.identity = match identity {
            Identity::Pending(pending) => {
                pending.wait(headers, &self.state.callers, &self.state.token_thread).await
            }
            identified => identified,
        };
    }

    /// Records the response. If it is not a 2xx and the caller has probably disconnected, 499 is logged instead.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if status.is_success() || !self.context.disconnected.get() {
            self.answered = Some(status.as_u16());
        }
    }

    /// Returns the client's address if it can help to find a client that guesses keys or paths, or that purges.
    fn logged_peer(&self, completion: &Completion) -> Option<IpAddr> {
        let is_purge = self.context.route.is_some_and(Route::is_purge);
        let is_guess = matches!(completion.status, 401 | 404) || is_refused_client(completion);
        let peer = self.peer.filter(|_| is_guess || is_purge)?;
        Some(peer.ip().to_canonical())
    }

    fn count(&self, completion: &Completion, took: Duration) {
        let metrics = &self.state.metrics;
        metrics.request(completion.outcome.unwrap_or(Outcome::Refused), completion.status, took);
        if let Some(by) = completion.refused_by {
            metrics.refusals.with_label_values(&[by.as_str()]).inc();
            if let (RefusedBy::Caller, Identity::Caller(caller)) = (by, &self.context.identity) {
                metrics.caller_refusals.with_label_values(&[caller.name.as_str()]).inc();
                caller.count_refusal();
            }
        }
    }

    fn log(&self, completion: &Completion, took: Duration) {
        let RequestContext { id, identity, route, .. } = &self.context;
        let peer = self.logged_peer(completion);
        let caller = if is_refused_client(completion) { CallerName::UNKNOWN } else { identity.name() };
        // In whole microseconds, so that the logged number stays short.
        let duration_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    // Passed as a field, because formatting a message would cost each hit more.
                    message = "request",
                    request_id = id.as_str(),
                    caller,
                    method = self.method,
                    route = route.map_or("other", |route| route.name),
                    status = completion.status,
                    outcome = completion.outcome.map(Outcome::as_str),
                    refused_by = completion.refused_by.map(RefusedBy::as_str),
                    code = completion.problem_code,
                    duration_ms,
                    meeting = self.meeting.as_ref().map(MeetingId::as_str),
                    peer = peer.map(tracing::field::display),
                )
            };
        }
        if route.is_some_and(Route::is_polled) {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let took = self.context.received.elapsed();
        let completion = self.context.completion(self.answered);
        request_span::end(&mut self.span, &self.context, self.method, &completion);
        if self.context.route.is_some_and(Route::is_for_meetings) {
            self.count(&completion, took);
        }
        self.log(&completion, took);
    }
}

/// Returns whether `/oauth/token` refused the credentials. It does so with 400, as Zoom does.
fn is_refused_client(completion: &Completion) -> bool {
    completion.problem_code == Some(zoom_api::INVALID_CLIENT_CODE)
}

/// Returns the method if it is a known one, else `other`: a caller can send any text as its method, which must not
/// reach the log.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
