//! The endpoints and the output for operators: health, readiness, metrics, status, request ids and the log.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    time::Duration,
};

use serde_json::Value;
use test_support::{
    client::{Answer, at_once, raw, request},
    freshness::{BRIEFLY_FRESH, wait_until_stale},
    process::Process,
    redis_server::Server,
    replicas::wait_until_redis_is,
    service::{Service, command},
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting};

const METRICS_PAGE: &str = include_str!("../../docs/METRICS.md");

/// The metrics in docs/METRICS.md, without the prefix `zoom_qos_proxy_`. Leaves out those that exist only with an
/// `[[issuer]]`, and without Redis those that need Redis.
fn documented_metrics(with_redis: bool) -> BTreeSet<&'static str> {
    documented_rows("| metric |")
        .filter(|row| with_redis || !row.contains("present only with `redis.url`"))
        .filter(|row| !row.contains("present only with an `[[issuer]]`"))
        .flat_map(|row| names_in(row, 1))
        .collect()
}

/// The rows of the first table of docs/METRICS.md whose header row begins with this text. Leaves out the header row.
fn documented_rows(heading: &str) -> impl Iterator<Item = &'static str> {
    let (_, table) = METRICS_PAGE.split_once(heading).unwrap();
    table.lines().skip(2).take_while(|row| row.starts_with('|'))
}

/// The strings in backticks in a cell of this row.
fn names_in(row: &'static str, cell: usize) -> impl Iterator<Item = &'static str> {
    row.split('|').nth(cell).unwrap().split('`').skip(1).step_by(2)
}

/// The names of the metrics in `text`, which is in Prometheus's text format. Leaves out `process_*`, and the prefix
/// `zoom_qos_proxy_` of each name.
fn served_metrics(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE zoom_qos_proxy_"));
    types.map(|line| line.split(' ').next().unwrap()).collect()
}

/// Every combination of metric, label and value in `text`, except those of the label `le`.
fn served_labels(text: &str) -> BTreeSet<(&str, &str, &str)> {
    let samples = text.lines().filter_map(|line| line.strip_prefix("zoom_qos_proxy_")?.split_once('{'));
    let labels = samples.flat_map(|(metric, rest)| {
        let labels = rest.split_once('}').unwrap().0.split(',').map(|label| label.split_once('=').unwrap());
        labels.map(move |(label, value)| (metric, label, value.trim_matches('"')))
    });
    labels.filter(|(_, label, _)| *label != "le").collect()
}

/// The values that docs/METRICS.md lists for a label of a metric.
fn documented_values(metric: &str, label: &str) -> BTreeSet<&'static str> {
    let row = documented_rows("| label |").find(|row| {
        let mut names = names_in(row, 1);
        names.next() == Some(label) && (!row.contains("` of `") || names.any(|name| name == metric))
    });
    names_in(row.unwrap_or_else(|| panic!("{label} of {metric} is not described")), 2).collect()
}

fn own_id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap_or_else(|| panic!("no X-Request-Id: {answer:?}")).to_owned()
}

fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The lines of the access log, parsed.
fn request_lines(lines: &[String]) -> Vec<Value> {
    let parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.filter(|line| line.get("route").is_some()).collect()
}

#[test]
fn the_service_is_alive_and_ready_while_zoom_is_down() {
    let zoom = sim(|_| ());
    let service = Service::start(&zoom, &[("server.wait", "4s")]);
    drop(zoom);
    let broken = service.get("/qos/85746065432");
    assert!(
        ["zoom_failed", "zoom_timed_out", "still_fetching"].contains(&broken.problem().as_str()),
        "{}",
        broken.text()
    );
    for path in ["/healthz", "/readyz"] {
        let answer = service.ops_get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"), "a probe's answer must not be cached");
        assert!(answer.json().is_object());
    }
    service.finish(&["flight failed", "access token"]);
}

#[test]
fn rejected_credentials_fail_readyz_but_not_healthz() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("zoom.client_secret", "zebra-secret")]);
    assert_eq!(service.get("/qos/85746065432").problem(), "zoom_rejected_credentials");
    let answer = service.wait_until_ready(503);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text().contains("zoom_rejected_credentials"), "{}", answer.text());
    assert!(!answer.text().contains("zebra-secret"));
    assert_eq!(service.ops_get("/healthz").status, 200);
    assert_eq!(service.ops_get("/status").json()["zoom"]["credentials_refused"], true);
    assert!(sim.qos_calls().is_empty());
    let lines = service.finish(&["credentials"]);
    assert!(lines.iter().all(|line| !line.contains("zebra-secret")));
}

/// Checks a service without Redis, and one with it.
#[test]
fn documented_metrics_are_served_and_served_ones_documented() {
    let redis = Server::start();
    for (settings, with_redis) in [(vec![], false), (vec![("redis.url", redis.url())], true)] {
        let sim = sim(|_| ());
        sim.add_meeting(Meeting::generated("91111111111", 12, 4).odd_values());
        let settings = settings.iter().map(|(key, value): &(_, String)| (*key, value.as_str()));
        let service = Service::start(&sim, &settings.chain([BRIEFLY_FRESH]).collect::<Vec<_>>());
        for path in ["/qos/91111111111", "/qos/91111111111", "/qos/1", "/qos/90000000000"] {
            service.get(path);
        }
        // `stale_answers_total` appears with the first stale response.
        wait_until_stale(&service, "/qos/91111111111");
        service.get("/qos/91111111111");
        if with_redis {
            wait_until_redis_is(&service, 1.0);
        }
        let text = service.ops_get("/metrics").text();
        assert_eq!(served_metrics(&text), documented_metrics(with_redis), "with Redis: {with_redis}");
        service.finish(&[]);
    }
}

#[test]
fn every_label_of_a_metric_has_a_row_of_values() {
    let described: HashSet<_> = documented_rows("| label |").flat_map(|row| names_in(row, 1)).collect();
    for label in documented_rows("| metric |").flat_map(|row| names_in(row, 3)) {
        assert!(described.contains(label), "{label}");
    }
}

/// Some values appear only after their first event, so the requests of this test cause those events.
#[test]
fn documented_label_values_are_served_and_served_ones_documented() {
    const FREE: [&str; 4] = ["detail", "status", "caller", "version"];
    let (redis, sim) = (Server::start(), sim(|config| config.latency = Duration::from_millis(700)));
    let fields =
        ["bitrate", "latency", "jitter", "avg_loss", "max_loss", "frame_rate", "resolution", "x_cpu_usage"];
    let odd = fields.map(|field| format!("\"{field}\":\"odd\"")).join(",");
    sim.add_meeting(Meeting::raw_pages("91111111111", vec![format!("[{{\"user_qos\":[{{{odd}}}]}}]")]));
    let service = Service::start(&sim, &[("redis.url", &redis.url()), BRIEFLY_FRESH]);
    wait_until_redis_is(&service, 1.0);
    at_once(service.addr, vec!["/qos/91111111111".into(); 2]);
    wait_until_stale(&service, "/qos/91111111111");
    for path in [
        "/qos/91111111111",
        "/qos/85746065432?type=past",
        "/qos/85746065432?type=past",
        "/qos/1",
        "/qos/90000000000",
    ] {
        service.get(path);
    }
    request(service.addr, "GET", "/qos/85746065432?type=past", &[("If-None-Match", "*")]);
    let text = service.ops_get("/metrics").text();
    let served = served_labels(&text);
    for (metric, label) in served.iter().map(|(metric, label, _)| (*metric, *label)).collect::<BTreeSet<_>>()
    {
        if !FREE.contains(&label) {
            let of_label = served.iter().filter(|(other, name, _)| (*other, *name) == (metric, label));
            let values: BTreeSet<_> = of_label.map(|(_, _, value)| *value).collect();
            let metric =
                metric.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
            assert_eq!(values, documented_values(metric, label), "{label} of {metric}");
        }
    }
    service.finish(&[]);
}

#[test]
fn metrics_have_the_prometheus_text_format() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    service.get("/qos/85746065432");
    let answer = service.ops_get("/metrics");
    let content_type = answer.header("content-type").unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let text = answer.text();
    for name in served_metrics(&text) {
        let whole = format!("zoom_qos_proxy_{name}");
        assert!(text.contains(&format!("# HELP {whole} ")), "{name} has no HELP");
        let value =
            |line: &str| line.strip_prefix(&whole).is_some_and(|rest| rest.starts_with(['{', ' ', '_']));
        assert!(text.lines().any(value), "{name} has no value");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("zoom_qos_proxy_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
    }
    assert!(text.ends_with('\n'));
    service.finish(&[]);
}

#[test]
fn both_kinds_of_cooldown_and_the_limits_are_shown_from_the_start() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let text = service.ops_get("/metrics").text();
    for line in [
        "zoom_qos_proxy_cooldown_active{kind=\"per_second\"} 0",
        "zoom_qos_proxy_cooldown_active{kind=\"per_day\"} 0",
        "zoom_qos_proxy_day_calls_used 0",
        "zoom_qos_proxy_day_calls_limit 54000",
        "zoom_qos_proxy_flights_active 0",
        "zoom_qos_proxy_permits_queued 0",
        "zoom_qos_proxy_cache_evictions_total 0",
        "zoom_qos_proxy_calls_saved_total 0",
        &format!("zoom_qos_proxy_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|other| other == line), "no {line} in {text}");
    }
    assert!(!text.contains("redis_up"), "only with Redis");
    service.finish(&[]);
}

#[test]
fn metrics_count_exactly_what_happened() {
    let sim = sim(|config| config.latency = Duration::from_millis(60));
    let service = Service::start(&sim, &[]);
    service.get("/qos/85746065432");
    for _ in 0..3 {
        service.get("/qos/85746065432");
    }
    request(service.addr, "HEAD", "/qos/85746065432", &[]);
    service.get("/qos/90000000000");
    service.get("/qos/90000000000"); // Answered from the cache.
    for path in ["/qos/1", "/qos/", "/qos/85746065432?type=x"] {
        service.get(path);
    }
    request(service.addr, "POST", "/qos/85746065432", &[]);
    // `requests_total` counts only requests for a meeting, so the next three do not count.
    service.get("/nowhere");
    service.get("/qos");
    service.ops_get("/healthz");
    for (name, value) in [
        ("requests_total{outcome=\"miss\",status=\"200\"}", 1.0),
        ("requests_total{outcome=\"hit\",status=\"200\"}", 4.0),
        ("requests_total{outcome=\"failed\",status=\"404\"}", 2.0),
        ("requests_total{outcome=\"refused\",status=\"400\"}", 3.0),
        ("requests_total{outcome=\"refused\",status=\"405\"}", 1.0),
        ("request_duration_seconds_count{outcome=\"hit\"}", 4.0),
        ("request_duration_seconds_count{outcome=\"refused\"}", 4.0),
        ("zoom_calls_total{result=\"ok\"}", 1.0),
        ("zoom_calls_total{result=\"not_found\"}", 1.0),
        ("zoom_call_duration_seconds_count", 2.0),
        ("permit_wait_seconds_count", 2.0),
        ("permits_queued", 0.0),
        ("day_calls_used", 2.0),
        ("flights_active", 0.0),
        ("flight_duration_seconds_count", 2.0),
        ("flight_pages_count", 1.0),
        ("flight_pages_sum", 1.0),
        ("calls_saved_total", 4.0),
        ("snapshot_age_seconds_count", 5.0),
        ("access_token_renewals_total{result=\"ok\"}", 1.0),
    ] {
        assert_eq!(service.metric(&format!("zoom_qos_proxy_{name}")), value, "{name}");
    }
    assert!(service.metric("zoom_qos_proxy_request_duration_seconds_sum{outcome=\"miss\"}") >= 0.06);
    assert!(service.metric("zoom_qos_proxy_zoom_call_duration_seconds_sum") >= 0.12);
    let text = service.ops_get("/metrics").text();
    let all =
        text.lines().filter_map(|line| line.strip_prefix("zoom_qos_proxy_requests_total{")?.rsplit_once(' '));
    assert_eq!(
        all.map(|(_, count)| count.parse::<u64>().unwrap()).sum::<u64>(),
        11,
        "the counter has no other samples"
    );
    wait_for(|| (service.metric("zoom_qos_proxy_cache_entries") == 2.0).then_some(()));
    assert!(service.metric("zoom_qos_proxy_cache_bytes") > 1_000.0);
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn no_label_is_made_of_a_callers_input() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (method, path) in [
        ("GET", "/zebra"),
        ("GET", "/qos/zebra"),
        ("GET", "/qos/91111111111?zebra=zebra"),
        ("GET", "/qos/1?type=zebra"),
        ("ZEBRA", "/qos/91111111111"),
        ("ZEBRA", "/zebra"),
        ("PURGE", "/qos/zebra"),
    ] {
        request(
            service.addr,
            method,
            path,
            &[("X-Request-Id", "zebra"), ("User-Agent", "zebra"), ("Origin", "http://zebra")],
        );
        request(service.ops, method, path, &[("X-Request-Id", "zebra")]);
    }
    let text = service.ops_get("/metrics").text();
    assert!(!text.to_lowercase().contains("zebra"), "{text}");
    assert!(!text.contains("91111111111") && !text.contains("PURGE"));
    let values = |label: &str| -> BTreeSet<String> {
        let start = format!("{label}=\"");
        text.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let outcomes =
        ["hit", "stale", "miss", "collapsed", "not_modified", "refused", "failed"].map(String::from);
    assert!(values("outcome").is_subset(&BTreeSet::from(outcomes)), "{:?}", values("outcome"));
    assert!(values("status").iter().all(|status| status.len() == 3), "{:?}", values("status"));
    service.finish(&[]);
}

#[test]
fn status_shows_budgets_queue_cache_flights_callers_and_zooms_last_refusal() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let status = service.ops_get("/status");
    assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
    let json = status.json();
    for key in ["version", "budget", "queue", "cache", "flights", "callers", "zoom"] {
        assert!(json.get(key).is_some(), "{key} of {json}");
    }
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["budget"]["day_calls_used"], 0);
    assert_eq!(json["budget"]["day_calls_limit"], 54_000);
    assert_eq!(json["flights"]["active"], 0);
    assert_eq!(json["zoom"]["last_refusal"], Value::Null);
    assert_eq!(json["callers"][0]["name"], "anonymous");

    assert_eq!(service.get("/qos/90000000000").status, 404);
    let refusal = service.ops_get("/status").json()["zoom"]["last_refusal"].clone();
    assert_eq!((&refusal["status"], &refusal["code"]), (&Value::from(404), &Value::from(3001)));
    assert_eq!(refusal["reason"], "meeting_not_found");
    assert_eq!(refusal["tracking_id"], sim.qos_calls()[0].tracking_id.as_str());
    assert!(refusal["seconds_ago"].as_f64().is_some_and(|ago| (0.0..10.0).contains(&ago)));

    sim.set_latency(Duration::from_millis(700));
    let addr = service.addr;
    let callers = std::thread::spawn(move || at_once(addr, vec!["/qos/85746065432".into(); 3]));
    wait_for(|| {
        let flights = service.ops_get("/status").json()["flights"].clone();
        (flights["active"] == 1 && flights["requests_waiting"] == 3).then_some(())
    });
    assert!(callers.join().unwrap().iter().all(|answer| answer.status == 200));
    let json =
        wait_for(|| Some(service.ops_get("/status").json()).filter(|json| json["cache"]["entries"] == 2));
    assert!(json["cache"]["bytes"].as_u64().unwrap() > 1_000);
    assert_eq!(json["flights"]["active"], 0);
    assert_eq!(json["budget"]["day_calls_used"], 2);
    assert_eq!(json["queue"]["calls_waiting"], 0);
    service.finish(&[]);
}

#[test]
fn status_shows_the_calls_that_wait_for_a_permit() {
    let sim = sim(|_| ());
    let ids: Vec<_> = (0..6).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let service = Service::start(&sim, &[("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0")]);
    let addr = service.addr;
    let paths = ids.iter().map(|id| format!("/qos/{id}")).collect();
    let callers = std::thread::spawn(move || at_once(addr, paths));
    let queued =
        |status: &Value| status["queue"]["calls_waiting"].as_u64().is_some_and(|waiting| waiting >= 2);
    wait_for(|| Some(service.ops_get("/status").json()).filter(queued));
    assert!(service.metric("zoom_qos_proxy_permits_queued") >= 1.0);
    assert!(callers.join().unwrap().iter().all(|answer| answer.status == 200));
    assert_eq!(service.metric("zoom_qos_proxy_permits_queued"), 0.0);
    service.finish(&[]);
}

#[test]
fn both_listeners_answer_unknown_paths_404_and_other_methods_405() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for to in [service.addr, service.ops] {
        for path in ["/nowhere", "/healthz/", "/metrics/x", "/qos", "/favicon.ico"] {
            let answer = request(to, "GET", path, &[]);
            assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{path}");
        }
        let answer = request(to, "POST", "/nowhere", &[]);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"));
    }
    assert_eq!(service.ops_get("/").problem(), "not_found", "only callers have a front page");
    let qos = (service.addr, vec!["/qos/85746065432", "/qos/1", "/qos/"]);
    let ops = (service.ops, vec!["/healthz", "/readyz", "/metrics", "/status"]);
    for (to, paths) in [qos, ops] {
        for path in paths {
            for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
                let answer = request(to, method, path, &[]);
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.problem(), "method_not_allowed");
                assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{method} {path}");
            }
        }
    }
    assert!(sim.calls().iter().all(|call| call.kind == zoom_sim::CallKind::Token));
    service.finish(&[]);
}

#[test]
fn a_method_that_allow_names_is_not_refused() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (to, path) in [
        (service.addr, "/qos/85746065432"),
        (service.ops, "/healthz"),
        (service.ops, "/readyz"),
        (service.ops, "/metrics"),
        (service.ops, "/status"),
    ] {
        let allow = request(to, "POST", path, &[]).header("allow").unwrap().to_owned();
        for method in allow.split(", ") {
            assert_eq!(
                request(to, method, path, &[]).status,
                200,
                "{method} {path}, though Allow is {allow:?}"
            );
        }
    }
    service.finish(&[]);
}

/// Requests with different outcomes, on both listeners.
fn everywhere(service: &Service) -> [(SocketAddr, &'static str, &'static str); 10] {
    [
        (service.addr, "GET", "/qos/85746065432"),
        (service.addr, "HEAD", "/qos/85746065432"),
        (service.addr, "GET", "/qos/1"),
        (service.addr, "GET", "/qos/90000000000"),
        (service.addr, "POST", "/qos/85746065432"),
        (service.addr, "GET", "/nowhere"),
        (service.ops, "GET", "/healthz"),
        (service.ops, "GET", "/metrics"),
        (service.ops, "POST", "/status"),
        (service.ops, "GET", "/nowhere"),
    ]
}

#[test]
fn a_valid_request_id_comes_back_on_every_answer() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let longest = "x".repeat(128);
    for (to, method, path) in everywhere(&service) {
        for id in ["a", "A-z_0.9", "---", "0", &longest, "2f1d9a8e-0000-4000-8000-000000000000"] {
            for name in ["X-Request-Id", "x-request-id", "X-REQUEST-ID"] {
                assert_eq!(own_id(&request(to, method, path, &[(name, id)])), id, "{method} {path}");
            }
        }
    }
    service.finish(&[]);
}

#[test]
fn a_missing_or_invalid_request_id_is_replaced_by_a_new_one() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let mut given = HashSet::new();
    let mut is_new = |answer: &Answer| {
        let id = own_id(answer);
        assert!(is_request_id(&id), "{id}");
        assert!(given.insert(id), "the id was used before");
    };
    let too_long = "x".repeat(129);
    for (to, method, path) in everywhere(&service) {
        is_new(&request(to, method, path, &[]));
        for id in [
            "",
            "two words",
            "a/b",
            "a\"b",
            "{}",
            "a,b",
            "ünï",
            "a%20b",
            "a;b",
            "a:b",
            "a\tb",
            &too_long,
            "<script>",
        ] {
            let answer = request(to, method, path, &[("X-Request-Id", id)]);
            assert!(id.is_empty() || !format!("{:?}", answer.headers).contains(id), "{id:?} comes back");
            is_new(&answer);
        }
    }
    is_new(&raw(
        service.addr,
        b"GET /qos/1 HTTP/1.1\r\nHost: s\r\nConnection: close\r\nX-Request-Id: \xff\xfe\r\n\r\n",
    ));
    service.finish(&[]);
}

#[test]
fn the_log_has_exactly_one_line_for_each_request_with_its_values() {
    let sim = sim(|config| config.latency = Duration::from_millis(150));
    let service = Service::start(&sim, &[]);
    let requests = [
        ("GET", "/qos/85746065432", 200, "miss", None),
        ("GET", "/qos/85746065432?a=zebra", 200, "hit", None),
        ("HEAD", "/qos/85746065432", 200, "hit", None),
        ("GET", "/qos/zebra", 400, "refused", Some("invalid_meeting_id")),
        ("GET", "/qos/85746065432?type=zebra", 400, "refused", Some("invalid_query")),
        ("GET", "/qos/90000000000", 404, "failed", Some("meeting_not_found")),
        ("GET", "/qos/90000000000", 404, "failed", Some("meeting_not_found")),
        ("DELETE", "/qos/85746065432", 405, "refused", Some("method_not_allowed")),
    ];
    for (number, (method, path, status, ..)) in requests.iter().enumerate() {
        let id = format!("request-{number}");
        assert_eq!(request(service.addr, method, path, &[("X-Request-Id", &id)]).status, *status);
    }
    service.get("/nowhere");
    service.ops_get("/metrics");
    service.ops_get("/nowhere");
    service.ops_purge();
    let lines = service.finish(&[]);
    let logged = request_lines(&lines);
    assert_eq!(logged.iter().filter(|line| line["route"] == "qos").count(), requests.len());
    let of_route = |route: &str| logged.iter().filter(|line| line["route"] == route).collect::<Vec<_>>();
    assert_eq!(of_route("other").len(), 2, "of both listeners");
    for line in of_route("other") {
        assert_eq!((&line["code"], &line["peer"]), (&"not_found".into(), &"127.0.0.1".into()));
    }
    assert_eq!(of_route("/cache")[0]["peer"], "127.0.0.1", "the peer that purged");
    for (number, (method, path, status, outcome, code)) in requests.into_iter().enumerate() {
        let id = format!("request-{number}");
        let mut of_it = logged.iter().filter(|line| line["request_id"] == id.as_str());
        let line = of_it.next().unwrap_or_else(|| panic!("no line for {method} {path}"));
        assert_eq!(of_it.next(), None, "two lines for {method} {path}");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["caller"], "anonymous");
        assert_eq!(line["method"], method);
        assert_eq!(line["route"], "qos", "a word, not the path");
        assert_eq!(line["status"], status);
        assert_eq!(line["outcome"], outcome, "{method} {path}");
        assert_eq!(line["code"].as_str(), code, "{method} {path}");
        assert_eq!(line["peer"].as_str(), (status == 404).then_some("127.0.0.1"), "{method} {path}");
        let took = line["duration_ms"].as_f64().unwrap();
        let least = if number == 0 || number == 5 { 150.0 } else { 0.0 };
        assert!((least..least + 1_500.0).contains(&took), "{took} ms for {method} {path}");
    }
    assert!(lines.iter().all(|line| !line.contains("zebra")), "{lines:#?}");
}

#[test]
fn collapsed_and_failed_requests_are_counted_and_logged_as_such() {
    let sim = sim(|config| config.latency = Duration::from_millis(200));
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim.inject(Fault::new(FaultKind::EndpointUnknown).for_meeting("91111111111"));
    let service = Service::start(&sim, &[]);
    at_once(service.addr, vec!["/qos/85746065432".into(); 4]);
    assert_eq!(service.get("/qos/91111111111").problem(), "zoom_failed");
    let count = |labels: &str| service.metric(&format!("zoom_qos_proxy_requests_total{{{labels}}}"));
    assert_eq!(count("outcome=\"miss\",status=\"200\""), 1.0);
    assert_eq!(count("outcome=\"collapsed\",status=\"200\""), 3.0);
    assert_eq!(count("outcome=\"failed\",status=\"502\""), 1.0);
    let lines = service.finish(&["flight failed"]);
    let mut outcomes: Vec<_> =
        request_lines(&lines).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["collapsed", "collapsed", "collapsed", "failed", "miss"]);
}

#[test]
fn no_log_line_contains_a_secret_or_participant_data() {
    let participant = r#"[{"user_id":"zebra-id","user_name":"Zebra Name","email":"zebra@example.com","ip_address":"203.0.113.77",
        "internal_ip_addresses":["198.51.100.66"],"pc_name":"zebra-pc","leave_time":"zebra-time","user_qos":[
        {"date_time":"zebra-date","audio_input":{"bitrate":"zebra kbps"},"cpu_usage":{"zoom_min_cpu_usage":"zebra %"}}]}]"#;
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::raw_pages("91111111111", vec![participant.to_owned()]));
    sim.add_meeting(Meeting::raw_pages("92222222222", vec![participant.replace("}]}]", "}}}]")]));
    sim.add_meeting(Meeting::raw_pages("93333333333", vec![participant.to_owned()]));
    sim.inject(Fault::new(FaultKind::Truncated).for_meeting("93333333333"));
    let broken = format!("<html>{participant}</html>");
    sim.inject(
        Fault::new(FaultKind::Status { status: 200, body: broken }).for_meeting("85746065432").forever(),
    );
    let settings = [("telemetry.log_level", "trace"), ("zoom.client_secret", "sim-secret")];
    let service = Service::start(&sim, &settings);
    let body = service.get("/qos/91111111111").text();
    assert!(body.contains("Zebra Name"), "{body}");
    assert_eq!(service.get("/qos/91111111111").status, 200);
    assert_eq!(service.get("/qos/92222222222").problem(), "zoom_failed");
    assert_eq!(service.get("/qos/93333333333").status, 200);
    assert_eq!(service.get("/qos/85746065432").problem(), "zoom_failed");
    let lines = service.finish(&["flight failed"]);
    assert!(
        lines.iter().any(|line| line.contains("\"level\":\"TRACE\"")),
        "the log must contain lines of the lowest level"
    );
    let access_token =
        sim.qos_calls()[0].header("authorization").unwrap().trim_start_matches("Bearer ").to_owned();
    let basic = sim.token_calls()[0].header("authorization").unwrap().trim_start_matches("Basic ").to_owned();
    for line in &lines {
        for secret in [
            "zebra",
            "203.0.113.77",
            "198.51.100.66",
            "sim-secret",
            &access_token.to_lowercase(),
            &basic.to_lowercase(),
        ] {
            assert!(!line.to_lowercase().contains(secret), "{secret} in {line}");
        }
    }
}

#[test]
fn a_level_of_error_keeps_request_lines_out_of_the_log() {
    let sim = sim(|_| ());
    let mut process = Process::start(&mut command(&sim, &[("telemetry.log_level", "error")]));
    assert!(process.0.try_wait().unwrap().is_none());
    // At this level, the log does not contain the addresses, so the test can send no requests. The test sends SIGTERM
    // as soon as the process handles it, and checks that nothing was logged.
    let pid = process.0.id().to_string();
    wait_for(|| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & (1 << 14) != 0).then_some(())
    });
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(process.wait().success());
    let printed: Vec<_> =
        BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(printed.is_empty(), "{printed:?}");
}

#[test]
fn the_text_format_of_the_log_is_readable_lines_without_colours() {
    let sim = sim(|_| ());
    let mut process = Process::start(&mut command(&sim, &[("telemetry.log_format", "text")]));
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listening = lines.find(|line| line.contains("listening")).unwrap();
    let address = |key: &str| -> SocketAddr {
        let text = listening.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        text.unwrap_or_else(|| panic!("no {key} in {listening}")).parse().unwrap()
    };
    assert_eq!(request(address("ops_listen"), "GET", "/healthz", &[]).status, 200);
    let answer = request(address("listen"), "GET", "/qos/85746065432", &[("X-Request-Id", "mine")]);
    assert_eq!(answer.status, 200);
    let line = lines.find(|line| line.contains("mine")).unwrap();
    for part in ["INFO", "anonymous", "GET", "qos", "200", "miss", "duration_ms"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains('\u{1b}') && serde_json::from_str::<Value>(&line).is_err(), "{line}");
    let killed =
        std::process::Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(killed.success() && process.wait().success());
    assert_eq!(sim.qos_calls().len(), 1);
}

#[test]
fn a_request_whose_caller_disconnects_is_logged_once() {
    let sim = sim(|config| config.latency = Duration::from_millis(400));
    let service = Service::start(&sim, &[]);
    {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(service.addr).unwrap();
        stream.write_all(b"GET /qos/85746065432 HTTP/1.1\r\nHost: s\r\nX-Request-Id: gone\r\n\r\n").unwrap();
        assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
        socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap(); // Closing sends a reset.
    }
    wait_for(|| service.get("/qos/85746065432").cache_status().contains("; hit").then_some(()));
    let lines = service.finish(&[]);
    let logged = request_lines(&lines);
    assert_eq!(logged.iter().filter(|line| line["request_id"] == "gone").count(), 1, "{logged:#?}");
    assert_eq!(sim.qos_calls().len(), 1);
}
