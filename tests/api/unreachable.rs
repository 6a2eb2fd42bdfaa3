//! If Zoom is unreachable, the service tries all addresses, and the log, `/status` and the metric give the cause.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use test_support::{
    preload,
    raw_zoom::{RawZoom, Step, answer, page},
    service::Service,
    simulator::sim,
    tls_front::TlsFront,
};
use zoom_sim::{Meeting, Sim};

const MEETING: &str = "91111111111";
const UNREACHABLE: &str = "Zoom cannot be reached";
/// The warning about an `http://` URL with a host name.
const UNENCRYPTED: &str = "sends secrets unencrypted";

/// An address where connections time out: the kernel drops new ones while the accept queue is full.
struct BlackHole {
    address: SocketAddr,
    _socket: Socket,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn at(address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting = std::iter::from_fn(connect).collect();
        Self { address, _socket: socket, _waiting: waiting }
    }
}

/// A service that requests meetings from this base URL, and access tokens from the simulator.
fn start(sim: &Sim, base: &str) -> Service {
    Service::start(sim, &[("zoom.api_base_url", base), ("zoom.connect_timeout", "1s")])
}

/// Sends two requests that fail. Asserts that the log, `/status` and the metric give this cause, and returns the
/// detail.
fn assert_cause(sim: &Sim, base: &str, cause: &str) -> String {
    let service = start(sim, base);
    for meeting in [MEETING, "92222222222"] {
        let answer = service.get(&format!("/qos/{meeting}"));
        let expected = if cause == "timeout" { (504, "zoom_timed_out") } else { (502, "zoom_failed") };
        assert_eq!((answer.status, answer.problem().as_str()), expected);
        answer.assert_discreet(sim);
    }
    let counted = service.metric(&format!("zoom_qos_proxy_zoom_calls_total{{result=\"{cause}\"}}"));
    assert_eq!(counted, 6.0, "three attempts for each of two meetings");
    let failure = service.ops_get("/status").json()["zoom"]["last_failure"].clone();
    assert_eq!(failure["cause"], cause);
    assert!(failure["seconds_ago"].as_f64().is_some_and(|seconds| seconds < 10.0), "{failure}");
    assert_eq!(service.ops_get("/readyz").status, 200, "another replica would fare no better");
    let lines = service.finish(&["flight failed", UNREACHABLE, UNENCRYPTED]);
    let logged: Vec<_> = lines.iter().filter(|line| line.contains(UNREACHABLE)).collect();
    assert_eq!(logged.len(), 1, "logged once, because nothing changes: {logged:?}");
    let logged: serde_json::Value = serde_json::from_str(logged[0]).unwrap();
    assert_eq!((&logged["level"], &logged["cause"]), (&"WARN".into(), &cause.into()));
    assert_eq!((&logged["host"], &logged["detail"]), (&failure["host"], &failure["detail"]));
    failure["detail"].as_str().unwrap().to_owned()
}

#[test]
fn an_unresolvable_name_is_reported_as_the_cause() {
    assert!(assert_cause(&sim(|_| ()), "http://zoom.invalid/v2", "name").contains("cannot be resolved"));
}

#[test]
fn a_refused_connection_is_reported_as_the_cause() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let detail = assert_cause(&sim(|_| ()), &format!("http://{address}/v2"), "refused");
    assert_eq!(detail, "connection refused");
}

#[test]
fn an_address_that_drops_packets_is_reported_as_a_timeout() {
    let hole = BlackHole::at("127.0.0.1:0");
    let detail = assert_cause(&sim(|_| ()), &format!("http://{}/v2", hole.address), "timeout");
    assert_eq!(detail, "connecting took longer than zoom.connect_timeout, 1s");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_reported_as_the_cause() {
    let sim = sim(|_| ());
    let front = TlsFront::start(sim.addr(), &["localhost"]);
    let detail = assert_cause(&sim, &format!("https://localhost:{}/v2", front.address.port()), "tls");
    assert!(detail.contains("no trusted authority signed it"), "{detail}");
}

#[test]
fn a_server_without_tls_is_reported_as_the_cause() {
    let sim = sim(|_| ());
    let detail = assert_cause(&sim, &sim.api_base_url().replace("http:", "https:"), "tls");
    assert!(detail.contains("TLS handshake failed"), "{detail}");
}

#[test]
fn a_connection_closed_without_an_answer_is_reported_as_broken() {
    let zoom = RawZoom::start(|_| vec![Step::Close]);
    let detail = assert_cause(&sim(|_| ()), &zoom.api_base_url(), "broken");
    assert_eq!(detail, "the connection was closed without a response");
}

#[test]
fn a_response_that_is_not_http_is_reported_as_broken() {
    let zoom = RawZoom::start(|_| vec![Step::Send(b"220 mail.example ESMTP\r\n\r\n".to_vec())]);
    let detail = assert_cause(&sim(|_| ()), &zoom.api_base_url(), "broken");
    assert_eq!(detail, "the head of the response is malformed or too large");
}

#[test]
fn the_log_contains_each_change_once() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let service = Service::start(&sim, &[("zoom.api_base_url", &format!("http://{address}/v2"))]);
    // Each failing request is for a different meeting, because a failed meeting is not fetched again immediately.
    assert_eq!(service.get("/qos/93333333333").status, 502);
    // The first connection gets a response. The other three are closed without one.
    socket.listen(16).unwrap();
    let listener = TcpListener::from(socket);
    let whole = std::thread::spawn(move || {
        for bytes in [answer(&page("anna")), Vec::new(), Vec::new(), Vec::new()] {
            let (mut stream, _) = listener.accept().unwrap();
            // A response that came before its request would count as unsolicited.
            assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
            stream.write_all(&bytes).unwrap();
            if !bytes.is_empty() {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
        }
    });
    assert_eq!(service.get(&format!("/qos/{MEETING}")).status, 200);
    assert_eq!(service.get("/qos/92222222222").status, 502);
    whole.join().unwrap();
    let lines = service.finish(&["flight failed", UNREACHABLE, UNENCRYPTED]);
    let logged = lines.iter().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("Zoom can").then(|| format!("{message} {}", line["cause"].as_str().unwrap_or("")))
    });
    let logged: Vec<_> = logged.map(|line| line.trim().to_owned()).collect();
    let expected =
        ["Zoom cannot be reached refused", "Zoom can be reached again", "Zoom cannot be reached broken"];
    assert_eq!(logged, expected);
}

#[test]
fn a_single_broken_answer_is_not_logged() {
    let sim = sim(|_| ());
    let zoom = RawZoom::start(|asked| match asked.connection {
        0 => vec![Step::Close],
        _ => vec![Step::Send(answer(&page("anna")))],
    });
    let service = start(&sim, &zoom.api_base_url());
    assert_eq!(service.get(&format!("/qos/{MEETING}")).status, 200);
    assert_eq!(service.metric("zoom_qos_proxy_zoom_calls_total{result=\"broken\"}"), 1.0);
    assert_eq!(service.ops_get("/status").json()["zoom"]["last_failure"]["cause"], "broken");
    service.finish(&[]);
}

#[test]
fn an_unreachable_token_endpoint_is_reported_too() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("zoom.oauth_url", "http://token.invalid/oauth/token")]);
    assert_eq!(service.get(&format!("/qos/{MEETING}")).status, 502);
    let failure = service.ops_get("/status").json()["zoom"]["last_failure"].clone();
    assert_eq!((&failure["cause"], &failure["host"]), (&"name".into(), &"token.invalid".into()));
    service.finish(&["flight failed", "no access token", UNREACHABLE, UNENCRYPTED]);
}

#[test]
fn the_second_address_is_used_if_the_first_drops_packets() {
    let sim = sim(|_| ());
    let hole = BlackHole::at("127.0.0.1:0");
    let port = hole.address.port();
    let good = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let zoom = RawZoom::start_on(good, |_| vec![Step::Send(answer(&page("anna")))]);
    let base = format!("http://zoom.test:{port}/v2");
    let by = preload::with(&[]);
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let service = Service::start_by(&sim, &[("zoom.api_base_url", &base)], &by);
    // The service has started completely, so the time below is that of the request alone.
    service.wait_until_ready(200);
    let asked = Instant::now();
    assert_eq!(service.get(&format!("/qos/{MEETING}")).status, 200);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((zoom.asked().len(), zoom.asked()[0].connection), (1, 0));
    service.finish(&[UNENCRYPTED]);
}
