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

/// Longer than a busy service needs to respond, and shorter than the timeouts of the probes that run this command.
const TIMEOUT: Duration = Duration::from_secs(3);

/// An invalid configuration also ends with exit code 1, because a container's health check allows only the codes 0 and 1.
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

/// Parses an `http://` URL. Other schemes are rejected, because a check within a cluster needs only plain HTTP.
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
        // Otherwise ureq would use the proxy that the environment names.
        .proxy(None)
        .build();
    let response = config.new_agent().get(url).call().map_err(|error| format!("{url}: {error}"))?;
    match response.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{url} answers with status {status}")),
    }
}

/// Replaces an unspecified address, such as 0.0.0.0, with the loopback address. A server can listen on an
/// unspecified address, but clients cannot rely on connecting to one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
