//! Callers with keys: authentication, rejections, and how many calls are made for each caller.

use std::{fs, time::Duration};

use serde_json::Value;
use test_support::{
    callers::{KEY, OTHER_KEY, entry, get_as, in_status, start, two_callers},
    client::{Answer, request},
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION, PATH, ttl},
    service::Service,
    simulator::{add_meetings, calls_for, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

/// Sends a `GET` for each path at the same time, all with this key.
fn at_once_as(service: &Service, key: &str, paths: &[String]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let callers: Vec<_> =
            paths.iter().map(|path| scope.spawn(move || get_as(service, key, path))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

fn callers_in_log(lines: &[String]) -> Vec<String> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = lines.filter(|line| line["message"] == "request" && line["route"] == "qos");
    named.map(|line| line["caller"].as_str().unwrap().to_owned()).collect()
}

fn assert_over_limit(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (429, "caller_over_limit"), "{answer:?}");
    assert!((1..=60).contains(&answer.retry_after()), "{}", answer.retry_after());
    assert_eq!(answer.header("www-authenticate"), None);
}

/// The value of `Authorization` for Basic authentication with this name and key.
fn basic(name: &str, key: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{key}")))
}

#[test]
fn a_key_in_each_form_identifies_the_caller_in_the_log() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    for headers in [
        vec![("X-Api-Key", KEY.to_owned())],
        vec![("authorization", format!("Bearer {KEY}"))],
        vec![("AUTHORIZATION", format!("bEaReR  {KEY}"))],
        vec![("Authorization", format!("Bearer {KEY}")), ("X-Api-Key", KEY.to_owned())],
        vec![("Authorization", basic("support-tools", KEY))],
        // A bearer token takes precedence over Basic, and Basic over X-Api-Key, whatever the order of the headers.
        vec![("Authorization", format!("Bearer {KEY}")), ("X-Api-Key", OTHER_KEY.to_owned())],
        vec![("X-Api-Key", "wrong".to_owned()), ("Authorization", basic("support-tools", KEY))],
        vec![("Authorization", basic("bi", OTHER_KEY)), ("Authorization", format!("Bearer {KEY}"))],
        vec![("Authorization", "Negotiate TlRMTVNTUAAB".to_owned()), ("X-Api-Key", KEY.to_owned())],
        // An empty credential, for example from an unset variable, counts as absent.
        vec![("Authorization", format!("Bearer {KEY}")), ("X-Api-Key", String::new())],
        vec![("Authorization", "Bearer ".to_owned()), ("X-Api-Key", KEY.to_owned())],
        vec![("Authorization", basic("", "")), ("X-Api-Key", KEY.to_owned())],
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = request(service.addr, "GET", PATH, &headers);
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept, Authorization, X-Api-Key"));
    }
    assert_eq!(get_as(&service, OTHER_KEY, PATH).status, 200);
    assert_eq!(sim.qos_calls().len(), 1, "all share the cache");
    assert_eq!(sim.qos_calls()[0].header("x-api-key"), None);
    let lines = service.finish(&[]);
    let expected = [&["bi"][..], &["support-tools"; 12]].concat();
    let mut logged = callers_in_log(&lines);
    // Lines of different workers can be out of order.
    logged.sort();
    assert_eq!(logged, expected);
}

#[test]
fn unknown_callers_get_401_even_for_cached_meetings() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let known = get_as(&service, KEY, PATH);
    let etag = known.header("etag").unwrap().to_owned();
    let too_long = format!("{KEY}x");
    let almost = KEY.replace("zqp", "zqP");
    let bearer = format!("Bearer {KEY}");
    let of_another = basic("bi", KEY);
    let without_name = basic("", KEY);
    let swapped = basic(KEY, "support-tools");
    let headers = [
        vec![],
        vec![("X-Api-Key", "")],
        vec![("X-Api-Key", "wrong")],
        vec![("X-Api-Key", too_long.as_str())],
        vec![("X-Api-Key", almost.as_str())],
        vec![("X-Api-Key", "support-tools")],
        vec![("X-Api-Key", "wrong"), ("X-Api-Key", KEY)],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", "Bearer ")],
        vec![("Authorization", "Bearer wrong")],
        vec![("Authorization", KEY)],
        vec![("Authorization", "Basic dTpw")],
        // A valid credential is ignored if an invalid one takes precedence.
        vec![("Authorization", "Bearer wrong"), ("Authorization", &bearer), ("X-Api-Key", KEY)],
        vec![("Authorization", "Basic dTpw"), ("X-Api-Key", KEY)],
        vec![("Authorization", "Basic no-base64"), ("X-Api-Key", KEY)],
        vec![("Authorization", &of_another)],
        vec![("Authorization", &without_name)],
        vec![("Authorization", &swapped)],
        vec![("If-None-Match", etag.as_str())],
        vec![("Cache-Control", "only-if-cached")],
    ];
    let mut asked = 0_u32;
    for headers in &headers {
        for path in [PATH, "/qos/91111111111", "/qos/none", "/qos/85746065432?page_size=0"] {
            let answer = request(service.addr, "GET", path, headers);
            assert_eq!((answer.status, answer.problem().as_str()), (401, "unknown_caller"), "{headers:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            for of_the_snapshot in ["etag", "age", "cache-status", "last-modified", "retry-after"] {
                assert_eq!(answer.header(of_the_snapshot), None);
            }
            answer.assert_discreet(&sim);
            let head = request(service.addr, "HEAD", path, headers);
            assert_eq!((head.status, head.header("www-authenticate")), (401, Some("Bearer")));
            assert!(head.body.is_empty());
            asked += 2;
        }
    }
    assert_eq!(sim.qos_calls().len(), 1, "only the known caller's requests");
    let name = "zoom_qos_proxy_requests_total{outcome=\"refused\",status=\"401\"}";
    assert_eq!(service.metric(name), f64::from(asked));
    let lines = service.finish(&[]);
    assert_eq!(
        callers_in_log(&lines).iter().filter(|name| *name == "unknown").count(),
        usize::try_from(asked).unwrap()
    );
}

#[test]
fn other_paths_than_qos_require_no_key() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    for path in ["/nowhere", "/qos", "/QOS/85746065432", "/%71os/85746065432"] {
        assert_eq!(service.get(path).problem(), "not_found", "{path}");
        assert_eq!(get_as(&service, KEY, path).problem(), "not_found", "{path}, with a key");
    }
    let other_method = request(service.addr, "POST", PATH, &[]);
    assert_eq!((other_method.status, other_method.header("allow")), (405, Some("GET, HEAD")));
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(service.ops_get(path).status, 200, "{path}");
    }
    assert_eq!(request(service.ops, "DELETE", "/cache", &[]).status, 204);
    service.finish(&[]);
}

#[test]
fn a_caller_may_be_named_unknown_or_like_a_key() {
    let sim = sim(|_| ());
    let text = entry("unknown", KEY, "") + &entry("zqp_a-key", OTHER_KEY, "");
    let (service, _folder, _) = start(&sim, &text, &[]);
    assert_eq!([KEY, OTHER_KEY].map(|key| get_as(&service, key, PATH).status), [200, 200]);
    assert_eq!(get_as(&service, "nobody's", PATH).status, 401);
    let lines = service.finish(&["as keys do"]);
    assert_eq!(lines.iter().filter(|line| line.contains("as keys do")).count(), 1);
    let of_nobody = |line: &&String| line.contains("unknown_caller");
    assert_eq!(lines.iter().filter(of_nobody).count(), 1);
}

#[test]
fn without_a_callers_file_every_caller_is_anonymous_whatever_it_presents() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    let two = [("Authorization", "Bearer a"), ("X-Api-Key", "b")];
    assert_eq!(request(service.addr, "GET", PATH, &two).status, 200);
    assert_eq!(service.metric("zoom_qos_proxy_caller_calls_total{caller=\"anonymous\"}"), 1.0);
    assert_eq!(service.metric("zoom_qos_proxy_callers_file_ok"), 1.0);
    let status = service.ops_get("/status").json();
    assert_eq!((&status["callers"][0]["calls_today"], &status["callers_file"]), (&1.into(), &Value::Null));
    let lines = service.finish(&[]);
    assert_eq!(callers_in_log(&lines), ["anonymous"; 2]);
}

#[test]
fn the_calls_of_a_flight_count_for_the_caller_that_started_it() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    let (service, _folder, _) = start(&sim, &two_callers("weight = 7\ncalls_per_minute = 100"), &[]);
    let path = "/qos/91111111111";
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get_as(&service, KEY, path));
        assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
        let follower = get_as(&service, OTHER_KEY, path);
        assert!(follower.cache_status().contains("; collapsed"), "{}", follower.cache_status());
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert!(get_as(&service, OTHER_KEY, path).cache_status().contains("; hit"));
    assert_eq!(sim.qos_calls().len(), 3);
    let calls = |name: &str| {
        let metric = format!("zoom_qos_proxy_caller_calls_total{{caller=\"{name}\"}}");
        (service.metric(&metric), in_status(&service, name))
    };
    let (support, bi) = (calls("support-tools"), calls("bi"));
    assert_eq!((support.0, bi.0), (3.0, 0.0));
    assert_eq!(support.1["day"]["calls_used"], 3);
    assert_eq!(
        support.1,
        serde_json::json!({ "name": "support-tools", "weight": 7, "calls_per_minute": 100,
            "calls_per_day": null, "day": support.1["day"], "requests_refused_today": 0, "calls_last_minute": 3, "calls_today": 3, "calls_waiting": 0, "oldest_wait_seconds": null })
    );
    assert_eq!(
        (&bi.1["calls_per_minute"], &bi.1["weight"], &bi.1["calls_today"]),
        (&Value::Null, &1.into(), &0.into())
    );
    let shown = service.ops_get("/metrics").text();
    let names = shown.lines().filter(|line| line.starts_with("zoom_qos_proxy_caller_calls_total{"));
    assert_eq!(names.count(), 2, "{shown}");
    service.finish(&[]);
}

#[test]
fn over_its_limit_a_caller_gets_retry_after_and_still_gets_hits() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 4);
    let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 2"), &[]);
    for path in &paths[..2] {
        assert_eq!(get_as(&service, KEY, path).status, 200);
    }
    let refused = get_as(&service, KEY, &paths[2]);
    assert_over_limit(&refused);
    refused.assert_discreet(&sim);
    assert!(refused.retry_after() >= 50, "both calls were just made: {}", refused.retry_after());
    assert_eq!(request(service.addr, "HEAD", &paths[2], &[("X-Api-Key", KEY)]).status, 429);
    for path in &paths[..2] {
        assert!(get_as(&service, KEY, path).cache_status().contains("; hit"), "a hit is free");
    }
    let cached_only = [("X-Api-Key", KEY), ("Cache-Control", "only-if-cached")];
    assert_eq!(request(service.addr, "GET", &paths[2], &cached_only).problem(), "not_cached");
    assert_eq!(sim.qos_calls().len(), 2, "no further call");
    assert_eq!(get_as(&service, OTHER_KEY, &paths[2]).status, 200, "another caller is below its limit");
    assert!(get_as(&service, KEY, &paths[2]).cache_status().contains("; hit"));
    assert_eq!(service.metric("zoom_qos_proxy_requests_total{outcome=\"refused\",status=\"429\"}"), 2.0);
    service.finish(&[]);
}

#[test]
fn a_burst_of_cold_meetings_starts_no_more_flights_than_the_limit() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    let paths = add_meetings(&sim, 0, 12);
    let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 3"), &[]);
    let answers = at_once_as(&service, KEY, &paths);
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((good.len(), refused.len()), (3, 9));
    refused.into_iter().for_each(assert_over_limit);
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn a_flight_that_passes_the_limit_is_still_finished() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("92222222222", 45, 1));
    let paths = add_meetings(&sim, 0, 1);
    let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 2"), &[]);
    let whole = get_as(&service, KEY, "/qos/92222222222");
    assert_eq!((whole.status, &whole.json()["total_records"]), (200, &45.into()), "{}", whole.text());
    assert_eq!(calls_for(&sim, "92222222222").len(), 5);
    assert_over_limit(&get_as(&service, KEY, &paths[0]));
    assert_eq!(sim.qos_calls().len(), 5);
    service.finish(&[]);
}

#[test]
fn a_caller_over_its_limit_may_join_the_flight_of_another() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 0, 2);
    let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 1"), &[]);
    assert_eq!(get_as(&service, KEY, &paths[0]).status, 200);
    assert_over_limit(&get_as(&service, KEY, &paths[1]));
    sim.set_latency(Duration::from_millis(500));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| get_as(&service, OTHER_KEY, &paths[1]));
        assert!(sim.wait_for_calls(2, Duration::from_secs(10)));
        let follower = get_as(&service, KEY, &paths[1]);
        assert!(follower.cache_status().contains("; collapsed"), "{follower:?}");
        assert_eq!(other.join().unwrap().status, 200);
    });
    assert_eq!(in_status(&service, "support-tools")["calls_today"], 1);
    service.finish(&[]);
}

#[test]
fn over_its_limit_a_caller_gets_stale_without_starting_a_refresh() {
    for settings in [vec![BRIEFLY_FRESH, NO_REVALIDATION], vec![BRIEFLY_FRESH]] {
        let sim = sim(|_| ());
        let (service, _folder, _) = start(&sim, &two_callers("calls_per_minute = 1"), &settings);
        assert_eq!(get_as(&service, KEY, PATH).status, 200);
        let cached_only = [("X-Api-Key", KEY), ("Cache-Control", "only-if-cached")];
        wait_for(|| {
            let answer = request(service.addr, "GET", PATH, &cached_only);
            (answer.status == 504 || ttl(&answer) < 0).then_some(())
        });
        for cache_control in ["", "no-cache", "max-age=0"] {
            let headers = [("X-Api-Key", KEY), ("Cache-Control", cache_control)];
            let answer = request(service.addr, "GET", PATH, &headers);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let expected = format!("; ttl={}; detail=caller_over_limit", ttl(&answer));
            assert!(answer.cache_status().ends_with(&expected), "{}", answer.cache_status());
            assert!(ttl(&answer) < 0 && answer.header("retry-after").is_none());
        }
        assert_eq!(sim.qos_calls().len(), 1, "no call was made");
        let other = get_as(&service, OTHER_KEY, PATH);
        assert!(!other.cache_status().contains("caller_over_limit"), "{}", other.cache_status());
        assert!(sim.wait_for_calls(2, Duration::from_secs(10)), "a caller below its limit starts a refresh");
        service.finish(&[]);
    }
}

#[test]
fn a_background_refresh_counts_for_the_caller_that_caused_it() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[BRIEFLY_FRESH]);
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    let revalidating = wait_for(|| {
        Some(get_as(&service, OTHER_KEY, PATH))
            .filter(|answer| answer.cache_status().contains("revalidating"))
    });
    assert_eq!(revalidating.status, 200);
    wait_for(|| (in_status(&service, "bi")["calls_today"] == 1).then_some(()));
    assert_eq!(in_status(&service, "support-tools")["calls_today"], 1);
    service.finish(&[]);
}

#[test]
fn no_key_is_printed_even_at_the_lowest_log_level() {
    let sim = sim(|_| ());
    let (service, _folder, path) = start(&sim, &two_callers(""), &[("telemetry.log_level", "trace")]);
    let bearer = format!("Bearer {KEY}");
    let mut answers = vec![
        get_as(&service, KEY, PATH),
        get_as(&service, "zqp_Zebra-of-nobody", PATH),
        request(service.addr, "GET", "/qos/91111111111", &[("Authorization", &bearer)]),
        request(service.addr, "POST", PATH, &[("Authorization", &bearer)]),
        request(service.addr, "GET", "/nowhere", &[("Authorization", &bearer)]),
        request(service.ops, "GET", "/status", &[("X-Api-Key", KEY)]),
    ];
    // The key stands where a name, a hash and a number are expected.
    fs::write(&path, format!("[[caller]]\nname = \"{KEY}\"\nkey_sha256 = \"{KEY}\"\nweight = \"{KEY}\"\n"))
        .unwrap();
    wait_for(|| (service.metric("zoom_qos_proxy_callers_file_ok") == 0.0).then_some(()));
    fs::write(&path, format!("[[caller]]\nname = {KEY}\n\"{KEY}\n")).unwrap();
    wait_for(|| {
        let problems = service.ops_get("/status").json()["callers_file"]["problems"].to_string();
        problems.contains("invalid TOML").then_some(())
    });
    answers.extend(["/status", "/metrics"].map(|path| service.ops_get(path)));
    for answer in &answers {
        assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("Zebra"), "{answer:?}");
    }
    let lines = service.finish(&["callers.file has changed and cannot be used"]);
    assert!(
        lines.iter().any(|line| line.contains("\"level\":\"TRACE\"")),
        "the log must contain lines of the lowest level"
    );
    let hash = entry("a", KEY, "").lines().nth(2).unwrap().split('"').nth(1).unwrap().to_owned();
    for line in &lines {
        assert!(!line.contains("Zebra") && !line.contains(&hash), "{line}");
    }
}

#[test]
fn a_call_that_was_never_sent_does_not_count_for_its_caller() {
    let sim = sim(|_| ());
    // The socket is bound but does not listen, so connections to it are refused.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = socket.local_addr().unwrap().as_socket().unwrap();
    let (file, path) = (two_callers("calls_per_minute = 1"), "/qos/91000000000");
    let (service, _folder, _) = start(&sim, &file, &[("zoom.api_base_url", &format!("http://{nobody}/v2"))]);
    for _ in 0..3 {
        assert_eq!(get_as(&service, KEY, path).problem(), "zoom_failed", "the unsent calls must not count");
    }
    let caller = in_status(&service, "support-tools");
    assert_eq!((caller["calls_today"].as_u64(), caller["calls_last_minute"].as_u64()), (Some(0), Some(0)));
    service.finish(&["flight failed", "zoom."]);
}
