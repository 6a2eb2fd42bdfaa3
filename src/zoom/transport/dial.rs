//! Connects to the first of a name's addresses that answers: RFC 8305, "Happy Eyeballs".

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::net::TcpStream;

/// If an address has not answered for this long, the next one is tried in parallel.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Tries the addresses in turn: the next one as soon as one fails, or 250 ms after the previous one was tried. The
/// tries run in parallel, and the first connection wins. The caller adds a timeout, because an address that drops
/// packets takes minutes to fail.
///
/// # Errors
/// All addresses failed, or there are none. The error is the first one that says more than "no route", if there is
/// one, because many machines have no route for IPv6.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut untried = families_in_turn(addresses).into_iter();
    let mut tries = FuturesUnordered::new();
    let mut failure: Option<io::Error> = None;
    loop {
        match untried.next() {
            Some(address) => tries.push(TcpStream::connect(address)),
            None if tries.is_empty() => {
                return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            None => {}
        }
        tokio::select! {
            Some(end) = tries.next() => match end {
                Ok(tcp) => return Ok(tcp),
                Err(error) if failure.as_ref().is_none_or(has_no_route) => failure = Some(error),
                Err(_) => {}
            },
            () = tokio::time::sleep(NEXT_AFTER), if untried.len() > 0 => {}
        }
    }
}

fn has_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

/// Returns the addresses in the system's order, but alternating between IPv4 and IPv6, so that one broken family
/// costs a single wait.
fn families_in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut in_turn = Vec::with_capacity(one.len() + other.len());
    while one.len() + other.len() > 0 {
        in_turn.extend(one.next());
        in_turn.extend(other.next());
    }
    in_turn
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_in_the_systems_order() {
        let system = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let expected = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(families_in_turn(system), expected);
        assert_eq!(families_in_turn(addresses(&["1.0.0.1:1"])), addresses(&["1.0.0.1:1"]));
        assert_eq!(families_in_turn(Vec::new()), []);
    }

    /// An address that drops packets, as the kernel does once the accept queue is full.
    async fn black_hole() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let (address, mut waiting) = (listener.local_addr().unwrap(), Vec::new());
        while let Ok(connected) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            waiting.push(connected.unwrap());
        }
        (address, waiting, listener)
    }

    #[actix_rt::test]
    async fn silent_addresses_cost_250_ms_each_and_refusing_ones_nothing() {
        let (hole, _waiting, _listener) = black_hole().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = (good.local_addr().unwrap(), good);
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let began = Instant::now();
        let connected = connect(vec![hole, hole, refusing, good.0]).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), good.0);
        let took = began.elapsed();
        assert!((500..900).contains(&took.as_millis()), "{took:?}");
    }

    #[actix_rt::test]
    async fn the_error_is_returned_once_every_address_has_failed() {
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = connect(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(Vec::new()).await.is_err());
    }
}
