//! The routes of both listeners. The only folder that knows actix's request and response types.

mod access_log;
mod admin;
mod auth;
mod body;
mod cache_control;
mod decide;
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
mod response;

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    Error, FromRequest, Handler, HttpMessage as _, Resource, Responder,
    dev::{ServiceRequest, ServiceResponse, fn_service},
    http::Method,
    middleware::{Next, from_fn},
    web::{self, Data, ServiceConfig},
};

use crate::{
    cache::Cache,
    callers::Callers,
    fetcher::{Credentials, Fetcher},
    metrics::Metrics,
    trace::Tracer,
};
pub use access_log::Listener;
use access_log::{Notes, Route, observe};
pub use disconnect::watch_for as watch_for_hang_up;
pub use problem::Problem;

/// What the handlers of both listeners share. Made once, outside the workers, or each would have its own.
pub struct State {
    /// Who may ask.
    pub callers: Callers,
    /// Where hits come from.
    pub cache: Cache,
    /// Where misses go.
    pub fetcher: Fetcher,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Makes the spans.
    pub tracer: Tracer,
    /// Set when the process has been asked to stop.
    pub draining: AtomicBool,
}

impl State {
    /// Brings the gauges up to date that nothing else does.
    pub fn show(&self) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache_entries.set(gauge(self.cache.entry_count()));
        self.metrics.cache_bytes.set(gauge(self.cache.bytes()));
        self.metrics.credentials_ok.set(i64::from(self.fetcher.credentials() == Credentials::Accepted));
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The routes of this listener. Handlers find the state in `app_data`, too.
pub fn routes(listener: Listener, state: &Data<State>) -> impl FnOnce(&mut ServiceConfig) {
    let state = Data::clone(state);
    move |routes| match listener {
        Listener::Callers => callers(routes, state),
        Listener::Operators => operators(routes, state),
    }
}

/// `/qos/{meetingId}`, and the description of it: one service. Each more between the socket and the cache, be it a table of
/// routes, a middleware or a handler with extractors, is a future in a box of its own, and a hit pays for it.
fn callers(routes: &mut ServiceConfig, state: Data<State>) {
    let service = move |request| observe(request, Data::clone(&state), Listener::Callers, answer_caller);
    routes.default_service(fn_service(service));
}

async fn answer_caller(
    request: ServiceRequest,
    state: &Data<State>,
    notes: &Rc<Notes>,
) -> Result<ServiceResponse, Error> {
    let (request, _) = request.into_parts();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    // The id may hold slashes, raw; the handler reads it from the raw path.
    let response = match notes.route {
        Route::Qos if is_read => qos::get(&request, state, notes).await,
        Route::OpenApi if is_read => openapi::get(&request),
        Route::Qos | Route::OpenApi => Problem::MethodNotAllowed { allow: problem::ALLOWED }.respond(notes),
        _ => Problem::NotFound.respond(notes),
    };
    Ok(ServiceResponse::new(request, response))
}

/// Health, metrics, status, purge. As above the id is read from the raw path.
fn operators(routes: &mut ServiceConfig, state: Data<State>) {
    let observed = move |request: ServiceRequest, next: Next<_>| {
        let noted = async move |request: ServiceRequest, _: &Data<State>, notes: &Rc<Notes>| {
            request.extensions_mut().insert(Rc::clone(notes));
            next.call(request).await
        };
        observe(request, Data::clone(&state), Listener::Operators, noted)
    };
    let all = web::scope("")
        .wrap(from_fn(observed))
        .service(readable("/healthz", admin::health))
        .service(readable("/readyz", admin::readiness))
        .service(readable("/metrics", admin::metrics))
        .service(readable("/status", admin::status))
        .service(purgeable("/cache"))
        .service(purgeable("/cache/{meeting_id:.*}"))
        .default_service(web::to(problem::no_such_path));
    routes.service(all);
}

/// A resource that takes GET and HEAD, and says so to every other method. actix derives neither HEAD nor the 405.
fn readable<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(problem::only(problem::ALLOWED))
}

/// A resource that takes DELETE, and says so to every other method.
fn purgeable(path: &str) -> Resource {
    web::resource(path).route(web::delete().to(admin::purge)).default_service(problem::only("DELETE"))
}
