//! Why there is no connection.

use std::{fmt, io, time::Duration};

use actix_tls::connect::ConnectError;
use rustls::CertificateError;

/// The step at which connecting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectStep {
    /// The host's name has no address.
    Name,
    /// No address accepted a connection.
    Connect,
    /// A step took longer than `zoom.connect_timeout`.
    Timeout,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The proxy cannot be reached, or refuses the tunnel.
    Proxy,
}

/// A connection that could not be made. No byte of a request has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailure {
    pub(crate) step: ConnectStep,
    /// For operators.
    pub(crate) detail: String,
}

impl ConnectFailure {
    pub(super) fn new(step: ConnectStep, detail: impl Into<String>) -> Self {
        Self { step, detail: detail.into() }
    }

    pub(super) fn too_late(step: &str, timeout: Duration) -> Self {
        let within = humantime::format_duration(timeout);
        Self::new(ConnectStep::Timeout, format!("{step} took longer than zoom.connect_timeout, {within}"))
    }

    pub(super) fn name(error: &io::Error) -> Self {
        Self::new(ConnectStep::Name, format!("the name cannot be resolved: {error}"))
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
        Self::new(ConnectStep::Tls, detail)
    }

    /// Our own failure, if awc's error wraps one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
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

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ConnectFailure {}

/// Wrapped in an I/O error, which awc passes on unchanged.
impl From<ConnectFailure> for ConnectError {
    fn from(failure: ConnectFailure) -> Self {
        Self::Io(io::Error::other(failure))
    }
}
