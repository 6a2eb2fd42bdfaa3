//! The `QoS` endpoint: `GET /v2/metrics/meetings/{id}/participants/qos`.
//!
//! The order of its checks: access token, faults, day, second, id, `type`, page token. It decides under the state's lock; the
//! page is written later, without the lock, because that takes long.

pub(crate) mod page_token;
pub(crate) mod path;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::fault::{FaultKind, Target};
use crate::limits;
use crate::meeting::Hosted;
use crate::reply::{self, Reply};
use crate::server::Request;
use crate::state::{Answer, State};
use page_token::Bound;
use path::Named;

/// Zoom's largest page; a larger `page_size` counts as this.
const MAX_PAGE_SIZE: usize = 10;

/// One parsed request.
pub(crate) struct Asked {
    named: Named,
    kind: Option<String>,
    page_size: Option<String>,
    token: Option<String>,
}

impl Asked {
    /// `None` if the request is not for this endpoint.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let named = path::named(request.path())?;
        Some(Self {
            named,
            kind: request.query("type"),
            page_size: request.query("page_size"),
            // The last page has an empty token, and Zoom takes that for the first page.
            token: request.query("next_page_token").filter(|token| !token.is_empty()),
        })
    }

    /// The id that was meant.
    pub(crate) fn meeting(&self) -> Option<&str> {
        match &self.named {
            Named::Meeting(id) | Named::Misencoded { meant: id, .. } => Some(id),
            Named::Unrecognized => None,
        }
    }

    /// The requested page; `None` for an unknown token.
    pub(crate) fn page(&self, state: &State) -> Option<usize> {
        self.token.as_ref().map_or(Some(0), |token| state.page_tokens.page(token))
    }
}

/// A page to be written.
#[derive(Debug)]
pub(crate) struct Page {
    hosted: Arc<Hosted>,
    number: usize,
    size: usize,
    next_page_token: String,
}

impl Page {
    pub(crate) fn reply(&self) -> Reply {
        let mut body = String::with_capacity(4_096);
        let envelope = write!(
            body,
            r#"{{"next_page_token":"{}","page_count":{},"page_size":{},"total_records":{},"#,
            self.next_page_token,
            self.hosted.pages(self.size),
            self.size,
            self.hosted.rows()
        );
        envelope.unwrap_or_default();
        let id = &self.hosted.meeting.id;
        if id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0') {
            body.push_str(r#""meeting_number":"#);
            body.push_str(id);
            body.push(',');
        }
        body.push_str(r#""participants":"#);
        self.hosted.write_page(self.size, self.number, &mut body);
        body.push('}');
        Reply::json(200, body).with("x-ratelimit-category", "Heavy")
    }
}

/// Decides the answer to a request, and the fault that hits it.
pub(crate) fn answer(
    state: &mut State,
    request: &Request,
    asked: &Asked,
    now: Instant,
) -> (Answer, Option<FaultKind>) {
    if let Some(refusal) = state.access_tokens.refusal(request, now) {
        return (refusal.into(), None);
    }
    let wall = Timestamp::now();
    let fault = fault(state, asked);
    let meant = asked.meeting().unwrap_or_default();
    let replacement = fault.as_ref().and_then(|kind| kind.replacement(meant, &state.config));
    if let Some(reply) = replacement {
        if reply.status != 429 {
            state.limits.charge(now, wall);
        }
        return (reply.into(), fault);
    }
    if let Err(full) = state.limits.admit(now, wall, &state.config) {
        return (limits::refusal(full, now, wall, &state.config).into(), fault);
    }
    (page(state, asked, now, fault.as_ref()).map_or_else(Answer::from, Answer::Page), fault)
}

fn fault(state: &mut State, asked: &Asked) -> Option<FaultKind> {
    let page = asked.page(state);
    let meant = asked.meeting().unwrap_or_default();
    let hosted = state.meetings.get(meant).map(Arc::clone);
    let mut meeting_ids = vec![meant];
    if let Some(hosted) = &hosted {
        meeting_ids.push(&hosted.meeting.id);
        meeting_ids.extend(hosted.meeting.uuid.as_deref());
    }
    state.faults.take(&Target::Qos { meeting_ids: &meeting_ids, page })
}

/// The requested page, or Zoom's error.
fn page(state: &mut State, asked: &Asked, now: Instant, fault: Option<&FaultKind>) -> Result<Page, Reply> {
    let id = match &asked.named {
        Named::Unrecognized => return Err(reply::not_recognized()),
        Named::Misencoded { shown, .. } => return Err(reply::does_not_exist(shown)),
        Named::Meeting(id) => id,
    };
    let live = match asked.kind.as_deref() {
        None | Some("live") => true,
        Some("past") => false,
        Some(_) => {
            return Err(Reply::error(400, 300, "The value of the query parameter type is invalid."));
        }
    };
    let page_size = match asked.page_size.as_deref().map(str::parse::<usize>) {
        None => 1,
        Some(Ok(size)) => size.clamp(1, MAX_PAGE_SIZE),
        Some(Err(_)) => {
            return Err(Reply::error(400, 300, "The value of the query parameter page_size is invalid."));
        }
    };
    let hosted = state.meetings.get(id).ok_or_else(|| reply::does_not_exist(id))?;
    let hosted = Arc::clone(hosted);
    match (live, hosted.meeting.live, hosted.meeting.past) {
        (true, false, _) => return Err(reply::does_not_exist(id)),
        (false, _, false) => return Err(Reply::error(404, 3001, reply::NOT_AVAILABLE)),
        _ => {}
    }
    let bound = Bound { meeting: id.clone(), live, page_size };
    let good_for = state.config.page_token_life;
    let page = match &asked.token {
        None => 0,
        Some(token) => state
            .page_tokens
            .redeem(token, &bound, now, good_for)
            .ok_or_else(|| Reply::error(400, 300, reply::PAGE_TOKEN_INVALID))?,
    };
    let repeat_token = fault == Some(&FaultKind::RepeatPageToken);
    let next_page_token = match (repeat_token, &asked.token) {
        (true, Some(token)) => token.clone(),
        (true, None) => state.page_tokens.constant(bound, now),
        (false, _) if page + 1 < hosted.pages(page_size) => {
            state.page_tokens.issue(bound, page + 1, now, good_for, &mut state.dice)
        }
        (false, _) if fault == Some(&FaultKind::EndlessPages) => {
            state.page_tokens.issue(bound, page, now, good_for, &mut state.dice)
        }
        (false, _) => String::new(),
    };
    Ok(Page { hosted, number: page, size: page_size, next_page_token })
}
