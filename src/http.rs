//! The routes of both listeners. The only folder that knows actix's request and response types.

mod answer;
mod observe;
mod ops;
mod problem;
mod qos;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix_web::{
    middleware::from_fn,
    web::{self, ServiceConfig},
};

use crate::{cache::Cache, fetcher::Fetcher, metrics::Metrics};
pub use observe::{answer_with_id, log_and_count};
pub use problem::Problem;

/// What the handlers of both listeners share. Made once, outside the workers, or each would have its own.
pub struct State {
    /// Where hits come from.
    pub cache: Cache,
    /// Where misses go.
    pub fetcher: Fetcher,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Set when the process has been asked to stop.
    pub draining: AtomicBool,
}

impl State {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// `/qos/{meetingId}`. The id may hold slashes, raw; the handler reads it from the raw path.
pub fn callers(routes: &mut ServiceConfig) {
    routes.service(
        web::resource("/qos/{meeting_id:.*}")
            .wrap(from_fn(log_and_count))
            .route(web::get().to(qos::get))
            .route(web::head().to(qos::get))
            .default_service(web::to(problem::only_get)),
    );
    routes.default_service(web::to(problem::no_such_path));
}

/// Health, metrics, status.
pub fn operators(routes: &mut ServiceConfig) {
    let get = |path, handler: actix_web::Route| {
        web::resource(path).route(handler).default_service(web::to(problem::only_get))
    };
    routes
        .service(get("/healthz", web::get().to(ops::health)))
        .service(get("/readyz", web::get().to(ops::readiness)))
        .service(get("/metrics", web::get().to(ops::metrics)))
        .service(get("/status", web::get().to(ops::status)))
        .default_service(web::to(problem::no_such_path));
}
