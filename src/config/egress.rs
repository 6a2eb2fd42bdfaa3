//! `zoom.proxy` and `zoom.ca_file`, and the variables that replace them if they are not set: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `NO_PROXY`, `SSL_CERT_FILE`.

use std::path::Path;

use url::Url;

use super::{reader::Reader, rules::text::file_path};
use crate::{
    egress::{EnvironmentProxies, MoreRoots, NoProxy, Proxy, ProxySource},
    regular_file,
};

/// The maximum size of a file of certificates, in bytes. All of Mozilla's certificates take about 250 KB.
pub(super) const MAX_CERTIFICATES_BYTES: u64 = 16 << 20;

const PROXY: &str = "zoom.proxy";
const PROXY_FILE: &str = "zoom.proxy_file";
const CA_FILE: &str = "zoom.ca_file";
/// The value of `zoom.proxy` that makes the service ignore the environment's proxies.
const NONE: &str = "none";

pub(super) fn environment_proxies(reader: &mut Reader) -> EnvironmentProxies {
    let https = proxy_from(reader, "HTTPS_PROXY");
    let http = proxy_from(reader, "HTTP_PROXY");
    let exceptions = reader.common_variable("NO_PROXY");
    let exceptions = exceptions.map(|(list, _)| NoProxy::parse(&list)).unwrap_or_default();
    EnvironmentProxies { https, http, exceptions }
}

fn proxy_from(reader: &mut Reader, variable: &'static str) -> Option<Proxy> {
    let (text, origin) = reader.common_variable(variable)?;
    // An unusable proxy is an error, because calls would otherwise bypass the proxy that the operator requires.
    Proxy::parse(&text).map_err(|error| reader.reject_at(PROXY, &origin, format!("{variable}: {error}"))).ok()
}

/// Returns the proxy for each of these URLs of Zoom.
pub(super) fn zoom_proxies<const N: usize>(
    reader: &mut Reader,
    environment: &EnvironmentProxies,
    urls: [Option<&Url>; N],
) -> [Option<ProxySource>; N] {
    let source = reader.optional_secret(PROXY, PROXY_FILE);
    let Some(key) = reader.first_set([PROXY, PROXY_FILE]) else {
        let proxies = urls.map(|url| url.and_then(|url| environment.proxy_for(url)).cloned());
        if let Some(proxy) = proxies.iter().flatten().next() {
            let comment = format!("the environment's; proxy: {}", proxy.host_and_port());
            reader.display(PROXY, "\"[redacted]\"", &comment);
        }
        return proxies.map(|proxy| proxy.map(ProxySource::fixed));
    };
    // A file that cannot be read has already been reported.
    let text = source.as_ref().and_then(|source| source.read().ok());
    let proxy = match (source, text) {
        (Some(_), Some(text)) if text.expose() == NONE => {
            reader.annotate(key, NONE);
            None
        }
        (Some(source), Some(text)) => match Proxy::parse(text.expose()) {
            Ok(proxy) => {
                reader.annotate(key, &format!("proxy: {}", proxy.host_and_port()));
                Some(if key == PROXY {
                    ProxySource::fixed(proxy)
                } else {
                    ProxySource::reloading(proxy, move || Proxy::parse(source.read().ok()?.expose()).ok())
                })
            }
            Err(error) => {
                reader.reject(key, format!("{error}, or \"none\""));
                None
            }
        },
        _ => None,
    };
    std::array::from_fn(|_| proxy.clone())
}

/// Returns the certificates in `SSL_CERT_FILE`. An unusable file is only a warning, because container images set the
/// variable for all their programs.
pub(super) fn environment_roots(reader: &mut Reader) -> MoreRoots {
    let Some((path, origin)) = reader.common_variable("SSL_CERT_FILE") else { return MoreRoots::default() };
    read_roots(Path::new(&path)).unwrap_or_else(|error| {
        reader.warn_at(CA_FILE, &origin, format!("SSL_CERT_FILE is not used: {error}"));
        MoreRoots::default()
    })
}

/// Returns the certificates that are trusted for Zoom in addition to Mozilla's.
pub(super) fn zoom_roots(reader: &mut Reader, environment: &MoreRoots) -> MoreRoots {
    let Some(path) = reader.optional(CA_FILE, file_path) else { return environment.clone() };
    if reader.skip_missing_file(CA_FILE, &path) {
        return MoreRoots::default();
    }
    match read_roots(&path) {
        Ok(roots) => {
            reader.annotate(CA_FILE, &format!("certificates: {}", roots.certificates().len()));
            roots
        }
        Err(error) => {
            reader.reject(CA_FILE, format!("the file cannot be used: {error}"));
            MoreRoots::default()
        }
    }
}

fn read_roots(path: &Path) -> Result<MoreRoots, String> {
    let pem = regular_file::read(path, MAX_CERTIFICATES_BYTES).map_err(|error| error.to_string())?;
    MoreRoots::parse(&pem).ok_or_else(|| "it contains no usable PEM certificate".to_owned())
}
