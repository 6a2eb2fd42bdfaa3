//! An HTTP proxy: where it is, and how we show who we are.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::percent_decode_str;
use url::Url;

/// A proxy that is asked for tunnels with `CONNECT`. It may hold a password, and so nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Url,
    authorization: Option<String>,
}

/// The fault of a proxy's URL. It does not repeat the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// No URL of this form.
    #[error("it must be http://[user:password@]host:port")]
    Form,
    /// A proxy of another kind.
    #[error("only HTTP proxies are spoken to: write http://[user:password@]host:port")]
    Scheme,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; in environment variables the scheme is often missing.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, InvalidProxy> {
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

    /// The host, without the brackets of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port; 80 unless given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Host and port, for the log.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port())
    }

    /// The value of `Proxy-Authorization`: a secret.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// What nobody may see of it: the password, and the value of `Proxy-Authorization` that is made of it.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let password = self.url.password().map(|password| percent_decode_str(password).decode_utf8_lossy());
        let basic = self.authorization.as_deref().and_then(|value| value.strip_prefix("Basic "));
        password.map(Cow::into_owned).into_iter().chain(basic.map(str::to_owned))
    }

    /// The whole URL with its password, for a client that takes it as text: a secret.
    #[must_use]
    pub fn expose_url(&self) -> &str {
        self.url.as_str()
    }
}

/// A proxy whose password may be in a file that changes.
#[derive(Clone)]
pub struct ProxySource {
    first: Proxy,
    now: Option<Arc<dyn Fn() -> Option<Proxy> + Send + Sync>>,
}

impl ProxySource {
    /// One that stays as it is.
    #[must_use]
    pub fn fixed(proxy: Proxy) -> Self {
        Self { first: proxy, now: None }
    }

    /// One that is read again before each connection; while it cannot be read, the first one read counts.
    pub fn read_by(first: Proxy, now: impl Fn() -> Option<Proxy> + Send + Sync + 'static) -> Self {
        Self { first, now: Some(Arc::new(now)) }
    }

    /// Whether [`ProxySource::read`] reads a file, which can block.
    #[must_use]
    pub fn may_change(&self) -> bool {
        self.now.is_some()
    }

    /// As it is now.
    #[must_use]
    pub fn read(&self) -> Proxy {
        self.now.as_ref().and_then(|now| now()).unwrap_or_else(|| self.first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_url_is_read_with_its_credentials() {
        let parse = |text| Proxy::parse(text).ok().unwrap();
        let plain = parse("http://proxy.example:3128");
        assert_eq!((plain.host(), plain.port(), plain.authorization()), ("proxy.example", 3128, None));
        assert_eq!(parse("proxy.example:8080/").place(), "proxy.example:8080");
        assert_eq!(parse("http://proxy.example").place(), "proxy.example:80");
        assert_eq!(
            (parse("http://[::1]:3128").host(), parse("http://[::1]:3128").place()),
            ("::1", "[::1]:3128".to_owned())
        );
        // user:p@ss:word
        let secret = parse("http://user:p%40ss%3Aword@proxy.example:3128");
        assert_eq!(secret.authorization(), Some("Basic dXNlcjpwQHNzOndvcmQ="));
        assert_eq!(secret.place(), "proxy.example:3128");
        assert!(secret.secrets().eq(["p@ss:word", "dXNlcjpwQHNzOndvcmQ="]));
        assert_eq!(plain.secrets().count(), 0);
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_without_repeating_it() {
        for text in ["socks5://proxy:1080", "https://u:hunter2@proxy"] {
            assert_eq!(Proxy::parse(text).err(), Some(InvalidProxy::Scheme), "{text}");
        }
        for text in ["", "http://", "http://u:hunter2@proxy:x", "http://proxy/path", "http://proxy?x", "a b"]
        {
            assert_eq!(Proxy::parse(text).err(), Some(InvalidProxy::Form), "{text}");
        }
    }
}
