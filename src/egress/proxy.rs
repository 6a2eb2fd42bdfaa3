//! An HTTP proxy: its address, and the credentials for it.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::percent_decode_str;
use url::Url;

/// A proxy for `CONNECT` tunnels. It has no `Debug`, because it may contain a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Url,
    authorization: Option<String>,
}

/// An error in a proxy's URL. The message does not repeat the URL, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidProxy {
    #[error("it must be http://[user:password@]host:port")]
    Form,
    #[error("only HTTP proxies are supported; write http://[user:password@]host:port")]
    Scheme,
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]`. The scheme may be missing, as it often is in environment variables.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url: Url = url.parse().map_err(|_| InvalidProxy::Form)?;
        if url.scheme() != "http" {
            return Err(InvalidProxy::Scheme);
        }
        if url.host_str().is_none() || url.path() != "/" || url.query().is_some() || url.fragment().is_some()
        {
            return Err(InvalidProxy::Form);
        }
        let decode = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let password = decode(url.password().unwrap_or_default());
            let pair = [decode(url.username()).as_slice(), b":", &password].concat();
            format!("Basic {}", BASE64.encode(pair))
        });
        Ok(Self { url, authorization })
    }

    /// Returns the host, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Returns the address for the log, without the credentials.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port())
    }

    /// Returns the value of `Proxy-Authorization`, which is a secret.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Returns the password and the credentials of `Proxy-Authorization`, which neither the log nor responses may contain.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        let password = self.url.password().map(|password| percent_decode_str(password).decode_utf8_lossy());
        let basic = self.authorization.as_deref().and_then(|value| value.strip_prefix("Basic "));
        password.map(Cow::into_owned).into_iter().chain(basic.map(str::to_owned))
    }

    /// Returns the URL with the password, for an HTTP client that takes it as text.
    pub(crate) fn expose_url(&self) -> &str {
        self.url.as_str()
    }
}

/// A proxy whose URL may be in a file that changes.
#[derive(Clone)]
pub struct ProxySource {
    initial: Proxy,
    reload: Option<Arc<dyn Fn() -> Option<Proxy> + Send + Sync>>,
}

impl ProxySource {
    pub(crate) fn fixed(proxy: Proxy) -> Self {
        Self { initial: proxy, reload: None }
    }

    /// Returns a source that calls `reload` for each [`Self::read`]. If `reload` returns `None`, the source returns
    /// the initial proxy.
    pub(crate) fn reloading(
        initial: Proxy,
        reload: impl Fn() -> Option<Proxy> + Send + Sync + 'static,
    ) -> Self {
        Self { initial, reload: Some(Arc::new(reload)) }
    }

    /// Returns whether [`Self::read`] reads a file, which can block.
    pub(crate) fn may_change(&self) -> bool {
        self.reload.is_some()
    }

    /// Returns the current proxy.
    pub fn read(&self) -> Proxy {
        self.reload.as_ref().and_then(|reload| reload()).unwrap_or_else(|| self.initial.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_url_is_parsed_with_its_credentials() {
        let parse = |text| Proxy::parse(text).ok().unwrap();
        let plain = parse("http://proxy.example:3128");
        assert_eq!((plain.host(), plain.port(), plain.authorization()), ("proxy.example", 3128, None));
        assert_eq!(parse("proxy.example:8080/").host_and_port(), "proxy.example:8080");
        assert_eq!(parse("http://proxy.example").host_and_port(), "proxy.example:80");
        assert_eq!(
            (parse("http://[::1]:3128").host(), parse("http://[::1]:3128").host_and_port()),
            ("::1", "[::1]:3128".to_owned())
        );
        // The header contains the base64 of `user:p@ss:word`.
        let secret = parse("http://user:p%40ss%3Aword@proxy.example:3128");
        assert_eq!(secret.authorization(), Some("Basic dXNlcjpwQHNzOndvcmQ="));
        assert_eq!(secret.host_and_port(), "proxy.example:3128");
        assert!(secret.secrets().eq(["p@ss:word", "dXNlcjpwQHNzOndvcmQ="]));
        assert_eq!(plain.secrets().count(), 0);
    }

    #[test]
    fn an_invalid_proxy_url_is_rejected() {
        for text in ["socks5://proxy:1080", "https://u:hunter2@proxy"] {
            assert_eq!(Proxy::parse(text).err(), Some(InvalidProxy::Scheme), "{text}");
        }
        for text in ["", "http://", "http://u:hunter2@proxy:x", "http://proxy/path", "http://proxy?x", "a b"]
        {
            assert_eq!(Proxy::parse(text).err(), Some(InvalidProxy::Form), "{text}");
        }
    }
}
