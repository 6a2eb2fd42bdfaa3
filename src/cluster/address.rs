//! The address of Redis: `redis.url` and the CA that signed its certificate.
//!
//! The service uses only one node. In a Redis Cluster, all keys have the same hash tag, so they are in one slot. The
//! service uses the node that owns this slot; other nodes redirect to it. With Sentinel, the service uses the master
//! that Sentinel names.

use std::net::IpAddr;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo, RedisError,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

const SENTINEL: &str = "+sentinel";

/// An address and a login. It contains a password, so it implements neither `Debug` nor `Serialize`.
#[derive(Clone)]
pub struct Address {
    first: ConnectionInfo,
    /// The name of the master to ask Sentinel for; `None` if the first address is not a Sentinel's.
    pub(super) master: Option<String>,
    /// The only trusted certificates; `None` for Mozilla's roots.
    ca: Option<Vec<CertificateDer<'static>>>,
}

/// An error in `redis.url` or in its CA. The messages do not repeat the URL, because it may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is not a URL, or its scheme is not supported.
    #[error("it must be a URL such as redis://host:6379/0 or rediss://user:password@host/0")]
    Form,
    /// The URL has a query or a fragment that the service would ignore.
    #[error(
        "it has a query or a fragment: only ?master=<name> of a redis+sentinel:// or rediss+sentinel:// URL is known"
    )]
    Surplus,
    /// The URL is a Sentinel's and lacks the name of the master.
    #[error("a Sentinel's URL must end in ?master=<name>")]
    NoMaster,
    /// The client library rejects the URL.
    #[error("no connection can be made with it: {0}")]
    Unusable(&'static str),
    /// The CA file contains no certificate, or one that cannot be used.
    #[error("the CA is not a PEM certificate")]
    Ca,
}

impl Address {
    /// Parses the value of `redis.url`. `ca` is the PEM text of the CA that signed the server's certificate; `None` for a public
    /// CA.
    ///
    /// # Errors
    /// The URL or the CA is invalid.
    pub fn parse(url: &str, ca: Option<&[u8]>) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidAddress::Form)?;
        let (plain_scheme, sentinel) = match scheme.strip_suffix(SENTINEL) {
            Some(plain) => (plain, true),
            None => (scheme, false),
        };
        if !matches!(plain_scheme, "redis" | "rediss") {
            return Err(InvalidAddress::Form);
        }
        let mut url = Url::parse(&format!("{plain_scheme}://{rest}")).map_err(|_| InvalidAddress::Form)?;
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let master = match query.as_slice() {
            [] if !sentinel => None,
            [] => return Err(InvalidAddress::NoMaster),
            [(key, name)] if sentinel && key == "master" && !name.is_empty() => Some(name.clone()),
            _ => return Err(InvalidAddress::Surplus),
        };
        if url.fragment().is_some() {
            return Err(InvalidAddress::Surplus);
        }
        url.set_query(None);
        let info = url.into_connection_info().map_err(|error| unusable(&error))?;
        // RESP3 delivers published messages on the connection that sends commands.
        let settings = quiet(info.redis_settings().clone()).set_protocol(ProtocolVersion::RESP3);
        let first = info.set_redis_settings(settings);
        let certificates = |ca| CertificateDer::pem_slice_iter(ca).collect::<Result<Vec<_>, _>>();
        let ca = ca.map(certificates).transpose().map_err(|_| InvalidAddress::Ca)?;
        if ca.as_ref().is_some_and(|ca| !are_usable(ca)) {
            return Err(InvalidAddress::Ca);
        }
        Ok(Self { first, master, ca })
    }

    pub(crate) fn host(&self) -> String {
        self.first.addr().to_string()
    }

    /// Returns whether the password would leave this machine unencrypted.
    pub(crate) fn shows_password(&self) -> bool {
        let stays_here = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
            is_loopback || host == "localhost" || host.ends_with(".localhost")
        };
        let leaves = matches!(self.first.addr(), ConnectionAddr::Tcp(host, _) if !stays_here(host));
        leaves && self.first.redis_settings().password().is_some()
    }

    pub(super) fn first(&self) -> &ConnectionAddr {
        self.first.addr()
    }

    /// Returns the address of another node, with or without TLS like the first address.
    pub(super) fn node(&self, host: &str, port: u16) -> ConnectionAddr {
        match self.first.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        }
    }

    pub(super) fn login(&self) -> &RedisConnectionInfo {
        self.first.redis_settings()
    }

    /// Returns the login for a Sentinel, which has no user and password, because those in the URL belong to the master.
    pub(super) fn sentinel_login() -> RedisConnectionInfo {
        quiet(RedisConnectionInfo::default())
    }

    /// Returns the configuration of TLS. If a CA is configured, no other CA is trusted.
    pub(super) fn tls(&self) -> rustls::ClientConfig {
        let roots = match &self.ca {
            Some(ca) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add_parsable_certificates(ca.iter().cloned());
                roots
            }
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}

fn are_usable(ca: &[CertificateDer<'static>]) -> bool {
    !ca.is_empty() && ca.iter().all(|one| rustls::RootCertStore::empty().add(one.clone()).is_ok())
}

/// Keeps the client library from announcing itself by CLIENT SETINFO, which would need one more permission.
fn quiet(settings: RedisConnectionInfo) -> RedisConnectionInfo {
    settings.set_skip_set_lib_name()
}

fn unusable(error: &RedisError) -> InvalidAddress {
    let reasons = [
        ("database", "the database is not a number"),
        ("wildcard", "0.0.0.0 and :: are not addresses to connect to"),
        ("host", "the host is missing"),
    ];
    let message = error.to_string().to_lowercase();
    let known = reasons.iter().find(|(word, _)| message.contains(word));
    InvalidAddress::Unusable(known.map_or("see the client library's URL format", |(_, reason)| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> InvalidAddress {
        Address::parse(url, None).err().unwrap_or_else(|| panic!("{url} was accepted"))
    }

    #[test]
    fn urls_of_redis_and_sentinel_are_understood() {
        let parse = |url| Address::parse(url, None).unwrap();
        let plain = parse("redis://cache.example:6380/3");
        assert_eq!(plain.host(), "cache.example:6380");
        assert_eq!((plain.first.redis_settings().db(), plain.master), (3, None));
        let secret = parse("rediss://qos:s%40crets%40cret@cache.example");
        assert_eq!(secret.first.redis_settings().username(), Some("qos"));
        assert_eq!(secret.first.redis_settings().password(), Some("s@crets@cret"));
        assert!(matches!(secret.node("10.0.0.7", 6379), ConnectionAddr::TcpTls { insecure: false, .. }));
        let sentinel = parse("redis+sentinel://sentinels:26379/0?master=qos");
        assert_eq!(sentinel.master.as_deref(), Some("qos"));
        assert!(matches!(parse("rediss+sentinel://s?master=qos").first(), ConnectionAddr::TcpTls { .. }));
    }

    #[test]
    fn a_password_that_leaves_this_machine_unencrypted_is_noticed() {
        let shows = |url| Address::parse(url, None).unwrap().shows_password();
        for url in [
            "redis://:s@cache.example",
            "redis://qos:s@10.0.0.7:6380/1",
            "redis://:s@[2001:db8::1]",
            "redis+sentinel://:s@sentinels/0?master=qos",
        ] {
            assert!(shows(url), "{url}");
        }
        for url in [
            "redis://cache.example",
            "rediss://:s@cache.example",
            "rediss+sentinel://:s@sentinels/0?master=qos",
            "redis://:s@localhost",
            "redis://:s@127.8.0.1",
            "redis://:s@[::1]:6380",
        ] {
            assert!(!shows(url), "{url}");
        }
    }

    #[test]
    fn errors_of_a_redis_url_do_not_contain_its_password() {
        assert_eq!(error("cache.example:6379"), InvalidAddress::Form);
        assert_eq!(error("http://cache.example"), InvalidAddress::Form);
        assert_eq!(error("redis://host/0?timeout=3"), InvalidAddress::Surplus);
        assert_eq!(error("redis+sentinel://host/0"), InvalidAddress::NoMaster);
        assert_eq!(error("rediss://host/0#insecure"), InvalidAddress::Surplus, "TLS without checks is none");
        for url in ["redis://:hunter2@host/first", "redis://:hunter2@0.0.0.0/0", "redis://:hunter2@host:x/"] {
            let message = error(url).to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
        let no_certificate = Address::parse("rediss://host", Some(b"not a certificate")).err();
        assert_eq!(no_certificate, Some(InvalidAddress::Ca));
    }
}
