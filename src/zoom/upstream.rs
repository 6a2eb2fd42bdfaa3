//! The HTTP clients of Zoom's two hosts.

use std::{cell::RefCell, rc::Rc};

use awc::{Client, ClientRequest};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{
    config::ZoomConfig,
    reachability::{LastFailure, Reachability},
    response::IncompleteResponse,
    transport::{self, Transport},
};
use crate::{egress::ProxySource, failure::Redactor};

/// The clients of the QoS endpoint and the token endpoint. Belongs to one thread; clones share the connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) api: Rc<Host>,
    pub(super) token: Rc<Host>,
    /// Redacts every secret that we send to a host or a proxy.
    pub(super) redactor: Redactor,
}

/// One of Zoom's hosts: its client, its connections, and whether it can be reached.
pub(crate) struct Host {
    /// The base URL as awc gets it; see [`transport::for_awc`].
    url: String,
    transport: Transport,
    client: RefCell<Client>,
    reachability: Reachability,
}

impl Host {
    fn new(url: &Url, transport: Transport) -> Rc<Self> {
        Rc::new(Self {
            url: transport::for_awc(url),
            client: RefCell::new(transport.client()),
            transport,
            reachability: Reachability::new(url.host_str().unwrap_or_default()),
        })
    }

    pub(super) fn get(&self, path: &str) -> ClientRequest {
        let base = self.url.trim_end_matches('/');
        self.client.borrow().get(format!("{base}{path}"))
    }

    pub(super) fn post(&self) -> ClientRequest {
        self.client.borrow().post(&*self.url)
    }

    /// Closes all idle connections immediately, and those in use when their calls end.
    pub(crate) fn forget_connections(&self) {
        *self.client.borrow_mut() = self.transport.client();
    }

    /// Records whether the host responded. A call that failed without a transport failure, such as one whose response
    /// came too late, does not show whether the host can be reached.
    pub(super) fn record<T>(&self, response: &Result<T, IncompleteResponse>) {
        match response {
            Ok(_) => self.reachability.on_response(),
            Err(IncompleteResponse { failure: Some(failure), .. }) => self.reachability.on_failure(failure),
            Err(IncompleteResponse { failure: None, .. }) => {}
        }
    }
}

impl Upstream {
    /// Creates both clients. The first call to a host opens a connection.
    pub(crate) fn new(config: &ZoomConfig) -> Self {
        let tls: TlsConnector = transport::tls_connector(config);
        let (timeout, redactor) = (config.connect_timeout, Redactor::default());
        let host = |url: &Url, proxy: &Option<ProxySource>| {
            Host::new(url, Transport::new(url, proxy.clone(), &redactor, &tls, timeout))
        };
        let api = host(&config.api_base_url, &config.api_proxy);
        let token = host(&config.oauth_url, &config.oauth_proxy);
        Self { api, token, redactor }
    }

    /// Returns the later one of the two hosts' last failures.
    pub(crate) fn last_failure(&self) -> Option<LastFailure> {
        let both = [&self.api, &self.token].map(|host| host.reachability.last_failure());
        both.into_iter().flatten().max_by_key(|failure| failure.at)
    }
}
