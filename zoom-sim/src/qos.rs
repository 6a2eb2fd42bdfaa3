//! The `QoS` endpoints: all participants or one participant, of a meeting or of a webinar.
//!
//! The order of the checks: access token, faults, day, second, path, scope, encoding of the id, `type`, id, `page_size`,
//! page token. Answers are decided under the state's lock. Bodies are written later, without the lock, because writing takes
//! long.

mod body;
pub(crate) mod page_token;
pub(crate) mod path;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::endpoint::{MeetingKind, QosEndpoint};
use crate::fault::{FaultKind, Target};
use crate::limits;
use crate::meeting::Hosted;
use crate::reply::{self, Reply};
use crate::server::Request;
use crate::state::{Answer, State};
pub(crate) use body::Found;
use page_token::Bound;
use path::{Named, QosPath};

/// Zoom's largest page; a larger `page_size` counts as this.
const MAX_PAGE_SIZE: usize = 10;

/// One parsed request.
pub(crate) struct Asked {
    path: QosPath,
    kind: Option<String>,
    page_size: Option<String>,
    token: Option<String>,
}

impl Asked {
    /// Parses a request. `None` if it is not for one of these endpoints.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        Some(Self {
            path: QosPath::of(request.path())?,
            kind: request.query("type"),
            page_size: request.query("page_size"),
            // The last page's token is empty. Zoom answers a request with an empty token with the first page.
            token: request.query("next_page_token").filter(|token| !token.is_empty()),
        })
    }

    /// The meeting's or webinar's id, even if it is encoded wrongly; `None` if Zoom would not recognize the path.
    pub(crate) fn meeting(&self) -> Option<&str> {
        match &self.path.named {
            Named::Meeting(id) | Named::Misencoded { meant: id, .. } => Some(id),
            Named::Unrecognized => None,
        }
    }

    pub(crate) const fn endpoint(&self) -> QosEndpoint {
        self.path.endpoint
    }

    /// The participant's id, at an endpoint for one participant.
    pub(crate) fn participant(&self) -> Option<&str> {
        self.path.participant.as_deref()
    }

    /// The requested page; `None` for an unknown token. One participant counts as the first page.
    pub(crate) fn page(&self, state: &State) -> Option<usize> {
        let token = self.token.as_ref().filter(|_| self.path.participant.is_none());
        token.map_or(Some(0), |token| state.page_tokens.page(token))
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
    let replacement =
        fault.as_ref().and_then(|kind| kind.replacement(meant, asked.endpoint(), &state.config));
    if let Some(reply) = replacement {
        if reply.status != 429 {
            state.limits.charge(now, wall);
        }
        return (reply.into(), fault);
    }
    if let Err(full) = state.limits.admit(now, wall, &state.config) {
        return (limits::refusal(full, now, wall, &state.config).into(), fault);
    }
    (find(state, asked, now, fault.as_ref()).map_or_else(Answer::from, Answer::Found), fault)
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
    state.faults.take(&Target::Qos { endpoint: asked.endpoint(), meeting_ids: &meeting_ids, page })
}

/// The requested page or participant, or Zoom's error.
fn find(state: &mut State, asked: &Asked, now: Instant, fault: Option<&FaultKind>) -> Result<Found, Reply> {
    let (id, hosted, live) = subject(state, asked)?;
    if let Some(participant) = asked.participant() {
        return Ok(Found::Participant { hosted, id: participant.to_owned() });
    }
    let size = match asked.page_size.as_deref().map(str::parse::<usize>) {
        None => 1,
        Some(Ok(size)) => size.clamp(1, MAX_PAGE_SIZE),
        Some(Err(_)) => {
            return Err(Reply::error(400, 300, "The value of the query parameter page_size is invalid."));
        }
    };
    let bound = Bound { meeting: id.to_owned(), live, page_size: size };
    let good_for = state.config.page_token_life;
    let number = match &asked.token {
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
        (false, _) if number + 1 < hosted.pages(size) => {
            state.page_tokens.issue(bound, number + 1, now, good_for, &mut state.dice)
        }
        (false, _) if fault == Some(&FaultKind::EndlessPages) => {
            state.page_tokens.issue(bound, number, now, good_for, &mut state.dice)
        }
        (false, _) => String::new(),
    };
    Ok(Found::Page { hosted, number, size, next_page_token })
}

/// The id in the request, its meeting or webinar, and whether the request is for `type=live`.
fn subject<'a>(state: &State, asked: &'a Asked) -> Result<(&'a str, Arc<Hosted>, bool), Reply> {
    let endpoint = asked.endpoint();
    let lacks_scope = endpoint.kind() == MeetingKind::Webinar && !state.has_webinar_scope;
    let id = match &asked.path.named {
        Named::Unrecognized => return Err(reply::not_recognized()),
        _ if lacks_scope => return Err(reply::missing_scope(endpoint)),
        Named::Misencoded { shown, .. } => return Err(reply::does_not_exist(endpoint, shown)),
        Named::Meeting(id) => id,
    };
    let live = match asked.kind.as_deref() {
        None | Some("live") => true,
        Some("past") => false,
        Some(_) => {
            return Err(Reply::error(400, 300, "The value of the query parameter type is invalid."));
        }
    };
    let hosted = state.meetings.get(id).ok_or_else(|| reply::does_not_exist(endpoint, id))?;
    let meeting = &hosted.meeting;
    if meeting.kind != endpoint.kind() {
        return Err(reply::is_another_kind(meeting.kind, id));
    }
    match (live, meeting.live, meeting.past) {
        (true, false, _) => Err(reply::does_not_exist(endpoint, id)),
        (false, _, false) => Err(Reply::error(404, 3001, reply::NOT_AVAILABLE)),
        _ => Ok((id, Arc::clone(hosted), live)),
    }
}
