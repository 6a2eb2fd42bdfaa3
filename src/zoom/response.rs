//! Sends one request to Zoom and reads the response: a success completely, and any other response as far as
//! `classify` needs it.

use std::time::Duration;

use awc::{
    ClientResponse,
    error::{PayloadError, SendRequestError},
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, timeout};

use super::{
    body::{self, BodyError, BodyLimits},
    decoder::Decoder,
    error::CallError,
    memory::BodyBytes,
    response_head::ResponseHead,
    transport::failure::{self, TransportFailure},
};
use crate::{failure::Redactor, metrics::Cause};

/// A call ends after this many times `zoom.request_timeout`, even if its body still arrives. Time in which we do not
/// read a page because other meetings use the memory does not count.
const CALL_TIMEOUTS: u32 = 6;

pub(super) struct ReadOptions {
    /// The maximum wait for the head, and for each part of the body.
    pub(super) timeout: Duration,
    /// The maximum size of the body, in bytes after decompression.
    pub(super) max_body: usize,
    pub(super) redactor: Redactor,
}

/// The reason why there is no response, or no complete response.
pub(super) struct IncompleteResponse {
    pub(super) error: CallError,
    /// Whether it is certain that no byte of the request was sent.
    pub(super) never_left: bool,
    /// The fault of the connection or of the bytes on it; `None` if a limit of ours ended the call, such as its timeout.
    pub(super) failure: Option<Box<TransportFailure>>,
}

impl From<CallError> for IncompleteResponse {
    fn from(error: CallError) -> Self {
        Self { error, never_left: false, failure: None }
    }
}

/// Sends the request and reads the response. A response with an error status is also `Ok`: the caller classifies it
/// by its body, as far as that arrived.
pub(super) async fn send_and_read<S>(
    request: impl Future<Output = Result<ClientResponse<S>, SendRequestError>>,
    options: &ReadOptions,
    mut counted: BodyBytes,
) -> Result<(ResponseHead, Bytes, BodyBytes), IncompleteResponse>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let ReadOptions { timeout: gap, max_body, redactor } = options;
    let limits = BodyLimits { gap: *gap, deadline: Instant::now() + *gap * CALL_TIMEOUTS };
    let response = timeout(*gap, request).await.map_err(|_| CallError::TimedOut)?;
    let response = response.map_err(|error| not_reached(&error))?;
    let head = ResponseHead::new(&response, redactor);
    let announced = announced_length(&response);
    let encoding = response.headers().get(CONTENT_ENCODING).and_then(|encoding| encoding.to_str().ok());
    let decoder = Decoder::new(encoding);
    if !head.is_success() {
        let limits = limits.for_status(head.status);
        let beginning = body::read_beginning(response, decoder, announced, limits, &mut counted).await;
        return Ok((head, beginning, counted));
    }
    match body::read_whole(response, decoder, announced, limits, *max_body, &mut counted).await {
        Ok(body) => Ok((head, body, counted)),
        Err(BodyError::TooLarge) => {
            tracing::warn!(
                max_body,
                announced,
                "rejected a response from Zoom: larger than zoom.max_body or limits.max_fetch_bytes"
            );
            Err(CallError::TooLarge(head.zoom_error()).into())
        }
        Err(BodyError::TimedOut) => Err(CallError::TimedOut.into()),
        Err(BodyError::NoRoom) => Err(CallError::NoRoom.into()),
        Err(BodyError::TooShort) => Err(cut_short(&head, "the body is shorter than announced".to_owned())),
        Err(BodyError::Broken(error)) => Err(cut_short(&head, failure::of_body(&error))),
    }
}

/// Returns `Content-Length`; `None` if it is missing, or if the body is compressed, because the service counts bytes
/// after decompression.
fn announced_length<S>(response: &ClientResponse<S>) -> Option<usize> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn cut_short(head: &ResponseHead, detail: String) -> IncompleteResponse {
    let failure = Some(Box::new(TransportFailure { cause: Cause::Broken, detail }));
    IncompleteResponse { error: CallError::CutShort(head.zoom_error()), never_left: false, failure }
}

fn not_reached(error: &SendRequestError) -> IncompleteResponse {
    let (failure, never_left) = failure::of_request(error);
    tracing::debug!(
        cause = failure.cause.as_str(),
        detail = failure.detail,
        never_left,
        "no response from Zoom"
    );
    IncompleteResponse {
        error: CallError::NotReached(failure.cause),
        never_left,
        failure: Some(Box::new(failure)),
    }
}
