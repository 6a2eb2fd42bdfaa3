//! Zoom's `Retry-After`: the service parses, bounds and obeys it, and passes it on to callers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use test_support::{
    client::at_once,
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION, wait_until_stale},
    redis_server::Server,
    replicas::{finish, start},
    service::Service,
    simulator::{calls_for, sim},
    wait::{pause, wait_for},
};
use zoom_sim::{Fault, FaultKind, Meeting};

const ID: &str = "91111111111";
const OTHER_ID: &str = "92222222222";
const PATH: &str = "/qos/91111111111";
const PER_SECOND: &str =
    r#"{"code":429,"message":"You have reached the maximum per-second rate limit for this API."}"#;
const PER_DAY: &str =
    r#"{"code":429,"message":"You have reached the maximum daily rate limit for this API."}"#;
const HOUR: Duration = Duration::from_secs(3_600);

fn status(status: u16, retry_after: &str, body: &str) -> FaultKind {
    let headers = vec![("Retry-After", retry_after.to_owned())];
    FaultKind::StatusWith { status, headers, body: body.to_owned() }
}

/// Adds a `Date` to the fault, as from a Zoom whose clock shows this time.
fn dated(kind: FaultKind, date: SystemTime) -> FaultKind {
    let FaultKind::StatusWith { status, mut headers, body } = kind else { panic!("{kind:?}") };
    headers.push(("date", httpdate::fmt_http_date(date)));
    FaultKind::StatusWith { status, headers, body }
}

/// The `Retry-After`, in seconds, that a caller gets after Zoom has answered a call with this fault.
fn retry_after_for(kind: FaultKind) -> u64 {
    let sim = sim(|_| ());
    sim.inject(Fault::new(kind).forever());
    let service = Service::start(&sim, &[("server.wait", "1s")]);
    let answer = service.get(PATH);
    assert_eq!(answer.status, 503, "{}", answer.text());
    service.finish(&["all calls pause"]);
    answer.retry_after()
}

#[test]
fn an_absolute_time_counts_from_the_answers_own_date() {
    let now = SystemTime::now();
    for zooms in [now - HOUR, now + HOUR] {
        let at = httpdate::fmt_http_date(zooms + Duration::from_secs(20));
        let seconds = retry_after_for(dated(status(429, &at, PER_SECOND), zooms));
        assert!((18..=21).contains(&seconds), "{seconds}");
    }
}

#[test]
fn a_unix_time_is_read_as_one() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for number in [now.as_secs() + 20, (now.as_secs() + 20) * 1_000] {
        let seconds = retry_after_for(status(429, &number.to_string(), PER_SECOND));
        assert!((17..=21).contains(&seconds), "{seconds}");
    }
}

#[test]
fn a_pause_ends_within_a_minute_or_a_minute_after_midnight() {
    for forever in ["99999999", "172800", "2999-05-31T00:00:00Z"] {
        let seconds = retry_after_for(status(429, forever, PER_SECOND));
        assert!((58..=60).contains(&seconds), "{seconds}");
        let left = 86_400 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 86_400;
        let seconds = retry_after_for(status(429, forever, PER_DAY));
        assert!(seconds.abs_diff(left + 60) <= 10, "{seconds} of {left}");
    }
}

#[test]
fn a_retry_waits_as_long_as_a_503_says() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    sim.inject(Fault::new(status(503, "3", "")));
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get(PATH).status, 200);
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    let pause = (calls[1].at - calls[0].at).as_secs_f64();
    // The service adds up to half a second, so that retries do not coincide.
    assert!((3.2..4.0).contains(&pause), "{pause}");
    service.finish(&[]);
}

#[test]
fn a_503_longer_than_the_wait_ends_the_flight_until_retry_after() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(status(503, "5", "")).forever());
    let service = Service::start(&sim, &[("server.wait", "3s")]);
    let asked = Instant::now();
    let calls = wait_for(|| {
        let answer = service.get(PATH);
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert_eq!(answer.json()["zoom"]["status"], 503);
        if sim.qos_calls().len() == 1 && asked.elapsed() < Duration::from_secs(2) {
            assert!((3..=5).contains(&answer.retry_after()), "{}", answer.retry_after());
        }
        Some(sim.qos_calls()).filter(|calls| calls.len() >= 2)
    });
    let pause = (calls[1].at - calls[0].at).as_secs_f64();
    assert!((4.9..7.0).contains(&pause), "{pause}");
    service.finish(&["flight failed"]);
}

#[test]
fn a_failure_is_not_cached_for_longer_than_a_minute() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(status(503, "3600", "")).forever());
    let service = Service::start(&sim, &[]);
    for _ in 0..3 {
        let answer = service.get(PATH);
        assert!((55..=60).contains(&answer.retry_after()), "{}", answer.retry_after());
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&["flight failed"]);
}

#[test]
fn a_caller_that_obeys_a_short_retry_after_causes_a_new_call() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(status(503, "1", "")).times(3));
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    let service = Service::start(&sim, &[]);
    let answer = service.get(PATH);
    assert_eq!((answer.status, answer.retry_after()), (502, 2));
    // The caller obeys `Retry-After`.
    pause(Duration::from_secs(answer.retry_after()));
    assert_eq!(service.get(PATH).status, 200);
    service.finish(&["flight failed"]);
}

#[test]
fn all_replicas_pass_on_a_503s_retry_after() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("server.wait", "3s")]);
    sim.inject(Fault::new(status(503, "30", "")).for_meeting(ID).forever());
    for replica in replicas.iter().cycle().take(6) {
        let answer = replica.get(PATH);
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert!((20..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
    }
    assert_eq!(calls_for(&sim, ID).len(), 1);
    finish(replicas, &["flight failed"]);
}

#[test]
fn a_caller_with_a_stale_snapshot_skips_a_503s_pause() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    let first = service.get(PATH);
    wait_until_stale(&service, PATH);
    sim.inject(Fault::new(status(503, "4", "")).for_meeting(ID));
    let asked = Instant::now();
    let answer = service.get(PATH);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((answer.status, &answer.body), (200, &first.body));
    assert!(answer.cache_status().ends_with("detail=zoom_failed"), "{}", answer.cache_status());
    wait_for(|| (calls_for(&sim, ID).len() == 3).then_some(()));
    let calls = calls_for(&sim, ID);
    assert!(calls[2].at - calls[1].at >= Duration::from_secs(3));
    service.finish(&[]);
}

#[test]
fn during_a_503s_pause_only_callers_without_a_snapshot_wait() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    let settings = [BRIEFLY_FRESH, NO_REVALIDATION, ("server.wait", "8s")];
    let service = Service::start(&sim, &settings);
    let first = service.get(PATH);
    wait_until_stale(&service, PATH);
    sim.inject(Fault::new(status(503, "6", "")).for_meeting(ID));
    for _ in 0..3 {
        let asked = Instant::now();
        let answer = service.get(PATH);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        assert!(answer.cache_status().ends_with("detail=zoom_failed"), "{}", answer.cache_status());
    }
    // The flight is still waiting. Callers without a snapshot wait if the pause ends before `server.wait`.
    assert_eq!(calls_for(&sim, ID).len(), 2);
    sim.inject(Fault::new(status(503, "3", "")).for_meeting(OTHER_ID));
    sim.add_meeting(Meeting::generated(OTHER_ID, 1, 1));
    let paths = vec![format!("/qos/{OTHER_ID}"); 3];
    assert!(at_once(service.addr, paths).iter().all(|answer| answer.status == 200));
    assert_eq!(calls_for(&sim, OTHER_ID).len(), 2);
    wait_for(|| (calls_for(&sim, ID).len() == 3).then_some(()));
    service.finish(&[]);
}

#[test]
fn callers_get_the_token_endpoints_retry_after() {
    for (kind, least, most) in [
        (status(429, "30", ""), 25, 30),
        (status(503, "30", ""), 25, 30),
        (status(429, "99999", ""), 55, 60),
        (FaultKind::Status { status: 429, body: String::new() }, 5, 10),
    ] {
        let sim = sim(|_| ());
        sim.inject(Fault::new(kind).on_token_endpoint().forever());
        let service = Service::start(&sim, &[]);
        for path in [PATH, "/qos/92222222222"] {
            let answer = service.get(path);
            assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
            assert!((least..=most).contains(&answer.retry_after()), "{}", answer.retry_after());
        }
        assert_eq!(sim.token_calls().len(), 1);
        service.finish(&["token endpoint", "flight failed"]);
    }
}

#[test]
fn a_short_pause_of_the_token_endpoint_is_waited_for() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    sim.inject(Fault::new(status(429, "2", "")).on_token_endpoint());
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get(PATH).status, 200);
    let calls = sim.token_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(2));
    service.finish(&[]);
}
