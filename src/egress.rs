//! The HTTP proxies and the trusted certificates for the requests that the service itself sends.
//!
//! Pure: `config` reads the environment and the files, and each HTTP client uses the result.

mod no_proxy;
mod proxy;

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use ureq::tls::{Certificate, RootCerts};
use url::Url;

pub(crate) use self::no_proxy::NoProxy;
pub use self::proxy::{Proxy, ProxySource};

/// The proxies that the environment sets by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Clone, Default)]
pub(crate) struct EnvironmentProxies {
    pub(crate) https: Option<Proxy>,
    pub(crate) http: Option<Proxy>,
    pub(crate) exceptions: NoProxy,
}

impl EnvironmentProxies {
    /// Returns the proxy for the scheme of this URL; `None` if that proxy is not set, or if `NO_PROXY` covers the
    /// host.
    pub(crate) fn proxy_for(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.exceptions.covers(url))
    }
}

/// Certificates of authorities that are trusted in addition to Mozilla's.
#[derive(Clone, Default)]
pub struct MoreRoots(Arc<[CertificateDer<'static>]>);

impl MoreRoots {
    /// Parses PEM. Skips everything that is not a certificate, because bundles contain comments and other objects.
    /// Returns `None` if no certificate can be used.
    pub(crate) fn parse(pem: &[u8]) -> Option<Self> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let (usable, _) =
            rustls::RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
        (usable > 0).then(|| Self(certificates.into()))
    }

    /// Returns the certificates, without Mozilla's.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// Returns Mozilla's roots and these certificates for `ureq`, which needs complete certificates. rustls itself
    /// needs only trust anchors.
    pub(crate) fn for_ureq(&self) -> RootCerts {
        if self.0.is_empty() {
            return RootCerts::WebPki;
        }
        let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(self.0.iter());
        RootCerts::from(all.map(|certificate| Certificate::from_der(certificate).to_owned()))
    }

    pub(crate) fn with_mozilla(&self) -> rustls::RootCertStore {
        let mut roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
        roots.add_parsable_certificates(self.0.iter().cloned());
        roots
    }
}
