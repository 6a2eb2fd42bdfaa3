//! Renders a problem as a response: the JSON of RFC 9457, and the headers that go with it.

use std::{borrow::Cow, time::Instant};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LINK, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use askama::Template;
use serde::Serialize;

use super::{Problem, Row};
use crate::{
    callers::TokenError,
    failure::{Failure, Reason, ZoomError},
    http::{
        auth::Identity, context::RequestContext, media_type::HTML, pages::content_security_policy,
        retry_after::seconds_until, route::Route,
    },
    snapshot::MeetingType,
};

/// The media type of problems (RFC 9457).
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// The `Link` to the description of the API (RFC 8631).
pub(crate) const SERVICE_DESCRIPTION: &str = "</openapi.json>; rel=\"service-desc\"";

#[derive(Serialize)]
pub(crate) struct ProblemDocument<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zoom: Option<&'a ZoomError>,
}

/// The page of a problem: the same facts, for people.
#[derive(Template)]
#[template(path = "problem.html", config = "src/http/pages/askama.toml")]
struct ProblemPage<'p> {
    row: &'p Row,
    request_id: &'p str,
    /// Whether the meeting may be over, so that the page links to it.
    offers_past: bool,
    /// The seconds of `Retry-After`.
    retry_after: Option<u64>,
    zoom: Option<&'p ZoomError>,
}

impl Problem {
    /// Builds the response, and records its outcome and its code in the request's context.
    pub(crate) fn respond(&self, context: &RequestContext) -> HttpResponse {
        let row = self.row();
        let mut response = self.begin_response(&row, row.status, context);
        let retry_after = self.retry_after();
        if let Some(seconds) = retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Self::IssuerUnavailable { retry_at } = self
            && let Some(seconds) = seconds_until(*retry_at, Instant::now())
        {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if context.route.is_some_and(Route::is_page) {
            response.content_type(HTML);
            response.insert_header((CONTENT_SECURITY_POLICY, content_security_policy()));
            return response.body(self.page(&row, context, retry_after));
        }
        let zoom = self.zoom_for(&context.identity);
        let body = ProblemDocument::new(&row, context.id.as_str(), zoom.as_deref());
        response.content_type(MEDIA_TYPE);
        response.body(serde_json::to_string(&body).unwrap_or_default())
    }

    /// Records the outcome and the code in the request's context, and begins a response with the headers that do not
    /// depend on the format of the body.
    pub(in crate::http) fn begin_response(
        &self,
        row: &Row,
        status: u16,
        context: &RequestContext,
    ) -> HttpResponseBuilder {
        context.outcome.set(Some(row.outcome));
        context.problem_code.set(Some(row.code));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((ALLOW, *allow));
            }
            Self::UnknownCaller(error) => {
                response.insert_header((WWW_AUTHENTICATE, bearer_challenge(*error)));
            }
            Self::UnknownOperator => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            _ => {}
        }
        if matches!(self, Self::NotFound) || context.route.is_some_and(Route::is_front) {
            response.insert_header((LINK, SERVICE_DESCRIPTION));
        }
        response
    }

    fn page(&self, row: &Row, context: &RequestContext, retry_after: Option<u64>) -> String {
        let zoom = self.zoom_for(&context.identity);
        let is_unknown = matches!(self, Self::NoSnapshot(Failure { reason: Reason::MeetingNotFound, .. }));
        let offers_past = is_unknown && context.page_type.get() == Some(MeetingType::Live);
        let (request_id, zoom) = (context.id.as_str(), zoom.as_deref());
        ProblemPage { row, request_id, offers_past, retry_after, zoom }.render().unwrap_or_default()
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoSnapshot(failure) => seconds_until(failure.retry_at, Instant::now()),
            _ => None,
        }
    }

    /// Returns what the sender of the request may see of Zoom's response, if there was one.
    fn zoom_for(&self, identity: &Identity) -> Option<Cow<'_, ZoomError>> {
        let Self::NoSnapshot(failure) = self else { return None };
        let zoom = failure.zoom.as_deref()?;
        let shows_all = identity.hidden_fields().is_empty();
        Some(if shows_all { Cow::Borrowed(zoom) } else { Cow::Owned(zoom.without_message()) })
    }
}

impl<'a> ProblemDocument<'a> {
    pub(crate) fn new(row: &'a Row, request_id: &'a str, zoom: Option<&'a ZoomError>) -> Self {
        Self {
            r#type: type_of(row.code),
            title: row.title,
            status: row.status,
            detail: &row.detail,
            code: row.code,
            request_id,
            zoom,
        }
    }
}

/// Returns the challenge of RFC 6750, with the reason if a signed token is refused.
pub(crate) fn bearer_challenge(error: Option<TokenError>) -> String {
    match error {
        Some(error) => format!("Bearer error=\"invalid_token\", error_description=\"{error}\""),
        None => "Bearer".to_owned(),
    }
}

/// Returns the `type` of a problem with this code.
pub(crate) fn type_of(code: &str) -> String {
    format!("urn:zoom-qos-proxy:problem:{code}")
}
