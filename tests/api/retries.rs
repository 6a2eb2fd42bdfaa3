//! Transient failures are retried up to twice, after growing pauses and with a permit for each attempt. The result is a
//! complete meeting or a failure.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use test_support::{
    client::{Answer, at_once},
    service::{QUICK, Service},
    simulator::{calls_for, pages, sim},
    wait::wait_for,
};
use zoom_sim::{Call, Fault, FaultKind, Meeting, Sim, SimConfig};

/// Faults that the service treats as transient.
fn troubles() -> Vec<FaultKind> {
    let mut all: Vec<_> = [500, 502, 503, 504, 599].map(FaultKind::ServerErrorHtml).to_vec();
    all.extend([
        FaultKind::Hang,
        FaultKind::HangBody,
        FaultKind::ResetBeforeAnswer,
        FaultKind::ResetInBody,
        FaultKind::CloseBeforeAnswer,
        FaultKind::Truncated,
        FaultKind::TruncatedChunked,
        FaultKind::ShortValidJson,
        FaultKind::EmptyBody,
        FaultKind::NotJson,
        FaultKind::EmptyObject,
        // The pause after each part is longer than the timeout.
        FaultKind::SlowDrip { chunk: 2_000, every: Duration::from_millis(1_500) },
    ]);
    all
}

/// Adds a meeting of three pages for each fault, and returns their ids and paths.
fn meetings(sim: &Sim, kinds: &[FaultKind]) -> Vec<(String, String)> {
    let add = |number| {
        let id = format!("{:011}", 91_000_000_000_usize + number);
        sim.add_meeting(Meeting::generated(&id, 25, 1));
        let path = format!("/qos/{id}");
        (id, path)
    };
    (0..kinds.len()).map(add).collect()
}

fn roomy(config: &mut SimConfig) {
    config.per_second = 1_000;
}

/// A limit so high that it does not delay these tests, which fetch many pages.
const UNPACED: (&str, &str) = ("limits.heavy_per_second", "500");
/// The warning after several broken responses in a row. They may belong to different flights.
const UNREACHABLE: &str = "Zoom cannot be reached";
/// The warning that the service logs about [`UNPACED`].
const FAST: &str = "limits.heavy_per_second: 500 is more than";

fn gaps(calls: &[Call]) -> Vec<Duration> {
    calls.windows(2).map(|two| two[1].at - two[0].at).collect()
}

fn assert_whole(answer: &Answer, rows: usize) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["total_records"], rows);
    let ids: Vec<_> =
        body["participants"].as_array().unwrap().iter().map(|row| row["user_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rows);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), rows, "each participant occurs once");
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "the participants are in Zoom's order");
}

/// Makes the middle page fail `times` times in each of these ways. Asserts that every meeting still arrives complete.
fn fail_the_middle_page(sim: &Sim, service: &Service, kinds: &[FaultKind], times: usize) {
    let meetings = meetings(sim, kinds);
    for (kind, (id, _)) in kinds.iter().zip(&meetings) {
        sim.inject(Fault::new(kind.clone()).for_meeting(id).on_page(1).times(times));
    }
    let answers = at_once(service.addr, meetings.iter().map(|(_, path)| path.clone()).collect());
    let asked: Vec<usize> = [0].into_iter().chain(vec![1; times + 1]).chain([2]).collect();
    for ((kind, (id, _)), answer) in kinds.iter().zip(&meetings).zip(&answers) {
        println!("{kind:?}");
        assert_whole(answer, 25);
        let calls = calls_for(sim, id);
        assert_eq!(pages(&calls), asked);
        let waited = gaps(&calls)[1..=times].iter().all(|gap| *gap >= Duration::from_millis(100));
        assert!(waited, "every retry waits: {:?}", gaps(&calls));
    }
}

#[test]
fn a_failure_once_costs_one_more_call_and_no_rows() {
    let sim = sim(roomy);
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], UNPACED]);
    fail_the_middle_page(&sim, &service, &troubles(), 1);
    service.finish(&[FAST, UNREACHABLE]);
}

#[test]
fn a_failure_twice_costs_two_more_calls_and_no_rows() {
    let sim = sim(roomy);
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], UNPACED]);
    fail_the_middle_page(&sim, &service, &troubles(), 2);
    service.finish(&[FAST, UNREACHABLE]);
}

/// Makes this page fail permanently in every way. Asserts that each meeting costs three attempts and ends with a
/// problem.
fn fail_permanently(page: usize) {
    let sim = sim(roomy);
    let kinds = troubles();
    let meetings = meetings(&sim, &kinds);
    for (kind, (id, _)) in kinds.iter().zip(&meetings) {
        sim.inject(Fault::new(kind.clone()).for_meeting(id).on_page(page).forever());
    }
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], UNPACED]);
    let answers = at_once(service.addr, meetings.iter().map(|(_, path)| path.clone()).collect());
    for ((kind, (id, _)), answer) in kinds.iter().zip(&meetings).zip(&answers) {
        println!("{kind:?}");
        let timed_out = matches!(kind, FaultKind::Hang | FaultKind::HangBody | FaultKind::SlowDrip { .. });
        let expected = if timed_out { (504, "zoom_timed_out") } else { (502, "zoom_failed") };
        assert_eq!((answer.status, answer.problem().as_str()), expected);
        answer.assert_discreet(&sim);
        let calls = calls_for(&sim, id);
        assert_eq!(pages(&calls)[page..], [page; 3]);
        let answered = match kind {
            FaultKind::ServerErrorHtml(status) => Some(*status),
            FaultKind::Hang | FaultKind::ResetBeforeAnswer | FaultKind::CloseBeforeAnswer => None,
            _ if timed_out => None,
            _ => Some(200),
        };
        let zoom = answered.map_or(Value::Null, |status| {
            json!({ "status": status, "code": null, "message": null, "tracking_id": calls.last().unwrap().tracking_id })
        });
        assert_eq!(answer.json()["zoom"], zoom, "Zoom's last response, if there was one");
        assert_eq!(answer.json().get("zoom").is_some(), answered.is_some());
    }
    let failed = service.metric("zoom_qos_proxy_requests_total{outcome=\"failed\",status=\"502\"}");
    let timed_out = service.metric("zoom_qos_proxy_requests_total{outcome=\"failed\",status=\"504\"}");
    assert_eq!(format!("{failed} {timed_out}"), format!("{} 3", kinds.len() - 3));
    service.finish(&["flight failed", FAST]);
}

#[test]
fn a_lasting_failure_on_the_first_page_ends_after_three_calls() {
    fail_permanently(0);
}

#[test]
fn a_lasting_failure_on_the_last_page_yields_no_partial_meeting() {
    fail_permanently(2);
}

#[test]
fn a_body_ended_by_close_is_accepted_or_fetched_again() {
    // HTTP/1.1 allows a body that ends with its connection, although Zoom does not send one.
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    sim.inject(Fault::new(FaultKind::CloseDelimited).on_page(1));
    let service = Service::start(&sim, &[]);
    assert_whole(&service.get("/qos/91111111111"), 25);
    let calls = sim.qos_calls();
    println!("pages {:?}", pages(&calls));
    assert!((3..=4).contains(&calls.len()));
    service.finish(&[]);
}

#[test]
fn failures_of_gzip_responses_are_retried_too() {
    let sim = sim(|config| {
        roomy(config);
        config.gzip = true;
    });
    let kinds = [
        FaultKind::HangBody,
        FaultKind::ResetInBody,
        FaultKind::Truncated,
        FaultKind::TruncatedChunked,
        FaultKind::EmptyBody,
        FaultKind::EmptyObject,
    ];
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], UNPACED]);
    sim.add_meeting(Meeting::generated("92222222222", 25, 30));
    assert_whole(&service.get("/qos/92222222222"), 25);
    assert!(sim.qos_calls()[0].header("accept-encoding").is_some_and(|value| value.contains("gzip")));
    fail_the_middle_page(&sim, &service, &kinds, 1);
    service.finish(&[FAST, UNREACHABLE]);
}

#[test]
fn a_complete_gzip_body_is_accepted_even_if_more_was_announced() {
    let sim = sim(|config| config.gzip = true);
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    sim.inject(Fault::new(FaultKind::ShortValidJson).on_page(1));
    let service = Service::start(&sim, &[]);
    assert_whole(&service.get("/qos/91111111111"), 25);
    // The length and the checksum in the gzip body show that it is complete. So a retry is allowed, but not needed.
    assert!((3..=4).contains(&sim.qos_calls().len()));
    service.finish(&[]);
}

#[test]
fn pauses_grow_and_differ_between_flights() {
    let sim = sim(roomy);
    let kinds = vec![FaultKind::ServerErrorHtml(503); 12];
    let meetings = meetings(&sim, &kinds);
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).on_page(0).forever());
    let service = Service::start(&sim, &[UNPACED]);
    let answers = at_once(service.addr, meetings.iter().map(|(_, path)| path.clone()).collect());
    assert!(answers.iter().all(|answer| answer.problem() == "zoom_failed"));
    let mut firsts = HashSet::new();
    for (id, _) in &meetings {
        let gaps = gaps(&calls_for(&sim, id));
        assert_eq!(gaps.len(), 2);
        assert!(gaps[0] >= Duration::from_millis(100) && gaps[1] > gaps[0], "{gaps:?}");
        assert!(gaps[1] < Duration::from_secs(3), "{gaps:?}");
        firsts.insert(gaps[0].as_millis() / 5);
    }
    assert!(firsts.len() >= 4, "jitter: {firsts:?}");
    service.finish(&["flight failed", FAST]);
}

#[test]
fn every_attempt_takes_its_own_permit() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).times(2));
    let settings = [("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get("/qos/91111111111").status, 200);
    let gaps = gaps(&sim.qos_calls());
    assert_eq!(gaps.len(), 2);
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_secs(1)), "{gaps:?}");
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 3.0);
    service.finish(&[]);
}

#[test]
fn no_attempt_exceeds_the_daily_limit() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).forever());
    let settings = [("limits.heavy_per_day", "2"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let answer = service.get("/qos/91111111111");
    assert!(["zoom_failed", "zoom_daily_quota_spent"].contains(&answer.problem().as_str()));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&["flight failed"]);
}

#[test]
fn a_refusal_is_never_retried() {
    let sim = sim(roomy);
    let statuses: Vec<u16> = (400..=428).chain(430..=499).filter(|status| *status != 401).collect();
    let service = Service::start(&sim, &[UNPACED]);
    let mut paths = Vec::new();
    for status in &statuses {
        let id = format!("91000000{status}");
        sim.inject(
            Fault::new(FaultKind::Status { status: *status, body: "{}".to_owned() })
                .for_meeting(&id)
                .forever(),
        );
        paths.push(format!("/qos/{id}"));
    }
    for answer in at_once(service.addr, paths) {
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    }
    assert_eq!(sim.qos_calls().len(), statuses.len());
    service.finish(&["flight failed", FAST]);
}

#[test]
fn a_slow_response_within_the_timeouts_is_accepted() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_millis(700))).on_page(0));
    sim.inject(
        Fault::new(FaultKind::SlowDrip { chunk: 10_000, every: Duration::from_millis(100) }).on_page(1),
    );
    let service = Service::start(&sim, &[("zoom.connect_timeout", "1s"), ("zoom.request_timeout", "2s")]);
    assert_whole(&service.get("/qos/91111111111"), 25);
    assert_eq!(pages(&sim.qos_calls()), [0, 1, 2]);
    service.finish(&[]);
}

#[test]
fn a_timeout_bounds_each_gap_and_six_timeouts_bound_the_call() {
    let sim = sim(roomy);
    let kinds = [
        (FaultKind::Hang, 1.0),
        (FaultKind::HangBody, 1.0),
        (FaultKind::SlowDrip { chunk: 2_000, every: Duration::from_millis(1_500) }, 1.0),
        // New bytes keep arriving, so a timeout between two reads never fires.
        (FaultKind::SlowDrip { chunk: 20, every: Duration::from_millis(50) }, 6.0),
    ];
    let (kinds, seconds): (Vec<_>, Vec<_>) = kinds.into_iter().unzip();
    let meetings = meetings(&sim, &kinds);
    for (kind, (id, _)) in kinds.iter().zip(&meetings) {
        sim.inject(Fault::new(kind.clone()).for_meeting(id).on_page(0));
    }
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], UNPACED]);
    at_once(service.addr, meetings.iter().map(|(_, path)| path.clone()).collect());
    for ((kind, seconds), (id, _)) in kinds.iter().zip(seconds).zip(&meetings) {
        let gap = gaps(&calls_for(&sim, id))[0].as_secs_f64();
        // The next attempt starts after a pause of 0.25 to 0.5 s.
        assert!((seconds + 0.1..seconds + 0.9).contains(&gap), "{kind:?}: {gap}");
    }
    service.finish(&[FAST, UNREACHABLE]);
}

#[test]
fn a_steady_page_may_take_longer_than_the_timeout() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 10, 2));
    sim.inject(Fault::new(FaultKind::SlowDrip { chunk: 2_000, every: Duration::from_millis(150) }));
    let service = Service::start(&sim, &QUICK);
    let asked = Instant::now();
    assert_whole(&service.get("/qos/91111111111"), 10);
    assert!(asked.elapsed() > Duration::from_millis(1_500), "{:?}", asked.elapsed());
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn pages_that_do_not_fit_into_memory_together_all_arrive() {
    let sim = sim(roomy);
    // Each page is nearly as large as `zoom.max_body` allows.
    let meetings = meetings(&sim, &vec![FaultKind::Hang; 12]);
    sim.inject(Fault::new(FaultKind::Oversized(60_000)).forever());
    sim.set_latency(Duration::from_millis(100));
    let settings = [("zoom.max_body", "64KiB"), ("limits.max_fetch_bytes", "256KiB"), UNPACED];
    let service = Service::start(&sim, &settings);
    let answers = at_once(service.addr, meetings.iter().map(|(_, path)| path.clone()).collect());
    for answer in &answers {
        assert_whole(answer, 25);
    }
    assert_eq!(sim.qos_calls().len(), 3 * meetings.len(), "no unnecessary call was made");
    service.finish(&[FAST]);
}

/// An address that refuses connections while the socket lives.
fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket_ipv4().unwrap();
    (socket, format!("http://{address}"))
}

#[test]
fn an_unreachable_zoom_is_reported_after_three_attempts() {
    let sim = sim(|_| ());
    let (_socket, url) = nobody();
    let service = Service::start(&sim, &[("zoom.api_base_url", &format!("{url}/v2"))]);
    let asked = Instant::now();
    let answer = service.get("/qos/91111111111");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    assert_eq!(answer.json().get("zoom"), None);
    answer.assert_discreet(&sim);
    assert!((0.3..3.0).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
    assert_eq!(service.metric("zoom_qos_proxy_zoom_calls_total{result=\"refused\"}"), 3.0);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0, "no call was sent");
    assert_eq!(service.ops_get("/readyz").status, 200, "another replica would fare no better");
    service.finish(&["flight failed"]);
}

#[test]
fn both_of_zooms_hosts_out_of_reach_cost_no_permit() {
    let sim = sim(|_| ());
    let (_socket, url) = nobody();
    let settings =
        [("zoom.api_base_url", &*format!("{url}/v2")), ("zoom.oauth_url", &format!("{url}/oauth/token"))];
    let service = Service::start(&sim, &settings);
    let answer = service.get("/qos/91111111111");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    answer.assert_discreet(&sim);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0);
    service.finish(&["flight failed", "no access token"]);
}

#[test]
fn a_zoom_that_comes_back_is_used_again() {
    let mut config = SimConfig::default();
    let (socket, _) = nobody();
    config.listen = socket.local_addr().unwrap().as_socket().unwrap();
    drop(socket);
    let first = Sim::start(config.clone()).unwrap();
    first.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&first, &[]);
    assert_eq!(service.get("/qos/91111111111").status, 200);
    drop(first);
    assert_eq!(service.get("/qos/92222222222").problem(), "zoom_failed");
    let second = wait_for(|| Sim::start(config.clone()).ok());
    second.add_meeting(Meeting::generated("92222222222", 25, 1));
    // The new simulator rejects the old token. The flight renews the token once, and then fetches the complete meeting.
    let found = wait_for(|| Some(service.get("/qos/92222222222")).filter(|answer| answer.status == 200));
    assert_whole(&found, 25);
    let calls = second.qos_calls();
    assert_eq!(pages(&calls), [0, 0, 1, 2]);
    service.finish(&["flight failed"]);
}

#[test]
fn a_connection_that_zoom_closes_before_it_answers_costs_one_retry() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for number in 0..5 {
        let id = format!("9100000000{number}");
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        sim.inject(Fault::new(FaultKind::CloseBeforeAnswer).for_meeting(&id));
        let answer =
            thread::scope(|scope| scope.spawn(|| service.get(&format!("/qos/{id}"))).join().unwrap());
        assert_whole(&answer, 1);
        assert_eq!(calls_for(&sim, &id).len(), 2, "only the flight retries, and not its HTTP client");
    }
    service.finish(&[]);
}
