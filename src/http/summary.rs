//! `GET /qos/{meetingId}/summary`: whose connection was bad, when and why, from the same snapshots as `/qos/{meetingId}`.

use actix_web::{HttpRequest, HttpResponse};

use super::{
    exchange::Exchange,
    media_type,
    params::{self, Query, single_valued},
    problem::Problem,
    qos,
    representation::RequestedForm,
    view_params::ViewParams,
};
use crate::{
    snapshot::{MeetingKind, MeetingType, RequestedKey},
    view::{
        select::Selection,
        snapshot_view::View,
        summary::{SummaryLimit, SummaryLimits},
    },
};

pub(super) async fn get(exchange: Exchange<'_>) -> Result<HttpResponse, Problem> {
    // Checked first, so that an unknown caller learns nothing about its request or the cache.
    let Exchange { request, state, context } = exchange;
    let caller = context.identity.caller()?;
    let meeting = params::meeting(exchange)?;
    let (meeting_type, kind, selection) = shared_parameters(request)?;
    let limits = limits(request, state.summary_limits)?;
    if !media_type::accepts_json(request.headers()) {
        return Err(Problem::NotAcceptable);
    }
    let requested = RequestedKey { meeting, kind, meeting_type };
    let form = RequestedForm::View(View::Summary { selection: Box::new(selection), limits });
    qos::respond(exchange, (caller, requested), form).await
}

/// Parses the parameters that a summary shares with `/qos/{meetingId}`, and rejects those that only
/// `/qos/{meetingId}` has.
pub(super) fn shared_parameters(
    request: &HttpRequest,
) -> Result<(MeetingType, Option<MeetingKind>, Selection), Problem> {
    let Query { meeting_type, kind, page_size, page_token, participant, groups, since, until, format, rows } =
        Query::of(request)?;
    let meeting_type = params::meeting_type(meeting_type.as_deref())?.unwrap_or(MeetingType::Live);
    let kind = params::kind(kind.as_deref())?;
    let of_qos =
        [("page_size", page_size), ("next_page_token", page_token), ("format", format), ("rows", rows)];
    if let Some((name, _)) = of_qos.into_iter().find(|(_, value)| value.is_some()) {
        let detail =
            format!("{name} is not a parameter of a summary, which is one JSON document; leave it out.");
        return Err(Problem::invalid(name, detail));
    }
    let selection = ViewParams { participant, groups, since, until, format: None, rows: None }.selection()?;
    Ok((meeting_type, kind, selection))
}

/// Returns the limits, each replaced by its value in the query, if there is one.
pub(super) fn limits(request: &HttpRequest, mut limits: SummaryLimits) -> Result<SummaryLimits, Problem> {
    let values = single_valued(request, SummaryLimit::ALL.map(SummaryLimit::as_str))?;
    for (limit, value) in SummaryLimit::ALL.into_iter().zip(values) {
        let Some(text) = value else { continue };
        let value = limit.parse(&text).ok_or_else(|| {
            let (name, largest) = (limit.as_str(), limit.largest());
            Problem::invalid(name, format!("{name} must be a number from 0 to {largest}, such as 40 or 2.5."))
        })?;
        limits.set(limit, value);
    }
    Ok(limits)
}
