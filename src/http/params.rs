//! Parses the meeting id in a request's path and the parameters in its query.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::{
    exchange::Exchange,
    paging::{PageToken, SLICE_SIZES, Slice},
    problem::Problem,
    route::PathIds,
    view_params::ViewParams,
};
use crate::{
    hiding::HidingKeys,
    meeting_id::{InvalidMeetingId, MeetingId},
    snapshot::{MeetingKind, MeetingType, RequestedKey},
    view::snapshot_view::View,
};

/// Declares the parameters of the query.
macro_rules! query {
    ($($field:ident = $name:literal,)+) => {
        /// The names of the parameters, which `/openapi.json` describes.
        pub(super) const QUERY: [&str; [$($name),+].len()] = [$($name),+];

        /// The values of the parameters, not parsed yet.
        pub(super) struct Query<'q> {
            $(pub(super) $field: Option<Cow<'q, str>>,)+
        }

        impl<'q> Query<'q> {
            pub(super) fn of(request: &'q HttpRequest) -> Result<Self, Problem> {
                let [$($field),+] = single_valued(request, QUERY)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}

query! {
    meeting_type = "type",
    kind = "kind",
    page_size = "page_size",
    page_token = "next_page_token",
    participant = "participant",
    groups = "groups",
    since = "since",
    until = "until",
    format = "format",
    rows = "rows",
}

pub(super) struct QosRequest {
    pub(super) requested: RequestedKey,
    pub(super) portion: Portion,
}

/// The part of the snapshot that the caller wants.
pub(super) enum Portion {
    Whole,
    FirstSlice(Slice),
    /// A slice of the snapshot that the token names.
    NextSlice(PageToken),
    View(View),
}

impl QosRequest {
    /// Parses the request. `keys` open the caller's page tokens; `None` if its tokens are not sealed.
    pub(super) fn parse(exchange: Exchange<'_>, keys: Option<&HidingKeys>) -> Result<Self, Problem> {
        let request = exchange.request;
        let meeting = meeting(exchange)?;
        let Query {
            meeting_type,
            kind,
            page_size,
            page_token,
            participant,
            groups,
            since,
            until,
            format,
            rows,
        } = Query::of(request)?;
        let meeting_type = self::meeting_type(meeting_type.as_deref())?.unwrap_or(MeetingType::Live);
        let kind = self::kind(kind.as_deref())?;
        let portion = portion(page_size.as_deref(), page_token.as_deref(), keys)?;
        let view = ViewParams { participant, groups, since, until, format, rows }.view(request.headers())?;
        let portion = match (portion, view) {
            (portion, None) => portion,
            (Portion::Whole, Some(view)) => Portion::View(view),
            (_, Some(_)) => {
                let detail = "page_size and next_page_token return slices of the whole meeting as JSON; leave them out to \
                              select from it, or to have rows.";
                return Err(Problem::invalid("page_size", detail));
            }
        };
        Ok(Self { requested: RequestedKey { meeting, kind, meeting_type }, portion })
    }
}

/// Parses the meeting id in the path. Reads the raw path, because actix decodes some escapes and leaves others.
pub(super) fn meeting(exchange: Exchange<'_>) -> Result<MeetingId, Problem> {
    let Exchange { request, context, .. } = exchange;
    let parsed =
        context.route.map_or(Err(InvalidMeetingId::Missing), |route| route.meeting(request.uri().path()));
    parsed.map_err(Problem::InvalidMeetingId)
}

/// Returns the raw ids in the path; empty for ids that the route does not have.
pub(super) fn path_ids(exchange: Exchange<'_>) -> PathIds<'_> {
    let Exchange { request, context, .. } = exchange;
    context.route.and_then(|route| route.match_path(request.uri().path())).unwrap_or_default()
}

/// Returns the values of these parameters, in this order. Each may be given only once; other parameters are ignored.
pub(super) fn single_valued<'a, const N: usize>(
    request: &'a HttpRequest,
    names: [&'static str; N],
) -> Result<[Option<Cow<'a, str>>; N], Problem> {
    let mut values = [const { None }; N];
    let Some(query) = request.uri().query() else { return Ok(values) };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        if let Some((known, slot)) = slot
            && slot.replace(value).is_some()
        {
            return Err(Problem::invalid(known, format!("{known} is given twice; give it once.")));
        }
    }
    Ok(values)
}

pub(super) fn meeting_type(value: Option<&str>) -> Result<Option<MeetingType>, Problem> {
    match value {
        None => Ok(None),
        Some("live") => Ok(Some(MeetingType::Live)),
        Some("past") => Ok(Some(MeetingType::Past)),
        Some(_) => Err(Problem::invalid("type", "type must be live or past.")),
    }
}

pub(super) fn kind(value: Option<&str>) -> Result<Option<MeetingKind>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let known = MeetingKind::ALL.into_iter().find(|kind| kind.as_str() == value);
    known.map(Some).ok_or_else(|| {
        Problem::invalid("kind", "kind must be meeting or webinar; leave it out if you do not know it.")
    })
}

fn portion(
    page_size: Option<&str>,
    page_token: Option<&str>,
    keys: Option<&HidingKeys>,
) -> Result<Portion, Problem> {
    let size = page_size.map(self::page_size).transpose()?;
    match (page_token, size) {
        (None, None) => Ok(Portion::Whole),
        (None, Some(size)) => Ok(Portion::FirstSlice(Slice { offset: 0, size })),
        (Some(""), _) => {
            let detail = "next_page_token must not be empty; leave it out to start at the first slice.";
            Err(Problem::invalid("next_page_token", detail))
        }
        (Some(token), size) => {
            let mut token = PageToken::parse(token, keys)?;
            token.slice.size = size.unwrap_or(token.slice.size);
            Ok(Portion::NextSlice(token))
        }
    }
}

/// Parses a permitted page size, which has neither a sign nor leading zeros.
fn page_size(text: &str) -> Result<u16, Problem> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let size = text.parse().ok().filter(|size| is_plain && SLICE_SIZES.contains(size));
    size.ok_or_else(|| {
        let (least, most) = (SLICE_SIZES.start(), SLICE_SIZES.end());
        Problem::invalid("page_size", format!("page_size must be a whole number from {least} to {most}."))
    })
}
