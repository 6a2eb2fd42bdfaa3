//! The link between a connection's guard, below actix, and the service above it.
//!
//! The guard handles bytes. Only actix's parser decides whether they are a request and how long its body is. The
//! service takes these facts from the request and passes them to the guard.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::{ConnectionType, HttpMessage as _, Payload, Request, Response, header::CONTENT_LENGTH};
use actix_service::Service;
use actix_web::{
    Error,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
};
use bytes::Bytes;

use super::{framing::BodyFraming, open_connections::OpenConnections};

/// The state that the guard and the service of one connection share, on one thread.
#[derive(Default)]
pub(super) struct GuardLink {
    /// Whether the guard handed over a head that has not become a request yet.
    pub(super) handed_over: Cell<bool>,
    /// The body of the request that actix parsed from the head. A request without a body has a length of 0.
    pub(super) parsed: Cell<Option<BodyFraming>>,
    /// Whether the service is handling the request, or actix is still encoding the response.
    pub(super) answering: Cell<bool>,
    open: OpenConnections,
}

impl GuardLink {
    pub(super) fn new(open: &OpenConnections) -> Self {
        Self { open: open.clone(), ..Self::default() }
    }

    /// Records a request from actix. Returns whether the guard handed over a head for it.
    pub(super) fn record(&self, request: &mut Request) -> bool {
        self.parsed.set(Some(framing(request).unwrap_or(BodyFraming::Length(0))));
        self.answering.set(true);
        self.handed_over.replace(false)
    }
}

/// Returns how actix will decode the body of this request. actix has rejected requests with two lengths, or with a
/// length and chunks.
fn framing(request: &mut Request) -> Option<BodyFraming> {
    if matches!(request.payload(), Payload::None) {
        return None;
    }
    if request.chunked().unwrap_or(true) {
        return Some(BodyFraming::CHUNKED);
    }
    let length = request.head().headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()?;
    Some(BodyFraming::Length(length))
}

/// Calls the service, and records for the guard when the request arrives and when its response is encoded.
pub(super) fn watch<S>(
    mut request: Request,
    service: &S,
) -> impl Future<Output = Result<Response<WatchedBody>, Error>> + use<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let link = request.conn_data::<Rc<GuardLink>>().cloned();
    let expected = link.as_deref().is_none_or(|link| link.record(&mut request));
    let largest_part = link.as_deref().map_or(usize::MAX, |link| link.open.largest_part());
    let answering = Answering(link);
    let called = expected.then(|| service.call(request));
    async move {
        let response = match called {
            Some(called) => called.await.map_or_else(Response::from, Response::from),
            None => unexpected(),
        };
        Ok(response.map_body(|_, body| WatchedBody {
            body,
            rest: Bytes::new(),
            largest_part,
            _answering: answering,
        }))
    }
}

/// Builds the response for a connection on which the guard and actix disagree about the end of a head. The
/// connection cannot be used any more.
fn unexpected() -> Response<BoxBody> {
    let mut response = Response::bad_request();
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// Marks the response as encoded when it is dropped.
struct Answering(Option<Rc<GuardLink>>);

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.answering.set(false);
        }
    }
}

/// The body of a response, cut into parts of at most `largest_part` bytes. actix drops the body when it is encoded, and
/// gives no other sign of that.
pub(super) struct WatchedBody {
    body: BoxBody,
    /// The bytes left of a part of `body` that was too large.
    rest: Bytes,
    largest_part: usize,
    _answering: Answering,
}

impl MessageBody for WatchedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_next(context) {
                Poll::Ready(Some(Ok(part))) => self.rest = part,
                other => return other,
            }
        }
        let length = self.rest.len().min(self.largest_part);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}
