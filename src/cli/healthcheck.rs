//! `healthcheck`: one request to the service's own `/readyz`, or to a URL. Only status 200 means success.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use crate::config::Config;
use ureq::Agent;
use url::Url;

use super::exit::failed;

/// Longer than a busy service needs, shorter than the probes that run this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A wrong configuration fails with 1, too: a container's health check allows no other codes than 0 and 1.
pub(super) fn run(files: &[PathBuf], url: Option<&Url>) -> ExitCode {
    let checked = match url {
        Some(url) => get(url.as_str()),
        None => match Config::ops_listen_from_process(files) {
            Ok(listen) => get(&format!("http://{}/readyz", reachable(listen))),
            Err(problems) => return failed(problems),
        },
    };
    match checked {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => failed(format_args!("not ready: {reason}")),
    }
}

/// Only plain HTTP: within a cluster nothing else is needed.
pub(super) fn plain_http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" => Ok(url),
        _ => Err("must begin with http://".to_owned()),
    }
}

fn get(url: &str) -> Result<(), String> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        // Otherwise ureq would use the proxy of the environment.
        .proxy(None)
        .build();
    let response = config.new_agent().get(url).call().map_err(|error| format!("{url}: {error}"))?;
    match response.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{url} answers with status {status}")),
    }
}

/// Replaces an unspecified address, on which the service listens but cannot be reached, by the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
