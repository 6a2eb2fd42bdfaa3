//! The reason why there was no connection, or no complete response.

use std::{io, time::Duration};

use actix_tls::connect::ConnectError;
use rustls::CertificateError;

use crate::metrics::Cause;

/// The reason why there was no connection, or no complete response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct TransportFailure {
    pub(crate) cause: Cause,
    /// For operators, in our own wording: without secrets, and without Zoom's text.
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

/// Wrapped in an I/O error, which awc passes on unchanged.
impl From<TransportFailure> for ConnectError {
    fn from(failure: TransportFailure) -> Self {
        Self::Io(io::Error::other(failure))
    }
}
