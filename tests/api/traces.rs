//! Traces as a collector receives them: the relations and the attributes of spans. A failing collector does not affect
//! callers.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use test_support::{
    callers::{KEY, callers_file, entry},
    client::{Answer, Connection, request},
    collector::{Answers, Collector, Span},
    service::{QUICK, Service},
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting};

const MEETING: &str = "91111111111";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const AWAY: &str = "does not accept traces";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

fn get_within(service: &Service, traceparent: &str, path: &str) -> Answer {
    request(service.addr, "GET", path, &[("traceparent", traceparent), ("X-Api-Key", KEY)])
}

/// Waits until at least this number of spans with that name have arrived. Returns all of them in order of arrival.
fn named(collector: &Collector, name: &str, count: usize) -> Vec<Span> {
    wait_for(|| {
        let mut spans = collector.spans();
        spans.retain(|span| span.name == name);
        (spans.len() >= count).then_some(spans)
    })
}

const REQUEST: &str = "GET /qos/{meetingId}";
const CALL: &str = "GET /metrics/meetings/{meetingId}/participants/qos";
const WAIT: &str = "wait for permit";

#[test]
fn a_cold_request_is_one_trace_from_its_caller_down_to_zoom() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    sim.add_meeting(Meeting::generated(MEETING, 25, 1));
    let (_folder, file) = callers_file(&entry("support-tools", KEY, ""));
    let base = format!("{}/", collector.base());
    let settings = [("telemetry.otlp_endpoint", base.as_str()), ("callers.file", file.to_str().unwrap())];
    let service = Service::start(&sim, &settings);
    let answer = get_within(&service, &traceparent("01"), &format!("/qos/{MEETING}"));
    assert_eq!(answer.status, 200);

    let asked = named(&collector, REQUEST, 1).remove(0);
    assert_eq!((asked.trace.as_str(), asked.parent.as_str(), asked.kind), (TRACE, SPAN, SpanKind::Server));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/qos/{meetingId}"),
        ("http.response.status_code", "200"),
        ("outcome", "miss"),
        ("caller", "support-tools"),
        ("request_id", answer.header("x-request-id").unwrap()),
    ] {
        assert_eq!(asked.attribute(key), value, "{key} of {asked:?}");
    }
    assert!(!asked.failed && asked.links.is_empty(), "{asked:?}");
    assert_eq!(asked.resource["service.name"], "zoom-qos-proxy");
    assert_eq!(asked.resource["service.version"], env!("CARGO_PKG_VERSION"));

    let flight = named(&collector, "flight", 1).remove(0);
    assert_eq!((flight.trace.as_str(), &flight.parent, flight.kind), (TRACE, &asked.id, SpanKind::Internal));
    assert_eq!((flight.attribute("pages"), flight.attribute("caller")), ("3", "support-tools"));
    assert!(flight.nanos <= asked.nanos, "the flight is part of its request");

    let (waits, calls) = (named(&collector, WAIT, 3), named(&collector, CALL, 3));
    for part in waits.iter().chain(&calls) {
        assert_eq!((part.trace.as_str(), &part.parent), (TRACE, &flight.id), "{part:?}");
    }
    assert!(waits.iter().all(|wait| wait.attribute("priority") == "foreground"));
    assert!(calls.iter().all(|call| call.kind == SpanKind::Client && !call.failed));
    assert!(calls.iter().all(|call| call.attribute("http.response.status_code") == "200"));
    // Each call carried the ids of its own span, and no others.
    let traceparents: Vec<_> =
        sim.qos_calls().iter().map(|call| call.header("traceparent").unwrap().to_owned()).collect();
    let own: Vec<_> = calls.iter().map(|call| format!("00-{TRACE}-{}-01", call.id)).collect();
    assert_eq!(traceparents, own);
    assert!(sim.qos_calls().iter().all(|call| call.header("tracestate").is_none()));
    assert_eq!(collector.spans().len(), 1 + 1 + 3 + 3);
    assert!(!collector.text().contains(MEETING), "the span does not name the meeting");
    service.finish(&[]);
}

#[test]
fn a_joined_request_links_to_its_flight_and_a_hit_does_not() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(1))));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    let path = format!("/qos/{MEETING}");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get_within(&service, "", &path));
        assert!(sim.wait_for_calls(1, Duration::from_secs(20)));
        assert!(get_within(&service, &traceparent("01"), &path).cache_status().ends_with("collapsed"));
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert!(service.get(&path).cache_status().starts_with("zoom-qos-proxy; hit"));
    let flight = named(&collector, "flight", 1).remove(0);
    let asked = named(&collector, REQUEST, 3);
    let by = |outcome: &str| asked.iter().find(|span| span.attribute("outcome") == outcome).unwrap();
    let (miss, joined, hit) = (by("miss"), by("collapsed"), by("hit"));
    assert_eq!((&flight.parent, &flight.trace), (&miss.id, &miss.trace));
    assert_eq!((miss.parent.as_str(), hit.parent.as_str()), ("", ""), "each starts its own trace");
    assert_eq!(joined.links, std::slice::from_ref(&flight.id));
    assert_eq!(joined.trace, TRACE);
    assert!(miss.links.is_empty() && hit.links.is_empty());
    assert_eq!(named(&collector, CALL, 1).len(), 1);
    service.finish(&[]);
}

#[test]
fn spans_of_failures_are_errors_unless_the_caller_made_a_mistake() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(500)).forever());
    // The URL may contain the whole path.
    let url = format!("{}/v1/traces", collector.base());
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &url)]);
    assert_eq!(service.get(&format!("/qos/{MEETING}")).problem(), "zoom_failed");
    assert_eq!(service.get("/qos/no-meeting").status, 400);
    assert_eq!(service.ops_get("/readyz").status, 200);
    let calls = named(&collector, CALL, 3);
    assert!(calls.iter().all(|call| call.failed && call.attribute("error.type") == "failed"), "{calls:?}");
    assert!(calls.iter().all(|call| call.attribute("http.response.status_code") == "500"), "{calls:?}");
    assert_eq!(
        calls.iter().map(|call| call.attribute("http.request.resend_count")).collect::<Vec<_>>(),
        ["", "1", "2"]
    );
    let flight = named(&collector, "flight", 1).remove(0);
    assert!(flight.failed && flight.attribute("error.type") == "zoom_failed", "{flight:?}");
    let asked = named(&collector, REQUEST, 2);
    let failed = |status: &str| {
        asked.iter().find(|span| span.attribute("http.response.status_code") == status).unwrap().failed
    };
    assert!(failed("502") && !failed("400"));
    assert!(collector.spans().iter().all(|span| !span.name.contains("readyz")), "probes are not traced");
    service.finish(&["flight failed"]);
}

#[test]
fn an_unsampled_traceparent_is_obeyed_and_an_invalid_one_ignored() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    for (number, wrong) in
        ["nonsense", &traceparent("zz"), &traceparent("01").to_uppercase()].into_iter().enumerate()
    {
        let id = format!("9222222222{number}");
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        get_within(&service, wrong, &format!("/qos/{id}"));
        let asked = named(&collector, REQUEST, number + 1);
        assert!(asked[number].parent.is_empty() && asked[number].trace != TRACE, "{wrong}: {asked:?}");
    }
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    get_within(&service, &traceparent("00"), &format!("/qos/{MEETING}"));
    let traceparent = calls_for(&sim, MEETING)[0].header("traceparent").unwrap().to_owned();
    assert!(
        traceparent.starts_with(&format!("00-{TRACE}-")) && traceparent.ends_with("-00"),
        "{traceparent}"
    );
    service.finish(&[]);
    assert!(
        collector.spans().iter().all(|span| span.trace != TRACE),
        "no span of an unsampled trace is recorded"
    );
}

#[test]
fn without_an_endpoint_zoom_gets_no_traceparent() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    let service = Service::start(&sim, &[]);
    assert_eq!(get_within(&service, &traceparent("01"), &format!("/qos/{MEETING}")).status, 200);
    assert!(sim.qos_calls().iter().all(|call| call.header("traceparent").is_none()));
    service.finish(&[]);
}

/// Sends 5,000 requests, which must not wait for the collector. Returns the log, and the time that the process takes to
/// exit.
fn unharmed(endpoint: &str, announced: &[&str]) -> (Vec<String>, Duration) {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", endpoint), QUICK[0]]);
    let path = format!("/qos/{MEETING}");
    service.get(&path);
    let began = Instant::now();
    // The requests make more spans than the queue holds, so some are dropped.
    for _ in 0..5_000 {
        assert_eq!(service.get(&path).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(25), "{:?} for 5,000 hits", began.elapsed());
    wait_for(|| service.printed().iter().any(|line| line.contains(AWAY)).then_some(()));
    let began = Instant::now();
    let lines = service.finish(announced);
    (lines, began.elapsed())
}

fn assert_logged_once(lines: &[String]) {
    assert_eq!(lines.iter().filter(|line| line.contains(AWAY)).count(), 1, "once, not for each batch");
}

#[test]
fn a_collector_that_never_answers_harms_nothing() {
    let collector = Collector::start(Answers::Never);
    let (lines, took) = unharmed(&collector.base(), &[AWAY]);
    assert_logged_once(&lines);
    assert!(took < Duration::from_secs(6), "two seconds for the remaining spans, not {took:?}");
}

#[test]
fn a_collector_that_refuses_harms_nothing() {
    let collector = Collector::start(Answers::Refused);
    let (lines, took) = unharmed(&collector.base(), &[AWAY]);
    assert_logged_once(&lines);
    assert!(collector.offered() >= 2, "several batches: {}", collector.offered());
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_collector_that_is_not_there_harms_nothing() {
    // No server listens on the discard port.
    let (lines, took) = unharmed("http://127.0.0.1:9", &[AWAY]);
    assert_logged_once(&lines);
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_returning_collector_is_logged_and_gets_new_spans() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Refused));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    let says = |what: &str| service.printed().iter().any(|line| line.contains(what));
    service.get("/qos/no-meeting");
    wait_for(|| says(AWAY).then_some(()));
    collector.now(Answers::Taken);
    wait_for(|| {
        service.get("/qos/no-meeting");
        says("accepts traces again").then_some(())
    });
    assert!(!collector.spans().is_empty());
    assert_logged_once(&service.finish(&[AWAY]));
}

#[test]
fn a_collector_that_is_too_slow_is_logged() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Late));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    let mut caller = Connection::open(service.addr);
    wait_for(|| {
        for _ in 0..1_000 {
            caller.ask("GET", "/openapi.json");
        }
        service.printed().iter().any(|line| line.contains("spans are dropped")).then_some(())
    });
    service.finish(&["spans are dropped"]);
}

#[test]
fn a_missing_meeting_is_no_failed_flight() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    assert_eq!(service.get("/qos/99999999999").problem(), "meeting_not_found");
    assert!(!named(&collector, "flight", 1).remove(0).failed);
    let call = named(&collector, CALL, 1).remove(0);
    assert_eq!(call.attribute("error.type"), "not_found");
    assert_eq!(call.attribute("http.response.status_code"), "404");
    service.finish(&[]);
}

#[test]
fn buffered_spans_are_sent_at_shutdown() {
    let (sim, collector) = (sim(|_| ()), Collector::start(Answers::Taken));
    let base = collector.base();
    let service = Service::start(&sim, &[("telemetry.otlp_endpoint", &base)]);
    for _ in 0..20 {
        service.get("/openapi.json");
    }
    service.finish(&[]);
    assert_eq!(collector.spans().len(), 20);
}
