//! Serves both listeners: the table of their routes, and the path that every request takes through it.
//!
//! Outside this folder, actix's request and response types are only passed through.

mod access_log;
mod admin;
mod auth;
mod body;
mod cache_control;
mod context;
mod disconnect;
mod negotiation;
mod openapi;
mod paging;
mod params;
mod preconditions;
mod problem;
mod qos;
mod rate_limit;
mod representation;
mod request_span;
mod response;
mod retry_after;
mod route;
mod state;

use std::panic::AssertUnwindSafe;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    dev::{ServiceRequest, ServiceResponse, fn_service},
    http::ConnectionType,
    web::{Data, ServiceConfig},
};
use futures_util::FutureExt as _;

use self::{
    access_log::InFlight,
    context::{RequestContext, X_REQUEST_ID},
    problem::Problem,
    route::{Methods, Route, RouteHandler},
};
pub use self::{disconnect::watch_connection, route::Listener, state::AppState};

/// The routes of both listeners, the most requested first. [`dispatch`] calls their handlers.
static ROUTES: [Route; 8] = [
    Route::callers("/qos/{meetingId}", "qos", Methods::Read, RouteHandler::Qos),
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

async fn serve(
    request: ServiceRequest,
    state: Data<AppState>,
    listener: Listener,
) -> Result<ServiceResponse, Error> {
    let route = ROUTES.iter().find(|route| route.matches(listener, request.path()));
    let mut in_flight = InFlight::begin(&request, state, route);
    let (request, _) = request.into_parts();
    let mut response = answer(&request, &in_flight.state, &in_flight.context).await;
    response.headers_mut().insert(X_REQUEST_ID, in_flight.context.id.to_header());
    if listener == Listener::Callers && in_flight.state.is_draining() {
        // Asks the caller to close its connection after this response. Otherwise we would close it later, possibly
        // during a request.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    in_flight.answered(response.status());
    Ok(ServiceResponse::new(request, response))
}

async fn answer(request: &HttpRequest, state: &AppState, context: &RequestContext) -> HttpResponse {
    let Some(route) = context.route else { return Problem::NotFound.respond(context) };
    if !route.methods.allow(request.method()) {
        return Problem::MethodNotAllowed { allow: route.methods.as_str() }.respond(context);
    }
    // Without this, a panic would close the connection without a response.
    match AssertUnwindSafe(dispatch(route.handler, request, state, context)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Problem::Internal.respond(context),
    }
}

/// Calls the handler. The other asynchronous handlers are boxed; otherwise the future of every hit would need room for
/// theirs.
async fn dispatch(
    handler: RouteHandler,
    request: &HttpRequest,
    state: &AppState,
    context: &RequestContext,
) -> HttpResponse {
    match handler {
        RouteHandler::Qos => qos::get(request, state, context).await,
        RouteHandler::OpenApi => openapi::get(request),
        RouteHandler::Health => admin::health(),
        RouteHandler::Readiness => admin::readiness(state),
        RouteHandler::Metrics => Box::pin(admin::metrics(state, context)).await,
        RouteHandler::Status => Box::pin(admin::status(state, context)).await,
        RouteHandler::PurgeAll | RouteHandler::PurgeMeeting => {
            Box::pin(admin::purge(request, state, context)).await
        }
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
