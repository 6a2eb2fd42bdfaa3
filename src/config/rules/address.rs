//! Addresses of listeners, and base URLs. Names are not resolved.

use std::net::SocketAddr;

use url::{Host, Url};

use super::{Checked, quoted, text_of, toml_text};
use crate::{config::layers::RawValue, toml_document::one_line};

/// Parses `IP:PORT`, the address of a listener.
pub(crate) fn socket_addr(raw: &RawValue) -> Checked<SocketAddr> {
    let text = text_of(raw, "\"127.0.0.1:8080\"")?;
    let address = text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some(("localhost", port)) => format!("\"127.0.0.1:{port}\" (names are not looked up)"),
            Some(("" | "*", port)) => format!("\"0.0.0.0:{port}\""),
            _ => "\"127.0.0.1:8080\" or \"[::]:8080\" (names are not looked up)".to_owned(),
        };
        format!("must be \"IP:PORT\", not {}; write one like {}", quoted(text), one_line(&hint))
    })?;
    Ok((address, toml_text(text)))
}

/// Parses an `http` or `https` URL to which paths can be added. No message repeats the URL, because it may contain a
/// password. `example` is a valid URL for messages.
pub(crate) fn base_url(raw: &RawValue, example: &str) -> Checked<Url> {
    let text = text_of(raw, &format!("\"{example}\""))?;
    let rejected = |message: &str| Err(format!("{message}; write one like \"{example}\""));
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return rejected(&format!("is not a URL: {error}")),
    };
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return rejected("contains a space or a control character");
    }
    if !matches!(url.scheme(), "http" | "https") {
        return rejected("must be an http or https URL");
    }
    if url.host().is_none() {
        return rejected("has no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return rejected("must not contain a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return rejected("must not contain a query (?…) or fragment (#…)");
    }
    let shown = toml_text(url.as_str());
    Ok((url, shown))
}

/// Parses a base URL, and removes the slash at its end.
pub(crate) fn trimmed_base_url(raw: &RawValue, example: &str) -> Checked<Url> {
    let (mut url, _) = base_url(raw, example)?;
    if let Some(path) = url.path().strip_suffix('/').map(str::to_owned) {
        url.set_path(&path);
    }
    let shown = toml_text(url.as_str());
    Ok((url, shown))
}

/// Returns whether requests to this URL leave this machine unencrypted.
pub(crate) fn is_unencrypted(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_local
}
