//! Purges by operators: a purged meeting is fetched again, and a flight already under way does not restore it.

use std::{
    io::Write as _,
    net::TcpStream,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{
    client::{Answer, Connection, request},
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION, get_with, ttl, wait_until_not_served, wait_until_stale},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const ID: &str = "91111111111";
const LIVE: &str = "/qos/91111111111";
const PAST: &str = "/qos/91111111111?type=past";
const MISS: &str = "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored";
/// The `Cache-Status` of a response that was fetched for the request, and not stored.
const NOT_KEPT: &str = "zoom-qos-proxy; fwd=uri-miss; fwd-status=200";

/// Sends a `DELETE` on the ops listener, and asserts that the answer is a 204 without a body.
fn purge(service: &Service, path: &str) {
    let answer = request(service.ops, "DELETE", path, &[]);
    assert_eq!(answer.status, 204, "{path}: {}", answer.text());
    assert!(answer.body.is_empty());
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    for absent in ["content-length", "content-type", "transfer-encoding"] {
        assert_eq!(answer.header(absent), None, "{absent} of a 204");
    }
}

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.cache_status().contains("; hit")
}

/// Whether a cached snapshot or failure answers this path. Starts no flight.
fn is_kept(service: &Service, path: &str) -> bool {
    get_with(service, path, "only-if-cached").status != 504
}

fn rows(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["total_records"].as_u64().unwrap()
}

/// Replaces the meeting. Requests that the simulator has already received are still answered with the old rows.
fn has_rows(sim: &Sim, rows: usize) {
    sim.add_meeting(Meeting::generated(ID, rows, 1));
}

/// Starts a caller, and waits until its flight has made its first call.
fn flying<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    sim: &Sim,
    service: &'env Service,
    path: &'static str,
) -> ScopedJoinHandle<'scope, Answer> {
    let calls = sim.qos_calls().len();
    let caller = scope.spawn(move || service.get(path));
    assert!(sim.wait_for_calls(calls + 1, Duration::from_secs(10)));
    caller
}

#[test]
fn one_type_of_a_meeting_is_purged_and_the_other_stays() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    for (purged, other, query) in [(LIVE, PAST, "type=live"), (PAST, LIVE, "type=past")] {
        for path in [LIVE, PAST] {
            service.get(path);
        }
        purge(&service, &format!("/cache/{ID}?{query}"));
        assert!(is_hit(&service.get(other)), "{query} leaves {other}");
        assert_eq!(service.get(purged).cache_status(), MISS, "{query}");
    }
    assert_eq!(calls_for(&sim, ID).len(), 4);
    service.finish(&[]);
}

#[test]
fn without_a_type_both_are_purged_and_other_meetings_stay() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    let other = "/qos/85746065432";
    for path in [LIVE, PAST, other] {
        assert_eq!(service.get(path).cache_status(), MISS);
    }
    // A purge ignores unknown query parameters, as other requests do.
    purge(&service, &format!("/cache/{ID}?page_size=x&any=thing"));
    assert!(is_hit(&service.get(other)));
    for path in [LIVE, PAST] {
        assert!(!is_kept(&service, path));
        assert_eq!(service.get(path).cache_status(), MISS);
    }
    assert_eq!(sim.qos_calls().len(), 5);
    service.finish(&[]);
}

#[test]
fn the_whole_cache_is_purged_and_later_fetches_are_cached() {
    let sim = sim(|_| ());
    let ids: Vec<_> = (0..20).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let service = Service::start(&sim, &[]);
    let paths: Vec<_> = ids.iter().map(|id| format!("/qos/{id}")).collect();
    let missing = "/qos/90000000000";
    for round in 1..=2 {
        for path in &paths {
            assert_eq!(service.get(path).cache_status(), MISS, "{path} in round {round}");
        }
        assert_eq!(service.get(missing).problem(), "meeting_not_found");
        for path in &paths {
            assert!(is_hit(&service.get(path)), "{path} in round {round}");
        }
        assert_eq!(sim.qos_calls().len(), 21 * round);
        purge(&service, "/cache");
        assert!(paths.iter().all(|path| !is_kept(&service, path)) && !is_kept(&service, missing));
    }
    // The purged entries are also removed from memory.
    wait_for(|| (service.ops_get("/status").json()["cache"]["entries"] == 0).then_some(()));
    assert_eq!(
        service.metric("zoom_qos_proxy_cache_evictions_total"),
        0.0,
        "purged entries do not count as evicted"
    );
    service.finish(&[]);
}

#[test]
fn a_meeting_is_purged_in_every_spelling_of_its_id() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for id in
        ["/ajXp112QmuoKj48548750==", "abcDEF12//345+678/ghiJ==", "ats/xhSEQWit9t+U02HXNQ==", "912345678"]
    {
        sim.add_meeting(Meeting::generated(id, 1, 1));
        sim.clear_calls();
        let once = id.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D").replace('9', "%39");
        let spellings = [
            id.to_owned(),
            once.clone(),
            once.replace("%2F", "%2f").replace("%3D", "%3d"),
            once.replace('%', "%25"),
            id.replace('/', "%2F"),
            id.replace('=', "%3D"),
        ];
        let path = format!("/qos/{id}");
        for (nth, spelling) in spellings.iter().enumerate() {
            service.get(&path);
            assert_eq!(sim.qos_calls().len(), nth + 1, "{spelling}");
            purge(&service, &format!("/cache/{spelling}"));
            assert!(!is_kept(&service, &path), "{spelling}");
        }
    }
    service.finish(&[]);
}

#[test]
fn a_cached_refusal_is_purged_and_zoom_is_called_again() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.not_found_live", "1h"), ("cache.not_found_past", "1h")]);
    for path in [LIVE, PAST, LIVE, PAST] {
        assert_eq!(service.get(path).problem(), "meeting_not_found");
    }
    assert_eq!(sim.qos_calls().len(), 2, "the refusals are cached");
    has_rows(&sim, 1);
    purge(&service, &format!("/cache/{ID}?type=live"));
    assert_eq!(service.get(PAST).problem(), "meeting_not_found", "still cached");
    assert_eq!(service.get(LIVE).cache_status(), MISS);
    purge(&service, "/cache");
    assert_eq!(service.get(PAST).cache_status(), MISS);
    assert_eq!(sim.qos_calls().len(), 4);
    service.finish(&[]);
}

#[test]
fn a_purged_snapshot_is_not_served_stale_when_zoom_fails() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    service.get(LIVE);
    wait_until_not_served(&service, LIVE);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).forever());
    assert!(ttl(&service.get(LIVE)) < 0, "served stale while it is cached");
    purge(&service, &format!("/cache/{ID}"));
    assert_eq!(service.get(LIVE).problem(), "zoom_failed");
    service.finish(&["flight failed"]);
}

#[test]
fn a_purged_flight_answers_its_waiters_but_is_not_cached() {
    for path_to_purge in ["/cache", "/cache/91111111111", "/cache/91111111111?type=live"] {
        let sim = sim(|config| config.latency = Duration::from_millis(400));
        has_rows(&sim, 25);
        let service = Service::start(&sim, &[]);
        thread::scope(|scope| {
            let own = flying(scope, &sim, &service, LIVE);
            let joined: Vec<_> = (0..3).map(|_| scope.spawn(|| service.get(LIVE))).collect();
            wait_for(|| {
                (service.ops_get("/status").json()["flights"]["requests_waiting"] == 4).then_some(())
            });
            purge(&service, path_to_purge);
            let own = own.join().unwrap();
            assert_eq!((rows(&own), own.cache_status()), (25, NOT_KEPT), "all of its pages");
            for joined in joined {
                let joined = joined.join().unwrap();
                assert_eq!(
                    (rows(&joined), joined.cache_status()),
                    (25, "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; collapsed")
                );
            }
        });
        assert!(!is_kept(&service, LIVE), "{path_to_purge}");
        assert_eq!(sim.qos_calls().len(), 3);
        has_rows(&sim, 2);
        let next = service.get(LIVE);
        assert_eq!((rows(&next), next.cache_status()), (2, MISS));
        assert!(is_hit(&service.get(LIVE)));
        assert_eq!(sim.qos_calls().len(), 4);
        service.finish(&[]);
    }
}

#[test]
fn a_flight_started_after_the_purge_wins_over_the_detached_one() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(2))));
    let service = Service::start(&sim, &[]);
    thread::scope(|scope| {
        let old = flying(scope, &sim, &service, LIVE);
        has_rows(&sim, 2);
        purge(&service, &format!("/cache/{ID}"));
        let asked = Instant::now();
        let new = service.get(LIVE);
        assert!(
            asked.elapsed() < Duration::from_millis(1_500),
            "the new request does not wait for the old flight"
        );
        assert_eq!((rows(&new), new.cache_status()), (2, MISS));
        assert_eq!(sim.qos_calls().len(), 2);
        assert!(!old.is_finished(), "the old flight is still under way");
        let old = old.join().unwrap();
        assert_eq!((rows(&old), old.cache_status()), (1, NOT_KEPT));
        let hit = service.get(LIVE);
        assert!(is_hit(&hit) && hit.body == new.body, "{}", hit.text());
        assert_eq!(hit.header("etag"), new.header("etag"));
    });
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn later_callers_never_get_the_result_of_the_detached_flight() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(1))));
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(3))));
    let service = Service::start(&sim, &[]);
    thread::scope(|scope| {
        let old = flying(scope, &sim, &service, LIVE);
        has_rows(&sim, 2);
        purge(&service, &format!("/cache/{ID}?type=live"));
        let new = flying(scope, &sim, &service, LIVE);
        let status = service.ops_get("/status").json();
        assert_eq!(
            (&status["flights"]["active"], &status["flights"]["requests_waiting"]),
            (&2.into(), &2.into())
        );
        assert_eq!(rows(&old.join().unwrap()), 1);
        assert!(!is_kept(&service, LIVE) && !new.is_finished());
        let later = service.get(LIVE);
        assert_eq!((rows(&later), later.cache_status()), (2, format!("{MISS}; collapsed").as_str()));
        let new = new.join().unwrap();
        assert_eq!((rows(&new), new.cache_status()), (2, MISS));
    });
    assert_eq!(sim.qos_calls().len(), 2, "the last caller joined the new flight");
    assert_eq!(rows(&service.get(LIVE)), 2);
    service.finish(&[]);
}

#[test]
fn flights_from_before_two_purges_are_not_cached() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    for _ in 0..2 {
        sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(1))));
    }
    let service = Service::start(&sim, &[]);
    thread::scope(|scope| {
        let oldest = flying(scope, &sim, &service, LIVE);
        has_rows(&sim, 2);
        purge(&service, &format!("/cache/{ID}"));
        let older = flying(scope, &sim, &service, LIVE);
        has_rows(&sim, 3);
        purge(&service, "/cache");
        purge(&service, "/cache");
        assert_eq!(rows(&service.get(LIVE)), 3);
        assert_eq!((rows(&oldest.join().unwrap()), rows(&older.join().unwrap())), (1, 2));
    });
    let hit = service.get(LIVE);
    assert!(is_hit(&hit) && rows(&hit) == 3);
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn a_purge_leaves_flights_of_other_types_and_meetings_alone() {
    let sim = sim(|config| config.latency = Duration::from_millis(800));
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    thread::scope(|scope| {
        let own = flying(scope, &sim, &service, LIVE);
        for other in ["/cache/91111111111?type=past", "/cache/85746065432"] {
            purge(&service, other);
        }
        let joined = service.get(LIVE);
        assert_eq!(joined.cache_status(), format!("{MISS}; collapsed"));
        assert_eq!(own.join().unwrap().cache_status(), MISS);
    });
    assert!(is_hit(&service.get(LIVE)));
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_purged_flights_refusal_is_not_cached_and_removes_no_newer_snapshot() {
    let sim = sim(|config| config.latency = Duration::from_millis(1_500));
    let service = Service::start(&sim, &[("cache.not_found_live", "1h"), ("cache.not_found_past", "1h")]);
    thread::scope(|scope| {
        let old = [LIVE, PAST].map(|path| flying(scope, &sim, &service, path));
        sim.set_latency(Duration::ZERO);
        has_rows(&sim, 1);
        purge(&service, &format!("/cache/{ID}"));
        assert_eq!(service.get(LIVE).cache_status(), MISS);
        for old in old {
            assert_eq!(
                old.join().unwrap().problem(),
                "meeting_not_found",
                "Zoom's answer at the time of the call"
            );
        }
    });
    assert!(is_hit(&service.get(LIVE)), "the old refusal does not remove the new snapshot");
    assert!(!is_kept(&service, PAST), "the refusal is not cached without a snapshot either");
    assert_eq!(service.get(PAST).cache_status(), MISS);
    assert_eq!(sim.qos_calls().len(), 4);
    service.finish(&[]);
}

#[test]
fn a_purged_background_refresh_is_not_cached() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    service.get(LIVE);
    wait_until_stale(&service, LIVE);
    sim.set_latency(Duration::from_secs(1));
    assert!(service.get(LIVE).cache_status().ends_with("detail=revalidating"));
    assert!(sim.wait_for_calls(2, Duration::from_secs(10)));
    purge(&service, &format!("/cache/{ID}"));
    assert_eq!(service.metric("zoom_qos_proxy_flights_active"), 1.0);
    service.wait_until_nothing_flies();
    assert!(!is_kept(&service, LIVE));
    assert_eq!(service.get(LIVE).cache_status(), MISS);
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn a_detached_flight_without_callers_makes_no_more_calls() {
    let sim = sim(|_| ());
    has_rows(&sim, 25);
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let used = || service.metric("zoom_qos_proxy_day_calls_used");
    service.get(LIVE);
    wait_until_stale(&service, LIVE);
    sim.set_latency(Duration::from_secs(3));
    // Two flights that no caller waits for: a background refresh, and one whose only caller disconnects.
    assert!(service.get(LIVE).cache_status().ends_with("detail=revalidating"));
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.write_all(format!("GET {PAST} HTTP/1.1\r\nHost: service\r\n\r\n").as_bytes()).unwrap();
    assert!(sim.wait_for_calls(5, Duration::from_secs(10)));
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap(); // Closing sends a reset.
    purge(&service, &format!("/cache/{ID}"));
    service.wait_until_nothing_flies();
    assert_eq!(sim.qos_calls().len(), 5, "three pages, and then the first page of each flight");
    assert_eq!(used(), 5.0, "unused permits are returned");
    sim.set_latency(Duration::ZERO);
    for path in [LIVE, PAST] {
        assert_eq!(
            (rows(&service.get(path)), sim.qos_calls().len()),
            (25, if path == LIVE { 8 } else { 11 })
        );
    }
    service.finish(&[]);
}

#[test]
fn a_detached_flight_and_its_successor_both_get_permits() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")]);
    assert_eq!(service.get("/qos/85746065432").status, 200);
    thread::scope(|scope| {
        let waiting = |number: usize| {
            let status = service.ops_get("/status").json();
            (status["queue"]["calls_waiting"] == number && status["flights"]["active"] == number)
                .then_some(())
        };
        let old = scope.spawn(|| service.get(LIVE));
        wait_for(|| waiting(1));
        purge(&service, "/cache");
        let new = scope.spawn(|| service.get(LIVE));
        wait_for(|| waiting(2));
        assert_eq!(old.join().unwrap().cache_status(), NOT_KEPT);
        assert_eq!(new.join().unwrap().cache_status(), MISS);
    });
    assert_eq!(calls_for(&sim, ID).len(), 2);
    service.finish(&[]);
}

#[test]
fn a_pause_answers_callers_of_a_detached_flight_too() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    service.get(LIVE);
    wait_until_not_served(&service, LIVE);
    sim.set_latency(Duration::from_millis(500));
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("5".into()), headers: true }));
    thread::scope(|scope| {
        let old = flying(scope, &sim, &service, LIVE);
        purge(&service, &format!("/cache/{ID}"));
        let asked = Instant::now();
        let old = old.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert!(
            ttl(&old) < 0 && old.cache_status().ends_with("; detail=zoom_rate_limited"),
            "the snapshot found at the start"
        );
    });
    service.finish(&["all calls pause"]);
}

#[test]
fn a_purge_ends_no_pause_and_returns_no_call() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    let used = || service.metric("zoom_qos_proxy_day_calls_used");
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("60".into()), headers: true }));
    assert_eq!(service.get(LIVE).problem(), "zoom_rate_limited");
    let before = used();
    purge(&service, "/cache");
    assert_eq!(service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}"), 1.0);
    assert_eq!(service.get(LIVE).problem(), "zoom_rate_limited");
    assert_eq!((used(), sim.qos_calls().len()), (before, 1));
    service.finish(&["all calls pause"]);

    let service = Service::start(&sim, &[]);
    sim.inject(Fault::new(FaultKind::MissingScope));
    assert_eq!(service.get(LIVE).problem(), "zoom_rejected_credentials");
    for path in ["/cache/91111111111", "/cache"] {
        purge(&service, path);
    }
    assert_eq!(service.get(LIVE).problem(), "zoom_rejected_credentials");
    assert_eq!(service.ops_get("/readyz").status, 503);
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&["Zoom refuses the credentials"]);
}

#[test]
fn purging_a_missing_meeting_succeeds_without_a_call() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let mut connection = Connection::open(service.ops);
    for path in ["/cache/91111111111", "/cache", "/cache/91111111111?type=past", "/cache"] {
        for _ in 0..2 {
            let answer = {
                connection.send("DELETE", path);
                connection.receive(true)
            };
            assert_eq!(answer.status, 204, "{path}");
        }
    }
    assert_eq!(connection.ask("GET", "/healthz").status, 200, "nothing of a 204 is left on the connection");
    assert!(sim.qos_calls().is_empty());
    drop(connection);
    service.finish(&[]);
}

#[test]
fn a_malformed_purge_is_rejected_and_purges_nothing() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    for path in [LIVE, PAST] {
        service.get(path);
    }
    for (path, code, part) in [
        ("/cache/", "invalid_meeting_id", "missing"),
        ("/cache//", "invalid_meeting_id", "UUID"),
        ("/cache/1", "invalid_meeting_id", "9 to 12 digits"),
        ("/cache/91111111111/", "invalid_meeting_id", "UUID"),
        ("/cache/%2F91111111111", "invalid_meeting_id", "UUID"),
        ("/cache/91111111111%zz", "invalid_meeting_id", "encoding"),
        ("/cache/%25252FajXp112QmuoKj48548750==", "invalid_meeting_id", "encoding"),
        ("/cache/?type=live", "invalid_meeting_id", "missing"),
        ("/cache/1?type=x", "invalid_meeting_id", "9 to 12 digits"),
        ("/cache/91111111111?type=", "invalid_query", "type"),
        ("/cache/91111111111?type=Live", "invalid_query", "type"),
        ("/cache/91111111111?type=both", "invalid_query", "type"),
        ("/cache/91111111111?type=live&type=past", "invalid_query", "type"),
        ("/cache/91111111111?type=live&x=1&type=live", "invalid_query", "type"),
        ("/cache?type=past", "invalid_query", "/cache/{meetingId}"),
        ("/cache?type=", "invalid_query", "type"),
    ] {
        let answer = request(service.ops, "DELETE", path, &[]);
        assert_eq!((answer.status, answer.problem().as_str()), (400, code), "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
        answer.assert_discreet(&sim);
    }
    for path in ["/cach", "/cachee", "/Cache", "/%63ache", "/cache%2F91111111111", "/x/cache"] {
        let answer = request(service.ops, "DELETE", path, &[]);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{path}");
    }
    // Callers cannot purge.
    for path in ["/cache", "/cache/91111111111"] {
        assert_eq!(request(service.addr, "DELETE", path, &[]).problem(), "not_found", "{path}");
    }
    assert!(is_hit(&service.get(LIVE)) && is_hit(&service.get(PAST)));
    service.finish(&[]);
}

#[test]
fn any_method_but_delete_is_405_with_allow_delete() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    service.get(LIVE);
    for path in ["/cache", "/cache/91111111111", "/cache/91111111111?type=live", "/cache/1", "/cache/"] {
        for method in ["GET", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "PURGE"] {
            let answer = request(service.ops, method, path, &[]);
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), Some("DELETE"), "{method} {path}");
        }
        let head = request(service.ops, "HEAD", path, &[]);
        assert_eq!((head.status, head.header("allow"), head.body.len()), (405, Some("DELETE"), 0), "{path}");
    }
    for path in ["/status", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(request(service.ops, "DELETE", path, &[]).header("allow"), Some("GET, HEAD"), "{path}");
    }
    assert_eq!(request(service.addr, "DELETE", LIVE, &[]).header("allow"), Some("GET, HEAD"));
    assert!(is_hit(&service.get(LIVE)));
    service.finish(&[]);
}

#[test]
fn the_log_says_what_was_purged_and_by_which_request() {
    let sim = sim(|config| config.latency = Duration::from_millis(700));
    has_rows(&sim, 1);
    let service = Service::start(&sim, &[]);
    service.get(LIVE);
    let expected = [
        ("/cache/%391111111111?type=live", ID, Some("live"), 1, 0),
        ("/cache/91111111111", ID, Some("both"), 0, 1),
        ("/cache", "all", None, 0, 0),
    ];
    thread::scope(|scope| {
        let mut under_way = None;
        for (number, (path, ..)) in expected.iter().enumerate() {
            if number == 1 {
                under_way = Some(flying(scope, &sim, &service, PAST));
            }
            let id = format!("purge-{number}");
            assert_eq!(request(service.ops, "DELETE", path, &[("X-Request-Id", &id)]).status, 204);
        }
        assert_eq!(under_way.unwrap().join().unwrap().cache_status(), NOT_KEPT);
    });
    for refused in ["/cache/zebra", "/cache?type=zebra", "/cache/zebra?type=zebra"] {
        assert_eq!(request(service.ops, "DELETE", refused, &[]).status, 400);
    }
    let lines = service.finish(&[]);
    assert!(lines.iter().all(|line| !line.contains("zebra") && !line.contains("%39")), "{lines:#?}");
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let purges: Vec<_> = lines.iter().filter(|line| line["message"] == "purged").collect();
    assert_eq!(purges.len(), expected.len(), "a rejected request purges nothing");
    for (line, (_, meeting, meeting_type, entries, flights)) in purges.into_iter().zip(expected) {
        assert_eq!((&line["level"], &line["meeting"]), (&"INFO".into(), &meeting.into()), "{line}");
        assert_eq!(line["meeting_type"].as_str(), meeting_type, "{line}");
        assert_eq!(line["flights_set_aside"], flights, "{line}");
        // When everything is purged, the logged number of entries may be a second old.
        assert!(meeting_type.is_none() || line["entries"] == entries, "{line}");
    }
    let requests: Vec<_> = lines.iter().filter(|line| line["method"] == "DELETE").collect();
    assert_eq!(requests.len(), 6);
    let identity = |line: &Value| {
        (line["request_id"].as_str() == Some("purge-2"), line["route"].as_str().unwrap() == "/cache")
    };
    assert!(requests.iter().any(|line| identity(line) == (true, true)));
    assert_eq!(requests.iter().filter(|line| line["route"] == "/cache/{meetingId}").count(), 4);
    assert!(requests.iter().all(|line| line["level"] == "INFO" && line["outcome"] != "hit"));
}

#[test]
fn a_draining_process_still_purges_and_waits_for_detached_flights() {
    let sim = sim(|_| ());
    has_rows(&sim, 1);
    let mut service = Service::start(&sim, &[("server.drain_delay", "2s")]);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(4))));
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.write_all(format!("GET {LIVE} HTTP/1.1\r\nHost: service\r\n\r\n").as_bytes()).unwrap();
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    service.signal("TERM");
    service.wait_until_ready(503);
    purge(&service, "/cache");
    // This request starts a second flight for the same meeting, and waits for it to complete.
    assert_eq!(service.get(LIVE).cache_status(), MISS);
    // The first caller disconnects. After that, only its flight keeps the process alive, and no connection does.
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    assert!(service.wait().success());
    let statuses: Vec<_> = sim.qos_calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(200), Some(200)], "the process waits for the call in flight");
    let printed = service.printed();
    assert!(printed.iter().all(|line| !line.contains("\"WARN\"")), "{printed:#?}");
}
