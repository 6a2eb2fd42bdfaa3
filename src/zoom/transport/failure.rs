//! The reason why there was no connection, or no complete response.

use std::{error::Error, io, time::Duration};

use awc::error::{ConnectError, PayloadError, SendRequestError};
use rustls::CertificateError;

use super::{answer::Malformed, connection::InDoubt};
use crate::metrics::Cause;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct TransportFailure {
    pub(crate) cause: Cause,
    /// A message for operators, without secrets and without Zoom's text.
    pub(crate) detail: String,
}

impl TransportFailure {
    pub(crate) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    pub(super) fn too_late(step: &str, timeout: Duration) -> Self {
        let within = humantime::format_duration(timeout);
        Self::new(Cause::Timeout, format!("{step} took longer than zoom.connect_timeout, {within}"))
    }

    pub(super) fn tls(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let detail = match inner {
            Some(rustls::Error::InvalidCertificate(why)) => {
                format!("the certificate is refused: {}", why_refused(why))
            }
            Some(other) => format!("the TLS handshake failed: {other}"),
            None => format!("the TLS handshake failed: {}", error.kind()),
        };
        Self::new(Cause::Tls, detail)
    }
}

fn why_refused(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "no trusted authority signed it (a proxy that intercepts TLS needs its CA in zoom.ca_file)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        other => other.to_string(),
    }
}

/// Wraps the failure in an I/O error, which awc passes on unchanged.
impl From<TransportFailure> for actix_tls::connect::ConnectError {
    fn from(failure: TransportFailure) -> Self {
        Self::Io(io::Error::other(failure))
    }
}

/// Returns the reason why a request got no response, and whether no byte of it was sent. No byte is sent if there is
/// no connection, or if the connection can no longer be trusted.
pub(crate) fn of_request(error: &SendRequestError) -> (TransportFailure, bool) {
    const MALFORMED: &str = "the response is malformed";
    let (cause, detail, never_left) = match error {
        SendRequestError::Connect(ConnectError::Io(error)) => {
            let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<TransportFailure>());
            if let Some(ours) = ours {
                return (ours.clone(), true);
            }
            (Cause::Refused, error.kind().to_string(), true)
        }
        // awc's own timeout is longer than all our timeouts together, so it fires only if the thread was stuck.
        SendRequestError::Connect(ConnectError::Timeout) => {
            (Cause::Timeout, "no connection in time".to_owned(), true)
        }
        // Despite the error's name, the request was written: the peer closed the connection instead of responding.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            (Cause::Broken, Malformed::NoAnswer.to_string(), false)
        }
        SendRequestError::Connect(_) => (Cause::Broken, "no connection could be made".to_owned(), true),
        SendRequestError::Send(error) => {
            let in_doubt = error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<InDoubt>);
            (Cause::Broken, of_io(error), in_doubt)
        }
        SendRequestError::Response(error) => {
            let io = error.source().and_then(<dyn Error>::downcast_ref::<io::Error>);
            (Cause::Broken, io.map_or_else(|| MALFORMED.to_owned(), of_io), false)
        }
        _ => (Cause::Broken, MALFORMED.to_owned(), false),
    };
    (TransportFailure { cause, detail }, never_left)
}

pub(crate) fn of_body(error: &PayloadError) -> String {
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
