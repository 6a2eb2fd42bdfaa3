//! Addresses: where to listen, and where Zoom is. Nothing is looked up or connected to.

use std::net::SocketAddr;

use url::{Host, Url};

use super::{Rule, Written, quoted, text, toml_text};
use crate::toml_document::one_line;

/// `IP:PORT`, to listen on.
pub(in crate::config) struct Listener;

impl Rule for Listener {
    type Value = SocketAddr;

    fn read(&self, written: &Written) -> Result<SocketAddr, String> {
        let text = text(written, "\"127.0.0.1:8080\"")?;
        text.parse().map_err(|_| {
            let hint = match text.rsplit_once(':') {
                Some(("localhost", port)) => format!("\"127.0.0.1:{port}\" (names are not looked up)"),
                Some(("" | "*", port)) => format!("\"0.0.0.0:{port}\""),
                _ => "\"127.0.0.1:8080\" or \"[::]:8080\" (names are not looked up)".to_owned(),
            };
            format!("must be \"IP:PORT\", not {}; write one like {}", quoted(text), one_line(&hint))
        })
    }
}

/// An `http` or `https` URL that paths can be added to. It is not repeated in a message: it may hold a password.
pub(in crate::config) struct Base {
    /// Whether a slash at its end is cut off.
    pub(in crate::config) trimmed: bool,
    /// A good one, for messages.
    pub(in crate::config) example: &'static str,
}

impl Rule for Base {
    type Value = Url;

    fn read(&self, written: &Written) -> Result<Url, String> {
        let text = text(written, &format!("\"{}\"", self.example))?;
        let refused = |what: &str| Err(format!("{what}; write one like \"{}\"", self.example));
        let mut url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return refused(&format!("is not a URL: {error}")),
        };
        if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return refused("contains a space or a control character");
        }
        if !matches!(url.scheme(), "http" | "https") {
            return refused("must be an http or https URL");
        }
        if url.host().is_none() {
            return refused("has no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("must not contain a user or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refused("must not contain a query (?…) or fragment (#…)");
        }
        if let Some(path) = url.path().strip_suffix('/').filter(|_| self.trimmed) {
            let path = path.to_owned();
            url.set_path(&path);
        }
        Ok(url)
    }

    fn show(&self, _written: &Written, value: &Url) -> String {
        toml_text(value.as_str())
    }
}

/// Whether what is sent there can be read on the way: `http` that leaves this machine.
pub(in crate::config) fn is_open_to_readers(url: &Url) -> bool {
    let stays = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !stays
}
