//! `zoom-qos-proxy healthcheck`: one plain request to the service's own ops listener.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than a busy service needs, shorter than the probes that call this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether `/readyz` answers 200.
///
/// # Errors
/// What it answers instead, or why there is no answer.
pub(crate) fn ask(ops_listen: SocketAddr) -> io::Result<()> {
    let address = reachable(ops_listen);
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status_line = String::new();
    BufReader::new(connection).read_line(&mut status_line)?;
    match status_line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("/readyz at {address} says {:?}", status_line.trim_end()))),
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
