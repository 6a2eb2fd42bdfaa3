//! The way out of this network: through which HTTP proxy, and which certificates are trusted on it.
//!
//! Pure: `config` reads the environment and the files, and each client applies what comes of it.

mod no_proxy;
mod proxy;

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

pub use self::{
    no_proxy::NoProxy,
    proxy::{InvalidProxy, Proxy, ProxySource},
};

/// The proxies that the environment names.
#[derive(Clone, Default)]
pub struct EnvironmentProxies {
    /// `HTTPS_PROXY`.
    pub https: Option<Proxy>,
    /// `HTTP_PROXY`.
    pub http: Option<Proxy>,
    /// `NO_PROXY`.
    pub exceptions: NoProxy,
}

impl EnvironmentProxies {
    /// The proxy for this URL, by its scheme; none for the hosts that `NO_PROXY` covers.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.exceptions.covers(url))
    }
}

/// Certificates of authorities that are trusted beside Mozilla's.
#[derive(Clone, Default)]
pub struct MoreRoots(Arc<[CertificateDer<'static>]>);

/// A file that holds no certificate that could be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds no certificate in PEM")]
pub struct NoCertificate;

impl MoreRoots {
    /// Reads PEM. What is no certificate is passed over, as bundles have comments and odd ones in them.
    ///
    /// # Errors
    /// When there is not one that can be used.
    pub fn parse(pem: &[u8]) -> Result<Self, NoCertificate> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let (usable, _) =
            rustls::RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 { Err(NoCertificate) } else { Ok(Self(certificates.into())) }
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// These and Mozilla's.
    #[must_use]
    pub fn with_mozillas(&self) -> rustls::RootCertStore {
        let mut roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
        roots.add_parsable_certificates(self.0.iter().cloned());
        roots
    }
}
