//! What a request names: the meeting in its path, and the keys of ours in its query. For every route that takes them.
//!
//! Says nothing of what is done with them, and knows no route.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::problem::Problem;
use crate::{meeting_id::MeetingId, snapshot::MeetingType};

/// The meeting whose id follows `prefix`. From the raw path: actix's own decoding is half of one level.
pub(super) fn meeting(request: &HttpRequest, prefix: &str) -> Result<MeetingId, Problem> {
    let raw = request.uri().path().strip_prefix(prefix).ok_or(Problem::NotFound)?;
    MeetingId::parse(raw).map_err(Problem::InvalidMeetingId)
}

/// The values of these keys, in their order; each may be given once. Any other key is ignored.
pub(super) fn once<'a, const N: usize>(
    request: &'a HttpRequest,
    keys: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], Problem> {
    let mut values = [const { None }; N];
    let query = request.uri().query().unwrap_or_default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = keys.iter().zip(&mut values).find_map(|(known, slot)| (*known == key).then_some(slot));
        if slot.is_some_and(|slot| slot.replace(value).is_some()) {
            return Err(invalid(format!("{key} is given twice; give it once.")));
        }
    }
    Ok(values)
}

/// The value of `type`.
pub(super) fn meeting_type(value: Option<&str>) -> Result<Option<MeetingType>, Problem> {
    match value {
        None => Ok(None),
        Some("live") => Ok(Some(MeetingType::Live)),
        Some("past") => Ok(Some(MeetingType::Past)),
        Some(_) => Err(invalid("type must be live or past.")),
    }
}

/// A key of ours is not of its form; `detail` says which and how it should be.
pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::InvalidQuery(detail.into())
}
