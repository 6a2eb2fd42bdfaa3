//! awc's errors, read for their cause: one word, a detail for operators, and whether the request can have left.

use std::{error::Error, io};

use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::{
    reachability::Trouble,
    transport::{ConnectFailure, InDoubt, Step, answer::Malformed},
};
use crate::metrics::Cause;

/// Why a request was not answered, and whether it never left: there was no connection, or one that could not be trusted any
/// more.
pub(super) fn of_request(error: &SendRequestError) -> (Trouble, bool) {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => {
            let other = || trouble(Cause::Refused, error.kind().to_string());
            (ConnectFailure::of(error).map_or_else(other, of_connecting), true)
        }
        // awc's own, which covers ours and so comes only where a thread stands still.
        SendRequestError::Connect(ConnectError::Timeout) => {
            (trouble(Cause::Timeout, "no connection in time"), true)
        }
        // Its name notwithstanding: the peer closed instead of answering, the request being written.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            (trouble(Cause::Broken, Malformed::NoAnswer.to_string()), false)
        }
        SendRequestError::Connect(_) => (trouble(Cause::Broken, "no connection could be made"), true),
        SendRequestError::Send(error) => {
            let in_doubt = error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<InDoubt>);
            (trouble(Cause::Broken, of_io(error)), in_doubt)
        }
        SendRequestError::Response(error) => {
            let io = error.source().and_then(<dyn Error>::downcast_ref::<io::Error>);
            (trouble(Cause::Broken, io.map_or_else(|| "the answer is malformed".to_owned(), of_io)), false)
        }
        _ => (trouble(Cause::Broken, "the answer is malformed"), false),
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

fn of_connecting(failure: &ConnectFailure) -> Trouble {
    let cause = match failure.step {
        Step::Name => Cause::Name,
        Step::Connect => Cause::Refused,
        Step::Timeout => Cause::Timeout,
        Step::Tls => Cause::Tls,
        Step::Proxy => Cause::Proxy,
    };
    trouble(cause, failure.detail.clone())
}

fn of_io(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) if inner.is::<Malformed>() || inner.is::<InDoubt>() => inner.to_string(),
        _ => error.kind().to_string(),
    }
}

fn trouble(cause: Cause, detail: impl Into<String>) -> Trouble {
    Trouble { cause, detail: detail.into() }
}
