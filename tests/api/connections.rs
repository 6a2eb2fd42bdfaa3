//! Peers that misuse a connection, and legitimate ones that look similar.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use test_support::{
    client::{Connection, read_answer},
    service::Service,
    simulator::sim,
    wait::{PATIENCE, pause, wait_for},
};
use zoom_sim::Meeting;

const HEAD: &str = "GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\n\r\n";

/// Sends up to 480 KiB of requests without reading an answer. Stops when the service accepts no bytes for 300 ms.
fn floods(to: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let requests = request.repeat(480 * 1024 / request.len());
    let mut sent = 0;
    while sent < requests.len() {
        match stream.write(&requests.as_bytes()[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream
}

#[test]
fn a_pipelining_peer_that_never_reads_costs_little_time_and_memory() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.write_timeout", "1h")]);
    assert_eq!(service.get("/qos/85746065432").status, 200);
    let before = service.resident();
    for (to, path) in
        [(service.addr, "/qos/85746065432"), (service.addr, "/nothing"), (service.ops, "/metrics")]
    {
        let request = format!("GET {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        let peers: Vec<_> = (0..6)
            .map(|_| {
                thread::spawn({
                    let request = request.clone();
                    move || floods(to, &request)
                })
            })
            .collect();
        let peers: Vec<_> = peers.into_iter().map(|peer| peer.join().unwrap()).collect();
        // At first, the service is still answering requests.
        wait_for(|| (service.load_at_rest() < 0.05).then_some(()));
        let more = service.resident().saturating_sub(before) >> 20;
        assert!(more < 16, "{path}: {more} MiB for six silent peers");
        assert_eq!(service.ops_get("/healthz").status, 200);
        drop(peers);
    }
    service.finish(&[]);
}

#[test]
fn a_request_with_an_unread_body_is_answered_without_delay() {
    let sim = sim(|config| config.latency = Duration::from_secs(5));
    let service = Service::start(&sim, &[("server.head_timeout", "1h")]);
    let body = "x".repeat(700_000);
    for framing in [
        "Content-Length: 700000\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\naae60\r\n".to_owned(),
    ] {
        service.ops_purge();
        let head =
            format!("GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\nConnection: close\r\n{framing}");
        let mut peer = TcpStream::connect(service.addr).unwrap();
        let writer = peer.try_clone().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        thread::scope(|scope| {
            let (request, mut writer) = (format!("{head}{body}\r\n0\r\n\r\n"), &writer);
            // The write fails if the connection is closed before all bytes are sent.
            scope.spawn(move || writer.write_all(request.as_bytes()).ok());
            wait_for(|| (service.metric("zoom_qos_proxy_flights_active") == 1.0).then_some(()));
            let load = service.load_at_rest();
            assert!(load < 0.05, "{framing:?}: {load} of a processor");
            assert_eq!(service.metric("zoom_qos_proxy_flights_active"), 1.0, "the request still waits");
            let mut answer = [0; 12];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            peer.shutdown(std::net::Shutdown::Both).ok();
        });
    }
    service.finish(&[]);
}

#[test]
fn an_unfinished_first_or_second_head_gets_408_and_a_close() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.head_timeout", "600ms")]);
    for to in [service.addr, service.ops] {
        for requests_before in [0, 1] {
            let mut peer = Connection::open(to);
            for _ in 0..requests_before {
                assert_eq!(peer.ask("GET", "/nothing").status, 404);
            }
            let began = Instant::now();
            peer.send_raw(b"GET /nothing HTTP/1.1\r\nHost: service\r\n");
            let answer = wait_for(|| {
                // Each poll sends one more byte of the head.
                let closed = peer.try_send_raw(b"x").is_err() || peer.has_answer(Duration::from_millis(50));
                closed.then(|| peer.receive(false))
            });
            let took = began.elapsed();
            assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
            assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(5), "{took:?}");
            assert!(peer.is_closed());
        }
    }
    service.finish(&[]);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.idle_timeout", "600ms")]);
    for to in [service.addr, service.ops] {
        for requests_before in [0, 2] {
            let mut peer = Connection::open(to);
            for _ in 0..requests_before {
                assert_eq!(peer.ask("GET", "/nothing").status, 404);
            }
            let began = Instant::now();
            assert!(peer.is_closed(), "the connection closes without a second answer");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(5), "{took:?}");
        }
    }
    service.finish(&[]);
}

/// Asserts that the service answers a probe within a second.
fn assert_alive(service: &Service) {
    let asked = Instant::now();
    assert_eq!(service.ops_get("/healthz").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[test]
fn connections_beyond_the_limit_wait_and_probes_do_not() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.max_connections", "4"), ("server.workers", "2")]);
    let mut kept: Vec<_> = (0..4).map(|_| Connection::open(service.addr)).collect();
    for peer in &mut kept {
        assert_eq!(peer.ask("GET", "/nothing").status, 404);
    }
    let mut waiting: Vec<_> = (0..20).map(|_| Connection::open(service.addr)).collect();
    for peer in &mut waiting {
        peer.send("GET", "/nothing");
    }
    for peer in &mut waiting[..3] {
        assert!(!peer.has_answer(Duration::from_millis(100)));
    }
    assert_alive(&service);
    assert_eq!(service.metric("zoom_qos_proxy_connections{listener=\"callers\"}"), 4.0);
    assert_eq!(service.metric("zoom_qos_proxy_connections{listener=\"ops\"}"), 1.0);
    drop(kept);
    // Each closed connection admits a waiting one.
    for mut peer in waiting {
        assert_eq!(peer.receive(false).status, 404);
    }
    wait_for(|| (service.metric("zoom_qos_proxy_connections{listener=\"callers\"}") == 0.0).then_some(()));
    service.finish(&[]);
}

#[test]
fn open_files_are_reserved_for_probes() {
    let sim = sim(|_| ());
    let service = Service::start_by(&sim, &[], &["sh", "-c", "ulimit -n 128; exec \"$0\""]);
    let mut peers: Vec<_> = (0..200).map(|_| Connection::open(service.addr)).collect();
    for peer in &mut peers {
        peer.send("GET", "/nothing");
    }
    for peer in &mut peers[..10] {
        assert_eq!(peer.receive(false).status, 404);
    }
    for _ in 0..5 {
        assert_alive(&service);
    }
    assert!(service.open_files() < 128);
    assert_eq!(service.ops_get("/metrics").status, 200);
    // If connections wait in the kernel's queue while the service stops, actix-server may accept one after its last worker
    // has ended, and panic. They are accepted in order, so none waits once a later one is answered.
    drop(peers);
    assert_eq!(service.get("/nothing").status, 404);
    service.finish(&["exceeds the limit of open files"]);
}

#[test]
fn connections_that_the_service_ends_are_counted_by_reason() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.head_timeout", "300ms")]);
    let refused = |reason: &str| {
        let name = format!("zoom_qos_proxy_connections_refused_total{{reason=\"{reason}\"}}");
        service.metric(&name)
    };
    for reason in ["malformed", "head_too_long", "head_timeout", "write_timeout"] {
        assert_eq!(refused(reason), 0.0);
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(80 << 10));
    for (sent, reason) in
        [("\x16\x03\x01 TLS\r\n\r\n", "malformed"), (&long, "head_too_long"), ("GET / HT", "head_timeout")]
    {
        let mut peer = Connection::open(service.addr);
        peer.send_raw(sent.as_bytes());
        assert!(!peer.is_closed(), "the service must answer before it closes");
        assert_eq!(refused(reason), 1.0, "{reason}");
    }
    assert_eq!(refused("malformed") + refused("head_too_long") + refused("head_timeout"), 3.0);
    service.finish(&[]);
}

/// A peer with a small receive buffer.
fn narrow(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

#[test]
fn an_unread_answer_ends_its_connection_but_a_slowly_read_one_arrives() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 200, 60));
    let service = Service::start(&sim, &[("server.write_timeout", "800ms")]);
    let whole = service.get("/qos/91111111111").body;
    assert!(whole.len() > 8 << 20, "more than the socket buffers hold: {}", whole.len());
    let before = service.open_files();
    let request = b"GET /qos/91111111111 HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n";

    let mut silent = narrow(service.addr);
    silent.write_all(request).unwrap();
    wait_for(|| (service.open_files() > before).then_some(()));
    wait_for(|| (service.open_files() <= before).then_some(()));
    let mut got = Vec::new();
    silent.read_to_end(&mut got).ok();
    assert!(got.len() < whole.len(), "the connection was closed");

    let mut slow = narrow(service.addr);
    slow.write_all(request).unwrap();
    let mut got = vec![0; 1 << 20];
    let began = Instant::now();
    // The peer reads 128 KiB in each write timeout, too little for the kernel to report the socket as writable.
    for part in got.chunks_mut(16 * 1024) {
        slow.read_exact(part).unwrap();
        pause(Duration::from_millis(100));
    }
    assert!(began.elapsed() > Duration::from_secs(5));
    slow.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&whole), "{} of {}", got.len(), whole.len());
    service.finish(&[]);
}

#[test]
fn pipelined_head_and_get_are_each_answered_correctly_in_any_order() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    sim.add_meeting(Meeting::generated("91111111111", 3, 3));
    let service = Service::start(&sim, &[]);
    let methods = ["GET", "HEAD", "GET", "GET", "HEAD", "HEAD", "GET", "HEAD"];
    for methods in [methods.to_vec(), methods.iter().rev().copied().collect()] {
        service.ops_purge();
        let mut peer = Connection::open(service.addr);
        let requests: String = methods
            .iter()
            .map(|method| format!("{method} /qos/91111111111 HTTP/1.1\r\nHost: service\r\n\r\n"))
            .collect();
        peer.send_raw(requests.as_bytes());
        for method in methods {
            let answer = peer.receive(method == "HEAD");
            assert_eq!(answer.status, 200, "{method}");
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            assert!(length > 1_000);
            assert_eq!(answer.body.len(), if method == "HEAD" { 0 } else { length });
        }
    }
    service.finish(&[]);
}

/// Java's HTTP client offers an upgrade to HTTP/2 by default.
#[test]
fn an_upgrade_offer_is_ignored_and_the_connection_is_kept() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for offer in [
        "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n",
        "upgrade: websocket\r\nconnection: keep-alive, upgrade\r\n",
    ] {
        for (to, path) in [(service.addr, "/qos/85746065432"), (service.ops, "/healthz")] {
            let mut peer = Connection::open(to);
            for _ in 0..100 {
                peer.send_raw(format!("GET {path} HTTP/1.1\r\nHost: service\r\n{offer}\r\n").as_bytes());
                let answer = peer.receive(false);
                assert_eq!(
                    (answer.status, answer.header("connection"), answer.header("upgrade")),
                    (200, None, None)
                );
            }
        }
    }
    service.finish(&[]);
}

#[test]
fn an_ambiguous_request_gets_400_and_nothing_after_it_is_answered() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for head in [
        "GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\nTransfer-Encoding : chunked\r\n\r\n",
        "GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\nX: y\r\n folded\r\n\r\n",
    ] {
        let stream = format!("{head}{HEAD}");
        for to in [service.addr, service.ops] {
            for at in [1, 30, head.len() - 1, head.len(), head.len() + 10] {
                let (first, second) = stream.split_at(at);
                let mut peer = TcpStream::connect(to).unwrap();
                peer.set_nodelay(true).unwrap();
                peer.set_read_timeout(Some(PATIENCE)).unwrap();
                peer.write_all(first.as_bytes()).unwrap();
                pause(Duration::from_millis(10)); // Sends the two parts as two TCP segments.
                // The service may have closed the connection already.
                peer.write_all(second.as_bytes()).ok();
                let answer = read_answer(peer);
                assert_eq!((answer.status, answer.body.len()), (400, 0), "{head:?} at {at}");
            }
        }
    }
    service.finish(&[]);
}

#[test]
fn a_head_that_is_too_long_is_answered_431() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let mut peer = Connection::open(service.addr);
    let fits = format!("GET /nothing HTTP/1.1\r\nHost: service\r\nX: {}\r\n\r\n", "x".repeat(60 << 10));
    peer.send_raw(fits.as_bytes());
    assert_eq!(peer.receive(false).status, 404);
    peer.send_raw(
        format!("GET /nothing HTTP/1.1\r\nHost: service\r\nX: {}", "x".repeat(80 << 10)).as_bytes(),
    );
    assert_eq!(peer.receive(false).status, 431);
    assert!(peer.is_closed());
    service.finish(&[]);
}
