//! Makes awc's connections: name resolution, proxy, TLS, and the reader that lets only canonical responses through.
//!
//! If awc did TLS itself, it would read the decrypted bytes before we could check them. awc therefore gets only
//! `http://` URLs, and the transport, which belongs to one host, adds TLS below.

pub mod answer;
mod chunked;
mod connection;
mod dial;
pub(super) mod failure;
mod head;
mod malformed;
mod tunnel;

use std::{io, rc::Rc, sync::Arc, time::Duration};

use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo};
use awc::{
    Client, Connector,
    http::{
        Uri,
        header::{ACCEPT_ENCODING, USER_AGENT},
    },
};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use self::{
    connection::{Stream, ZoomConnection},
    failure::TransportFailure,
};
use super::{config::ZoomConfig, decoder};
use crate::{egress::ProxySource, failure::Redactor, metrics::Cause};

/// Idle connections are closed before common load balancers close them (60 s), which could break a request.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The maximum age of a connection. With awc's default of 75 s, connections that were opened together would often be
/// replaced together. Calls that wait for new connections reach Zoom closer together than they were permitted.
const LIFETIME: Duration = Duration::from_secs(3600);
/// One more than the steps to a connection (proxy file, DNS and TCP, CONNECT, TLS), each of which may take
/// `zoom.connect_timeout`. awc's own timeout covers all steps, so ours normally ends first and names the step.
const STEPS: u32 = 5;

/// Returns the URL for awc: `https://` becomes `http://` with an explicit port.
pub(super) fn for_awc(url: &Url) -> String {
    let (mut url, port) = (url.clone(), url.port_or_known_default());
    // `set_port` fails only without a host, which Zoom's URLs have.
    if url.scheme() == "https" && url.set_scheme("http").is_ok() {
        url.set_port(port).ok();
    }
    url.into()
}

pub(super) fn tls_connector(config: &ZoomConfig) -> TlsConnector {
    let roots = config.more_roots.with_mozilla();
    let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Only HTTP/1.1: awc sends a stray `GET /` when it retires a pooled HTTP/2 connection that has a stream in flight.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(tls).into()
}

/// Makes connections to one of Zoom's hosts. Belongs to one thread; clones share everything.
#[derive(Clone)]
pub(super) struct Transport(Rc<Dialer>);

struct Dialer {
    /// `None` for a host without TLS.
    tls: Option<TlsConnector>,
    proxy: Option<ProxySource>,
    redactor: Redactor,
    /// The maximum time of each step to a connection.
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(
        url: &Url,
        proxy: Option<ProxySource>,
        redactor: &Redactor,
        tls: &TlsConnector,
        timeout: Duration,
    ) -> Self {
        let tls = (url.scheme() == "https").then(|| tls.clone());
        Self(Rc::new(Dialer { tls, proxy, redactor: redactor.clone(), timeout }))
    }

    /// Returns a new client for this host, with no connection yet.
    ///
    /// The number of connections is not limited, because a call that waited for one would reach Zoom later than its
    /// permit says.
    pub(super) fn client(&self) -> Client {
        let connector = Connector::new()
            .connector(self.clone())
            .timeout(self.0.timeout * STEPS)
            .conn_keep_alive(KEEP_ALIVE)
            .conn_lifetime(LIFETIME)
            .limit(0);
        Client::builder()
            .connector(connector)
            // awc's timeout ends at the head of the response; the timeouts of `send_and_read` also cover the body.
            .disable_timeout()
            .disable_redirects()
            .add_default_header((ACCEPT_ENCODING, decoder::ACCEPTED))
            .add_default_header((USER_AGENT, concat!("zoom-qos-proxy/", env!("CARGO_PKG_VERSION"))))
            .finish()
    }
}

impl Service<ConnectInfo<Uri>> for Transport {
    type Response = actix_tls::connect::Connection<Uri, ZoomConnection>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let (this, uri) = (Rc::clone(&self.0), info.request().clone());
        async move {
            let stream = this.connect(&uri).await?;
            Ok(actix_tls::connect::Connection::new(uri, ZoomConnection::new(stream)))
        }
        .boxed_local()
    }
}

impl Dialer {
    async fn connect(&self, uri: &Uri) -> Result<Stream, TransportFailure> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(80);
        let tcp = match &self.proxy {
            Some(proxy) => self.tunnel(proxy.clone(), &format!("{host}:{port}")).await?,
            None => self.dial(without_brackets(host), port).await?,
        };
        let Some(tls) = &self.tls else { return Ok(Stream::Left(tcp)) };
        let name = ServerName::try_from(without_brackets(host).to_owned())
            .map_err(|_| TransportFailure::new(Cause::Tls, "no certificate can be for this host's name"))?;
        let handshake = self.in_time("the TLS handshake", tls.connect(name, tcp)).await?;
        handshake.map(|tls| Stream::Right(Box::new(tls))).map_err(|error| TransportFailure::tls(&error))
    }

    /// Opens a tunnel even for `http://`, because awc writes the request line for an origin, not for a proxy.
    async fn tunnel(&self, source: ProxySource, target: &str) -> Result<TcpStream, TransportFailure> {
        let proxy = if source.may_change() {
            // On a blocking thread, because reading a mounted file can hang.
            let read = actix_rt::task::spawn_blocking(move || source.read());
            let read = self.in_time("reading zoom.proxy_file", read).await?;
            read.map_err(|_| TransportFailure::new(Cause::Proxy, "zoom.proxy_file cannot be read"))?
        } else {
            source.read()
        };
        for secret in proxy.secrets() {
            self.redactor.learn(&secret);
        }
        let failed = |what: &str| {
            TransportFailure::new(Cause::Proxy, format!("the proxy {}: {what}", proxy.host_and_port()))
        };
        let mut tcp =
            self.dial(proxy.host(), proxy.port()).await.map_err(|failure| failed(&failure.detail))?;
        let opened = self.in_time("CONNECT", tunnel::open(&mut tcp, target, proxy.authorization())).await;
        opened.map_err(|failure| failed(&failure.detail))?.map_err(|what| failed(&what))?;
        Ok(tcp)
    }

    /// Resolving the name and connecting share one `zoom.connect_timeout`.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, TransportFailure> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let addresses = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
        let addresses = addresses
            .unwrap_or_else(|_| Err(io::Error::other("the name server does not answer")))
            .map_err(|error| {
                TransportFailure::new(Cause::Name, format!("the name cannot be resolved: {error}"))
            })?
            .collect();
        let connected = tokio::time::timeout_at(deadline, dial::connect(addresses)).await;
        let tcp = connected
            .map_err(|_| TransportFailure::too_late("connecting", self.timeout))?
            .map_err(|error| TransportFailure::new(Cause::Refused, error.kind().to_string()))?;
        // Without this option, the second part of a request that is written in two would wait for an ACK.
        tcp.set_nodelay(true).ok();
        Ok(tcp)
    }

    async fn in_time<T>(&self, what: &str, step: impl Future<Output = T>) -> Result<T, TransportFailure> {
        let done = tokio::time::timeout(self.timeout, step).await;
        done.map_err(|_| TransportFailure::too_late(what, self.timeout))
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awc_is_given_every_https_url_as_http_with_its_port() {
        let given = |url: &str| for_awc(&url.parse().unwrap());
        assert_eq!(given("https://api.zoom.us/v2"), "http://api.zoom.us:443/v2");
        assert_eq!(given("https://zoom.us/oauth/token?a=b"), "http://zoom.us:443/oauth/token?a=b");
        assert_eq!(given("https://[::1]:8443/"), "http://[::1]:8443/");
        assert_eq!(given("http://127.0.0.1:8080/v2"), "http://127.0.0.1:8080/v2");
    }
}
