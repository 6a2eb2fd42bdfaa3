//! Error responses whose body is truncated or stalls. The service classifies them by the head and the part of the body
//! that arrived.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use test_support::{
    raw_zoom::{RawZoom, Step, answer, page},
    service::{QUICK, Service},
    simulator::sim,
};

const ID: &str = "91111111111";
const PATH: &str = "/qos/91111111111";
const OTHER: &str = "/qos/92222222222";

/// How a body ends before its announced length.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Reset,
    Stalled,
}

const ENDS: [End; 3] = [End::Closed, End::Reset, End::Stalled];

/// A response that announces a hundred bytes more than it sends.
fn cut(status: u16, headers: &str, body: &str, end: End) -> Vec<Step> {
    let length = body.len() + 100;
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    // A reset can overtake the bytes before it, so a short pause comes first. The long pause is the stall.
    let (last, pause) = match end {
        End::Closed => (Step::Close, 100),
        End::Reset => (Step::Reset, 100),
        End::Stalled => (Step::Close, 8_000),
    };
    vec![Step::Send(head.into_bytes()), Step::Pause(Duration::from_millis(pause)), last]
}

fn calls_for(zoom: &RawZoom, meeting: &str) -> usize {
    zoom.asked().iter().filter(|asked| asked.is_for(meeting)).count()
}

fn start(sim: &zoom_sim::Sim, zoom: &RawZoom, more: &[(&str, &str)]) -> Service {
    let url = zoom.api_base_url();
    let settings = [&[("zoom.api_base_url", &*url), QUICK[0], QUICK[1]], more].concat();
    Service::start(sim, &settings)
}

#[test]
fn a_cut_429_pauses_all_calls_as_its_head_says() {
    for end in ENDS {
        println!("{end:?}");
        let sim = sim(|_| ());
        let zoom = RawZoom::start(move |_| cut(429, "Retry-After: 30\r\n", "{\"code\"", end));
        let service = start(&sim, &zoom, &[("zoom.request_timeout", "6s")]);
        let asked = Instant::now();
        let answer = service.get(PATH);
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_rate_limited"));
        assert!((25..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
        assert_eq!(answer.json()["zoom"]["status"], 429);
        assert_eq!(service.get(OTHER).problem(), "zoom_rate_limited");
        assert_eq!(zoom.asked().len(), 1);
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn a_cut_4xx_is_not_retried_and_is_classified_by_what_arrived() {
    let table = [
        (403, "<html>", (502, "zoom_failed")),
        (404, "{\"code\":3001,\"message\":\"no\"}", (404, "meeting_not_found")),
        (404, "{\"code\":3001,\"mess", (404, "meeting_not_found")),
        (404, "{\"code\":3001", (502, "zoom_failed")),
        (400, "{\"code\":300,\"message\":\"Can not access webinar info", (404, "not_a_meeting")),
        (400, "{\"code\":12702,", (410, "meeting_too_old")),
        (418, "", (502, "zoom_failed")),
    ];
    for end in ENDS {
        for (status, body, expected) in table {
            println!("{end:?} {status} {body}");
            let sim = sim(|_| ());
            let zoom = RawZoom::start(move |_| cut(status, "", body, end));
            let service = start(&sim, &zoom, &[]);
            for _ in 0..2 {
                let answer = service.get(&format!("{PATH}?kind=meeting"));
                assert_eq!((answer.status, answer.problem().as_str()), expected);
                assert_eq!(answer.json()["zoom"]["status"], status);
            }
            assert_eq!(zoom.asked().len(), 1);
            service.finish(&["flight failed"]);
        }
    }
}

#[test]
fn a_cut_401_renews_the_access_token_and_closes_the_connection() {
    for end in ENDS {
        println!("{end:?}");
        let sim = sim(|_| ());
        let asked_before = AtomicUsize::new(0);
        let zoom = RawZoom::start(move |_| match asked_before.fetch_add(1, Ordering::Relaxed) {
            0 => cut(401, "", "", end),
            _ => vec![Step::Send(answer(&page("anna")))],
        });
        let service = start(&sim, &zoom, &[]);
        assert_eq!(service.get(PATH).status, 200);
        assert_eq!(sim.token_calls().len(), 2);
        let connections: Vec<_> = zoom.asked().iter().map(|asked| asked.connection).collect();
        assert_eq!(connections, [0, 1]);
        service.finish(&[]);
    }
}

#[test]
fn a_cut_503_is_retried_after_its_retry_after() {
    for end in ENDS {
        println!("{end:?}");
        let sim = sim(|_| ());
        let asked_before = AtomicUsize::new(0);
        let zoom = RawZoom::start(move |_| match asked_before.fetch_add(1, Ordering::Relaxed) {
            0 => cut(503, "Retry-After: 3\r\n", "<html>", end),
            _ => vec![Step::Send(answer(&page("anna")))],
        });
        let service = start(&sim, &zoom, &[]);
        let asked = Instant::now();
        assert_eq!(service.get(PATH).status, 200);
        assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
        assert_eq!(calls_for(&zoom, ID), 2);
        service.finish(&[]);
    }
}

#[test]
fn a_cut_error_of_the_token_endpoint_counts_like_a_complete_one() {
    for end in ENDS {
        for (status, code) in [(429, "zoom_failed"), (503, "zoom_failed"), (401, "zoom_rejected_credentials")]
        {
            println!("{end:?} {status}");
            let sim = sim(|_| ());
            let zoom = RawZoom::start(move |_| cut(status, "Retry-After: 30\r\n", "{", end));
            let url = format!("http://{}/oauth/token", zoom.address);
            let service = Service::start(&sim, &[("zoom.oauth_url", &url), QUICK[0], QUICK[1]]);
            for path in [PATH, OTHER] {
                let answer = service.get(path);
                assert_eq!((answer.status, answer.problem().as_str()), (502, code));
                assert!((20..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
            }
            assert_eq!(zoom.asked().len(), 1);
            service.finish(&["token endpoint", "flight failed", "Zoom refuses the credentials"]);
        }
    }
}
