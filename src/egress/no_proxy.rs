//! `NO_PROXY`: the hosts to which the service connects without a proxy.
//!
//! There is no standard. This implements forms that curl or Go accepts: names with their subdomains, addresses and
//! networks (`10.0.0.0/8`), each with an optional port, and `*` for every host. It is implemented here so that all of
//! the service's HTTP clients follow the same rules.

use std::net::IpAddr;

use url::{Host, Url};

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// This name and its subdomains.
    Domain(String),
    /// A network: its address, and the length of its prefix in bits.
    Network(IpAddr, u8),
}

impl NoProxy {
    /// Parses a list that is separated by commas or spaces. A word of any other form is kept as a name that matches
    /// no host.
    pub(crate) fn parse(list: &str) -> Self {
        let words = list.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        Self(words.map(Exception::parse).collect())
    }

    /// Returns whether the list contains this URL's host. As in curl, `localhost` uses the proxy unless it is listed.
    pub(crate) fn covers(&self, url: &Url) -> bool {
        let (Some(host), port) = (url.host(), url.port_or_known_default()) else { return false };
        self.0.iter().any(|entry| (entry.port.is_none() || entry.port == port) && entry.hosts.cover(&host))
    }
}

impl Exception {
    fn parse(word: &str) -> Self {
        if let Some(hosts) = Hosts::address(word) {
            return Self { hosts, port: None };
        }
        let (host, port) = match word.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => (host, Some(port)),
            _ => (word, None),
        };
        let name = || Hosts::Domain(host.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase());
        let hosts = if host == "*" { Hosts::All } else { Hosts::address(host).unwrap_or_else(name) };
        Self { hosts, port }
    }
}

impl Hosts {
    fn address(text: &str) -> Option<Self> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all))?;
        Some(Self::Network(address, bits))
    }

    fn cover(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(parent), Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let rest = name.strip_suffix(parent.as_str()).filter(|_| !parent.is_empty());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network(IpAddr::V4(network), bits), Host::Ipv4(address)) => {
                let differ = u32::from(*network) ^ u32::from(*address);
                differ.leading_zeros() >= u32::from(*bits)
            }
            (Self::Network(IpAddr::V6(network), bits), Host::Ipv6(address)) => {
                let differ = u128::from(*network) ^ u128::from(*address);
                differ.leading_zeros() >= u32::from(*bits)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_covers_subdomains_addresses_networks_and_ports() {
        for (list, url, covered) in [
            ("zoom.us", "https://zoom.us", true),
            ("zoom.us", "https://api.zoom.us/v2", true),
            (".zoom.us", "https://api.zoom.us", true),
            ("*.ZOOM.us", "https://api.zoom.us", true),
            ("zoom.us", "https://notzoom.us", false),
            ("api.zoom.us", "https://zoom.us", false),
            ("a.example, zoom.us b.example", "https://zoom.us", true),
            ("*", "https://zoom.us", true),
            ("", "https://zoom.us", false),
            ("zoom.us:443", "https://zoom.us", true),
            ("zoom.us:8443", "https://zoom.us", false),
            ("192.0.2.7", "http://192.0.2.7:8080", true),
            ("192.0.2.7:80", "http://192.0.2.7:8080", false),
            ("192.0.2.0/24", "http://192.0.2.255", true),
            ("192.0.2.0/24", "http://192.0.3.1", false),
            ("0.0.0.0/0", "http://203.0.113.1", true),
            ("2001:db8::/32", "http://[2001:db8:1::1]:8080", true),
            ("[2001:db8::1]:80", "http://[2001:db8::1]", true),
            ("192.0.2.0/24", "http://name.example", false),
            ("", "http://localhost:4318", false),
            ("", "http://127.0.0.1", false),
            ("", "http://[::1]", false),
            ("localhost,127.0.0.0/8,::1", "http://LOCALHOST.:4318", true),
            ("localhost,127.0.0.0/8,::1", "http://127.0.0.9", true),
            ("localhost,127.0.0.0/8,::1", "http://[::1]:4318", true),
            (".", "https://zoom.us", false),
        ] {
            assert_eq!(NoProxy::parse(list).covers(&url.parse().unwrap()), covered, "{list:?} {url}");
        }
    }
}
