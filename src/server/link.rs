//! What a connection's guard and the service behind actix tell each other.
//!
//! The guard lies below actix and sees bytes; whether these are a request, and how long its body is, only actix's parser decides.
//! Its decision is read here, off the request that it hands to the service.

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

use super::framing::Framing;

/// Shared by the two sides of one connection, which live on one thread.
#[derive(Default)]
pub(super) struct Link {
    /// The guard has handed over a head that nothing was heard of yet.
    handed_over: Cell<bool>,
    /// The request that actix made of it.
    request: Cell<Option<Arrived>>,
    /// The service has that request, or actix is still encoding the answer.
    answering: Cell<bool>,
}

/// A request, as far as the guard needs to know it.
pub(super) struct Arrived {
    /// `None`: it is over with its head.
    pub(super) body: Option<Framing>,
}

impl Link {
    pub(super) fn hand_over(&self) {
        self.handed_over.set(true);
    }

    pub(super) fn take_request(&self) -> Option<Arrived> {
        self.request.take()
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.get()
    }

    /// `false` for a request that the guard did not hand over.
    pub(super) fn arrived(&self, request: &mut Request) -> bool {
        self.request.set(Some(Arrived { body: framing(request) }));
        self.answering.set(true);
        self.handed_over.replace(false)
    }
}

/// How long actix takes this request's body to be. It has made sure that there is one length or chunks, and not both.
fn framing(request: &mut Request) -> Option<Framing> {
    if matches!(request.payload(), Payload::None) {
        return None;
    }
    if request.chunked().unwrap_or(true) {
        return Some(Framing::CHUNKED);
    }
    let length = request.head().headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()?;
    Some(Framing::Length(length))
}

/// Hands a request to the service, and tells the guard when it arrives and when its answer is encoded.
pub(super) fn watch<S>(
    mut request: Request,
    service: &S,
) -> impl Future<Output = Result<Response<WatchedBody>, Error>> + use<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let link = request.conn_data::<Rc<Link>>().cloned();
    let expected = link.as_deref().is_none_or(|link| link.arrived(&mut request));
    let answering = Answering(link);
    let called = expected.then(|| service.call(request));
    async move {
        let response = match called {
            Some(called) => called.await.map_or_else(Response::from, Response::from),
            None => unexpected(),
        };
        Ok(response.map_body(|_, body| WatchedBody { body, _answering: answering }))
    }
}

/// Two parsers disagreed on where a head ends: the connection is of no more use.
fn unexpected() -> Response<BoxBody> {
    let mut response = Response::bad_request();
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// Until it is dropped, an answer is owed.
struct Answering(Option<Rc<Link>>);

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.answering.set(false);
        }
    }
}

/// An answer's body. actix drops it when it has encoded all of it, which nothing else tells.
pub(super) struct WatchedBody {
    body: BoxBody,
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
        Pin::new(&mut self.body).poll_next(context)
    }
}
