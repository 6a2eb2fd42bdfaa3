//! However many callers request a snapshot, one flight fetches it. They get all of its pages, or a problem.

use std::{
    collections::HashSet,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use test_support::{
    client::at_once,
    service::Service,
    simulator::sim,
    wait::{pause, wait_for},
};
use zoom_sim::{Fault, FaultKind, Meeting};

const SLASHED: &str = "/ajXp112QmuoKj48548750==";

fn pages_asked(sim: &zoom_sim::Sim) -> Vec<usize> {
    sim.qos_calls().iter().map(|call| call.page.unwrap()).collect()
}

#[test]
fn two_hundred_callers_of_a_cold_meeting_cost_three_calls() {
    let sim = sim(|config| config.latency = Duration::from_millis(100));
    sim.add_meeting(Meeting::generated("91111111111", 30, 3));
    let service = Service::start(&sim, &[]);
    let answers = at_once(service.addr, vec!["/qos/91111111111".into(); 200]);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let bodies: HashSet<_> = answers.iter().map(|answer| &answer.body).collect();
    assert_eq!(bodies.len(), 1, "all callers get the same snapshot");
    assert_eq!(answers[0].json()["total_records"], 30);
    assert_eq!(answers[0].json()["participants"].as_array().unwrap().len(), 30);
    let said = |part: &str| answers.iter().filter(|answer| answer.cache_status().contains(part)).count();
    let own = "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored";
    assert_eq!(answers.iter().filter(|answer| answer.cache_status() == own).count(), 1);
    assert_eq!(said("; collapsed") + said("; hit"), 199);
    assert_eq!(pages_asked(&sim), [0, 1, 2]);
    service.finish(&[]);
}

#[test]
fn callers_that_reset_their_connections_neither_stop_nor_repeat_a_flight() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    sim.add_meeting(Meeting::generated("91111111111", 30, 3));
    let service = Service::start(&sim, &[]);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(service.addr).unwrap();
            stream.write_all(b"GET /qos/91111111111 HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)), "the flight has started");
    // The callers reset their connections during the call.
    pause(Duration::from_millis(50));
    for stream in callers {
        let socket = socket2::Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap(); // Closing sends a reset.
    }
    let landed = wait_for(|| {
        let answer = service.get("/qos/91111111111");
        answer.cache_status().starts_with("zoom-qos-proxy; hit").then_some(answer)
    });
    assert_eq!(landed.json()["total_records"], 30);
    assert_eq!(pages_asked(&sim), [0, 1, 2]);
    service.finish(&[]);
}

#[test]
fn pages_are_requested_one_by_one_as_documented_in_zooms_order() {
    let sim = sim(|config| config.latency = Duration::from_millis(20));
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/91111111111?type=past").json();
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 3);
    for (number, call) in calls.iter().enumerate() {
        assert_eq!(call.path(), "/v2/metrics/meetings/91111111111/participants/qos");
        assert_eq!(call.query("type").as_deref(), Some("past"));
        assert_eq!(call.query("page_size").as_deref(), Some("10"));
        assert_eq!(call.query("next_page_token").is_some(), number > 0);
        assert_eq!(call.status, Some(200), "Zoom accepts the page token as encoded");
        assert!(call.header("authorization").is_some_and(|value| value.starts_with("Bearer ey")));
        assert!(call.header("user-agent").is_some_and(|value| value.starts_with("zoom-qos-proxy/")));
    }
    let in_turn = calls.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_millis(20));
    assert!(in_turn, "a page is requested after the response of the previous one");
    let ids: Vec<_> = answer["participants"].as_array().unwrap().iter().map(|row| &row["user_id"]).collect();
    assert_eq!(ids.len(), 25);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 25);
    service.finish(&[]);
}

#[test]
fn three_spellings_of_a_uuid_with_leading_slash_share_one_flight() {
    let sim = sim(|config| config.latency = Duration::from_millis(100));
    sim.add_meeting(Meeting::generated(SLASHED, 3, 2));
    let service = Service::start(&sim, &[]);
    let once = SLASHED.replace('/', "%2F").replace('=', "%3D");
    let spellings = [SLASHED.to_owned(), once.clone(), once.replace('%', "%25")];
    let paths = spellings.iter().map(|id| format!("/qos/{id}?type=past")).collect();
    for answer in at_once(service.addr, paths) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["meeting_id"], SLASHED);
    }
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].path(), "/v2/metrics/meetings/%252FajXp112QmuoKj48548750%253D%253D/participants/qos");
    service.finish(&[]);
}

#[test]
fn any_other_uuid_is_encoded_once() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("ats/xhSEQWit9t+U02HXNQ==", 1, 1));
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get("/qos/ats/xhSEQWit9t+U02HXNQ==?type=past").status, 200);
    let calls = sim.qos_calls();
    assert_eq!(calls[0].path(), "/v2/metrics/meetings/ats%2FxhSEQWit9t%2BU02HXNQ%3D%3D/participants/qos");
    service.finish(&[]);
}

#[test]
fn a_caller_waits_at_most_server_wait_while_the_flight_continues() {
    let sim = sim(|config| config.latency = Duration::from_millis(700));
    sim.add_meeting(Meeting::generated("91111111111", 30, 1));
    let service = Service::start(&sim, &[("server.wait", "1s")]);
    let asked = Instant::now();
    let answer = service.get("/qos/91111111111");
    assert_eq!((answer.status, answer.problem().as_str()), (503, "still_fetching"));
    assert!(answer.retry_after() >= 1);
    assert!((1.0..1.6).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
    let landed = wait_for(|| Some(service.get("/qos/91111111111")).filter(|answer| answer.status == 200));
    assert_eq!(landed.json()["total_records"], 30);
    assert_eq!(pages_asked(&sim), [0, 1, 2], "a repeated request joined the flight or found its result");
    service.finish(&[]);
}

#[test]
fn an_expired_page_token_starts_the_flight_over_once() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 30, 1));
    for kind in [FaultKind::PageTokenInvalid, FaultKind::PageTokenInvalidStatus300] {
        let service = Service::start(&sim, &[]);
        sim.clear_calls();
        sim.inject(Fault::new(kind.clone()).on_page(2));
        let answer = service.get("/qos/91111111111");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["total_records"], 30, "no rows of the first attempt are left");
        assert_eq!(pages_asked(&sim), [0, 1, 2, 0, 1, 2]);

        sim.clear_calls();
        sim.inject(Fault::new(kind).on_page(1).times(2));
        let answer = service.get("/qos/91111111111?type=past");
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert_eq!(pages_asked(&sim), [0, 1, 0, 1], "the flight starts over only once");
        service.finish(&["flight failed"]);
    }
}

#[test]
fn a_page_token_that_repeats_ends_the_flight_at_once() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 40, 1));
    sim.inject(Fault::new(FaultKind::RepeatPageToken).on_page(1).forever());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/91111111111");
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    assert!(sim.qos_calls().len() <= 3, "{:?}", pages_asked(&sim));
    service.finish(&["Zoom repeats a page token", "flight failed"]);
}

#[test]
fn a_failure_reaches_all_waiting_callers_and_a_later_one_retries() {
    let sim = sim(|config| config.latency = Duration::from_millis(200));
    sim.add_meeting(Meeting::generated("91111111111", 5, 1));
    sim.inject(Fault::new(FaultKind::EndpointUnknown));
    let service = Service::start(&sim, &[("cache.refusal", "0s")]);
    for answer in at_once(service.addr, vec!["/qos/91111111111".into(); 20]) {
        assert!(answer.status == 200 || answer.problem() == "zoom_failed", "{}", answer.text());
    }
    // Requests fail until the pause after the failure ends.
    wait_for(|| (service.get("/qos/91111111111").status == 200).then_some(()));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&["flight failed"]);
}

#[test]
fn an_empty_meeting_is_a_complete_meeting() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 0, 0));
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/91111111111");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["participants"].as_array().map(Vec::len), Some(0));
    assert_eq!(answer.json()["total_records"], 0);
    service.finish(&[]);
}

#[test]
fn a_flight_continues_after_its_callers_got_still_fetching() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_millis(2_500))).on_token_endpoint());
    let service = Service::start(&sim, &[("server.wait", "1s")]);
    assert_eq!(service.get("/qos/91111111111").problem(), "still_fetching");
    assert!(
        sim.wait_for_calls(1, Duration::from_secs(10)),
        "the call is made although no caller waits any more"
    );
    let landed = wait_for(|| Some(service.get("/qos/91111111111")).filter(|answer| answer.status == 200));
    let joined_or_found = ["collapsed", "hit"].iter().any(|word| landed.cache_status().contains(word));
    assert!(joined_or_found, "{}", landed.cache_status());
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}
