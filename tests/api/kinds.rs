//! Meetings and webinars share one path. Finding out which of the two an id names costs no unnecessary refused call.

use std::{collections::HashSet, io::Write as _, net::TcpStream, time::Duration};

use test_support::{
    client::{at_once, request},
    freshness::wait_until_stale,
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{
    Fault, FaultKind, Meeting,
    QosEndpoint::{self, MeetingList, WebinarList},
    Sim,
};

const WEBINAR: &str = "/qos/91111111111";
const MEETING: &str = "/qos/92222222222";

/// A webinar and a meeting of three pages each.
fn both() -> Sim {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 30, 2).webinar());
    sim.add_meeting(Meeting::generated("92222222222", 30, 2));
    sim
}

/// The endpoints that were called, in order.
fn called(sim: &Sim) -> Vec<QosEndpoint> {
    sim.qos_calls().iter().map(|call| call.endpoint.unwrap()).collect()
}

fn purge(service: &Service, path: &str) {
    assert_eq!(request(service.ops, "DELETE", path, &[]).status, 204);
}

#[test]
fn a_webinar_is_found_without_its_kind_for_one_refused_call() {
    let sim = both();
    let service = Service::start(&sim, &[]);
    let found = service.get(WEBINAR);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    assert!(
        found
            .text()
            .starts_with(r#"{"meeting_id":"91111111111","type":"live","kind":"webinar","fetched_at":""#),
        "{}",
        found.text()
    );
    assert_eq!(found.json()["participants"].as_array().unwrap().len(), 30);
    assert_eq!(called(&sim), [MeetingList, WebinarList, WebinarList, WebinarList]);
    let named = service.get(&format!("{WEBINAR}?kind=webinar"));
    assert_eq!((&named.body, named.header("etag")), (&found.body, found.header("etag")));
    assert!(service.get(WEBINAR).cache_status().starts_with("zoom-qos-proxy; hit"));
    // The service remembers the kind for the id, so it also applies to the other `type`.
    assert_eq!(service.get(&format!("{WEBINAR}?type=past")).json()["kind"], "webinar");
    assert_eq!(called(&sim)[4..], [WebinarList; 3]);
    assert_eq!(service.metric("zoom_qos_proxy_calls_saved_total"), 6.0);
    assert_eq!(service.metric("zoom_qos_proxy_flights_active"), 0.0);
    service.finish(&[]);
}

#[test]
fn a_webinars_calls_have_its_path_and_the_same_parameters() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("/ajXp112QmuoKj48548750==", 11, 2).webinar());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos//ajXp112QmuoKj48548750==?type=past&kind=webinar");
    assert_eq!(answer.json()["total_records"], 11);
    let targets: Vec<_> = sim.qos_calls().into_iter().map(|call| call.target).collect();
    let first =
        "/v2/metrics/webinars/%252FajXp112QmuoKj48548750%253D%253D/participants/qos?type=past&page_size=10";
    assert_eq!(targets[0], first);
    assert!(targets[1].starts_with(&format!("{first}&next_page_token=")), "{}", targets[1]);
    assert_eq!(targets.len(), 2);
    service.finish(&[]);
}

#[test]
fn a_remembered_webinar_costs_no_second_refused_call() {
    let sim = both();
    let settings = [("cache.live_fresh", "200ms"), ("cache.refusal", "0s")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get(WEBINAR).status, 200);
    for round in 1..4 {
        wait_until_stale(&service, WEBINAR);
        let stale = service.get(WEBINAR);
        assert!(stale.cache_status().ends_with("detail=revalidating"), "{}", stale.cache_status());
        wait_for(|| (called(&sim).len() > 3 * (round + 1)).then_some(()));
        wait_for(|| (service.get(WEBINAR).body != stale.body).then_some(()));
    }
    assert_eq!(called(&sim).iter().filter(|endpoint| **endpoint == MeetingList).count(), 1);
    service.finish(&[]);
}

#[test]
fn a_stale_webinar_is_served_while_zoom_fails() {
    let sim = both();
    let settings = [("cache.live_fresh", "200ms"), ("cache.stale_while_revalidate", "0s")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get(WEBINAR).status, 200);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).forever());
    let stale = wait_for(|| {
        Some(service.get(WEBINAR)).filter(|answer| answer.cache_status().ends_with("detail=zoom_failed"))
    });
    assert_eq!((stale.status, &stale.json()["kind"]), (200, &"webinar".into()));
    assert_eq!(called(&sim), [MeetingList, WebinarList, WebinarList, WebinarList, WebinarList]);
    service.finish(&["flight failed"]);
}

#[test]
fn twenty_callers_with_and_without_kind_share_one_flight() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    sim.add_meeting(Meeting::generated("91111111111", 30, 2).webinar());
    let service = Service::start(&sim, &[]);
    let paths = (0..20).map(|number| match number % 4 {
        0 => format!("{WEBINAR}?kind=webinar"),
        1 => format!("{WEBINAR}?kind=meeting"),
        _ => WEBINAR.to_owned(),
    });
    let paths: Vec<_> = paths.collect();
    let answers = at_once(service.addr, paths.clone());
    let mut bodies = HashSet::new();
    for (path, answer) in paths.iter().zip(&answers) {
        if path.ends_with("kind=meeting") {
            answer.assert_problem(404, "not_a_meeting");
        } else {
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            bodies.insert(&answer.body);
        }
    }
    assert_eq!(bodies.len(), 1);
    let own = answers
        .iter()
        .filter(|answer| answer.header("cache-status").is_some_and(|status| status.ends_with("; stored")));
    assert!(own.count() <= 1, "all other callers waited for a flight that was already under way");
    let mut called = called(&sim);
    called.sort_by_key(|endpoint| *endpoint == WebinarList);
    assert_eq!(called, [MeetingList, WebinarList, WebinarList, WebinarList]);
    service.finish(&[]);
}

#[test]
fn a_webinar_is_cached_though_every_caller_disconnects_before_the_refusal() {
    let sim = sim(|config| config.latency = Duration::from_millis(500));
    sim.add_meeting(Meeting::generated("91111111111", 30, 2).webinar());
    let service = Service::start(&sim, &[]);
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(service.addr).unwrap();
            stream.write_all(format!("GET {WEBINAR} HTTP/1.1\r\nHost: service\r\n\r\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    drop(callers);
    let landed = wait_for(|| {
        let answer = request(service.addr, "GET", WEBINAR, &[("Cache-Control", "only-if-cached")]);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(landed.json()["total_records"], 30);
    assert_eq!(called(&sim), [MeetingList, WebinarList, WebinarList, WebinarList]);
    service.finish(&[]);
}

#[test]
fn only_the_endpoint_of_a_named_kind_is_called() {
    let sim = both();
    let service = Service::start(&sim, &[]);
    for _ in 0..2 {
        service.get(&format!("{WEBINAR}?kind=meeting")).assert_problem(404, "not_a_meeting");
        service.get(&format!("{MEETING}?kind=webinar")).assert_problem(404, "not_a_meeting");
    }
    assert_eq!(called(&sim), [MeetingList, WebinarList], "remembered for cache.refusal");
    let meeting = service.get(MEETING);
    assert_eq!((meeting.status, meeting.json().get("kind")), (200, None));
    assert_eq!(service.get(WEBINAR).json()["kind"], "webinar");
    assert_eq!(
        called(&sim)[2..],
        [MeetingList, MeetingList, MeetingList, WebinarList, WebinarList, WebinarList]
    );
    // A refusal by the webinar endpoint does not remove the snapshot of the meeting.
    service.get(&format!("{MEETING}?kind=webinar")).assert_problem(404, "not_a_meeting");
    assert!(service.get(MEETING).cache_status().starts_with("zoom-qos-proxy; hit"));
    service.finish(&[]);
}

#[test]
fn an_id_of_neither_kind_costs_a_call_for_each() {
    let sim = both();
    sim.inject(Fault::new(FaultKind::Webinar).for_meeting("93333333333").forever());
    let service = Service::start(&sim, &[]);
    for _ in 0..3 {
        let answer = service.get("/qos/93333333333");
        answer.assert_problem(404, "not_a_meeting");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("meeting") && detail.contains("webinar"), "{detail}");
    }
    assert_eq!(called(&sim), [MeetingList, WebinarList]);
    service.finish(&[]);
}

#[test]
fn an_id_that_changes_from_webinar_to_meeting_is_still_found() {
    let sim = both();
    let settings =
        [("cache.live_fresh", "100ms"), ("cache.stale_while_revalidate", "0s"), ("cache.refusal", "1s")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get(WEBINAR).json()["kind"], "webinar");
    sim.add_meeting(Meeting::generated("91111111111", 5, 1));
    let found = wait_for(|| {
        let answer = service.get(WEBINAR);
        let is_meeting = answer.status == 200 && answer.json().get("kind").is_none();
        is_meeting.then_some(answer)
    });
    assert_eq!(found.json()["total_records"], 5);
    let expected = [MeetingList, WebinarList, WebinarList, WebinarList, WebinarList, MeetingList];
    assert_eq!(called(&sim)[..6], expected, "one refusal at each endpoint");
    service.finish(&[]);
}

#[test]
fn a_purge_of_either_type_removes_both_kinds_and_the_remembered_kind() {
    let sim = both();
    let service = Service::start(&sim, &[]);
    for path in ["/cache/91111111111", "/cache/91111111111?type=live", "/cache"] {
        sim.clear_calls();
        assert_eq!(service.get(WEBINAR).status, 200);
        assert_eq!(called(&sim), [MeetingList, WebinarList, WebinarList, WebinarList], "{path}");
        service.get(&format!("{WEBINAR}?kind=meeting")).assert_problem(404, "not_a_meeting");
        purge(&service, path);
    }
    sim.clear_calls();
    // The purge removed the cached refusal, so the meeting endpoint is called again.
    service.get(&format!("{WEBINAR}?kind=meeting")).assert_problem(404, "not_a_meeting");
    assert_eq!(called(&sim), [MeetingList]);
    purge(&service, "/cache/91111111111?type=past");
    assert_eq!(
        service.get(WEBINAR).status,
        200,
        "this purge forgets the kind, but not the refusal of the other type"
    );
    assert_eq!(called(&sim), [MeetingList, WebinarList, WebinarList, WebinarList]);
    service.finish(&[]);
}

#[test]
fn page_tokens_of_webinars_work_with_and_without_their_kind() {
    let sim = both();
    let service = Service::start(&sim, &[]);
    for (id, kind, other) in [(WEBINAR, "webinar", "meeting"), (MEETING, "meeting", "webinar")] {
        let first = service.get(&format!("{id}?page_size=20"));
        let token = first.json()["next_page_token"].as_str().unwrap().to_owned();
        for query in [String::new(), format!("&kind={kind}")] {
            let next = service.get(&format!("{id}?next_page_token={token}{query}"));
            assert_eq!(next.json()["participants"].as_array().unwrap().len(), 10, "{}", next.text());
            assert_eq!(next.json()["kind"], first.json()["kind"]);
        }
        for query in [format!("&kind={other}"), "&type=past".to_owned()] {
            let next = service.get(&format!("{id}?next_page_token={token}{query}"));
            next.assert_problem(400, "invalid_page_token");
        }
    }
    assert_eq!(called(&sim).len(), 7);
    service.finish(&[]);
}

#[test]
fn any_other_kind_is_an_invalid_query() {
    let sim = both();
    let service = Service::start(&sim, &[]);
    let queries = [
        "kind=",
        "kind",
        "kind=Webinar",
        "kind=webinars",
        "kind=any",
        "kind=meeting&kind=meeting",
        "kind=webinar&type=live&kind=meeting",
        "kind=webinar%20",
        "kind=webinar,meeting",
    ];
    for query in queries {
        let answer = service.get(&format!("{WEBINAR}?{query}"));
        answer.assert_problem(400, "invalid_query");
        assert!(answer.json()["detail"].as_str().unwrap().contains("kind"), "{query}");
    }
    assert_eq!(service.get(&format!("{WEBINAR}?Kind=x&kinds=&kin%64=webinar")).json()["kind"], "webinar");
    assert_eq!(called(&sim), [WebinarList; 3]);
    service.finish(&[]);
}
