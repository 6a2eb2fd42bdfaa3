//! A route: its path, its name, its methods, and its handler.

use actix_web::http::Method;

/// The placeholder at the end of a path with a meeting id.
const MEETING_ID: &str = "{meetingId}";

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
    OpenApi,
    Health,
    Readiness,
    Metrics,
    Status,
    PurgeAll,
    PurgeMeeting,
}

/// The methods that a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Methods {
    Read,
    Delete,
}

impl Methods {
    pub(super) fn allow(self, method: &Method) -> bool {
        match self {
            Self::Read => matches!(*method, Method::GET | Method::HEAD),
            Self::Delete => *method == Method::DELETE,
        }
    }

    /// Returns the value of `Allow`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Delete => "DELETE",
        }
    }
}

/// One row of the table of routes.
pub(super) struct Route {
    pub(super) listener: Listener,
    /// The pattern of its paths, which is also its name in traces.
    pub(super) path: &'static str,
    /// Its name in the log.
    pub(super) name: &'static str,
    pub(super) methods: Methods,
    pub(super) handler: RouteHandler,
}

impl Route {
    pub(super) const fn callers(
        path: &'static str,
        name: &'static str,
        methods: Methods,
        handler: RouteHandler,
    ) -> Self {
        Self { listener: Listener::Callers, path, name, methods, handler }
    }

    pub(super) const fn operators(path: &'static str, methods: Methods, handler: RouteHandler) -> Self {
        Self { listener: Listener::Operators, path, name: path, methods, handler }
    }

    /// Returns whether this route serves the raw `path`. A meeting id may contain slashes, so it takes the rest of the
    /// path.
    pub(super) fn matches(&self, listener: Listener, path: &str) -> bool {
        self.listener == listener
            && match self.path.strip_suffix(MEETING_ID) {
                Some(prefix) => path.starts_with(prefix),
                None => path == self.path,
            }
    }

    /// Returns the raw meeting id in a path that this route serves.
    pub(super) fn meeting_id<'a>(&self, path: &'a str) -> &'a str {
        let prefix = self.path.strip_suffix(MEETING_ID).unwrap_or(self.path);
        path.strip_prefix(prefix).unwrap_or_default()
    }

    /// Returns whether this route serves meetings. Only such requests identify their callers and count in the metrics.
    pub(super) fn is_for_meetings(&self) -> bool {
        self.handler == RouteHandler::Qos
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

    #[test]
    fn a_meeting_id_is_the_rest_of_the_path_slashes_included() {
        let qos = Route::callers("/qos/{meetingId}", "qos", Methods::Read, RouteHandler::Qos);
        for (path, id) in [("/qos/123", "123"), ("/qos//a/b==", "/a/b=="), ("/qos/", "")] {
            assert!(qos.matches(Listener::Callers, path), "{path}");
            assert_eq!(qos.meeting_id(path), id);
        }
        for path in ["/qos", "/QOS/123", "/%71os/123", "/x/qos/123", ""] {
            assert!(!qos.matches(Listener::Callers, path), "{path}");
        }
        assert!(!qos.matches(Listener::Operators, "/qos/123"));
    }

    #[test]
    fn a_route_without_a_meeting_id_matches_its_path_alone() {
        let purge = Route::operators("/cache", Methods::Delete, RouteHandler::PurgeAll);
        assert!(purge.matches(Listener::Operators, "/cache"));
        for path in ["/cache/", "/cachee", "/Cache", "/cache/123"] {
            assert!(!purge.matches(Listener::Operators, path), "{path}");
        }
    }
}
