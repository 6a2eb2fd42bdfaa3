//! Around every request: its id, one log line, and for `/qos` one count.
//!
//! No clone of the request may be held here while it is routed: actix panics then.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method,
        header::{HeaderName, HeaderValue},
    },
    web::Data,
};

use super::{State, auth::Who, qos};
use crate::{
    failure::RefusedBy,
    metrics::Outcome,
    trace::{Kind, Parent, Span, Trail},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const LONGEST_REQUEST_ID: usize = 128;
/// In log and metrics, for a request whose caller was gone before the answer; the number that nginx made known.
const HUNG_UP: u16 = 499;

/// What is noted of a request on its way: here for the handler, and by the handler for here. One piece for all of it: each that
/// a request carries has its price.
pub(super) struct Notes {
    pub(super) route: Route,
    pub(super) id: RequestId,
    pub(super) who: Who,
    pub(super) began: Instant,
    pub(super) trail: Option<Trail>,
    /// How it ended; none as long as nothing is known of it.
    pub(super) outcome: Cell<Option<Outcome>>,
    /// Who turned it down.
    pub(super) refused_by: Cell<Option<RefusedBy>>,
    /// The code of the problem that it was answered with.
    pub(super) code: Cell<Option<&'static str>>,
    /// Its caller sends no more.
    pub(super) hung_up: Cell<bool>,
}

impl Notes {
    /// Those of this request, where a handler of actix is given nothing else.
    pub(super) fn of(request: &HttpRequest) -> Rc<Self> {
        request.extensions().get::<Rc<Self>>().map_or_else(
            || Rc::new(Self::begin(Route::Unknown, RequestId::fresh(), Who::NotAsked)),
            Rc::clone,
        )
    }

    fn begin(route: Route, id: RequestId, who: Who) -> Self {
        Self {
            route,
            id,
            who,
            began: Instant::now(),
            trail: None,
            outcome: Cell::default(),
            refused_by: Cell::default(),
            code: Cell::default(),
            hung_up: Cell::default(),
        }
    }
}

/// The caller's id of this request, or one of ours; as it goes into the answer.
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    fn from_caller(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let fits = (1..=LONGEST_REQUEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        fits.then(|| Self(value.clone()))
    }

    fn fresh() -> Self {
        let digit = |four_bits: u8| if four_bits < 10 { b'0' + four_bits } else { b'a' - 10 + four_bits };
        let digits = |byte: u8| [digit(byte >> 4), digit(byte & 15)];
        let text = fastrand::u128(..).to_be_bytes().map(digits);
        Self(HeaderValue::from_bytes(text.as_flattened()).unwrap_or(HeaderValue::from_static("none")))
    }
}

/// What a path is called in the log, and whether its requests count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `/qos/{meetingId}`.
    Qos,
    /// `/openapi.json`.
    OpenApi,
    /// One of the ops listener's that are asked all day.
    Operators(&'static str),
    /// One of the ops listener's that change something.
    Purge(&'static str),
    Unknown,
}

/// Which listener a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `server.listen`.
    Callers,
    /// `server.ops_listen`.
    Operators,
}

impl Listener {
    /// What it is called in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callers => "callers",
            Self::Operators => "ops",
        }
    }
}

impl Route {
    /// What it is called in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Qos => "qos",
            Self::OpenApi => "openapi",
            Self::Operators(route) | Self::Purge(route) => route,
            Self::Unknown => "other",
        }
    }

    /// The pattern of its paths, as traces have it; `None` if it is none of ours.
    fn text(self) -> Option<&'static str> {
        match self {
            Self::Qos => Some("/qos/{meetingId}"),
            Self::OpenApi => Some("/openapi.json"),
            Self::Operators(route) | Self::Purge(route) => Some(route),
            Self::Unknown => None,
        }
    }

    fn of(listener: Listener, path: &str) -> Self {
        if listener == Listener::Callers {
            return match path {
                "/openapi.json" => Self::OpenApi,
                _ if path.starts_with(qos::PREFIX) => Self::Qos,
                _ => Self::Unknown,
            };
        }
        match path {
            "/healthz" => Self::Operators("/healthz"),
            "/readyz" => Self::Operators("/readyz"),
            "/metrics" => Self::Operators("/metrics"),
            "/status" => Self::Operators("/status"),
            "/cache" => Self::Purge("/cache"),
            _ if path.starts_with("/cache/") => Self::Purge("/cache/{meetingId}"),
            _ => Self::Unknown,
        }
    }
}

/// Outermost, on both listeners: gives the request its id, its line in the log, and its place in the metrics.
pub(super) async fn observe<B>(
    request: ServiceRequest,
    state: Data<State>,
    listener: Listener,
    next: impl AsyncFnOnce(ServiceRequest, &Data<State>, &Rc<Notes>) -> Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<B>, Error> {
    let id =
        request.headers().get(X_REQUEST_ID).and_then(RequestId::from_caller).unwrap_or_else(RequestId::fresh);
    let route = Route::of(listener, request.path());
    let who = match route {
        Route::Qos => Who::asks(request.headers(), &state.callers),
        _ => Who::NotAsked,
    };
    let span = begin(&state, &request, route);
    let notes = Rc::new(Notes { trail: Trail::of(&span), ..Notes::begin(route, id, who) });
    let (method, peer) = (known(request.method()), request.peer_addr());
    let mut observed = Observed { method, peer, state, notes, answered: None, span };
    let mut response = next(request, &observed.state, &observed.notes).await?;
    response.headers_mut().insert(X_REQUEST_ID, observed.notes.id.0.clone());
    if listener == Listener::Callers && observed.state.is_draining() {
        // Kept connections are given up by the caller between two requests, not by us under one.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    // An answer to somebody who most likely is not there to read it is none.
    if response.status().is_success() || !observed.notes.hung_up.get() {
        observed.answered = Some(response.status().as_u16());
    }
    Ok(response)
}

/// One request. It is told when it is dropped: when it is answered, or when actix drops it because its caller hung up.
struct Observed {
    method: &'static str,
    peer: Option<SocketAddr>,
    state: Data<State>,
    notes: Rc<Notes>,
    /// The status; none if nobody was there to be answered.
    answered: Option<u16>,
    span: Span,
}

/// How a request ended.
struct Ending {
    status: u16,
    outcome: Option<Outcome>,
    refused_by: Option<RefusedBy>,
    code: Option<&'static str>,
}

impl Observed {
    fn ending(&self) -> Ending {
        let Notes { outcome, refused_by, code, .. } = &*self.notes;
        match self.answered {
            Some(status) => {
                Ending { status, outcome: outcome.get(), refused_by: refused_by.get(), code: code.get() }
            }
            None => Ending { status: HUNG_UP, outcome: Some(Outcome::Failed), refused_by: None, code: None },
        }
    }

    /// The address of whoever may be trying keys or paths, or purges: to find a client that is set up wrongly, or worse.
    fn peer(&self, status: u16) -> Option<IpAddr> {
        let is_told = matches!(status, 401 | 404) || matches!(self.notes.route, Route::Purge(_));
        self.peer.filter(|_| is_told).map(|peer| peer.ip().to_canonical())
    }

    /// What the span tells at its end: what the line in the log does.
    fn end_span(&mut self, ending: &Ending) {
        let Notes { id, who, trail: Some(trail), .. } = &*self.notes else { return };
        self.span.link(trail.joined());
        self.span.set("request_id", id.as_str().to_owned());
        self.span.set("caller", who.name().to_owned());
        self.span.set("http.request.method", self.method);
        self.span.set("http.response.status_code", i64::from(ending.status));
        if let Some(route) = self.notes.route.text() {
            self.span.set("http.route", route);
        }
        if let Some(outcome) = ending.outcome {
            self.span.set("outcome", outcome.as_str());
        }
        if let Some(by) = ending.refused_by {
            self.span.set("refused_by", by.as_str());
        }
        // The caller's own mistakes are none of ours.
        if ending.status >= 500 {
            self.span.fail(ending.status);
        }
    }
}

/// The request's span, within what its caller says of its own. Of probes and scrapes there are none.
fn begin(state: &State, request: &ServiceRequest, route: Route) -> Span {
    if !state.tracer.is_on() || matches!(route, Route::Operators(_)) {
        return Span::default();
    }
    let mut said = request.headers().get_all(TRACEPARENT);
    // Of two none: which was meant?
    let parent = match (said.next(), said.next()) {
        (Some(only), None) => only.to_str().map(Parent::read).unwrap_or_default(),
        _ => Parent::default(),
    };
    let method = known(request.method());
    let name = route.text().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    state.tracer.begin(name, Kind::Server, parent)
}

impl Drop for Observed {
    fn drop(&mut self) {
        let took = self.notes.began.elapsed();
        let ending = self.ending();
        self.end_span(&ending);
        let (Ending { status, outcome, refused_by, code }, Notes { id, who, .. }) = (ending, &*self.notes);
        let peer = self.peer(status);
        // Whole microseconds, so that the text has no more digits than the clock.
        let duration_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    // As a text: a message would have to be formatted.
                    message = "request",
                    request_id = id.as_str(),
                    caller = who.name(),
                    method = self.method,
                    route = self.notes.route.word(),
                    status,
                    outcome = outcome.map(Outcome::as_str),
                    refused_by = refused_by.map(RefusedBy::as_str),
                    code,
                    duration_ms,
                    peer = peer.map(tracing::field::display),
                )
            };
        }
        match self.notes.route {
            Route::Qos => {
                self.state.metrics.request(outcome.unwrap_or(Outcome::Refused), status, took);
                if let Some(by) = refused_by {
                    self.state.metrics.refusal(by);
                }
                line!(info);
            }
            // Probes and scrapes are not worth a line each.
            Route::Operators(_) => line!(debug),
            Route::OpenApi | Route::Purge(_) | Route::Unknown => line!(info),
        }
    }
}

/// A caller may send any word as its method; only known ones get into the log.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
