//! The arguments of a handler.

use actix_web::HttpRequest;

use super::{context::RequestContext, state::AppState};

/// A request, with its context and the state of the service.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'r> {
    pub(super) request: &'r HttpRequest,
    pub(super) state: &'r AppState,
    pub(super) context: &'r RequestContext,
}
