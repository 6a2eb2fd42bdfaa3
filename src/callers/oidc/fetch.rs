//! Fetches the keys of an issuer, by HTTP or from a file. This blocks, so it runs on a blocking thread.

use std::{path::Path, time::Duration};

use serde::Deserialize;
use ureq::{Agent, Error, tls::TlsConfig};
use url::Url;

use super::{entry::KeySource, jwks::KeySet};
use crate::{
    egress::{EnvironmentProxies, MoreRoots},
    regular_file,
};

/// The maximum time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of the keys, in bytes. A thousand RSA keys with their certificates take about 3 MB.
const MAX_KEY_BYTES: u64 = 8 << 20;
/// The maximum size of a discovery document, of a token file and of a file of certificates, in bytes.
const MAX_OTHER_BYTES: u64 = 1 << 20;
/// The path of the discovery document below the issuer's URL (OIDC Discovery 1.0, 4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Fetches keys, through these proxies if the URL is `https`.
#[derive(Clone, Default)]
pub(in crate::callers) struct KeyFetcher {
    pub(in crate::callers) proxies: EnvironmentProxies,
}

/// Fetches the keys of the issuer with this URL. The error is for the log and `/status`, and contains no secret.
pub(in crate::callers) fn fetch(
    fetcher: &KeyFetcher,
    issuer: &str,
    source: &KeySource,
) -> Result<KeySet, String> {
    let document = match source {
        KeySource::File(path) => return key_file(path),
        KeySource::Url { jwks_url, issuer_url, token_file, ca_file } => {
            let roots = roots(ca_file.as_deref())?;
            let token = token_file.as_deref().map(read_token).transpose()?;
            let get = |url: &Url, max_bytes| {
                // A discovered URL of another server must not get the token.
                let trusted = jwks_url.as_ref().unwrap_or(issuer_url);
                let token = token.as_deref().filter(|_| url.origin() == trusted.origin());
                fetcher.get(url, token, &roots, max_bytes)
            };
            match jwks_url {
                Some(url) => get(url, MAX_KEY_BYTES)?,
                None => get(
                    &discovered(issuer, &get(&discovery_url(issuer_url), MAX_OTHER_BYTES)?)?,
                    MAX_KEY_BYTES,
                )?,
            }
        }
    };
    KeySet::parse(&document)
}

/// Returns every file of this source that cannot be used, and why. Fetches nothing.
pub(in crate::callers) fn unusable_files(source: &KeySource) -> Vec<(&Path, String)> {
    let problem = |path, read: Result<(), String>| Some((path, read.err()?));
    match source {
        KeySource::File(path) => problem(path.as_path(), key_file(path).map(drop)).into_iter().collect(),
        KeySource::Url { token_file, ca_file, .. } => {
            let token = token_file.as_deref().map(|path| problem(path, read_token(path).map(drop)));
            let roots = ca_file.as_deref().map(|path| problem(path, roots(Some(path)).map(drop)));
            [token, roots].into_iter().flatten().flatten().collect()
        }
    }
}

fn key_file(path: &Path) -> Result<KeySet, String> {
    let document =
        regular_file::read(path, MAX_KEY_BYTES).map_err(|error| unreadable("jwks_file", path, &error))?;
    KeySet::parse(&document).map_err(|error| format!("jwks_file {}: {error}", path.display()))
}

fn discovery_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    url.set_path(&format!("{}{DISCOVERY_PATH}", issuer.path().trim_end_matches('/')));
    url
}

/// Returns the URL of the keys in a discovery document, which must be this issuer's.
fn discovered(issuer: &str, document: &[u8]) -> Result<Url, String> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
        jwks_uri: String,
    }
    let found: Discovery = serde_json::from_slice(document)
        .map_err(|_| "the discovery document has no issuer or no jwks_uri".to_owned())?;
    if found.issuer != issuer {
        return Err("the discovery document is that of another issuer; compare it with url".to_owned());
    }
    let url: Option<Url> = found.jwks_uri.parse().ok();
    url.filter(is_protected)
        .ok_or_else(|| "the jwks_uri of the discovery document is no https URL".to_owned())
}

/// Returns whether an attacker on the network cannot replace the keys: true for https, and for http to this machine.
pub(in crate::callers) fn is_protected(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn roots(ca_file: Option<&Path>) -> Result<MoreRoots, String> {
    let Some(path) = ca_file else { return Ok(MoreRoots::default()) };
    let pem =
        regular_file::read(path, MAX_OTHER_BYTES).map_err(|error| unreadable("ca_file", path, &error))?;
    MoreRoots::parse(&pem).ok_or_else(|| format!("ca_file {} has no usable certificate", path.display()))
}

fn read_token(path: &Path) -> Result<String, String> {
    let token = regular_file::read_text(path, MAX_OTHER_BYTES);
    let token = token.map_err(|error| unreadable("token_file", path, &error))?;
    match token.trim() {
        "" => Err(format!("token_file {} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}

fn unreadable(key: &str, path: &Path, error: &std::io::Error) -> String {
    format!("{key} {} cannot be read: {error}", path.display())
}

impl KeyFetcher {
    fn get(
        &self,
        url: &Url,
        token: Option<&str>,
        roots: &MoreRoots,
        max_bytes: u64,
    ) -> Result<Vec<u8>, String> {
        // A proxy is used only for https: a request in plain text must not leave this machine.
        let proxy = self.proxies.proxy_for(url).filter(|_| url.scheme() == "https");
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Without this, ureq would take the proxy from the environment.
            .proxy(proxy.and_then(|proxy| ureq::Proxy::new(proxy.expose_url()).ok()))
            .tls_config(TlsConfig::builder().root_certs(roots.for_ureq()).build())
            .user_agent(concat!("zoom-qos-proxy/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut request = agent.get(url.as_str()).header("accept", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let failed = |error: &Error| format!("{}: {}", place(url), cause(error));
        let mut response = request.call().map_err(|error| failed(&error))?;
        match response.status().as_u16() {
            200 => response
                .body_mut()
                .with_config()
                .limit(max_bytes)
                .read_to_vec()
                .map_err(|error| failed(&error)),
            status => Err(format!("{} answers with status {status}", place(url))),
        }
    }
}

/// Returns the URL without user, password and query, which may be secrets.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // `set_username` and `set_password` fail only for URLs without a host.
    let _has_host = url.set_username("").is_ok() && url.set_password(None).is_ok();
    url.into()
}

fn cause(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".to_owned(),
        Error::Io(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}
