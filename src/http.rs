//! The table of the routes of both listeners, and the steps that every request goes through.
//!
//! Outside this folder, only `server/` handles actix's requests and responses. It passes them through, and reads the
//! length of a body.

mod access_log;
mod admin;
mod auth;
mod body;
mod browser;
mod cache_control;
mod constant;
mod context;
mod credentials;
mod disconnect;
mod exchange;
mod media_type;
mod negotiation;
mod openapi;
mod pages;
mod paging;
mod params;
mod preconditions;
mod problem;
mod provenance;
mod qos;
mod rate_limit;
mod rendering;
mod representation;
mod request_span;
mod response;
mod retry_after;
mod route;
mod state;
mod summary;
mod token_thread;
mod view_params;
mod views;
mod zoom_api;

use std::panic::AssertUnwindSafe;

use actix_web::{
    Error, HttpResponse,
    dev::{Payload, ServiceRequest, ServiceResponse, fn_service},
    http::{
        ConnectionType,
        header::{HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    web::{Data, ServiceConfig},
};
use futures_util::{FutureExt as _, future::Either};

use self::{
    access_log::InFlight,
    auth::Identity,
    context::X_REQUEST_ID,
    exchange::Exchange,
    problem::Problem,
    route::{Methods, Route, RouteHandler},
};
pub use self::{
    disconnect::watch_connection, route::Listener, state::AppState, token_thread::TokenThread,
    views::ViewMaker,
};
use crate::snapshot::MeetingKind;

/// The routes of both listeners, roughly sorted by how often they are requested. The summary comes before
/// `/qos/{meetingId}`, because that pattern also matches a summary's path. [`dispatch`] calls the handlers.
static ROUTES: [Route; 18] = [
    Route::callers("/qos/{meetingId}/summary", "summary", Methods::Read, RouteHandler::Summary),
    Route::callers("/qos/{meetingId}", "qos", Methods::Read, RouteHandler::Qos),
    Route::callers(
        "/v2/metrics/meetings/{meetingId}/participants/qos",
        "zoom_qos",
        Methods::Read,
        RouteHandler::ZoomPage(MeetingKind::Meeting),
    ),
    Route::callers(
        "/v2/metrics/webinars/{webinarId}/participants/qos",
        "zoom_qos",
        Methods::Read,
        RouteHandler::ZoomPage(MeetingKind::Webinar),
    ),
    Route::callers(
        "/v2/metrics/meetings/{meetingId}/participants/{participantId}/qos",
        "zoom_participant",
        Methods::Read,
        RouteHandler::ZoomParticipant(MeetingKind::Meeting),
    ),
    Route::callers(
        "/v2/metrics/webinars/{webinarId}/participants/{participantId}/qos",
        "zoom_participant",
        Methods::Read,
        RouteHandler::ZoomParticipant(MeetingKind::Webinar),
    ),
    Route::callers("/oauth/token", "token", Methods::Post, RouteHandler::Token),
    Route::callers("/meetings/{meetingId}", "page", Methods::Read, RouteHandler::Page),
    Route::callers("/meetings", "page", Methods::Read, RouteHandler::FindMeeting),
    Route::callers("/", "front", Methods::Read, RouteHandler::Front),
    Route::callers("/guide", "front", Methods::Read, RouteHandler::Guide),
    Route::callers("/openapi.json", "openapi", Methods::Read, RouteHandler::OpenApi),
    Route::operators("/healthz", Methods::Read, RouteHandler::Health),
    Route::operators("/readyz", Methods::Read, RouteHandler::Readiness),
    Route::operators("/metrics", Methods::Read, RouteHandler::Metrics),
    Route::operators("/status", Methods::Read, RouteHandler::Status),
    Route::operators("/cache", Methods::Delete, RouteHandler::PurgeAll),
    Route::operators("/cache/{meetingId}", Methods::Delete, RouteHandler::PurgeMeeting),
];

/// Configures one listener: a single service that looks the path up itself.
///
/// In actix, each routing table, middleware and handler with extractors adds a boxed future, which every hit would pay
/// for.
pub fn routes(listener: Listener, state: &Data<AppState>) -> impl FnOnce(&mut ServiceConfig) {
    let state = Data::clone(state);
    move |config| {
        let service = move |request| serve(request, Data::clone(&state), listener);
        config.default_service(fn_service(service));
    }
}

/// Keeps browsers from guessing a media type other than that in `Content-Type`.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Returns the future of a response. The first steps run outside the future, so that it needs no room for their
/// variables: actix copies the future, and the allocator is slow for futures of more than 1,032 bytes.
fn serve(
    request: ServiceRequest,
    state: Data<AppState>,
    listener: Listener,
) -> impl Future<Output = Result<ServiceResponse, Error>> {
    let route = ROUTES.iter().find(|route| route.matches(listener, request.path()));
    let mut in_flight = InFlight::begin(&request, state, route);
    let (request, mut payload) = request.into_parts();
    async move {
        if matches!(in_flight.context.identity, Identity::Pending(_)) {
            // Boxed, so that the future of a hit needs no room for this one.
            Box::pin(in_flight.await_identity(request.headers())).await;
        }
        let exchange = Exchange { request: &request, state: &in_flight.state, context: &in_flight.context };
        let mut response = answer(listener, exchange, &mut payload).await;
        if listener == Listener::Callers {
            browser::adapt(&request, in_flight.context.route, &mut response);
        }
        // `append` instead of `insert`, which takes 1.5 times as long because it returns the value that it replaces.
        let headers = response.headers_mut();
        headers.append(X_REQUEST_ID, in_flight.context.id.to_header());
        headers.append(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if listener == Listener::Callers && in_flight.state.is_draining() {
            // Asks the caller to close its connection after this response. Otherwise we would close it later, possibly
            // during a request.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        in_flight.answered(response.status());
        Ok(ServiceResponse::new(request, response))
    }
}

async fn answer(listener: Listener, exchange: Exchange<'_>, payload: &mut Payload) -> HttpResponse {
    let Some(route) = exchange.context.route else { return refuse(listener, &Problem::NotFound, exchange) };
    if !route.methods.allow(exchange.request.method()) {
        let problem = Problem::MethodNotAllowed { allow: route.methods.as_str() };
        return refuse(listener, &problem, exchange);
    }
    // Without this, a panic would close the connection without a response.
    match AssertUnwindSafe(dispatch(route.handler, exchange, payload)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => refuse(listener, &problem, exchange),
        Err(_) => refuse(listener, &Problem::Internal, exchange),
    }
}

/// Responds with the problem, in Zoom's format if the path is below `/v2`.
fn refuse(listener: Listener, problem: &Problem, exchange: Exchange<'_>) -> HttpResponse {
    if listener == Listener::Callers && zoom_api::is_zooms_path(exchange.request.uri().path()) {
        return zoom_api::respond(problem, exchange);
    }
    problem.respond(exchange.context)
}

/// Calls the handler, and returns its response or its problem. The handlers of all routes but `/qos/{meetingId}` are
/// boxed, so that the future of a hit needs no room for theirs.
fn dispatch<'a>(
    handler: RouteHandler,
    exchange: Exchange<'a>,
    payload: &'a mut Payload,
) -> impl Future<Output = Result<HttpResponse, Problem>> + use<'a> {
    match handler {
        RouteHandler::Qos => Either::Left(qos::get(exchange)),
        _ => Either::Right(Box::pin(dispatch_other(handler, exchange, payload))),
    }
}

async fn dispatch_other(
    handler: RouteHandler,
    exchange: Exchange<'_>,
    payload: &mut Payload,
) -> Result<HttpResponse, Problem> {
    let Exchange { request, state, context } = exchange;
    match handler {
        RouteHandler::Qos => qos::get(exchange).await,
        RouteHandler::Summary => summary::get(exchange).await,
        RouteHandler::ZoomPage(kind) => zoom_api::get_page(exchange, kind).await,
        RouteHandler::ZoomParticipant(kind) => zoom_api::get_participant(exchange, kind).await,
        RouteHandler::Token => Ok(zoom_api::post_token(exchange, payload.take()).await),
        RouteHandler::OpenApi => Ok(openapi::get(request)),
        RouteHandler::Front => Ok(browser::front(request)),
        RouteHandler::Guide => Ok(browser::guide(request)),
        RouteHandler::FindMeeting => browser::find_meeting(exchange),
        RouteHandler::Page => browser::get_meeting(exchange).await,
        RouteHandler::Health => Ok(admin::health()),
        RouteHandler::Readiness => Ok(admin::readiness(state)),
        RouteHandler::Metrics => Ok(admin::metrics(state, context).await),
        RouteHandler::Status => Ok(admin::status(state, context).await),
        RouteHandler::PurgeAll | RouteHandler::PurgeMeeting => admin::purge(exchange).await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_of_the_callers_is_described() {
        let described = openapi::description();
        let described: BTreeSet<_> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = ROUTES.iter().filter(|route| route.listener == Listener::Callers);
        assert_eq!(routes.map(|route| route.path).collect::<BTreeSet<_>>(), described);
    }
}
