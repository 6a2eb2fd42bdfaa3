//! The way to Zoom: one client for both of its hosts, with their URLs as that client is to have them.

use std::{cell::RefCell, rc::Rc};

use awc::{Client, ClientRequest};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{
    NotWhole, ZoomConfig,
    reachability::{LastFailure, Reachability},
    transport::{self, Transport},
};
use crate::{egress::ProxySource, failure::Redactor};

/// Shared by the QoS endpoint and the token endpoint. Belongs to one thread; clones share the connections.
#[derive(Clone)]
pub struct Upstream {
    pub(super) api: Rc<Host>,
    pub(super) token: Rc<Host>,
    /// Knows every secret that is sent to a host or a proxy.
    pub(super) redactor: Redactor,
}

/// One of Zoom's hosts: its own client and connections, and whether it can be reached.
pub(super) struct Host {
    /// As awc is to have it.
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
            reachability: Reachability::of(url.host_str().unwrap_or_default()),
        })
    }

    /// A `GET` below the host's URL.
    pub(super) fn get(&self, path: &str) -> ClientRequest {
        let base = self.url.trim_end_matches('/');
        self.client.borrow().get(format!("{base}{path}"))
    }

    /// A `POST` to the host's URL.
    pub(super) fn post(&self) -> ClientRequest {
        self.client.borrow().post(&*self.url)
    }

    /// Makes no request any more on a connection that is there now.
    pub(super) fn forget_connections(&self) {
        *self.client.borrow_mut() = self.transport.client();
    }

    /// Remembers whether a whole answer came, and why not. A call that took too long for its answer says nothing.
    pub(super) fn note<T>(&self, answer: &Result<T, NotWhole>) {
        match answer {
            Ok(_) => self.reachability.answered(),
            Err(NotWhole { trouble: Some(trouble), .. }) => self.reachability.failed(trouble),
            Err(NotWhole { trouble: None, .. }) => {}
        }
    }
}

impl Upstream {
    /// No connection yet.
    #[must_use]
    pub fn new(config: &ZoomConfig) -> Self {
        let tls: TlsConnector = transport::tls_connector(config);
        let (timeout, redactor) = (config.connect_timeout, Redactor::default());
        let host = |url: &Url, proxy: &Option<ProxySource>| {
            Host::new(url, Transport::new(url, proxy.clone(), &redactor, &tls, timeout))
        };
        let api = host(&config.api_base_url, &config.api_proxy);
        let token = host(&config.oauth_url, &config.oauth_proxy);
        Self { api, token, redactor }
    }

    /// The later one of both hosts'.
    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        let both = [&self.api, &self.token].map(|host| host.reachability.last_failure());
        both.into_iter().flatten().max_by_key(|failure| failure.at)
    }
}
