//! `zoom-qos-proxy healthcheck`: one plain request to the service's own ops listener, or to a URL.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use url::{Position, Url};

/// Longer than a busy service needs, shorter than the probes that call this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether `/readyz` answers 200.
///
/// # Errors
/// What it answers instead, or why there is no answer.
pub(crate) fn ask(ops_listen: SocketAddr) -> io::Result<()> {
    let address = reachable(ops_listen);
    is_200(TcpStream::connect_timeout(&address, TIMEOUT)?, &address.to_string(), "/readyz")
}

/// Whether a URL answers 200, at the first of its host's addresses that can be connected to.
///
/// # Errors
/// What it answers instead, or why there is no answer.
pub(crate) fn ask_url(url: &Url) -> io::Result<()> {
    let mut unreachable = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in url.socket_addrs(|| None)? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(connection) => {
                let host = &url[Position::BeforeHost..Position::AfterPort];
                return is_200(connection, host, &url[Position::BeforePath..Position::AfterQuery]);
            }
            Err(error) => unreachable = error,
        }
    }
    Err(unreachable)
}

/// A URL that can be asked here: within a cluster nothing but plain HTTP is needed.
pub(crate) fn plain_http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" => Ok(url),
        _ => Err("must begin with http://".to_owned()),
    }
}

fn is_200(mut connection: TcpStream, host: &str, target: &str) -> io::Result<()> {
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    write!(connection, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut status_line = String::new();
    BufReader::new(connection).read_line(&mut status_line)?;
    match status_line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("{target} at {host} says {:?}", status_line.trim_end()))),
    }
}

/// A listener on all addresses is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
