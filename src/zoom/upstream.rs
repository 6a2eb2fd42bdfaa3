//! The way to Zoom: one client for both of its hosts, with their URLs as that client is to have them.

use std::{cell::RefCell, rc::Rc};

use awc::{Client, ClientRequest};

use super::{
    ZoomConfig,
    transport::{Origins, Transport},
};

/// Shared by the QoS endpoint and the token endpoint. Belongs to one thread; clones share the connections.
#[derive(Clone)]
pub struct Upstream {
    transport: Transport,
    client: Rc<RefCell<Client>>,
    api_base: String,
    oauth_url: String,
}

impl Upstream {
    /// No connection yet.
    #[must_use]
    pub fn new(config: &ZoomConfig) -> Self {
        let mut origins = Origins::default();
        let api_base = origins.add(&config.api_base_url).trim_end_matches('/').to_owned();
        let oauth_url = origins.add(&config.oauth_url);
        let transport = Transport::new(config, origins);
        let client = Rc::new(RefCell::new(transport.client()));
        Self { transport, client, api_base, oauth_url }
    }

    /// Makes no request any more on a connection that is there now.
    pub(super) fn forget_connections(&self) {
        *self.client.borrow_mut() = self.transport.client();
    }

    /// A `GET` below the API's base.
    pub(super) fn get(&self, path: &str) -> ClientRequest {
        self.client.borrow().get(format!("{}{path}", self.api_base))
    }

    /// A `POST` to the token endpoint.
    pub(super) fn post_for_token(&self) -> ClientRequest {
        self.client.borrow().post(&self.oauth_url)
    }
}
