//! A route: its path, its name, its methods, and its handler.

use actix_web::http::Method;

use crate::{
    meeting_id::{InvalidMeetingId, MeetingId},
    snapshot::MeetingKind,
};

vocabulary! {
    /// The two listeners. The words are labels of the metrics.
    pub enum Listener {
        /// `server.listen`.
        Callers = "callers",
        /// `server.ops_listen`.
        Operators = "ops",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteHandler {
    Qos,
    Summary,
    /// Serves a page of participants at Zoom's own path.
    ZoomPage(MeetingKind),
    /// Serves one participant at Zoom's own path.
    ZoomParticipant(MeetingKind),
    /// Returns the caller key as an access token, for clients made for Zoom.
    Token,
    OpenApi,
    Front,
    Guide,
    /// Redirects from the form of an id to the page of its meeting.
    FindMeeting,
    Page,
    Health,
    Readiness,
    Metrics,
    Status,
    PurgeAll,
    PurgeMeeting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Methods {
    Read,
    Post,
    Delete,
}

impl Methods {
    pub(super) fn allow(self, method: &Method) -> bool {
        match self {
            Self::Read => matches!(*method, Method::GET | Method::HEAD),
            Self::Post => *method == Method::POST,
            Self::Delete => *method == Method::DELETE,
        }
    }

    /// Returns the value of `Allow`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

pub(super) struct Route {
    pub(super) listener: Listener,
    /// The pattern of the route's paths, which is also its name in traces.
    pub(super) path: &'static str,
    fixed: FixedParts,
    /// The route's name in the log.
    pub(super) name: &'static str,
    pub(super) methods: Methods,
    pub(super) handler: RouteHandler,
}

/// The fixed text of a pattern around its ids, split at compile time.
#[derive(Clone, Copy)]
struct FixedParts {
    prefix: &'static str,
    /// `None` if the path has no id.
    after_meeting: Option<&'static str>,
    /// `None` if the path has no second id.
    after_participant: Option<&'static str>,
}

/// The raw ids in a path; empty if the path has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PathIds<'p> {
    pub(super) meeting: &'p str,
    pub(super) participant: &'p str,
}

impl FixedParts {
    const fn of(pattern: &'static str) -> Self {
        let (prefix, after_meeting) = split_at_id(pattern);
        let Some(rest) = after_meeting else {
            return Self { prefix, after_meeting, after_participant: None };
        };
        let (after_meeting, after_participant) = split_at_id(rest);
        Self { prefix, after_meeting: Some(after_meeting), after_participant }
    }

    fn ids_in<'p>(&self, path: &'p str) -> Option<PathIds<'p>> {
        let ids = path.strip_prefix(self.prefix)?;
        match (self.after_meeting, self.after_participant) {
            (None, _) => ids.is_empty().then(PathIds::default),
            (Some(suffix), None) => Some(PathIds { meeting: ids.strip_suffix(suffix)?, participant: "" }),
            (Some(infix), Some(suffix)) => {
                let (meeting, participant) = ids.strip_suffix(suffix)?.rsplit_once(infix)?;
                Some(PathIds { meeting, participant })
            }
        }
    }
}

/// Splits a pattern at its first `{id}`. The second part is `None` if there is no id.
const fn split_at_id(pattern: &'static str) -> (&'static str, Option<&'static str>) {
    let Some((prefix, rest)) = split_at_byte(pattern, b'{') else { return (pattern, None) };
    match split_at_byte(rest, b'}') {
        Some((_, suffix)) => (prefix, Some(suffix)),
        None => (pattern, None),
    }
}

const fn split_at_byte(text: &'static str, byte: u8) -> Option<(&'static str, &'static str)> {
    let mut at = 0;
    let mut left = text.as_bytes();
    while let [first, rest @ ..] = left {
        if *first == byte {
            return Some((text.split_at(at).0, text.split_at(at + 1).1));
        }
        left = rest;
        at += 1;
    }
    None
}

impl Route {
    pub(super) const fn callers(
        path: &'static str,
        name: &'static str,
        methods: Methods,
        handler: RouteHandler,
    ) -> Self {
        Self { listener: Listener::Callers, path, fixed: FixedParts::of(path), name, methods, handler }
    }

    pub(super) const fn operators(path: &'static str, methods: Methods, handler: RouteHandler) -> Self {
        Self { listener: Listener::Operators, ..Self::callers(path, path, methods, handler) }
    }

    /// Returns the ids in the raw `path`; `None` if this route does not serve it.
    ///
    /// An id may contain slashes. It extends from the fixed text before it to the last occurrence of the fixed text
    /// after it: in `/v2/metrics/meetings//a/b==/participants/qos`, it is `/a/b==`.
    #[inline]
    pub(super) fn match_path<'p>(&self, path: &'p str) -> Option<PathIds<'p>> {
        self.fixed.ids_in(path)
    }

    /// Parses the meeting id in the raw `path`. Only pages accept an id with spaces and dashes, as Zoom shows it.
    pub(super) fn meeting(&self, path: &str) -> Result<MeetingId, InvalidMeetingId> {
        let raw = self.match_path(path).unwrap_or_default().meeting;
        if self.handler == RouteHandler::Page {
            MeetingId::parse_as_shown(raw)
        } else {
            MeetingId::parse(raw)
        }
    }

    pub(super) fn matches(&self, listener: Listener, path: &str) -> bool {
        self.listener == listener && self.match_path(path).is_some()
    }

    /// Returns whether this route serves meetings. The metrics of requests count only these routes.
    pub(super) fn is_for_meetings(&self) -> bool {
        use RouteHandler::{Page, Qos, Summary, ZoomPage, ZoomParticipant};
        matches!(self.handler, Page | Qos | Summary | ZoomPage(_) | ZoomParticipant(_))
    }

    /// Returns whether this route requires a credential, if callers are configured.
    pub(super) fn needs_caller(&self) -> bool {
        self.is_for_meetings() || self.handler == RouteHandler::FindMeeting
    }

    /// Returns whether every response of this route links to the description of the API.
    pub(super) fn is_front(&self) -> bool {
        self.handler == RouteHandler::Front
    }

    /// Returns whether everything that this route serves is HTML, including problems.
    pub(super) fn is_page(&self) -> bool {
        matches!(self.handler, RouteHandler::Page | RouteHandler::FindMeeting)
    }

    /// Returns whether probes or scrapes request this route every few seconds. Such requests are logged at `debug` and
    /// have no span.
    pub(super) fn is_polled(&self) -> bool {
        matches!(
            self.handler,
            RouteHandler::Health | RouteHandler::Readiness | RouteHandler::Metrics | RouteHandler::Status
        )
    }

    pub(super) fn is_purge(&self) -> bool {
        matches!(self.handler, RouteHandler::PurgeAll | RouteHandler::PurgeMeeting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QOS: Route = Route::callers("/qos/{meetingId}", "qos", Methods::Read, RouteHandler::Qos);

    fn ids<'p>(pattern: &'static str, path: &'p str) -> Option<(&'p str, &'p str)> {
        let ids = FixedParts::of(pattern).ids_in(path)?;
        Some((ids.meeting, ids.participant))
    }

    #[test]
    fn a_meeting_id_at_the_end_is_the_rest_of_the_path() {
        for (path, id) in [("/qos/123", "123"), ("/qos//a/b==", "/a/b=="), ("/qos/", "")] {
            assert_eq!(ids("/qos/{meetingId}", path), Some((id, "")));
        }
        for path in ["/qos", "/QOS/123", "/%71os/123", "/x/qos/123", ""] {
            assert_eq!(ids("/qos/{meetingId}", path), None, "{path}");
        }
        assert!(!QOS.matches(Listener::Operators, "/qos/123") && QOS.matches(Listener::Callers, "/qos/123"));
    }

    #[test]
    fn ids_between_fixed_texts_may_contain_slashes() {
        let page = "/v2/{meetingId}/participants/qos";
        for id in ["123", "/a//b+c==", "", "a/participants/qos/b"] {
            assert_eq!(ids(page, &format!("/v2/{id}/participants/qos")), Some((id, "")));
        }
        for path in [
            "/v2/1/participants/qos/",
            "/v2/1/participants",
            "/v2/participants/qos",
            "/v3/1/participants/qos",
        ] {
            assert_eq!(ids(page, path), None, "{path}");
        }
        let one = "/v2/{meetingId}/participants/{participantId}/qos";
        for (meeting, participant) in
            [("123", "16778240"), ("/a//b==", "p"), ("1", ""), ("", "a/b=="), ("x/participants/y", "z")]
        {
            let path = format!("/v2/{meeting}/participants/{participant}/qos");
            assert_eq!(ids(one, &path), Some((meeting, participant)));
        }
        assert_eq!(ids(one, "/v2/1/participants/qos"), None);
    }

    #[test]
    fn a_summary_is_of_the_id_before_its_last_part() {
        let summary = "/qos/{meetingId}/summary";
        for id in ["123", "/a//b+c==", "", "summary", "a/summary"] {
            assert_eq!(ids(summary, &format!("/qos/{id}/summary")), Some((id, "")));
        }
        for path in
            ["/qos/summary", "/qos/1/summary/", "/qos/1/Summary", "/qos/1%2Fsummary", "/qos/1/summary=="]
        {
            assert_eq!(ids(summary, path), None, "{path}");
        }
    }

    #[test]
    fn a_route_without_ids_matches_its_path_alone() {
        assert_eq!(ids("/cache", "/cache"), Some(("", "")));
        for path in ["/cache/", "/cachee", "/Cache", "/cache/123"] {
            assert_eq!(ids("/cache", path), None, "{path}");
        }
    }
}
