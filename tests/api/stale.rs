//! Stale snapshots are served immediately while they are refreshed, and when Zoom fails or must not be called.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{
    client::{Answer, Connection, at_once, request},
    freshness::{
        BRIEFLY_FRESH, ID, NO_REVALIDATION, PATH, age, get_with, ttl, wait_until_not_served, wait_until_stale,
    },
    service::{QUICK, Service},
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

/// An answer that took less than this time did not wait for Zoom.
const AT_ONCE: Duration = Duration::from_millis(700);

/// Waits for a fresh hit, without starting a flight.
fn wait_until_fresh(service: &Service, path: &str) -> Answer {
    wait_for(|| {
        let answer = get_with(service, path, "only-if-cached");
        (answer.status == 200 && ttl(&answer) >= 0).then_some(answer)
    })
}

/// Fetches a meeting, and waits until it is stale.
fn stale_meeting(sim: &Sim, service: &Service, id: &str) -> (String, Answer) {
    sim.add_meeting(Meeting::generated(id, 1, 1));
    let path = format!("/qos/{id}");
    let first = service.get(&path);
    assert_eq!(first.status, 200, "{}", first.text());
    wait_until_stale(service, &path);
    (path, first)
}

/// Fetches several meetings at the same time, and waits until all of them are stale.
fn stale_meetings(sim: &Sim, service: &Service, ids: &[&str]) -> Vec<String> {
    for id in ids {
        sim.add_meeting(Meeting::generated(*id, 1, 1));
    }
    let paths: Vec<_> = ids.iter().map(|id| format!("/qos/{id}")).collect();
    assert!(at_once(service.addr, paths.clone()).iter().all(|answer| answer.status == 200));
    for path in &paths {
        wait_until_stale(service, path);
    }
    paths
}

fn instant(answer: &Answer, header: &str) -> std::time::SystemTime {
    httpdate::parse_http_date(answer.header(header).unwrap()).unwrap()
}

/// Checks the headers of a stale answer. The snapshot must have been fresh for one second.
fn assert_stale(answer: &Answer, detail: &str) {
    let shown = format!("{:?}", answer.headers);
    assert!(matches!(answer.status, 200 | 304), "{} {}", answer.status, answer.text());
    let ttl = ttl(answer);
    assert!(ttl < 0, "{shown}");
    assert_eq!(answer.cache_status(), format!("zoom-qos-proxy; hit; ttl={ttl}; detail={detail}"));
    assert_eq!(answer.header("cache-control"), Some("private, max-age=0"), "never the original max-age");
    // The snapshot was fresh for 1 s. A negative `ttl` is the time since then, rounded up to whole seconds.
    assert!((age(answer) + ttl).abs() <= 1, "{shown}");
    let true_age = instant(answer, "date").duration_since(instant(answer, "last-modified")).unwrap();
    assert!(true_age.as_secs().abs_diff(age(answer).unsigned_abs()) <= 2, "{shown}");
    assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"));
    assert!(answer.header("etag").is_some() && answer.header("x-request-id").is_some());
    assert_eq!(answer.header("retry-after"), None);
}

/// Returns the answer, and how long the caller waited for it.
fn timed(service: &Service, path: &str) -> (Answer, Duration) {
    let asked = Instant::now();
    let answer = service.get(path);
    (answer, asked.elapsed())
}

/// Requests the stale meeting with and without directives in `Cache-Control`. Asserts that every answer gives this reason,
/// and that none costs a call.
fn assert_nobody_asks_zoom(sim: &Sim, service: &Service, path: &str, detail: &str) {
    let before = sim.qos_calls().len();
    for answer in at_once(service.addr, vec![path.to_owned(); 10]) {
        assert_stale(&answer, detail);
    }
    for directive in ["no-cache", "max-age=0", "min-fresh=1000", "max-stale"] {
        let asked = Instant::now();
        assert_stale(&get_with(service, path, directive), detail);
        assert!(asked.elapsed() < AT_ONCE, "{directive}: {:?}", asked.elapsed());
    }
    assert_stale(&request(service.addr, "HEAD", path, &[]), detail);
    assert_eq!(sim.qos_calls().len(), before, "{detail}: no caller causes a call to Zoom");
}

#[test]
fn a_stale_snapshot_is_served_at_once_and_refreshed_by_one_flight() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let first = service.get(PATH);
    wait_until_stale(&service, PATH);
    sim.set_latency(Duration::from_secs(2));
    let (one, took) = timed(&service, PATH);
    assert!(took < AT_ONCE, "{took:?}");
    assert_stale(&one, "revalidating");
    let asked = Instant::now();
    let others = at_once(service.addr, vec![PATH.to_owned(); 40]);
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    for answer in others.iter().chain([&one]) {
        assert_stale(answer, "revalidating");
        assert_eq!(answer.body, first.body);
        assert_eq!(answer.header("etag"), first.header("etag"));
    }
    let head = request(service.addr, "HEAD", PATH, &[]);
    assert_stale(&head, "revalidating");
    assert!(head.body.is_empty());
    let renewed = wait_until_fresh(&service, PATH);
    assert_eq!(sim.qos_calls().len(), 2, "one flight, however many callers");
    assert_ne!(renewed.header("etag"), first.header("etag"));
    assert!(age(&renewed) <= 1 && renewed.json()["fetched_at"] != first.json()["fetched_at"]);
    service.finish(&[]);
}

#[test]
fn after_the_revalidation_time_a_snapshot_is_fetched_and_waited_for() {
    let sim = sim(|_| ());
    let settings = [("cache.live_fresh", "300ms"), ("cache.stale_while_revalidate", "300ms")];
    let service = Service::start(&sim, &settings);
    let first = service.get(PATH);
    wait_until_not_served(&service, PATH);
    sim.set_latency(Duration::from_millis(100));
    let second = service.get(PATH);
    assert_eq!(second.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored");
    assert_eq!((first.status, second.status, age(&second)), (200, 200, 0));
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_millis(600));
    service.finish(&[]);
}

#[test]
fn callers_waiting_for_a_stale_meeting_share_flight_and_reason() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms"), NO_REVALIDATION]);
    service.get(PATH);
    wait_until_not_served(&service, PATH);
    sim.set_latency(Duration::from_millis(700));
    let mut answers = at_once(service.addr, vec![PATH.to_owned(); 20]);
    answers.sort_by_key(|answer| answer.cache_status().len());
    assert_eq!(answers[0].cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored");
    for other in &answers[1..] {
        assert_eq!(other.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored; collapsed");
    }
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_refresh_that_fails_on_a_later_page_keeps_the_stale_snapshot() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    let service = Service::start(&sim, &[BRIEFLY_FRESH, ("cache.refusal", "1s")]);
    let path = "/qos/91111111111";
    let first = service.get(path);
    wait_until_stale(&service, path);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).for_meeting("91111111111").on_page(1));
    assert_stale(&service.get(path), "revalidating");
    assert!(sim.wait_for_calls(5, Duration::from_secs(10)), "three pages, then two of the refresh");
    service.wait_until_nothing_flies();
    let kept = get_with(&service, path, "only-if-cached");
    assert!(ttl(&kept) < 0 && kept.body == first.body && kept.header("etag") == first.header("etag"));
    // A later caller triggers another attempt.
    wait_for(|| {
        let answer = service.get(path);
        (answer.header("etag") != first.header("etag")).then_some(())
    });
    service.finish(&["flight failed"]);
}

#[test]
fn a_background_refresh_yields_to_waiting_callers() {
    let sim = sim(|_| ());
    let settings =
        [("cache.live_fresh", "1500ms"), ("limits.heavy_per_second", "4"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let ids = ["91111111111", "92222222222", "93333333333"];
    let stale = stale_meetings(&sim, &service, &ids);
    sim.add_meeting(Meeting::generated("99999999999", 1, 1));
    sim.clear_calls();
    for path in &stale {
        assert!(service.get(path).cache_status().ends_with("detail=revalidating"));
    }
    assert_eq!(service.get("/qos/99999999999").status, 200);
    assert!(sim.wait_for_calls(4, Duration::from_secs(10)));
    let order: Vec<_> = sim.qos_calls().into_iter().map(|call| call.meeting.unwrap()).collect();
    assert!(order[..2].contains(&"99999999999".to_owned()), "{order:?}");
    assert_eq!(order.len(), 4);
    service.finish(&[]);
}

#[test]
fn a_refresh_that_a_caller_waits_for_no_longer_yields() {
    let sim = sim(|_| ());
    let settings = [
        ("cache.live_fresh", "1500ms"),
        ("cache.refresh_floor", "0s"),
        ("limits.heavy_per_second", "4"),
        ("limits.headroom_percent", "0"),
    ];
    let service = Service::start(&sim, &settings);
    let ids = ["91111111111", "92222222222", "93333333333", "94444444444"];
    let stale = stale_meetings(&sim, &service, &ids);
    sim.clear_calls();
    for path in &stale {
        service.get(path);
    }
    let waited = get_with(&service, &stale[3], "no-cache");
    assert_eq!(waited.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored; collapsed");
    assert!(sim.wait_for_calls(4, Duration::from_secs(10)));
    let order: Vec<_> = sim.qos_calls().into_iter().map(|call| call.meeting.unwrap()).collect();
    assert!(order[..2].contains(&ids[3].to_owned()), "{order:?}");
    assert_eq!(order.len(), 4, "no second flight for a caller that waits");
    service.finish(&[]);
}

#[test]
fn while_revalidating_a_long_cooldown_is_the_reason_without_a_call() {
    for (kind, detail) in [
        (FaultKind::RateSecond { retry_after: Some("60".into()), headers: true }, "zoom_rate_limited"),
        (FaultKind::RateDay { retry_after: None, headers: true }, "zoom_daily_quota_spent"),
    ] {
        let sim = sim(|_| ());
        sim.add_meeting(Meeting::generated("99999999999", 1, 1));
        let service = Service::start(&sim, &[BRIEFLY_FRESH]);
        let (path, _) = stale_meeting(&sim, &service, "91111111111");
        sim.inject(Fault::new(kind).for_meeting("99999999999"));
        assert_eq!(service.get("/qos/99999999999").problem(), detail);
        assert_nobody_asks_zoom(&sim, &service, &path, detail);
        assert_eq!(calls_for(&sim, "91111111111").len(), 1);
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn while_revalidating_a_short_cooldown_is_the_reason_before_the_refresh() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("99999999999", 1, 1));
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let (path, first) = stale_meeting(&sim, &service, "91111111111");
    let pause = FaultKind::RateSecond { retry_after: Some("3".into()), headers: true };
    sim.inject(Fault::new(pause).for_meeting("99999999999"));
    let cold = thread::scope(|scope| {
        let cold = scope.spawn(|| service.get("/qos/99999999999"));
        wait_for(|| {
            (service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}") == 1.0).then_some(())
        });
        assert_nobody_asks_zoom(&sim, &service, &path, "zoom_rate_limited");
        cold.join().unwrap()
    });
    assert_eq!(cold.status, 200, "without a snapshot a caller waits for the end of the pause");
    wait_for(|| (service.get(&path).header("etag") != first.header("etag")).then_some(()));
    service.finish(&["all calls pause"]);
}

#[test]
fn a_429_of_a_refresh_is_reported_to_the_next_callers() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("60".into()), headers: true }));
    assert_stale(&service.get(&path), "revalidating");
    wait_for(|| (service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}") == 1.0).then_some(()));
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_rate_limited");
    assert_eq!(calls_for(&sim, "91111111111").len(), 2);
    service.finish(&["all calls pause"]);
}

#[test]
fn while_revalidating_the_spent_day_is_the_reason() {
    let sim = sim(|_| ());
    let settings = [BRIEFLY_FRESH, ("limits.heavy_per_day", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_daily_quota_spent");
    service.finish(&[]);
}

#[test]
fn while_revalidating_rejected_credentials_are_the_reason_without_token_requests() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("99999999999", 1, 1));
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    sim.inject(Fault::new(FaultKind::MissingScope).for_meeting("99999999999"));
    assert_eq!(service.get("/qos/99999999999").problem(), "zoom_rejected_credentials");
    let tokens = sim.token_calls().len();
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_rejected_credentials");
    assert_eq!(sim.token_calls().len(), tokens);
    service.finish(&["Zoom refuses the credentials"]);
}

#[test]
fn any_failure_at_zoom_is_answered_stale_with_the_reason() {
    let sim = sim(|_| ());
    let [connect, quick] = QUICK;
    let service =
        Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION, connect, quick, ("zoom.max_body", "1MiB")]);
    let kinds = [
        (FaultKind::ResetBeforeAnswer, "zoom_failed"),
        (FaultKind::ResetInBody, "zoom_failed"),
        (FaultKind::ServerErrorHtml(500), "zoom_failed"),
        (FaultKind::ServerErrorHtml(503), "zoom_failed"),
        (FaultKind::Truncated, "zoom_failed"),
        (FaultKind::NotJson, "zoom_failed"),
        (FaultKind::EndpointUnknown, "zoom_failed"),
        (FaultKind::Oversized(2_000_000), "zoom_failed"),
        (FaultKind::Status { status: 418, body: "{}".into() }, "zoom_failed"),
        (FaultKind::Hang, "zoom_timed_out"),
        (FaultKind::HangBody, "zoom_timed_out"),
    ];
    let ids: Vec<_> = (0..kinds.len()).map(|number| format!("{}", 91_000_000_000 + number)).collect();
    let paths: Vec<_> = ids.iter().map(|id| format!("/qos/{id}")).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let first = at_once(service.addr, paths.clone());
    for path in &paths {
        wait_until_not_served(&service, path);
    }
    for (id, (kind, _)) in ids.iter().zip(&kinds) {
        sim.inject(Fault::new(kind.clone()).for_meeting(id).forever());
    }
    let answers = at_once(service.addr, paths);
    for ((answer, first), (kind, detail)) in answers.iter().zip(&first).zip(&kinds) {
        println!("{kind:?}: {}", answer.cache_status());
        assert_stale(answer, detail);
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        answer.assert_discreet(&sim);
    }
    service.finish(&["flight failed", "larger than zoom.max_body"]);
}

#[test]
fn a_short_429_is_answered_stale_and_the_flight_resumes_afterwards() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("3".into()), headers: true }));
    let (answer, took) = timed(&service, &path);
    assert_stale(&answer, "zoom_rate_limited");
    assert!(took < AT_ONCE, "{took:?}");
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_rate_limited");
    wait_until_fresh(&service, &path);
    let calls = calls_for(&sim, "91111111111");
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [Some(200), Some(429), Some(200)]);
    assert!(calls[2].at - calls[1].at >= Duration::from_millis(2_900));
    service.finish(&["all calls pause"]);
}

#[test]
fn a_pause_answers_callers_already_waiting_for_a_stale_meeting() {
    let sim = sim(|_| ());
    let settings =
        [BRIEFLY_FRESH, NO_REVALIDATION, ("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let paths = stale_meetings(&sim, &service, &["91111111111", "92222222222"]);
    // One flight gets the 429 while the other still waits for a permit.
    sim.set_latency(Duration::from_millis(250));
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("2".into()), headers: true }));
    let asked = Instant::now();
    for answer in at_once(service.addr, paths) {
        assert_stale(&answer, "zoom_rate_limited");
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&["all calls pause"]);
}

#[test]
fn when_the_day_is_spent_the_stale_snapshot_is_the_answer() {
    let sim = sim(|_| ());
    let settings =
        [BRIEFLY_FRESH, NO_REVALIDATION, ("limits.heavy_per_day", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_daily_quota_spent");
    service.finish(&[]);

    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    let (path, _) = stale_meeting(&sim, &service, "92222222222");
    sim.inject(Fault::new(FaultKind::RateDay { retry_after: None, headers: false }));
    assert_stale(&service.get(&path), "zoom_daily_quota_spent");
    assert_nobody_asks_zoom(&sim, &service, &path, "zoom_daily_quota_spent");
    service.finish(&["all calls pause"]);
}

#[test]
fn when_the_credentials_are_refused_the_stale_snapshot_is_the_answer() {
    for kind in [FaultKind::MissingScope, FaultKind::PlanTooLow] {
        let sim = sim(|_| ());
        let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
        let (path, _) = stale_meeting(&sim, &service, "91111111111");
        sim.inject(Fault::new(kind));
        assert_stale(&service.get(&path), "zoom_rejected_credentials");
        assert_nobody_asks_zoom(&sim, &service, &path, "zoom_rejected_credentials");
        assert_eq!(service.ops_get("/readyz").status, 503);
        service.finish(&["Zoom refuses the credentials"]);
    }
}

#[test]
fn a_flight_beyond_the_wait_completes_while_callers_get_stale() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION, ("server.wait", "1s")]);
    let (path, first) = stale_meeting(&sim, &service, "91111111111");
    sim.set_latency(Duration::from_secs(2));
    let (answer, took) = timed(&service, &path);
    assert_stale(&answer, "still_fetching");
    assert!((1.0..1.8).contains(&took.as_secs_f64()), "{took:?}");
    let renewed = wait_until_fresh(&service, &path);
    assert_ne!(renewed.header("etag"), first.header("etag"));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

/// Returns the answer for a stale meeting whose flight would queue behind those of cold meetings, at one call a second.
fn behind_cold_callers(settings: &[(&str, &str)]) -> Answer {
    let sim = sim(|_| ());
    let slow =
        [BRIEFLY_FRESH, NO_REVALIDATION, ("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &[&slow, settings].concat());
    let (path, _) = stale_meeting(&sim, &service, "91111111111");
    let cold: Vec<_> = (0..9).map(|number| format!("{}", 92_000_000_000_u64 + number)).collect();
    for id in &cold {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    // This call takes the permit of the current second, so the following flights queue.
    assert_eq!(service.get(&format!("/qos/{}", cold[0])).status, 200);
    let addr = service.addr;
    let callers =
        thread::spawn(move || at_once(addr, cold[1..].iter().map(|id| format!("/qos/{id}")).collect()));
    // Waits until at least four of these flights are rejected. The others queue.
    let refused = "zoom_qos_proxy_requests_total{outcome=\"refused\",status=\"503\"}";
    wait_for(|| (service.metric(refused) >= 4.0).then_some(()));
    let (answer, took) = timed(&service, &path);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(calls_for(&sim, "91111111111").len(), 1);
    callers.join().unwrap();
    service.finish(&[]);
    answer
}

#[test]
fn with_a_full_queue_the_stale_snapshot_is_served() {
    assert_stale(&behind_cold_callers(&[("limits.max_queued", "2")]), "overloaded");
}

#[test]
fn without_a_timely_permit_the_stale_snapshot_is_served_at_once() {
    assert_stale(&behind_cold_callers(&[("server.wait", "2500ms")]), "zoom_rate_limited");
}

#[test]
fn after_stale_if_error_a_failure_is_no_longer_hidden() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION, ("cache.stale_if_error", "1s")]);
    let fetched = Instant::now();
    service.get(PATH);
    wait_until_not_served(&service, PATH);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).forever());
    let (mut stale, mut last_stale) = (0, fetched);
    let error = wait_for(|| {
        let asked = Instant::now();
        let answer = service.get(PATH);
        if answer.status != 200 {
            return Some(answer);
        }
        assert_stale(&answer, "zoom_failed");
        (stale, last_stale) = (stale + 1, asked);
        None
    });
    assert_eq!((error.status, error.problem().as_str()), (502, "zoom_failed"));
    assert_eq!(error.header("cache-status"), None);
    assert!(fetched.elapsed() >= Duration::from_secs(2), "{:?}", fetched.elapsed());
    assert!(
        stale > 0 && last_stale - fetched < Duration::from_millis(2_300),
        "{stale} {:?}",
        last_stale - fetched
    );
    service.finish(&["flight failed"]);
}

#[test]
fn without_stale_if_error_no_stale_snapshot_hides_a_failure() {
    let sim = sim(|_| ());
    let settings = [
        ("cache.live_fresh", "500ms"),
        NO_REVALIDATION,
        ("cache.stale_if_error", "0s"),
        ("cache.refusal", "0s"),
    ];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get(PATH).status, 200);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).forever());
    assert!(ttl(&service.get(PATH)) >= 0, "a fresh snapshot is a hit");
    wait_until_not_served(&service, PATH);
    let answer = service.get(PATH);
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    sim.clear_faults();
    wait_for(|| service.get(PATH).cache_status().contains("; fwd-status=200").then_some(()));
    service.finish(&["flight failed"]);
}

#[test]
fn a_404_from_zoom_replaces_and_removes_the_stale_snapshot() {
    for (kind, status, code) in [
        (FaultKind::DoesNotExist, 404, "meeting_not_found"),
        (FaultKind::NotAvailable, 404, "meeting_not_found"),
        (FaultKind::Webinar, 404, "not_a_meeting"),
        (FaultKind::TooOld, 410, "meeting_too_old"),
    ] {
        let sim = sim(|_| ());
        let settings = [
            ("cache.live_fresh", "200ms"),
            NO_REVALIDATION,
            ("cache.not_found_live", "0s"),
            ("cache.not_found_past", "0s"),
            ("cache.refusal", "0s"),
        ];
        let service = Service::start(&sim, &settings);
        assert_eq!(service.get(PATH).status, 200);
        wait_until_not_served(&service, PATH);
        sim.inject(Fault::new(kind));
        let gone = service.get(PATH);
        assert_eq!((gone.status, gone.problem().as_str()), (status, code));
        // If Zoom then fails, the removed snapshot is not served.
        sim.inject(Fault::new(FaultKind::EndpointUnknown));
        let failed = service.get(PATH);
        assert_eq!((failed.status, failed.problem().as_str()), (502, "zoom_failed"), "after {code}");
        // The failure pauses the meeting for 2 s, whatever `cache.refusal` is.
        let again = wait_for(|| Some(service.get(PATH)).filter(|answer| answer.status == 200));
        assert_eq!(again.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
        service.finish(&["flight failed"]);
    }
}

#[test]
fn a_background_refresh_that_gets_404_removes_the_stale_snapshot() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms")]);
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let path = "/qos/91111111111";
    assert_eq!(service.get(path).status, 200);
    wait_until_stale(&service, path);
    sim.remove_meeting("91111111111");
    assert!(service.get(path).cache_status().ends_with("detail=revalidating"));
    let gone = wait_for(|| Some(service.get(path)).filter(|answer| answer.status != 200));
    assert_eq!((gone.status, gone.problem().as_str()), (404, "meeting_not_found"));
    assert_eq!(get_with(&service, path, "only-if-cached").status, 404, "the 404 is cached");
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_stopping_process_says_so_even_with_a_stale_snapshot() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms"), NO_REVALIDATION]);
    assert_eq!(service.get(PATH).status, 200);
    wait_until_not_served(&service, PATH);
    sim.set_latency(Duration::from_secs(1));
    let mut kept = Connection::open(service.addr);
    assert_eq!(kept.ask("GET", "/qos/1").status, 400);
    let addr = service.addr;
    let slow = thread::spawn(move || request(addr, "GET", "/qos/91111111111", &[]));
    assert!(sim.wait_for_calls(2, Duration::from_secs(10)));
    service.signal("TERM");
    wait_for(|| std::net::TcpStream::connect(addr).is_err().then_some(()));
    // Instead of answering, actix may close the idle connection.
    if let Some(answer) = kept.try_ask("GET", PATH) {
        assert_eq!((answer.status, answer.problem().as_str()), (503, "shutting_down"));
    }
    assert_eq!(slow.join().unwrap().status, 200);
    assert_eq!(calls_for(&sim, ID).len(), 1);
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn stale_is_its_own_outcome_and_counts_as_saved_calls() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    service.get(PATH);
    wait_until_stale(&service, PATH);
    let stale = || service.metric("zoom_qos_proxy_requests_total{outcome=\"stale\",status=\"200\"}");
    let saved = || service.metric("zoom_qos_proxy_calls_saved_total");
    let before = (stale(), saved());
    sim.set_latency(Duration::from_millis(500));
    for id in ["revalidating-1", "revalidating-2"] {
        let answer = request(service.addr, "GET", PATH, &[("X-Request-Id", id)]);
        assert_stale(&answer, "revalidating");
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    assert_eq!((stale(), saved()), (before.0 + 2.0, before.1 + 2.0));
    assert!(service.metric("zoom_qos_proxy_request_duration_seconds_count{outcome=\"stale\"}") >= 2.0);
    let lines = service.finish(&[]);
    let logged: Vec<Value> = lines
        .iter()
        .filter(|line| line.contains("\"revalidating-"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(logged.len(), 2);
    for line in logged {
        assert_eq!((&line["outcome"], &line["status"]), (&"stale".into(), &200.into()), "{line}");
    }
}
