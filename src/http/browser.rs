//! The routes for browsers, and what all responses to browsers have in common.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION,
            WWW_AUTHENTICATE,
        },
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

use super::{
    constant::ConstantBody,
    exchange::Exchange,
    media_type,
    pages::{self, MeetingPage},
    params::{self, single_valued},
    problem::{Problem, render::SERVICE_DESCRIPTION},
    qos,
    representation::RequestedForm,
    route::Route,
    summary,
};
use crate::{
    meeting_id::MeetingId,
    snapshot::{MeetingType, RequestedKey},
    view::summary::SummaryLimit,
};

/// Makes browsers revalidate a copy before they show it, so that nobody sees personal data after the key is removed.
const REVALIDATED: HeaderValue = HeaderValue::from_static("private, no-cache");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"zoom-qos-proxy\", charset=\"UTF-8\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// A static, so that the name is not parsed for each request.
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

static FRONT: LazyLock<ConstantBody> = LazyLock::new(|| ConstantBody::new(pages::front()));
static GUIDE: LazyLock<ConstantBody> = LazyLock::new(|| ConstantBody::new(pages::guide()));

pub(super) fn front(request: &HttpRequest) -> HttpResponse {
    let mut response = constant(request, &FRONT);
    response.headers_mut().insert(LINK, HeaderValue::from_static(SERVICE_DESCRIPTION));
    response
}

pub(super) fn guide(request: &HttpRequest) -> HttpResponse {
    constant(request, &GUIDE)
}

fn constant(request: &HttpRequest, page: &ConstantBody) -> HttpResponse {
    let mut response = page.respond(request, HeaderValue::from_static(media_type::HTML), REVALIDATED);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, pages::content_security_policy());
    response
}

/// Serves `/meetings?id=…`: redirects from the form, which works without script, to the meeting's own page.
pub(super) fn find_meeting(exchange: Exchange<'_>) -> Result<HttpResponse, Problem> {
    let Exchange { request, context, .. } = exchange;
    context.identity.caller()?;
    let [id, meeting_type, kind] = single_valued(request, ["id", "type", "kind"])?;
    let meeting = MeetingId::parse_as_shown(id.as_deref().unwrap_or_default());
    let meeting = meeting.map_err(Problem::InvalidMeetingId)?;
    params::meeting_type(meeting_type.as_deref())?;
    params::kind(kind.as_deref())?;
    let limit_names = SummaryLimit::ALL.map(SummaryLimit::as_str);
    let limits = limit_names.into_iter().zip(single_valued(request, limit_names)?);
    let given = [("type", meeting_type), ("kind", kind)].into_iter().chain(limits);
    let given = given.filter_map(|(name, value)| Some((name, value?)));
    let query = Serializer::new(String::new()).extend_pairs(given).finish();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let id = utf8_percent_encode(meeting.as_str(), NON_ALPHANUMERIC).to_string();
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, format!("/meetings/{id}{query}")));
    Ok(response.insert_header((CACHE_CONTROL, "no-store")).finish())
}

/// Serves `/meetings/{meetingId}`.
pub(super) async fn get_meeting(exchange: Exchange<'_>) -> Result<HttpResponse, Problem> {
    let Exchange { request, state, context } = exchange;
    // Checked first, so that an unknown caller learns nothing about its request or the cache.
    let caller = context.identity.caller()?;
    let meeting = params::meeting(exchange)?;
    let [meeting_type, kind] = single_valued(request, ["type", "kind"])?;
    let meeting_type = params::meeting_type(meeting_type.as_deref())?.unwrap_or(MeetingType::Live);
    context.page_type.set(Some(meeting_type));
    let kind = params::kind(kind.as_deref())?;
    let limits = summary::limits(request, state.summary_limits)?;
    let requested = RequestedKey { meeting, kind, meeting_type };
    let page = RequestedForm::Page(MeetingPage { limits, stale: None });
    qos::respond(exchange, (caller, requested), page).await
}

/// Returns whether a browser probably sent the request for a person. For `<a download>`, Chromium sends no `Accept`, but
/// `Sec-Fetch-Mode: navigate`. If the 401 did not offer `Basic`, Chromium would drop the download, although it knows
/// the name and the key from the page.
fn is_by_a_person(headers: &HeaderMap) -> bool {
    media_type::accepts_html(headers)
        || headers.get(&SEC_FETCH_MODE).is_some_and(|mode| mode.as_bytes() == b"navigate")
}

/// Adapts a response to a browser: the browser must revalidate a copy before it shows it, and a 401 makes the
/// browser ask for a name and a key.
pub(super) fn adapt(request: &HttpRequest, route: Option<&Route>, response: &mut HttpResponse) {
    let is_page = route.is_some_and(Route::is_page);
    if !is_page && !is_by_a_person(request.headers()) {
        return;
    }
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        if !headers.contains_key(WWW_AUTHENTICATE) {
            headers.append(WWW_AUTHENTICATE, BEARER);
        }
        headers.append(WWW_AUTHENTICATE, BASIC);
    }
    if headers.get(CACHE_CONTROL).is_some_and(|value| value.as_bytes() != b"no-store") {
        headers.insert(CACHE_CONTROL, REVALIDATED);
    }
}
