//! What a request names: the meeting in its path, and the keys of ours in its query. For every route that takes them.
//!
//! Says nothing of what is done with them.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::{
    paging::{PAGE_SIZES, PageToken, Slice},
    problem::Problem,
    qos,
};
use crate::{
    meeting_id::MeetingId,
    snapshot::{MeetingType, SnapshotKey},
};

/// What a request for a meeting asks for.
pub(super) struct Asked {
    pub(super) key: SnapshotKey,
    pub(super) part: Part,
}

/// How much of it.
pub(super) enum Part {
    Whole,
    First(Slice),
    /// Of the snapshot that the token names.
    Next(PageToken),
}

impl Asked {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let meeting = meeting(request, qos::PREFIX)?;
        let [view, size, token] = once(request, ["type", "page_size", "next_page_token"])?;
        let meeting_type = meeting_type(view.as_deref())?.unwrap_or(MeetingType::Live);
        let part = part(size.as_deref(), token.as_deref())?;
        Ok(Self { key: SnapshotKey { meeting, meeting_type }, part })
    }
}

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

fn part(size: Option<&str>, token: Option<&str>) -> Result<Part, Problem> {
    let size = size.map(page_size).transpose()?;
    match (token, size) {
        (None, None) => Ok(Part::Whole),
        (None, Some(size)) => Ok(Part::First(Slice { offset: 0, size })),
        (Some(""), _) => {
            Err(invalid("next_page_token must not be empty; leave it out to begin at the first slice."))
        }
        (Some(token), size) => {
            let mut token = PageToken::read(token).ok_or(Problem::InvalidPageToken)?;
            token.slice.size = size.unwrap_or(token.slice.size);
            Ok(Part::Next(token))
        }
    }
}

fn page_size(text: &str) -> Result<u16, Problem> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let size = text.parse().ok().filter(|size| is_plain && PAGE_SIZES.contains(size));
    size.ok_or_else(|| {
        let (least, most) = (PAGE_SIZES.start(), PAGE_SIZES.end());
        invalid(format!("page_size must be a whole number from {least} to {most}."))
    })
}

/// A key of ours is not of its form; `detail` says which and how it should be.
pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::InvalidQuery(detail.into())
}
