//! Responses from Zoom, whether they conform to RFC 9110 and 9112 or not. No caller gets another meeting's data, and
//! complete, conforming responses are accepted.

use std::{sync::Mutex, thread, time::Duration};

use test_support::{
    client::{Answer, request},
    raw_zoom::{Asked, RawZoom, Step, answer, page},
    service::Service,
    simulator::sim,
    tls_front::TlsFront,
    wait::{pause, wait_for},
};
use zoom_sim::Sim;

const A: &str = "91111111111";
const B: &str = "92222222222";

/// The pause before the final response, during which B is requested. It is longer than the service waits before its
/// first retry.
const LATE: Duration = Duration::from_millis(800);

fn start(sim: &Sim, zoom: &RawZoom) -> Service {
    Service::start(sim, &[("zoom.api_base_url", &zoom.api_base_url())])
}

fn name(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["participants"][0]["user_name"].as_str().unwrap().to_owned()
}

/// The name of the requested meeting's only participant.
fn whose(asked: &Asked) -> &'static str {
    if asked.is_for(A) { "anna" } else { "berta" }
}

/// Answers each request with `prefix` and, after the pause, with the meeting's page.
fn after(prefix: &'static str, pause: Duration) -> RawZoom {
    RawZoom::start(move |asked| {
        vec![
            Step::Send(prefix.as_bytes().to_vec()),
            Step::Pause(pause),
            Step::Send(answer(&page(whose(asked)))),
        ]
    })
}

#[test]
fn a_meeting_requested_after_an_early_hint_gets_its_own_data() {
    let sim = sim(|_| ());
    let zoom = after("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", LATE);
    let service = start(&sim, &zoom);
    thread::scope(|scope| {
        let first = scope.spawn(|| service.get(&format!("/qos/{A}")));
        wait_for(|| zoom.asked().iter().any(|asked| asked.is_for(A)).then_some(()));
        pause(LATE / 2);
        let second = service.get(&format!("/qos/{B}"));
        let kept = service.get(&format!("/qos/{B}"));
        println!("A: {}", first.join().unwrap().text());
        assert_eq!((name(&second), name(&kept)), ("berta".to_owned(), "berta".to_owned()));
    });
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    service.finish(&[]);
}

#[test]
fn meetings_get_their_own_answers_on_a_reused_tls_connection() {
    let sim = sim(|_| ());
    let zoom = after("HTTP/1.1 103 Early Hints\r\n\r\n", Duration::from_millis(20));
    let front = TlsFront::start(zoom.address, &["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &front.ca).unwrap();
    let base = format!("https://localhost:{}/v2", front.address.port());
    let service =
        Service::start(&sim, &[("zoom.api_base_url", &base), ("zoom.ca_file", ca.to_str().unwrap())]);
    for _ in 0..2 {
        assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
        assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
        request(service.ops, "DELETE", "/cache", &[]);
    }
    let connections: Vec<_> = zoom.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0; 4]);
    service.finish(&[]);
}

#[test]
fn interim_responses_are_skipped() {
    let sim = sim(|_| ());
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let zoom = after(interim, Duration::ZERO);
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
    assert_eq!(zoom.asked().len(), 2, "each meeting costs one call");
    service.finish(&[]);
}

#[test]
fn a_body_delimited_by_the_end_of_its_connection_is_complete() {
    let sim = sim(|_| ());
    let zoom = RawZoom::start(|asked| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        vec![Step::Send(format!("{head}{}", page(whose(asked))).into_bytes()), Step::Close]
    });
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
    assert_eq!(zoom.asked().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_body_that_ends_with_a_reset_is_fetched_again() {
    let sim = sim(|_| ());
    let zoom = RawZoom::start(|asked| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        // The pause keeps the reset from overtaking the body.
        let body = [
            Step::Send(format!("{head}{}", page(whose(asked))).into_bytes()),
            Step::Pause(Duration::from_millis(50)),
        ];
        let end = if asked.connection == 0 { Step::Reset } else { Step::Close };
        body.into_iter().chain([end]).collect()
    });
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(zoom.asked().len(), 2);
    service.finish(&[]);
}

#[test]
fn many_headers_chunk_extensions_and_trailers_are_read() {
    let sim = sim(|_| ());
    let zoom = RawZoom::start(|asked| {
        let headers: String = (0..300).map(|number| format!("x-h-{number}: {number}\r\n")).collect();
        let (begin, end) = (page(whose(asked)), String::new());
        let (first, second) = begin.split_at(10);
        let body = format!(
            "{:x};name=value;quoted=\"a b\"\r\n{first}\r\n{:X}\r\n{second}\r\n0;last\r\nx-sum: 1\r\nx-end: 2\r\n\r\n{end}",
            first.len(),
            second.len(),
        );
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
        // The response is sent byte by byte, because the result must not depend on how it is split.
        format!("{head}{body}").into_bytes().into_iter().map(|byte| Step::Send(vec![byte])).collect()
    });
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
    let asked = zoom.asked();
    assert_eq!((asked.len(), asked[1].connection), (2, 0), "both calls use the same connection");
    service.finish(&[]);
}

#[test]
fn an_unsolicited_answer_ends_the_connection() {
    let sim = sim(|_| ());
    let zoom = RawZoom::start(|asked| {
        let stray = if asked.is_for(A) { answer(&page("stray")) } else { Vec::new() };
        vec![Step::Send(answer(&page(whose(asked)))), Step::Send(stray)]
    });
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
    let connections: Vec<_> = zoom.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 1]);
    service.finish(&[]);
}

#[test]
fn a_status_that_servers_send_unasked_ends_the_connection() {
    for status in ["408 Request Timeout", "500 Internal Server Error", "503 Service Unavailable"] {
        let sim = sim(|_| ());
        let before = Mutex::new(String::new());
        // The first connection starts with an unsolicited response, so each of its responses belongs to the previous
        // request.
        let zoom = RawZoom::start(move |asked| {
            let late = std::mem::replace(&mut *before.lock().unwrap(), page(whose(asked)));
            vec![Step::Send(match (asked.connection, late.as_str()) {
                (0, "") => format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
                (0, late) => answer(late),
                _ => answer(&page(whose(asked))),
            })]
        });
        let service = start(&sim, &zoom);
        // This answer is not checked. After the 408, it is an error, because the service does not retry a 408.
        service.get(&format!("/qos/{A}"));
        assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta", "{status}");
        service.finish(&["flight failed"]);
    }
}

#[test]
fn a_page_of_another_meeting_is_fetched_again_on_a_new_connection() {
    let sim = sim(|_| ());
    // The first connection answers every request with A's number. Later connections answer B's requests with B's
    // number.
    let zoom = RawZoom::start(|asked| {
        let number = if asked.is_for(A) || asked.connection == 0 { A } else { B };
        // A gets a JSON number, and B a string, which is the type that Zoom documents.
        let number = if asked.is_for(A) { number.to_owned() } else { format!("\"{number}\"") };
        let body = page(whose(asked)).replacen('{', &format!("{{\"meeting_number\":{number},"), 1);
        vec![Step::Send(answer(&body))]
    });
    let service = start(&sim, &zoom);
    assert_eq!(name(&service.get(&format!("/qos/{A}"))), "anna");
    assert_eq!(name(&service.get(&format!("/qos/{B}"))), "berta");
    let connections: Vec<_> = zoom.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    service.finish(&["another meeting's page"]);
}

#[test]
fn answers_whose_end_is_ambiguous_are_refused_and_their_connections_closed() {
    let sim = sim(|_| ());
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +{n}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: {n}\n\n",
        "ICY 200 OK\r\nContent-Length: {n}\r\n\r\n",
    ];
    for head in heads {
        let zoom = RawZoom::start(move |asked| {
            let body = page(whose(asked));
            let head = head.replace("{n}", &body.len().to_string());
            vec![Step::Send(format!("{head}{body}").into_bytes())]
        });
        let service = start(&sim, &zoom);
        let answer = service.get(&format!("/qos/{A}"));
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"), "{head}");
        let connections: Vec<_> = zoom.asked().iter().map(|asked| asked.connection).collect();
        assert_eq!(connections, [0, 1, 2], "{head}: three attempts, each on its own connection");
        service.finish(&["flight failed"]);
    }
}

#[test]
fn only_the_meeting_and_type_of_a_request_reach_zoom() {
    let sim = sim(|_| ());
    let zoom = after("", Duration::ZERO);
    let service = start(&sim, &zoom);
    let headers = [
        ("Cookie", "a=1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("User-Agent", "curl"),
        ("X-Request-Id", "abc"),
    ];
    let path = format!("/qos/{A}?type=past&participant=zoe&evil=%0d%0aX-Evil:1");
    request(service.addr, "GET", &path, &headers);
    let head = &zoom.asked()[0].head;
    assert_eq!(
        head[0],
        format!("GET /v2/metrics/meetings/{A}/participants/qos?type=past&page_size=10 HTTP/1.1")
    );
    let mut names: Vec<_> =
        head[1..].iter().map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
    names.sort();
    assert_eq!(
        names,
        ["accept", "accept-encoding", "authorization", "content-length", "date", "host", "user-agent"]
    );
    service.finish(&[]);
}
