//! Serves Zoom's own paths in Zoom's format, so that a client made for Zoom works with this service once its base URL
//! and its credentials are changed.
//!
//! The data is that of `/qos`: the same snapshots, flights, permits and rules of freshness.

mod errors;
mod query;
mod token;

use std::sync::Arc;

use actix_web::HttpResponse;

use self::query::{DEFAULT_PAGE_SIZE, ZoomQuery};
pub(super) use self::{
    errors::{respond, status_and_code},
    token::{EXPIRES_IN_SECONDS as TOKEN_EXPIRES_IN, INVALID_CLIENT_CODE, post as post_token},
};
use super::{
    exchange::Exchange,
    paging::{PageToken, Slice},
    params::{meeting, path_ids},
    problem::Problem,
    provenance::Provenance,
    qos::{self, paged_snapshot},
    representation::RequestedForm,
    response,
};
use crate::{
    callers::Caller,
    snapshot::{MeetingKind, MeetingType, RequestedKey, Snapshot},
    view::{snapshot_view::View, visible::Redaction},
};

/// Returns whether the path is below `/v2`, where responses have Zoom's format, including errors.
pub(super) fn is_zooms_path(path: &str) -> bool {
    path.starts_with("/v2/") || path == "/v2"
}

/// `GET /v2/metrics/{meetings|webinars}/{id}/participants/qos`.
pub(super) async fn get_page(exchange: Exchange<'_>, kind: MeetingKind) -> Result<HttpResponse, Problem> {
    let Exchange { request, state, context } = exchange;
    let caller = context.identity.caller()?;
    let meeting = meeting(exchange)?;
    let query = ZoomQuery::parse(request)?;
    let Some(token) = &query.next_page_token else {
        let requested = RequestedKey {
            meeting,
            kind: Some(kind),
            meeting_type: query.meeting_type.unwrap_or(MeetingType::Live),
        };
        let (snapshot, provenance) = find(exchange, (caller, requested)).await?;
        let page =
            RequestedForm::ZoomPage(Slice { offset: 0, size: query.page_size.unwrap_or(DEFAULT_PAGE_SIZE) });
        let response = response::build(exchange, (&snapshot, &provenance), page)?.await;
        state.fetcher.publish_paged(&snapshot);
        return response;
    };
    let redaction = state.redaction(&context.identity);
    let mut token = PageToken::parse(token, redaction.as_ref().map(Redaction::keys))?;
    token.slice.size = query.page_size.unwrap_or(token.slice.size);
    let meeting_type = query.meeting_type.unwrap_or(token.meeting_type);
    let requested = RequestedKey { meeting, kind: Some(kind), meeting_type };
    let snapshot = paged_snapshot(exchange, requested, &token).await?;
    let page = RequestedForm::ZoomPage(token.slice);
    response::build(exchange, (&snapshot, &Provenance::Hit), page)?.await
}

/// `GET /v2/metrics/{meetings|webinars}/{id}/participants/{participantId}/qos`.
pub(super) async fn get_participant(
    exchange: Exchange<'_>,
    kind: MeetingKind,
) -> Result<HttpResponse, Problem> {
    let Exchange { request, context, .. } = exchange;
    let caller = context.identity.caller()?;
    let meeting = meeting(exchange)?;
    let query = ZoomQuery::parse(request)?;
    let wanted = path_ids(exchange).participant;
    let wanted = percent_encoding::percent_decode_str(wanted).decode_utf8_lossy().into_owned();
    if wanted.is_empty() {
        // No call is made for an id that no participant can have.
        return Err(Problem::ParticipantNotFound);
    }
    let requested = RequestedKey {
        meeting,
        kind: Some(kind),
        meeting_type: query.meeting_type.unwrap_or(MeetingType::Live),
    };
    let (snapshot, provenance) = find(exchange, (caller, requested)).await?;
    let view = RequestedForm::View(View::ZoomParticipant { wanted });
    response::build(exchange, (&snapshot, &provenance), view)?.await
}

async fn find(
    exchange: Exchange<'_>,
    (caller, requested): (&Arc<Caller>, RequestedKey),
) -> Result<(Arc<Snapshot>, Provenance), Problem> {
    let found = qos::find(exchange, caller, requested).await;
    found.map_err(|nothing| Problem::NoSnapshot(nothing.failure))
}
