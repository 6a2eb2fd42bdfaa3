//! The routes of both listeners. The only folder that knows actix's request and response types.

mod accept;
mod answer;
mod asked;
mod body;
mod caller;
mod conditional;
mod decide;
mod directives;
mod form;
mod hang_up;
mod observe;
mod openapi;
mod ops;
mod problem;
mod qos;
mod ratelimit;
mod slice;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_web::{
    FromRequest, Handler, Resource, Responder,
    web::{self, ServiceConfig},
};

use crate::{
    cache::Cache,
    callers::Callers,
    fetcher::{Credentials, Fetcher},
    metrics::Metrics,
    trace::Tracer,
};
pub use hang_up::watch_for as watch_for_hang_up;
pub use observe::{Listener, observe};
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

/// `/qos/{meetingId}`, and the description of it. The id may hold slashes, raw; the handler reads it from the raw path.
pub fn callers(routes: &mut ServiceConfig) {
    routes
        .service(readable("/openapi.json", openapi::get))
        // It tells by a prefix what is its own. A pattern with a name would be a regular expression, run for each request, and
        // a scope costs two services more.
        .default_service(web::to(qos::answer));
}

/// Health, metrics, status, purge. As above the id is read from the raw path.
pub fn operators(routes: &mut ServiceConfig) {
    routes
        .service(readable("/healthz", ops::health))
        .service(readable("/readyz", ops::readiness))
        .service(readable("/metrics", ops::metrics))
        .service(readable("/status", ops::status))
        .service(purgeable("/cache"))
        .service(purgeable("/cache/{meeting_id:.*}"))
        .default_service(web::to(problem::no_such_path));
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
    web::resource(path).route(web::delete().to(ops::purge)).default_service(problem::only("DELETE"))
}
