//! The account's limits: no second and no day has more calls than permitted, and Zoom's 429s pause all calls.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use test_support::{
    client::{Answer, Connection, at_once},
    service::Service,
    simulator::{add_meetings, most_in_a_second, sim},
    wait::{PATIENCE, until_midnight, wait_for},
};
use zoom_sim::{Fault, FaultKind, Meeting};

fn code(answer: &Answer) -> String {
    if answer.status == 200 { "200".to_owned() } else { answer.problem() }
}

/// The time this many seconds from now, as a `Retry-After` in seconds, as an HTTP date, and in ISO 8601.
fn in_three_forms(seconds: u64) -> [String; 3] {
    let then = SystemTime::now() + Duration::from_secs(seconds);
    let iso = jiff::Timestamp::try_from(then).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    [seconds.to_string(), httpdate::fmt_http_date(then), iso]
}

#[test]
fn a_per_second_429_pauses_all_calls_until_each_retry_after_form() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 12);
    let service = Service::start(&sim, &[]);
    for (form, paths) in in_three_forms(3).into_iter().zip(paths.chunks(4)) {
        // Forms that name a time are computed again, because the previous rounds took several seconds.
        let form = match form.parse::<u64>() {
            Ok(_) => form,
            Err(_) if form.contains("GMT") => in_three_forms(3)[1].clone(),
            Err(_) => in_three_forms(3)[2].clone(),
        };
        sim.clear_calls();
        sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some(form.clone()), headers: true }));
        let answers = at_once(service.addr, paths.to_vec());
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "callers wait if the pause ends before `server.wait`"
        );
        let calls = sim.qos_calls();
        let refused = calls.iter().position(|call| call.status == Some(429)).unwrap();
        let refused_at = calls[refused].at;
        // Calls that were in flight when the 429 arrived do not count.
        let during = calls.iter().filter(|call| {
            call.at > refused_at + Duration::from_millis(200)
                && call.at < refused_at + Duration::from_millis(1900)
        });
        assert_eq!(during.count(), 0, "{form}");
    }
    assert!(service.metric("zoom_qos_proxy_zoom_calls_total{result=\"rate_limited\"}") >= 3.0);
    service.finish(&["all calls pause"]);
}

#[test]
fn a_429_without_any_header_pauses_for_one_to_two_seconds() {
    let sim = sim(|_| ());
    for kind in [
        FaultKind::RateSecond { retry_after: None, headers: false },
        FaultKind::RateMystery { retry_after: None },
    ] {
        sim.add_meeting(Meeting::generated("91111111111", 1, 1));
        let service = Service::start(&sim, &[]);
        sim.clear_calls();
        sim.inject(Fault::new(kind));
        assert_eq!(service.get("/qos/91111111111").status, 200);
        let calls = sim.qos_calls();
        let pause = calls[1].at - calls[0].at;
        assert_eq!(calls.len(), 2);
        assert!((1.0..2.0).contains(&pause.as_secs_f64()), "{pause:?}");
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn a_pause_longer_than_the_wait_fails_callers_at_once_without_calls() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 3);
    let service = Service::start(&sim, &[("server.wait", "5s")]);
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("60".into()), headers: true }));
    for path in &paths {
        let asked = Instant::now();
        let answer = service.get(path);
        assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_rate_limited"));
        assert!((55..=60).contains(&answer.retry_after()), "{}", answer.retry_after());
        assert!(asked.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(sim.qos_calls().len(), 1);
    assert_eq!(service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}"), 1.0);
    assert_eq!(service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_day\"}"), 0.0);
    let status = service.ops_get("/status").json();
    assert_eq!(status["budget"]["cooldowns"][0]["kind"], "per_second");
    assert_eq!(status["zoom"]["last_refusal"]["status"], 429);
    service.finish(&["all calls pause"]);
}

#[test]
fn a_long_pause_also_rejects_callers_that_already_wait() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    let paths = add_meetings(&sim, 0, 30);
    // At two calls a second, most flights are waiting for a permit when the 429 arrives.
    let service = Service::start(&sim, &[("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0")]);
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("100".into()), headers: true }));
    let asked = Instant::now();
    let answers = at_once(service.addr, paths);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let refused = answers.iter().filter(|answer| code(answer) == "zoom_rate_limited").count();
    assert!(refused >= 28, "{:?}", answers.iter().map(code).collect::<Vec<_>>());
    assert!(sim.qos_calls().len() <= 2);
    service.finish(&["all calls pause"]);
}

#[test]
fn a_daily_429_without_retry_after_stops_calls_until_midnight_utc() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 2);
    for kind in [
        FaultKind::RateDay { retry_after: None, headers: true },
        FaultKind::RateDay { retry_after: None, headers: false },
    ] {
        let service = Service::start(&sim, &[]);
        sim.clear_calls();
        sim.inject(Fault::new(kind));
        for path in &paths {
            let answer = service.get(path);
            assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_daily_quota_spent"));
            assert!(answer.retry_after().abs_diff(until_midnight()) <= 5);
        }
        assert_eq!(sim.qos_calls().len(), 1);
        assert_eq!(service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_day\"}"), 1.0);
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn calls_stop_at_the_daily_limit() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 5);
    let service = Service::start(&sim, &[("limits.heavy_per_day", "3"), ("limits.headroom_percent", "0")]);
    let codes: Vec<_> = paths.iter().map(|path| code(&service.get(path))).collect();
    assert_eq!(codes, ["200", "200", "200", "zoom_daily_quota_spent", "zoom_daily_quota_spent"]);
    assert!(service.get(&paths[4]).retry_after().abs_diff(until_midnight()) <= 5);
    assert_eq!(service.get(&paths[0]).status, 200, "hits are still served");
    assert_eq!(sim.qos_calls().len(), 3);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 3.0);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_limit"), 3.0);
    service.finish(&[]);
}

fn budget(service: &Service) -> Value {
    service.ops_get("/status").json()["budget"].clone()
}

#[test]
fn only_a_call_that_was_sent_is_counted() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 3);
    let unreachable = |api: &str| {
        let settings =
            [("zoom.api_base_url", api), ("zoom.connect_timeout", "1s"), ("zoom.request_timeout", "5s")];
        let service = Service::start(&sim, &settings);
        let answer = service.get(&paths[0]);
        assert!(["zoom_failed", "zoom_timed_out"].contains(&answer.problem().as_str()), "{answer:?}");
        assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0, "{api}");
        assert_eq!(budget(&service)["day_calls_used"], 0, "{api}");
        assert_eq!(budget(&service)["pace_calls_per_hour"], 0.0, "{api}");
        service.finish(&["flight failed", "zoom."]);
    };
    // The socket is bound but does not listen, so connections to it are refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let closed = socket.local_addr().unwrap().as_socket().unwrap();
    unreachable(&format!("http://{closed}/v2"));
    unreachable("http://nobody.invalid/v2");
    // The simulator does not speak TLS.
    unreachable(&format!("https://{}/v2", sim.addr()));
    assert_eq!(sim.qos_calls().len(), 0);

    let service = Service::start(&sim, &[]);
    for (path, kind) in paths.iter().zip([FaultKind::CloseBeforeAnswer, FaultKind::ResetBeforeAnswer]) {
        sim.clear_calls();
        let before = budget(&service)["day_calls_used"].as_u64().unwrap();
        sim.inject(Fault::new(kind.clone()));
        assert_eq!(service.get(path).status, 200);
        assert_eq!(sim.qos_calls().len(), 2);
        assert_eq!(budget(&service)["day_calls_used"], before + 2, "{kind:?} came after the call was sent");
    }
    service.finish(&[]);
}

#[test]
fn calls_of_other_apps_beyond_the_headroom_count_if_zoom_reports_them() {
    let sim = sim(|config| config.per_day = 60_000);
    let paths = add_meetings(&sim, 0, 4);
    let service = Service::start(&sim, &[]);
    let used = || {
        let budget = budget(&service);
        let number = |key: &str| budget[key].as_u64().unwrap();
        (number("day_calls_used"), number("day_calls_taken_by_others"))
    };
    sim.tell_day_left();
    sim.set_day_used(5_000);
    assert_eq!(service.get(&paths[0]).status, 200);
    assert_eq!(used(), (1, 0), "the other apps stay within the 6,000 calls of the headroom");
    sim.set_day_used(30_000);
    assert_eq!(service.get(&paths[1]).status, 200);
    // Zoom reports 29,999 calls left. The limit of the service is 54,000, so it counts 24,001 as used: two by itself,
    // and the rest by other apps.
    assert_eq!(used(), (24_001, 23_999));
    sim.set_day_used(59_999);
    assert_eq!(service.get(&paths[2]).status, 200);
    assert_eq!(used(), (54_000, 53_997));
    let refused = service.get(&paths[3]);
    assert_eq!(refused.problem(), "zoom_daily_quota_spent", "the account has nothing left");
    assert_eq!(sim.qos_calls().len(), 3);
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)));
    service.finish(&[]);
}

#[test]
fn headers_of_another_limit_or_malformed_ones_change_no_count() {
    let sim = sim(|_| ());
    let kinds = [
        ("QPS", "60000", "3"),
        ("Monthly-limit", "60000", "3"),
        ("Daily-limit", "60000", "many"),
        ("Daily-limit", "3", "60000"),
        ("Daily-limit", "", "3"),
    ];
    let paths = add_meetings(&sim, 0, kinds.len() + 1);
    let service = Service::start(&sim, &[]);
    for ((kind, limit, remaining), path) in kinds.into_iter().zip(&paths) {
        sim.set_answer_headers(&[
            ("X-RateLimit-Type", kind),
            ("X-RateLimit-Limit", limit),
            ("X-RateLimit-Remaining", remaining),
        ]);
        assert_eq!(service.get(path).status, 200);
    }
    assert_eq!(budget(&service)["day_calls_used"], kinds.len());
    sim.set_answer_headers(&[
        ("x-ratelimit-type", "DAILY-LIMIT"),
        ("x-ratelimit-limit", "60000"),
        ("x-ratelimit-remaining", "3"),
    ]);
    assert_eq!(service.get(&paths[kinds.len()]).status, 200);
    assert_eq!(budget(&service)["day_calls_used"], 53_997, "all but the 3 that Zoom reports as remaining");
    service.finish(&[]);
}

#[test]
fn under_daily_pressure_live_snapshots_stay_fresh_longer_within_the_limit() {
    let sim = sim(|_| ());
    let path = add_meetings(&sim, 0, 1).remove(0);
    for (most, seconds) in [("10", 10), ("3", 3), ("1", 1)] {
        let settings = [
            ("limits.heavy_per_day", "5"),
            ("limits.headroom_percent", "0"),
            ("limits.max_stretch", most),
            ("cache.live_fresh", "1s"),
        ];
        let service = Service::start(&sim, &settings);
        let fetched_at = |answer: &Answer| answer.json()["fetched_at"].clone();
        let fresh_for = |answer: &Answer| {
            let max_age = answer.header("cache-control").and_then(|value| value.split_once('='));
            max_age.unwrap().1.parse::<u64>().unwrap() + answer.header("age").unwrap().parse::<u64>().unwrap()
        };
        // `Age` and `max-age` are truncated to whole seconds, so their sum can be a second too low.
        let about = |seconds: u64| seconds - 1..=seconds;

        let first = service.get(&path);
        assert!(about(1).contains(&fresh_for(&first)), "{first:?}");
        assert_eq!(budget(&service)["stretch"], 1.0, "nothing was refreshed yet");
        let again =
            wait_for(|| Some(service.get(&path)).filter(|again| fetched_at(again) != fetched_at(&first)));
        assert!(about(seconds).contains(&fresh_for(&again)), "{most}: {again:?}");
        let budget = budget(&service);
        assert!(budget["pace_calls_per_hour"].as_f64().unwrap() > 10.0, "{budget}");
        assert!(budget["forecast_calls_at_midnight"].as_f64().unwrap() > 5.0, "{budget}");
        let spent_at: jiff::Timestamp = budget["spent_at"].as_str().unwrap().parse().unwrap();
        assert!(spent_at > jiff::Timestamp::now(), "{budget}");
        // `stretch` is a mean over the refreshes. It can be below the maximum, because a refresh also waits for the
        // next request, and this wait is not stretched.
        let stretch = budget["stretch"].as_f64().unwrap();
        assert!(stretch <= most.parse().unwrap() && (stretch > 1.2 || most == "1"), "{most}: {stretch}");
        let shown = |name| service.metric(&format!("zoom_qos_proxy_{name}"));
        wait_for(|| ((shown("live_fresh_stretch") - stretch).abs() < 0.1).then_some(()));
        wait_for(|| (shown("day_calls_forecast") > 5.0).then_some(()));
        service.finish(&[]);
    }
}

#[test]
fn the_days_count_survives_a_restart_and_a_crash() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 5);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.json");
    let settings = [("limits.state_file", file.to_str().unwrap())];
    let used =
        |service: &Service| service.ops_get("/status").json()["budget"]["day_calls_used"].as_u64().unwrap();

    let service = Service::start(&sim, &settings);
    for path in &paths {
        assert_eq!(service.get(path).status, 200);
    }
    service.finish(&[]);
    let service = Service::start(&sim, &settings);
    assert_eq!(used(&service), 5, "an orderly stop keeps the exact count");
    assert_eq!(service.get(&paths[0]).status, 200);
    // Waits until the file is ahead of the count. The file then contains at least the calls made, and at most 200 more.
    wait_for(|| std::fs::read_to_string(&file).ok().filter(|text| !text.contains("\"calls\":5}")));
    service.crash();
    let service = Service::start(&sim, &settings);
    assert!((6..=206).contains(&used(&service)), "{}", used(&service));
    service.finish(&[]);
}

#[test]
fn crashes_during_calls_overcount_by_seconds_and_never_undercount() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 300);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("day.json");
    let settings = [("limits.state_file", file.to_str().unwrap())];
    let used = |service: &Service| budget(service)["day_calls_used"].as_u64().unwrap();
    // The file is ahead by at most the calls of five seconds, at 36 a second. Two more calls may be in flight.
    let too_many_at_most = 5 * 36 + 2;
    let mut counted = 0;
    for (crashes, paths) in (1..).zip(paths.chunks(100)) {
        let service = Service::start(&sim, &settings);
        assert_eq!(used(&service), counted, "starting the service adds no calls");
        let callers: Vec<_> = paths
            .iter()
            .map(|path| {
                let mut connection = Connection::open(service.addr);
                connection.send("GET", path);
                connection
            })
            .collect();
        sim.clear_calls();
        // Each round waits for one more call, so that the crashes hit different moments between two writes.
        assert!(sim.wait_for_calls(40 + crashes, PATIENCE));
        service.crash();
        drop(callers);
        let made = u64::try_from(sim.qos_calls().len()).unwrap();
        let again = Service::start(&sim, &settings);
        let now = used(&again);
        let allowed = counted + made..=counted + made + too_many_at_most;
        assert!(allowed.contains(&now), "{now} counted after {crashes} crashes, {allowed:?} expected");
        again.finish(&[]);
        counted = now;
    }
    let service = Service::start(&sim, &settings);
    assert_eq!(used(&service), counted, "an orderly stop adds nothing");
    service.finish(&[]);
}

#[test]
fn requests_that_cannot_be_served_in_time_are_rejected_at_once() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 40);
    let settings =
        [("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0"), ("server.wait", "3s")];
    let service = Service::start(&sim, &settings);
    let asked = Instant::now();
    let answers = thread::scope(|scope| {
        let callers: Vec<_> =
            paths.iter().map(|path| scope.spawn(|| (service.get(path), asked.elapsed()))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    let at_once = answers.iter().filter(|(answer, took)| {
        answer.status == 503 && answer.problem() == "zoom_rate_limited" && *took < Duration::from_secs(1)
    });
    assert!(
        at_once.count() >= 30,
        "{:?}",
        answers.iter().map(|(answer, took)| (code(answer), *took)).collect::<Vec<_>>()
    );
    assert!(answers.iter().filter(|(answer, _)| answer.status == 200).count() >= 5);
    assert!(answers.iter().all(|(answer, _)| answer.status == 200 || answer.retry_after() <= 10));
    service.finish(&[]);
}

#[test]
fn calls_beyond_the_queue_limit_are_rejected_as_overloaded() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 40);
    let settings =
        [("limits.heavy_per_second", "5"), ("limits.headroom_percent", "0"), ("limits.max_queued", "10")];
    let service = Service::start(&sim, &settings);
    let answers = at_once(service.addr, paths);
    let overloaded = answers.iter().filter(|answer| code(answer) == "overloaded").count();
    assert!((25..=30).contains(&overloaded), "{overloaded}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.retry_after() <= 5));
    assert_eq!(sim.qos_calls().len(), 40 - overloaded);
    service.finish(&[]);
}

#[test]
fn callers_that_a_pause_leaves_too_little_time_are_rejected_at_once() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 60);
    let settings =
        [("limits.heavy_per_second", "9"), ("limits.headroom_percent", "0"), ("server.wait", "4s")];
    let service = Service::start(&sim, &settings);
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("2".into()), headers: true }));
    assert!(sim.qos_calls().is_empty());
    let answers = thread::scope(|scope| {
        let asked = Instant::now();
        let service = &service;
        let callers: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || (code(&service.get(path)), asked.elapsed())))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    // The pause ends after 2 s. In the remaining 2 s of the wait, 9 calls a second are possible.
    let served = answers.iter().filter(|(code, _)| code == "200").count();
    assert!((10..=22).contains(&served), "{served} served: {answers:?}");
    let rejected_late =
        answers.iter().filter(|(code, took)| code != "200" && *took > Duration::from_secs(2)).count();
    assert!(rejected_late <= 6, "{rejected_late}: {answers:?}");
    assert!(answers.iter().all(|(code, _)| code == "200" || code == "zoom_rate_limited"), "{answers:?}");
    service.finish(&["all calls pause"]);
}

/// Requests cold meetings at the same time. Returns each answer with its latency.
fn timed_at_once(service: &Service, paths: &[String]) -> Vec<(Answer, Duration)> {
    thread::scope(|scope| {
        let asked = paths.iter().map(|path| {
            scope.spawn(move || {
                let began = Instant::now();
                (service.get(path), began.elapsed())
            })
        });
        asked.collect::<Vec<_>>().into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

/// Returns the number of rejections. Asserts that each has this code and came within 1.2 s, not after the caller's
/// wait.
fn refused_at_once(answers: &[(Answer, Duration)], code: &str) -> usize {
    let refused: Vec<_> = answers.iter().filter(|(answer, _)| answer.status != 200).collect();
    for (answer, took) in &refused {
        assert_eq!(answer.problem(), code);
        assert!(*took < Duration::from_millis(1_200), "rejected after {took:?}");
    }
    refused.len()
}

#[test]
fn no_caller_waits_before_it_is_rejected() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 60);
    let settings =
        [("limits.heavy_per_second", "9"), ("limits.headroom_percent", "0"), ("server.wait", "3s")];
    let service = Service::start(&sim, &settings);
    let answers = timed_at_once(&service, &paths);
    let refused = refused_at_once(&answers, "zoom_rate_limited");
    assert!((30..=36).contains(&refused), "{refused}: about 27 calls fit into three seconds");
    service.finish(&["limits."]);
}

#[test]
fn calls_beyond_what_is_left_of_the_day_are_refused_at_once() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 40);
    let settings =
        [("limits.heavy_per_second", "9"), ("limits.heavy_per_day", "20"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    let answers = timed_at_once(&service, &paths);
    assert_eq!(refused_at_once(&answers, "zoom_daily_quota_spent"), 20);
    assert_eq!(sim.qos_calls().len(), 20);
    service.finish(&["limits."]);
}

#[test]
fn a_very_short_wait_still_fetches() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 3);
    let service = Service::start(&sim, &[("server.wait", "40ms")]);
    for path in &paths {
        // When the wait ends too early, the flight continues, and its result is cached.
        wait_for(|| (service.get(path).status == 200).then_some(()));
    }
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&["server.wait"]);
}

#[test]
fn abandoned_flights_do_not_cause_rejections() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 16);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_millis(2_500))).on_token_endpoint());
    let settings =
        [("limits.heavy_per_second", "9"), ("limits.headroom_percent", "0"), ("server.wait", "1s")];
    let service = Service::start(&sim, &settings);
    let (early, late) = paths.split_at(8);
    for (answer, _) in timed_at_once(&service, early) {
        assert_eq!(answer.problem(), "still_fetching");
    }
    wait_for(|| {
        (service.metric("zoom_qos_proxy_access_token_renewals_total{result=\"ok\"}") == 1.0).then_some(())
    });
    let answers = timed_at_once(&service, late);
    assert!(answers.iter().all(|(answer, _)| answer.status == 200), "{answers:?}");
    service.finish(&["limits."]);
}

/// These tests depend on timing and need the machine to themselves. `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    #[test]
    fn four_hundred_cold_meetings_use_the_whole_limit_without_a_429() {
        let sim = sim(|config| config.latency = Duration::from_millis(100));
        let paths = add_meetings(&sim, 0, 400);
        // The calls take ten seconds, nearly as long as the default of `server.wait`, so callers wait longer here.
        let settings =
            [("limits.heavy_per_second", "40"), ("limits.headroom_percent", "0"), ("server.wait", "30s")];
        let service = Service::start(&sim, &settings);
        let answers = at_once(service.addr, paths);
        let refused: Vec<_> = answers.iter().map(code).filter(|code| code != "200").collect();
        assert!(refused.is_empty(), "{refused:?}");
        let calls = sim.qos_calls();
        assert_eq!(calls.len(), 400);
        assert!(calls.iter().all(|call| call.status == Some(200)), "not one 429");
        assert!(most_in_a_second(&calls) <= 40);
        let took = calls.last().unwrap().at - calls[0].at;
        let used = 399.0 / took.as_secs_f64() / 40.0;
        println!(
            "used {:.1} % of 40 calls a second, {} at most in any second",
            used * 100.0,
            most_in_a_second(&calls)
        );
        assert!(used >= 0.95, "{used}");
        service.finish(&[]);
    }

    #[test]
    fn by_default_a_tenth_of_both_limits_is_left_to_other_apps() {
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 0, 60);
        let service = Service::start(&sim, &[("limits.plan", "pro")]);
        assert_eq!(service.ops_get("/status").json()["budget"]["day_calls_limit"], 27_000);
        at_once(service.addr, paths);
        assert!(most_in_a_second(&sim.qos_calls()) <= 9);
        service.finish(&[]);
    }
}
