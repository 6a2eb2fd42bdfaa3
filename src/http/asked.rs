//! What a request asks for: which meeting, which view of it, and which slice.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::{
    problem::Problem,
    slice::{PAGE_SIZES, PageToken, Slice},
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
    /// From the raw path: actix's own decoding is half of one level.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let raw = request.uri().path().strip_prefix("/qos/").ok_or(Problem::NotFound)?;
        let meeting = MeetingId::parse(raw).map_err(Problem::InvalidMeetingId)?;
        let query = Query::of(request)?;
        let meeting_type = query.meeting_type()?.unwrap_or(MeetingType::Live);
        Ok(Self { key: SnapshotKey { meeting, meeting_type }, part: query.part()? })
    }
}

/// The parameters that are ours; others are ignored.
#[derive(Default)]
struct Query<'a> {
    meeting_type: Option<Cow<'a, str>>,
    page_size: Option<Cow<'a, str>>,
    next_page_token: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn of(request: &'a HttpRequest) -> Result<Self, Problem> {
        let mut query = Self::default();
        let text = request.uri().query().unwrap_or_default();
        for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let slot = match &*key {
                "type" => &mut query.meeting_type,
                "page_size" => &mut query.page_size,
                "next_page_token" => &mut query.next_page_token,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(invalid(format!("{key} is given twice; give it once.")));
            }
        }
        Ok(query)
    }

    fn meeting_type(&self) -> Result<Option<MeetingType>, Problem> {
        match self.meeting_type.as_deref() {
            None => Ok(None),
            Some("live") => Ok(Some(MeetingType::Live)),
            Some("past") => Ok(Some(MeetingType::Past)),
            Some(_) => Err(invalid("type must be live or past.")),
        }
    }

    fn part(&self) -> Result<Part, Problem> {
        let page_size = self.page_size.as_deref().map(page_size).transpose()?;
        match (self.next_page_token.as_deref(), page_size) {
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
}

fn page_size(text: &str) -> Result<u16, Problem> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let size = text.parse().ok().filter(|size| is_plain && PAGE_SIZES.contains(size));
    size.ok_or_else(|| {
        let (least, most) = (PAGE_SIZES.start(), PAGE_SIZES.end());
        invalid(format!("page_size must be a whole number from {least} to {most}."))
    })
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::InvalidQuery(detail.into())
}
