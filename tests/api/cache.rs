//! Snapshots as callers see them: headers, freshness, eviction, and bodies to the last byte.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use test_support::{
    client::{Answer, Connection, at_once, request},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

const UUID: &str = "ats/xhSEQWit9t+U02HXNQ==";
const MISS: &str = "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored";

/// The service's complete response for Zoom's documented example.
const DOCUMENTED: &str = r#"{
  "meeting_id": "85746065432",
  "type": "past",
  "fetched_at": "2026-11-23T10:15:42Z",
  "total_records": 1,
  "participants": [
    { "user_id": "1670000000", "user_name": "User", "device": "Android", "ip_address": "192.0.2.0",
      "location": "San Jose (US)", "join_time": "2021-06-24T20:00:00Z", "leave_time": "2021-06-24T20:00:00Z",
      "pc_name": "User's Phone", "domain": "user-android", "mac_addr": null, "harddisk_id": null,
      "version": "4.4.55383.0726",
      "user_qos": [
        { "date_time": "2021-06-24T20:00:00Z",
          "audio_input":  { "bitrate_kbps": 23, "latency_ms": 126, "jitter_ms": 6, "avg_loss_percent": 0.3, "max_loss_percent": 1.9 },
          "video_input":  { "bitrate_kbps": 1055, "latency_ms": 129, "jitter_ms": 11, "avg_loss_percent": 0.0, "max_loss_percent": 4.9,
                            "resolution": { "width": 1280, "height": 720 }, "frame_rate_fps": 12 },
          "as_input":     { "bitrate_kbps": 70, "latency_ms": 135, "jitter_ms": 8, "avg_loss_percent": 0.0, "max_loss_percent": 0.0,
                            "resolution": { "width": 0, "height": 0 }, "frame_rate_fps": null },
          "cpu_usage":    { "zoom_min_cpu_usage_percent": 8, "zoom_avg_cpu_usage_percent": 12,
                            "zoom_max_cpu_usage_percent": 18, "system_max_cpu_usage_percent": 40 } } ] } ] }"#;

/// Removes the whitespace between JSON tokens, so that the rest can be compared byte by byte, including order and
/// digits.
fn squeezed(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |letter: &char| {
        if inside {
            inside = escaped || *letter != '"';
            escaped = !escaped && *letter == '\\';
            return true;
        }
        inside = *letter == '"';
        !letter.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap_or_else(|| panic!("{header} of {:?}", answer.headers)).parse().unwrap()
}

/// The `max-age` of `Cache-Control`, in seconds.
fn max_age(answer: &Answer) -> u64 {
    let control = answer.header("cache-control").unwrap();
    let age = control.strip_prefix("private, max-age=");
    age.unwrap_or_else(|| panic!("{control}")).parse().unwrap()
}

/// The `ttl` of a hit in `Cache-Status`, in seconds.
fn ttl(answer: &Answer) -> u64 {
    let ttl = answer.cache_status().strip_prefix("zoom-qos-proxy; hit; ttl=");
    ttl.unwrap_or_else(|| panic!("{}", answer.cache_status())).parse().unwrap()
}

fn assert_fresh_for(answer: &Answer, seconds: u64) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let left = max_age(answer);
    assert!(
        (seconds.saturating_sub(2)..=seconds).contains(&left),
        "fresh for {left} s instead of {seconds} s"
    );
}

/// Asserts that freshness is within the jitter of 90 to 110 % of `seconds`.
fn assert_fresh_for_about(answer: &Answer, seconds: u64) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let left = max_age(answer);
    let range = (seconds * 9 / 10).saturating_sub(2)..=seconds * 11 / 10;
    assert!(range.contains(&left), "fresh for {left} s instead of {range:?} s");
}

#[test]
fn a_miss_and_a_hit_have_exactly_the_documented_headers() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let miss = service.get("/qos/85746065432");
    let hit = service.get("/qos/85746065432");
    for answer in [&miss, &hit] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"));
        assert_fresh_for(answer, 30);
        assert!(number(answer, "age") <= 1);
        assert!((29..=30).contains(&(number(answer, "age") + max_age(answer))));
        let etag = answer.header("etag").unwrap();
        let inner =
            etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("a strong, quoted tag");
        assert!(inner.len() >= 8 && inner.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{etag}");
        let fetched_at: Timestamp = answer.json()["fetched_at"].as_str().unwrap().parse().unwrap();
        let modified = httpdate::parse_http_date(answer.header("last-modified").unwrap()).unwrap();
        assert_eq!(modified, SystemTime::from(fetched_at), "Last-Modified is fetched_at");
        let date = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap();
        assert!(date >= modified, "Date is not before Last-Modified");
        for absent in [
            "retry-after",
            "set-cookie",
            "content-encoding",
            "transfer-encoding",
            "server",
            "expires",
            "pragma",
        ] {
            assert_eq!(answer.header(absent), None, "{absent}");
        }
    }
    assert_eq!(miss.cache_status(), MISS);
    assert_eq!(ttl(&hit), max_age(&hit), "both report the remaining freshness");
    for same in ["etag", "last-modified", "content-length"] {
        assert_eq!(miss.header(same), hit.header(same), "{same}");
    }
    assert_eq!(miss.body, hit.body);
    assert_eq!(sim.qos_calls().len(), 1, "a fresh hit costs no call");
    let other = service.get("/qos/85746065432?type=past");
    assert_ne!(other.header("etag"), miss.header("etag"));
    service.finish(&[]);
}

#[test]
fn fetched_at_is_the_time_of_the_fetch_in_whole_utc_seconds() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let before = Timestamp::now().as_second();
    let answer = service.get("/qos/85746065432");
    let text = answer.json()["fetched_at"].as_str().unwrap().to_owned();
    let at: Timestamp = text.parse().unwrap();
    assert_eq!((text.len(), text.ends_with('Z')), (20, true), "{text}");
    assert!((before..=Timestamp::now().as_second()).contains(&at.as_second()), "{text}");
    service.finish(&[]);
}

#[test]
fn age_rises_and_remaining_freshness_falls_until_the_next_call() {
    let sim = sim(|_| ());
    let settings = [("cache.live_fresh", "3s"), ("cache.stale_while_revalidate", "0s")];
    let service = Service::start(&sim, &settings);
    let first = service.get("/qos/85746065432");
    assert_fresh_for(&first, 3);
    let mut seen = HashSet::new();
    let renewed = wait_for(|| {
        let answer = service.get("/qos/85746065432");
        if answer.header("etag") != first.header("etag") {
            return Some(answer);
        }
        let (age, left) = (number(&answer, "age"), max_age(&answer));
        assert_eq!(left, ttl(&answer));
        assert!((2..=3).contains(&(age + left)), "age {age}, {left} left");
        seen.insert((age, left));
        assert_eq!(sim.qos_calls().len(), 1, "no call while it is fresh");
        None
    });
    assert!(seen.iter().all(|(age, _)| *age < 3), "never served past its freshness: {seen:?}");
    let lefts: HashSet<_> = seen.iter().map(|(_, left)| *left).collect();
    assert!(lefts.is_superset(&HashSet::from([0, 1, 2])), "{seen:?}");
    assert_eq!(renewed.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored");
    assert_eq!(number(&renewed, "age"), 0);
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    let apart = (calls[1].at - calls[0].at).as_secs_f64();
    assert!((3.0..4.0).contains(&apart), "refreshed after {apart} s");
    service.finish(&[]);
}

#[test]
fn a_request_that_joins_a_flight_is_marked_as_collapsed() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    let service = Service::start(&sim, &[]);
    let answers = thread::scope(|scope| {
        let first = scope.spawn(|| service.get("/qos/85746065432"));
        assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
        let others = at_once(service.addr, vec!["/qos/85746065432".into(); 3]);
        (first.join().unwrap(), others)
    });
    assert_eq!(answers.0.cache_status(), MISS);
    for other in &answers.1 {
        assert_eq!(other.cache_status(), format!("{MISS}; collapsed"));
        assert_eq!(other.body, answers.0.body);
        assert_fresh_for(other, 30);
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn live_and_past_are_two_entries() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (query, meeting_type) in [("", "live"), ("?type=past", "past")] {
        let path = format!("/qos/85746065432{query}");
        let (miss, hit) = (service.get(&path), service.get(&path));
        assert_eq!(miss.cache_status(), MISS);
        assert!(hit.cache_status().starts_with("zoom-qos-proxy; hit; ttl="));
        assert_eq!(hit.json()["type"], meeting_type);
    }
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_settled_past_meeting_stays_fresh_longer_and_longest_by_uuid() {
    let sim = sim(|_| ());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    sim.add_meeting(Meeting::generated("91111111111", 3, 2).with_uuid(UUID).ended_ago(minutes(60)));
    sim.add_meeting(
        Meeting::generated("92222222222", 3, 2).with_uuid("bbbbbbbbbbbbbbbbbbbbbb==").ended_ago(minutes(5)),
    );
    sim.add_meeting(Meeting::generated("93333333333", 3, 2).growing());
    let service = Service::start(&sim, &[]);
    let fresh_for = |path: &str, seconds| assert_fresh_for(&service.get(path), seconds);
    assert_fresh_for_about(&service.get("/qos/91111111111?type=past"), 300);
    assert_fresh_for_about(&service.get(&format!("/qos/{UUID}?type=past")), 86_400);
    fresh_for("/qos/91111111111?type=live", 30);
    fresh_for(&format!("/qos/{UUID}?type=live"), 30);
    fresh_for("/qos/92222222222?type=past", 30);
    fresh_for("/qos/bbbbbbbbbbbbbbbbbbbbbb==?type=past", 30);
    fresh_for("/qos/93333333333?type=past", 30);
    assert_eq!(sim.qos_calls().len(), 7, "a number and a UUID are two entries");
    service.finish(&[]);
}

#[test]
fn settled_meetings_fetched_together_expire_apart_and_live_ones_together() {
    let sim = sim(|_| ());
    let ids: Vec<_> = (0..30).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let settings = [("cache.past_by_number_fresh", "100h"), ("cache.live_fresh", "100h")];
    let service = Service::start(&sim, &settings);
    let apart = |query: &str| {
        let answers = at_once(service.addr, ids.iter().map(|id| format!("/qos/{id}{query}")).collect());
        let fresh_for = || answers.iter().map(|answer| max_age(answer) + number(answer, "age"));
        for answer in &answers {
            assert_fresh_for_about(answer, 360_000);
        }
        fresh_for().max().unwrap() - fresh_for().min().unwrap()
    };
    let settled = apart("?type=past");
    assert!(settled > 3_600, "all thirty expire within {settled} s of each other");
    assert!(apart("?type=live") <= 1);
    assert_eq!(sim.qos_calls().len(), 60);
    service.finish(&[]);
}

#[test]
fn an_empty_live_meeting_stays_fresh_no_longer_than_a_not_found() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 0, 0));
    sim.add_meeting(Meeting::generated("92222222222", 1, 1));
    let service =
        Service::start(&sim, &[("cache.not_found_live", "1s"), ("cache.stale_while_revalidate", "0s")]);
    let empty = service.get("/qos/91111111111");
    assert_eq!((empty.status, empty.json()["total_records"].as_u64()), (200, Some(0)));
    assert_fresh_for(&empty, 1);
    assert_fresh_for(&service.get("/qos/92222222222"), 30);
    assert_fresh_for(&service.get("/qos/91111111111?type=past"), 30);
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let joined = wait_for(|| {
        let answer = service.get("/qos/91111111111");
        (answer.json()["total_records"] == 1).then_some(answer)
    });
    assert_eq!(joined.cache_status(), "zoom-qos-proxy; fwd=stale; fwd-status=200; stored");
    assert_fresh_for(&joined, 30);
    let calls = calls_for(&sim, "91111111111");
    let live: Vec<_> = calls.iter().filter(|call| call.query("type").as_deref() == Some("live")).collect();
    assert_eq!(live.len(), 2);
    assert!(live[1].at - live[0].at >= Duration::from_secs(1), "{:?}", live[1].at - live[0].at);
    service.finish(&[]);

    sim.add_meeting(Meeting::generated("91111111111", 0, 0));
    let service = Service::start(&sim, &[("cache.not_found_live", "1h"), ("cache.live_fresh", "11s")]);
    assert_fresh_for(&service.get("/qos/91111111111"), 11);
    service.finish(&[]);
}

#[test]
fn every_freshness_lifetime_is_a_setting() {
    let sim = sim(|_| ());
    sim.add_meeting(
        Meeting::generated("91111111111", 1, 1).with_uuid(UUID).ended_ago(Duration::from_secs(300)),
    );
    let settings = [
        ("cache.live_fresh", "11s"),
        ("cache.past_by_number_fresh", "7m"),
        ("cache.past_fresh", "2h"),
        ("cache.settle", "4m"),
    ];
    let service = Service::start(&sim, &settings);
    assert_fresh_for(&service.get("/qos/91111111111"), 11);
    assert_fresh_for_about(&service.get("/qos/91111111111?type=past"), 420);
    assert_fresh_for_about(&service.get(&format!("/qos/{UUID}?type=past")), 7_200);
    service.finish(&[]);

    let service = Service::start(&sim, &[("cache.live_fresh", "11s"), ("cache.settle", "6m")]);
    assert_fresh_for(&service.get("/qos/91111111111?type=past"), 11);
    assert_fresh_for(&service.get(&format!("/qos/{UUID}?type=past")), 11);
    service.finish(&[]);

    let service = Service::start(&sim, &[("cache.settle", "0s")]);
    assert_fresh_for_about(&service.get("/qos/91111111111?type=past"), 300);
    service.finish(&[]);
}

#[test]
fn a_snapshot_larger_than_the_cache_is_served_but_not_stored() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 12, 30));
    sim.add_meeting(Meeting::generated("92222222222", 1, 1));
    let service = Service::start(&sim, &[("cache.max_bytes", "20KiB")]);
    assert_eq!(service.get("/qos/92222222222").cache_status(), MISS);
    for turn in 1..=2 {
        let answer = service.get("/qos/91111111111");
        assert_eq!(answer.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200");
        assert!(answer.body.len() > 20 * 1024, "{}", answer.body.len());
        assert_eq!(answer.json()["participants"].as_array().unwrap().len(), 12);
        assert_eq!(sim.qos_calls().len(), 1 + 2 * turn, "two pages, each time");
    }
    let small = service.get("/qos/92222222222");
    assert!(
        small.cache_status().starts_with("zoom-qos-proxy; hit"),
        "snapshots that fit stay: {}",
        small.cache_status()
    );
    service.finish(&[]);
}

#[test]
fn the_cache_stays_within_its_bound_and_counts_evictions() {
    const BOUND: f64 = 100.0 * 1024.0;
    let sim = sim(|config| config.per_second = 10_000);
    let ids: Vec<_> = (0..200).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 2, 2));
    }
    let settings = [("cache.max_bytes", "100KiB"), ("limits.heavy_per_second", "5000")];
    let service = Service::start(&sim, &settings);
    for some in ids.chunks(20) {
        for answer in at_once(service.addr, some.iter().map(|id| format!("/qos/{id}")).collect()) {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.body.len() > 2_000);
        }
    }
    assert_eq!(sim.qos_calls().len(), 200);
    let evicted = wait_for(|| {
        let (bytes, entries) =
            (service.metric("zoom_qos_proxy_cache_bytes"), service.metric("zoom_qos_proxy_cache_entries"));
        let evicted = service.metric("zoom_qos_proxy_cache_evictions_total");
        (bytes > 0.0 && bytes <= BOUND && (entries + evicted - 200.0).abs() < 0.5).then_some(evicted)
    });
    assert!(evicted > 100.0, "{evicted}");
    assert!(service.metric("zoom_qos_proxy_cache_bytes") > BOUND / 2.0, "the cache fills up to its bound");
    let status = service.ops_get("/status").json();
    assert!(status["cache"]["bytes"].as_f64().unwrap() <= BOUND);
    // Some of the newest entries stay.
    let kept = ids[195..]
        .iter()
        .filter(|id| service.get(&format!("/qos/{id}")).cache_status().contains("; hit"))
        .count();
    assert!(kept >= 1, "{kept}");
    service.finish(&["limits.heavy_per_second"]);
}

#[test]
fn a_body_of_megabytes_arrives_complete_and_unchanged_on_a_hit() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 60, 60));
    let service = Service::start(&sim, &[]);
    let (miss, hit) = (service.get("/qos/91111111111"), service.get("/qos/91111111111"));
    assert!(miss.body.len() > 3_000_000, "{}", miss.body.len());
    assert_eq!(number(&miss, "content-length"), u64::try_from(miss.body.len()).unwrap());
    assert!(miss.body == hit.body, "byte for byte");
    assert_eq!(miss.header("etag"), hit.header("etag"));
    let json = miss.json();
    assert_eq!(json["total_records"], 60);
    let participants = json["participants"].as_array().unwrap();
    assert_eq!(participants.len(), 60);
    assert!(participants.iter().all(|row| row["user_qos"].as_array().unwrap().len() == 60));
    assert_eq!(sim.qos_calls().len(), 6);
    let head = request(service.addr, "HEAD", "/qos/91111111111", &[]);
    assert_eq!(head.header("content-length"), miss.header("content-length"));
    assert!(head.body.is_empty());
    service.finish(&[]);
}

#[test]
fn head_has_the_headers_of_get_and_calls_only_when_cold() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let cold = request(service.addr, "HEAD", "/qos/85746065432", &[]);
    assert_eq!((cold.status, cold.cache_status()), (200, MISS));
    assert_eq!(sim.qos_calls().len(), 1);
    let get = service.get("/qos/85746065432");
    let warm = request(service.addr, "HEAD", "/qos/85746065432", &[]);
    assert!(warm.cache_status().starts_with("zoom-qos-proxy; hit; ttl="));
    for head in [&cold, &warm] {
        assert!(head.body.is_empty());
        assert_eq!(number(head, "content-length"), u64::try_from(get.body.len()).unwrap());
        for name in ["content-type", "etag", "last-modified", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        assert_fresh_for(head, 30);
        assert!(number(head, "age") <= 1 && head.header("x-request-id").is_some());
    }
    let refused = request(service.addr, "HEAD", "/qos/1", &[]);
    assert_eq!((refused.status, refused.header("content-type")), (400, Some("application/problem+json")));
    assert!(refused.body.is_empty() && number(&refused, "content-length") > 0);
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn one_connection_serves_requests_of_all_kinds_even_pipelined() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 12, 20));
    let service = Service::start(&sim, &[]);
    let mut connection = Connection::open(service.addr);
    let big = connection.ask("GET", "/qos/91111111111");
    assert!(big.body.len() > 200_000);
    for (method, path, status) in [
        ("GET", "/qos/85746065432", 200),
        ("HEAD", "/qos/91111111111", 200),
        ("GET", "/qos/1", 400),
        ("HEAD", "/qos/1", 400),
        ("GET", "/nowhere", 404),
        ("POST", "/qos/85746065432", 405),
        ("GET", "/qos/90000000000", 404),
        ("GET", "/qos/91111111111", 200),
    ] {
        let answer = connection.ask(method, path);
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.header("x-request-id").is_some());
        if path == "/qos/91111111111" && method == "GET" {
            assert!(answer.body == big.body);
        }
    }
    // Pipelined requests get their responses in the order of the requests.
    let paths = ["/qos/91111111111", "/qos/85746065432", "/qos/1", "/qos/91111111111"];
    for path in paths {
        connection.send("GET", path);
    }
    let statuses = paths.map(|_| connection.receive(false).status);
    assert_eq!(statuses, [200, 200, 400, 200]);
    assert_eq!(sim.qos_calls().len(), 4, "two pages, one page, one refusal");
    drop(connection);
    service.finish(&[]);
}

#[test]
fn zooms_documented_example_has_the_expected_response() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/85746065432?type=past");
    let fetched_at = answer.json()["fetched_at"].as_str().unwrap().to_owned();
    let expected = DOCUMENTED.replace("2026-11-23T10:15:42Z", &fetched_at);
    assert_eq!(squeezed(&answer.text()), squeezed(&expected));
    service.finish(&[]);
}

#[test]
fn odd_values_keep_every_row_as_valid_json_and_are_counted() {
    /// Checks only the syntax of each participant, because some of their numbers and strings fit no Rust type.
    #[derive(serde::Deserialize)]
    struct Rows {
        total_records: usize,
        participants: Vec<IgnoredAny>,
    }
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 24, 6).odd_values());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/91111111111?type=past");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows: Rows = serde_json::from_slice(&answer.body).expect("valid JSON");
    assert_eq!((rows.total_records, rows.participants.len()), (24, 24));
    let metrics = service.ops_get("/metrics").text();
    let counted: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("zoom_qos_proxy_values_unparsed_total{field=\""))
        .collect();
    assert!(!counted.is_empty(), "{metrics}");
    for line in counted {
        let (field, count) = line.split_once("\"} ").unwrap();
        let known =
            ["bitrate", "latency", "jitter", "avg_loss", "max_loss", "frame_rate", "resolution", "cpu_usage"];
        assert!(known.iter().any(|name| field.contains(name)), "a fixed list of fields, not {field}");
        assert!(count.parse::<u64>().unwrap() > 0);
    }
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn calls_saved_counts_the_pages_of_hits_and_shared_flights() {
    let sim = sim(|config| config.latency = Duration::from_millis(100));
    sim.add_meeting(Meeting::generated("91111111111", 25, 1));
    let service = Service::start(&sim, &[]);
    let saved = || service.metric("zoom_qos_proxy_calls_saved_total");
    let answers = at_once(service.addr, vec!["/qos/91111111111".into(); 5]);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(saved(), 12.0, "four requests joined the flight of three pages");
    service.get("/qos/91111111111");
    request(service.addr, "HEAD", "/qos/91111111111", &[]);
    assert_eq!(saved(), 18.0, "two more hits");
    service.get("/qos/1");
    service.get("/qos/90000000000");
    assert_eq!(saved(), 18.0);
    assert_eq!(sim.qos_calls().len(), 4);
    service.finish(&[]);
}
