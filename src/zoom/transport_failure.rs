//! Translates awc's errors: one word for the cause, a detail for operators, and whether the request can have left.

use std::{error::Error, io};

use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::transport::{InDoubt, TransportFailure, answer::Malformed};
use crate::metrics::Cause;

/// Why a request got no response, and whether it never left: there was no connection, or only one that could no longer be
/// trusted.
pub(super) fn of_request(error: &SendRequestError) -> (TransportFailure, bool) {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => {
            let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<TransportFailure>());
            let other = || TransportFailure::new(Cause::Refused, error.kind().to_string());
            (ours.cloned().unwrap_or_else(other), true)
        }
        // awc's own timeout is longer than all of ours together, so it fires only if the thread was stuck.
        SendRequestError::Connect(ConnectError::Timeout) => {
            (TransportFailure::new(Cause::Timeout, "no connection in time"), true)
        }
        // Despite its name, the request was written: the peer closed the connection instead of responding.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            (TransportFailure::new(Cause::Broken, Malformed::NoAnswer.to_string()), false)
        }
        SendRequestError::Connect(_) => {
            (TransportFailure::new(Cause::Broken, "no connection could be made"), true)
        }
        SendRequestError::Send(error) => {
            let in_doubt = error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<InDoubt>);
            (TransportFailure::new(Cause::Broken, of_io(error)), in_doubt)
        }
        SendRequestError::Response(error) => {
            let io = error.source().and_then(<dyn Error>::downcast_ref::<io::Error>);
            (
                TransportFailure::new(
                    Cause::Broken,
                    io.map_or_else(|| "the response is malformed".to_owned(), of_io),
                ),
                false,
            )
        }
        _ => (TransportFailure::new(Cause::Broken, "the response is malformed"), false),
    }
}

/// Why a body is not whole.
pub(super) fn of_body(error: &PayloadError) -> String {
    match error {
        PayloadError::Io(error) | PayloadError::Incomplete(Some(error)) => of_io(error),
        PayloadError::EncodingCorrupted => "the body cannot be decompressed".to_owned(),
        _ => "the body broke off".to_owned(),
    }
}

fn of_io(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) if inner.is::<Malformed>() || inner.is::<InDoubt>() => inner.to_string(),
        _ => error.kind().to_string(),
    }
}
