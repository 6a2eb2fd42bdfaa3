//! The directives in a caller's `Cache-Control`: what each does, and how many calls it costs.

use std::time::{Duration, Instant};

use test_support::{
    client::{Answer, at_once, request},
    freshness::{ID, NO_REVALIDATION, PATH, age, get_with, ttl, wait_until_not_served, wait_until_stale},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting};

const FORCED: &str = "zoom-qos-proxy; fwd=request; fwd-status=200; stored";
const NO_FLOOR: (&str, &str) = ("cache.refresh_floor", "0s");

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.cache_status().starts_with("zoom-qos-proxy; hit; ttl=")
}

fn assert_fresh_hit(answer: &Answer) {
    assert!(
        is_hit(answer) && ttl(answer) >= 0 && !answer.cache_status().contains("detail"),
        "{:?}",
        answer.headers
    );
}

fn assert_not_cached(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (504, "not_cached"));
    assert_eq!(answer.header("cache-status"), None);
}

/// Waits until the snapshot is at least this old, without starting a flight.
fn wait_for_age(service: &Service, seconds: i64) {
    wait_for(|| (age(&get_with(service, PATH, "only-if-cached")) >= seconds).then_some(()));
}

#[test]
fn no_cache_refetches_a_fresh_snapshot_and_reports_fwd_request() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    for (turn, directive) in ["no-cache", "NO-CACHE", "foo, no-cache ,bar=1"].into_iter().enumerate() {
        let forced = get_with(&service, PATH, directive);
        assert_eq!(forced.cache_status(), FORCED, "{directive}");
        assert_eq!(age(&forced), 0);
        assert_eq!(sim.qos_calls().len(), turn + 2);
    }
    assert_fresh_hit(&service.get(PATH));
    let head = request(service.addr, "HEAD", PATH, &[("Cache-Control", "no-cache")]);
    assert_eq!((head.cache_status(), head.body.len()), (FORCED, 0));
    service.finish(&[]);
}

#[test]
fn on_a_miss_directives_change_nothing() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (number, directive) in
        ["no-cache", "max-age=0", "min-fresh=9", "max-stale", "no-store"].iter().enumerate()
    {
        let id = format!("{}", 91_000_000_000 + number);
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        let answer = get_with(&service, &format!("/qos/{id}"), directive);
        assert_eq!(
            answer.cache_status(),
            "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored",
            "{directive}"
        );
    }
    service.finish(&[]);
}

#[test]
fn many_no_cache_requests_in_a_row_cost_one_call_per_floor() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.refresh_floor", "1s")]);
    service.get(PATH);
    let (mut hits, mut forced) = (0, 0);
    let everything =
        ["no-cache", "max-age=0, no-cache", "min-fresh=9999", "no-cache, max-age=0, min-fresh=9999"];
    wait_for(|| {
        for directive in everything {
            let answer = get_with(&service, PATH, directive);
            if is_hit(&answer) {
                assert_eq!(age(&answer), 0, "only a snapshot younger than the floor is a hit");
                hits += 1;
            } else {
                assert_eq!(answer.cache_status(), FORCED);
                forced += 1;
            }
        }
        (forced == 3).then_some(())
    });
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 4);
    for two in calls.windows(2) {
        let apart = (two[1].at - two[0].at).as_secs_f64();
        assert!((1.0..1.5).contains(&apart), "{apart}");
    }
    assert!(hits > 50, "{hits}");
    service.finish(&[]);
}

#[test]
fn by_default_no_directive_refetches_a_two_seconds_old_snapshot() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    service.get(PATH);
    wait_for_age(&service, 2);
    for directive in ["no-cache", "max-age=0", "min-fresh=1000"] {
        assert_fresh_hit(&get_with(&service, PATH, directive));
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_forced_fetch_that_fails_counts_towards_the_floor_too() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.refresh_floor", "2s")]);
    service.get(PATH);
    wait_for_age(&service, 2);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).forever());
    let asked = Instant::now();
    let answers: Vec<_> = (0..20).map(|_| get_with(&service, PATH, "no-cache")).collect();
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(answers.iter().all(is_hit));
    assert_eq!(sim.qos_calls().len(), 2, "forced fetches cannot exhaust the quota, even while Zoom fails");
    service.finish(&["flight failed"]);
}

#[test]
fn max_age_is_the_maximum_age_that_a_caller_accepts() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    assert_fresh_hit(&get_with(&service, PATH, "max-age=100"));
    assert_fresh_hit(&get_with(&service, PATH, "max-age=\"100\""));
    let forced = wait_for(|| {
        let answer = get_with(&service, PATH, "max-age=1");
        if is_hit(&answer) {
            assert!(age(&answer) <= 1);
            return None;
        }
        Some(answer)
    });
    assert_eq!(forced.cache_status(), FORCED);
    let calls = sim.qos_calls();
    let apart = calls[1].at - calls[0].at;
    assert!(apart >= Duration::from_secs(1) && apart < Duration::from_millis(2_500), "{apart:?}");
    wait_for_age(&service, 1);
    assert_eq!(get_with(&service, PATH, "max-age=0").cache_status(), FORCED);
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn min_fresh_is_the_remaining_freshness_that_a_caller_requires() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    assert_fresh_hit(&get_with(&service, PATH, "min-fresh=0"));
    assert_fresh_hit(&get_with(&service, PATH, "min-fresh=20"));
    assert_eq!(sim.qos_calls().len(), 1);
    assert_eq!(get_with(&service, PATH, "min-fresh=60").cache_status(), FORCED);
    assert_eq!(get_with(&service, PATH, "min-fresh=99999999999999999999999").cache_status(), FORCED);
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn min_fresh_and_no_cache_reject_stale_and_max_age_compares_age() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR, ("cache.live_fresh", "300ms")]);
    for directive in ["min-fresh=0", "min-fresh=1", "no-cache"] {
        service.get(PATH);
        wait_until_stale(&service, PATH);
        let answer = get_with(&service, PATH, directive);
        assert_eq!(answer.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored", "{directive}");
    }
    wait_for_age(&service, 1);
    let answer = get_with(&service, PATH, "max-age=0");
    assert_eq!(answer.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored");
    service.finish(&[]);
}

#[test]
fn only_if_cached_is_answered_from_the_cache_or_not_at_all() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let settings = [("cache.live_fresh", "1s"), ("cache.stale_while_revalidate", "1s"), NO_FLOOR];
    let service = Service::start(&sim, &settings);
    assert_not_cached(&get_with(&service, PATH, "only-if-cached"));
    let head = request(service.addr, "HEAD", PATH, &[("Cache-Control", "only-if-cached")]);
    assert_eq!((head.status, head.body.len()), (504, 0));
    assert_eq!(sim.qos_calls().len(), 0, "no flight starts");
    service.get(PATH);
    let first = get_with(&service, PATH, "only-if-cached");
    assert_fresh_hit(&first);
    let mut stale = 0;
    let last = wait_for(|| {
        let answer = get_with(&service, PATH, "only-if-cached");
        if answer.status == 200 && ttl(&answer) < 0 {
            assert_eq!(answer.cache_status(), format!("zoom-qos-proxy; hit; ttl={}", ttl(&answer)));
            assert_eq!(answer.header("cache-control"), Some("private, max-age=0"));
            assert_eq!(answer.body, first.body);
            assert_not_cached(&get_with(&service, PATH, "only-if-cached, no-cache"));
            stale += 1;
        }
        (answer.status != 200).then_some(answer)
    });
    assert!(stale > 10, "{stale}");
    assert_not_cached(&last);
    // If a flight for the first meeting had started, its call would have reached Zoom before this one.
    assert_eq!(service.get("/qos/91111111111").status, 200);
    assert_eq!(calls_for(&sim, ID).len(), 1, "`only-if-cached` starts no flight, even for a stale snapshot");
    service.finish(&[]);
}

#[test]
fn only_if_cached_never_waits_and_returns_cached_failures() {
    let sim = sim(|config| config.latency = Duration::from_secs(1));
    let service = Service::start(&sim, &[]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| service.get(PATH));
        assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
        let asked = Instant::now();
        assert_not_cached(&get_with(&service, PATH, "only-if-cached"));
        assert!(asked.elapsed() < Duration::from_millis(500));
        assert_eq!(first.join().unwrap().status, 200);
    });
    sim.set_latency(Duration::ZERO);
    assert_eq!(service.get("/qos/90000000000").status, 404);
    assert_eq!(get_with(&service, "/qos/90000000000", "only-if-cached").problem(), "meeting_not_found");
    service.finish(&[]);
}

#[test]
fn only_if_cached_with_an_unmet_directive_is_not_cached() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    wait_for_age(&service, 1);
    for wish in ["no-cache", "max-age=0", "min-fresh=100"] {
        assert_not_cached(&get_with(&service, PATH, &format!("only-if-cached, {wish}")));
    }
    for wish in ["max-age=100", "min-fresh=1", "max-stale"] {
        assert_fresh_hit(&get_with(&service, PATH, &format!("{wish}, only-if-cached")));
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn max_stale_has_no_effect() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms"), NO_REVALIDATION]);
    for (turn, directive) in
        ["max-stale", "max-stale=1000", "max-age=1000, max-stale=1000"].iter().enumerate()
    {
        service.get(PATH);
        wait_until_not_served(&service, PATH);
        assert_not_cached(&get_with(&service, PATH, &format!("{directive}, only-if-cached")));
        let answer = get_with(&service, PATH, directive);
        assert_eq!(answer.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored", "{turn}");
        wait_until_not_served(&service, PATH);
    }
    service.finish(&[]);
}

#[test]
fn pragma_no_cache_counts_only_without_cache_control() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    let pragma = request(service.addr, "GET", PATH, &[("Pragma", "no-cache")]);
    assert_eq!(pragma.cache_status(), FORCED);
    let both = [("Pragma", "no-cache"), ("Cache-Control", "max-age=100")];
    assert_fresh_hit(&request(service.addr, "GET", PATH, &both));
    assert_fresh_hit(&request(service.addr, "GET", PATH, &[("Pragma", "something")]));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn malformed_and_unknown_directives_are_ignored() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    wait_for_age(&service, 1);
    let long = "x".repeat(4_000);
    for value in [
        "",
        ",",
        ",,,=",
        "=",
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=0.5",
        "max-age=soon",
        "max-age=0x0",
        "max-age=\"0",
        "max age=0",
        "min-fresh",
        "min-fresh=-5",
        "min-fresh=1e9",
        "nocache",
        "no-cache2",
        "no cache",
        "no-store",
        "no-transform",
        "max-stale=nonsense",
        "stale-if-error=0",
        "\u{e9}",
        &long,
    ] {
        assert_fresh_hit(&get_with(&service, PATH, value));
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_directive_inside_a_quoted_string_is_ignored() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    assert_fresh_hit(&get_with(&service, PATH, "note=\"a, no-cache, b\", max-age=100"));
    service.finish(&[]);
}

#[test]
fn two_hundred_simultaneous_forced_requests_share_one_flight() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    sim.set_latency(Duration::from_millis(1_500));
    let addr = service.addr;
    let callers: Vec<_> = (0..200)
        .map(|_| std::thread::spawn(move || request(addr, "GET", PATH, &[("Cache-Control", "no-cache")])))
        .collect();
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert_eq!(sim.qos_calls().len(), 2);
    let own = answers.iter().filter(|answer| answer.cache_status() == FORCED).count();
    let collapsed =
        answers.iter().filter(|answer| answer.cache_status() == format!("{FORCED}; collapsed")).count();
    assert_eq!((own, collapsed), (1, 199));
    service.finish(&[]);
}

#[test]
fn forced_and_ordinary_requests_are_both_served_during_a_fetch() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    sim.set_latency(Duration::from_secs(1));
    std::thread::scope(|scope| {
        let forced = scope.spawn(|| get_with(&service, PATH, "no-cache"));
        assert!(sim.wait_for_calls(2, Duration::from_secs(10)));
        let asked = Instant::now();
        at_once(service.addr, vec![PATH.to_owned(); 10]).iter().for_each(assert_fresh_hit);
        assert!(asked.elapsed() < Duration::from_millis(500));
        assert_eq!(forced.join().unwrap().cache_status(), FORCED);
    });
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_failed_forced_fetch_falls_back_to_the_cache_with_the_reason() {
    for if_error in ["1h", "0s"] {
        let sim = sim(|_| ());
        let settings = [NO_FLOOR, ("cache.stale_if_error", if_error), ("cache.refusal", "0s")];
        let service = Service::start(&sim, &settings);
        let first = service.get(PATH);
        let kept_because = |detail: &str| {
            let asked = Instant::now();
            let answer = get_with(&service, PATH, "no-cache");
            let left = ttl(&answer);
            assert!((0..=30).contains(&left), "still fresh: {left}");
            assert_eq!(answer.cache_status(), format!("zoom-qos-proxy; hit; ttl={left}; detail={detail}"));
            assert_eq!((answer.status, &answer.body), (200, &first.body));
            assert!(asked.elapsed() < Duration::from_secs(1));
        };
        sim.inject(Fault::new(FaultKind::EndpointUnknown));
        kept_because("zoom_failed");
        sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("2".into()), headers: true }));
        wait_for(|| {
            let answer = get_with(&service, PATH, "no-cache");
            answer.cache_status().ends_with("detail=zoom_rate_limited").then_some(())
        });
        kept_because("zoom_rate_limited");
        assert_eq!(sim.qos_calls().len(), 3);
        assert_fresh_hit(&service.get(PATH));
        service.finish(&["flight failed", "all calls pause"]);
    }
}

#[test]
fn a_forced_fetch_reports_that_the_meeting_is_gone() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    service.get(PATH);
    sim.inject(Fault::new(FaultKind::DoesNotExist));
    assert_eq!(get_with(&service, PATH, "no-cache").problem(), "meeting_not_found");
    assert_eq!(service.get(PATH).status, 404, "the snapshot is removed");
    service.finish(&[]);
}

#[test]
fn caching_headers_of_callers_do_not_reach_zoom() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[NO_FLOOR]);
    let headers = [
        ("Cache-Control", "no-cache, max-age=0"),
        ("Pragma", "no-cache"),
        ("If-None-Match", "\"secret-tag\""),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    for _ in 0..2 {
        assert_eq!(request(service.addr, "GET", PATH, &headers).status, 200);
    }
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    for (name, _) in headers {
        assert!(calls.iter().all(|call| call.header(name).is_none()), "{name}");
    }
    service.finish(&[]);
}
