//! The way out: `zoom.proxy` and `zoom.ca_file`, and what takes their place in the environment, where all programs of a machine
//! look: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`.

use std::path::Path;

use url::Url;

use super::{reader::Reader, rules::FilePath};
use crate::{
    egress::{EnvironmentProxies, MoreRoots, NoProxy, Proxy, ProxySource},
    regular_file,
};

/// Bytes of a file of certificates; Mozilla's whole list has 250,000.
pub(super) const LARGEST_BUNDLE: u64 = 16 << 20;

const PROXY: &str = "zoom.proxy";
const PROXY_FILE: &str = "zoom.proxy_file";
const CA_FILE: &str = "zoom.ca_file";
/// In place of a proxy: none, whatever the environment says.
const NONE: &str = "none";

/// The proxies of the environment.
pub(super) fn environment_proxies(reader: &mut Reader) -> EnvironmentProxies {
    let https = proxy_in(reader, "HTTPS_PROXY");
    let http = proxy_in(reader, "HTTP_PROXY");
    let exceptions = reader.ambient("NO_PROXY").map(|(list, _)| NoProxy::parse(&list)).unwrap_or_default();
    EnvironmentProxies { https, http, exceptions }
}

fn proxy_in(reader: &mut Reader, variable: &'static str) -> Option<Proxy> {
    let (text, at) = reader.ambient(variable)?;
    let proxy = Proxy::parse(&text);
    // To go another way than the one that the machine's operator wants would be no help.
    proxy.map_err(|invalid| reader.problem(PROXY, &at, format!("{variable}: {invalid}"))).ok()
}

/// The proxy for each of these URLs of Zoom's.
pub(super) fn zoom_proxies<const N: usize>(
    reader: &mut Reader,
    environment: &EnvironmentProxies,
    urls: [Option<&Url>; N],
) -> [Option<ProxySource>; N] {
    let source = reader.optional_secret(PROXY, PROXY_FILE);
    let Some((key, at)) = reader.first_set([PROXY, PROXY_FILE]) else {
        let proxies = urls.map(|url| url.and_then(|url| environment.of(url)).cloned());
        if let Some(proxy) = proxies.iter().flatten().next() {
            let comment = format!("the environment's; proxy: {}", proxy.place());
            reader.show_derived(PROXY, "\"[redacted]\"", &comment);
        }
        return proxies.map(|proxy| proxy.map(ProxySource::fixed));
    };
    let none = || std::array::from_fn(|_| None);
    // An unreadable file is noted already.
    let Some((source, text)) = source.and_then(|source| source.read().ok().map(|text| (source, text))) else {
        return none();
    };
    if text.expose() == NONE {
        reader.remark(key, NONE);
        return none();
    }
    match Proxy::parse(text.expose()) {
        Ok(proxy) => {
            reader.remark(key, &format!("proxy: {}", proxy.place()));
            let proxy = if key == PROXY {
                ProxySource::fixed(proxy)
            } else {
                ProxySource::read_by(proxy, move || Proxy::parse(source.read().ok()?.expose()).ok())
            };
            std::array::from_fn(|_| Some(proxy.clone()))
        }
        Err(invalid) => {
            reader.problem(key, &at, format!("{invalid}, or \"none\""));
            none()
        }
    }
}

/// The certificates that `SSL_CERT_FILE` adds. One that cannot be used is a warning: images have it set for all programs.
pub(super) fn environment_roots(reader: &mut Reader) -> MoreRoots {
    let Some((path, at)) = reader.ambient("SSL_CERT_FILE") else { return MoreRoots::default() };
    read_roots(Path::new(&path)).unwrap_or_else(|what| {
        reader.warn(CA_FILE, &at, format!("SSL_CERT_FILE is not used: {what}"));
        MoreRoots::default()
    })
}

/// The certificates that are trusted for Zoom.
pub(super) fn zoom_roots(reader: &mut Reader, environment: &MoreRoots) -> MoreRoots {
    let path = reader.optional(CA_FILE, &FilePath);
    let (Some(path), Some(at)) = (path, reader.origin(CA_FILE)) else {
        return environment.clone();
    };
    match read_roots(&path) {
        Ok(roots) => {
            reader.remark(CA_FILE, &format!("certificates: {}", roots.certificates().len()));
            roots
        }
        Err(what) => {
            reader.problem(CA_FILE, &at, format!("the file cannot be used: {what}"));
            MoreRoots::default()
        }
    }
}

fn read_roots(path: &Path) -> Result<MoreRoots, String> {
    let pem = regular_file::read(path, LARGEST_BUNDLE).map_err(|error| error.to_string())?;
    MoreRoots::parse(&pem).map_err(|error| error.to_string())
}
