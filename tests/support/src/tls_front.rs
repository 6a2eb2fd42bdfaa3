//! A TLS server with a certificate of the test's own authority, in front of a plain HTTP server.

use std::{net::SocketAddr, sync::Arc, thread};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server that runs until the test process ends.
pub struct TlsFront {
    pub address: SocketAddr,
    /// The authority's certificate, in PEM.
    pub ca: String,
}

impl TlsFront {
    /// Starts a server with a certificate for these names, which decrypts connections and forwards them to `behind`.
    pub fn start(behind: SocketAddr, names: &[&str]) -> Self {
        let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "an authority of this test");
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = parameters.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(parameters, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(decrypt(acceptor.clone(), stream, behind));
                }
            });
        });
        Self { address, ca }
    }
}

async fn decrypt(acceptor: TlsAcceptor, stream: TcpStream, behind: SocketAddr) {
    // The handshake fails if the service does not trust the certificate.
    if let (Ok(mut tls), Ok(mut plain)) = (acceptor.accept(stream).await, TcpStream::connect(behind).await) {
        tokio::io::copy_bidirectional(&mut tls, &mut plain).await.ok();
    }
}
