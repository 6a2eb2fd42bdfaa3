//! `ETag`, `Last-Modified`, and the `304` for callers that already have the snapshot.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use test_support::{
    client::{Answer, request},
    freshness::{BRIEFLY_FRESH, NO_REVALIDATION, PATH, age, ttl, wait_until_not_served, wait_until_stale},
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting};

const MISS: &str = "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored";

fn etag(answer: &Answer) -> String {
    answer.header("etag").expect("ETag").to_owned()
}

fn if_none_match(service: &Service, tags: &str) -> Answer {
    request(service.addr, "GET", PATH, &[("If-None-Match", tags)])
}

fn if_modified_since(service: &Service, date: &str) -> Answer {
    request(service.addr, "GET", PATH, &[("If-Modified-Since", date)])
}

fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

fn last_modified(answer: &Answer) -> SystemTime {
    httpdate::parse_http_date(answer.header("last-modified").expect("Last-Modified")).unwrap()
}

/// Checks the status and the headers of a `304` that stands for `whole`.
fn assert_not_modified(answer: &Answer, whole: &Answer) {
    let shown = format!("{:?}", answer.headers);
    assert_eq!(answer.status, 304, "{shown} {}", answer.text());
    assert!(answer.body.is_empty());
    for same in ["etag", "last-modified", "vary"] {
        assert_eq!(answer.header(same), whole.header(same), "{same}");
    }
    for there in ["etag", "cache-control", "age", "vary", "cache-status", "x-request-id", "date"] {
        assert!(answer.header(there).is_some(), "{there} of {shown}");
    }
    for absent in ["content-type", "content-encoding", "transfer-encoding", "retry-after"] {
        assert_eq!(answer.header(absent), None, "{absent}");
    }
    // If a 304 has a `Content-Length`, it is that of the 200 (RFC 9110, 8.6).
    let length = answer.header("content-length");
    assert!(length.is_none() || length == whole.header("content-length"), "{shown}");
}

fn assert_whole(answer: &Answer, whole: &Answer) {
    assert_eq!((answer.status, etag(answer)), (200, etag(whole)));
    assert_eq!(answer.body, whole.body);
}

#[test]
fn the_current_tag_gets_a_304_in_every_valid_form() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let tag = etag(&whole);
    for tags in [
        tag.clone(),
        format!("W/{tag}"),
        "*".to_owned(),
        format!("\"x\", {tag}"),
        format!("{tag},\"x\""),
        format!("\"a,b\" ,W/\"c\", W/{tag} , \"\""),
        format!(", {tag},"),
    ] {
        let answer = if_none_match(&service, &tags);
        assert_not_modified(&answer, &whole);
        assert!(ttl(&answer) >= 0, "{tags}");
    }
    let twice = request(service.addr, "GET", PATH, &[("If-None-Match", "\"x\""), ("If-None-Match", &tag)]);
    assert_not_modified(&twice, &whole);
    assert_eq!(sim.qos_calls().len(), 1, "a 304 costs no call");
    service.finish(&[]);
}

#[test]
fn empty_elements_in_a_list_of_tags_are_ignored() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    assert_not_modified(&if_none_match(&service, &format!("\"x\", , ,{}", etag(&whole))), &whole);
    service.finish(&[]);
}

#[test]
fn another_or_an_invalid_tag_gets_the_complete_snapshot() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let tag = etag(&whole);
    let bare = tag.trim_matches('"').to_owned();
    for tags in [
        "\"x\"".to_owned(),
        bare.clone(),
        format!("\"{bare}"),
        format!("\"{}\"", bare.chars().skip(1).collect::<String>()),
        format!("\"{}\"", bare.to_uppercase()),
        format!("w/{tag}"),
        String::new(),
        ",".to_owned(),
        "\"*\"".to_owned(),
        format!("\"x{tag}"),
    ] {
        assert_whole(&if_none_match(&service, &tags), &whole);
    }
    service.finish(&[]);
}

#[test]
fn a_304_has_the_headers_of_its_200_without_a_body() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let headers = [("If-None-Match", "*"), ("X-Request-Id", "mine-1")];
    let answer = request(service.addr, "GET", PATH, &headers);
    assert_not_modified(&answer, &whole);
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let left = ttl(&answer);
    assert!((28..=30).contains(&left));
    assert_eq!(answer.header("cache-control"), Some(format!("private, max-age={left}").as_str()));
    assert!((29..=30).contains(&(age(&answer) + left)));
    service.finish(&[]);
}

#[test]
fn a_connection_continues_after_a_304() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let conditional = format!("GET {PATH} HTTP/1.1\r\nHost: service\r\nIf-None-Match: *\r\n\r\n");
    let last = format!("GET {PATH} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{conditional}{conditional}{last}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let parts: Vec<_> = text.split("\r\n\r\n").collect();
    assert_eq!(parts.len(), 4, "three heads and one body: {text}");
    assert!(parts[0].starts_with("HTTP/1.1 304") && parts[1].starts_with("HTTP/1.1 304"));
    assert!(parts[2].starts_with("HTTP/1.1 200"));
    assert_eq!(parts[3].as_bytes(), whole.body);
    service.finish(&[]);
}

#[test]
fn a_date_gets_a_304_if_the_snapshot_is_not_newer() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let modified = last_modified(&whole);
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    for since in [modified, modified + second, modified + hour] {
        assert_not_modified(&if_modified_since(&service, &date(since)), &whole);
    }
    for since in [modified - second, modified - hour, SystemTime::UNIX_EPOCH] {
        assert_whole(&if_modified_since(&service, &date(since)), &whole);
    }
    for nonsense in ["yesterday", "", "0", "2099-01-01T00:00:00Z"] {
        assert_whole(&if_modified_since(&service, nonsense), &whole);
    }
    // Recipients must also parse the two obsolete forms of dates.
    let zoned = jiff::Timestamp::try_from(modified).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    for form in ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"] {
        assert_not_modified(&if_modified_since(&service, &zoned.strftime(form).to_string()), &whole);
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn two_dates_are_ignored() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let since = date(last_modified(&whole));
    let twice = [("If-Modified-Since", since.as_str()), ("If-Modified-Since", since.as_str())];
    assert_whole(&request(service.addr, "GET", PATH, &twice), &whole);
    service.finish(&[]);
}

#[test]
fn a_tag_takes_precedence_over_a_date() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let (tag, now, old) = (etag(&whole), date(last_modified(&whole)), date(SystemTime::UNIX_EPOCH));
    let ask = |tag: &str, since: &str| {
        request(service.addr, "GET", PATH, &[("If-Modified-Since", since), ("If-None-Match", tag)])
    };
    assert_whole(&ask("\"x\"", &now), &whole);
    assert_whole(&ask("nonsense", &now), &whole);
    assert_not_modified(&ask(&tag, &old), &whole);
    assert_not_modified(&ask(&tag, "yesterday"), &whole);
    service.finish(&[]);
}

#[test]
fn a_request_without_a_validator_never_gets_a_304() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.refresh_floor", "0s")]);
    let whole = service.get(PATH);
    let tag = etag(&whole);
    if_none_match(&service, &tag);
    assert_whole(&service.get(PATH), &whole);
    for header in [("If-Range", tag.as_str()), ("ETag", &tag), ("Cache-Control", "max-age=100")] {
        assert_whole(&request(service.addr, "GET", PATH, &[header]), &whole);
    }
    let head = request(service.addr, "HEAD", PATH, &[]);
    assert_eq!((head.status, etag(&head)), (200, tag));
    service.finish(&[]);
}

#[test]
fn head_is_conditional_like_get() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let whole = service.get(PATH);
    let (tag, since) = (etag(&whole), date(last_modified(&whole)));
    for header in [("If-None-Match", tag.as_str()), ("If-None-Match", "*"), ("If-Modified-Since", &since)] {
        assert_not_modified(&request(service.addr, "HEAD", PATH, &[header]), &whole);
    }
    let head = request(service.addr, "HEAD", PATH, &[("If-None-Match", "\"x\"")]);
    assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")));
    assert!(head.body.is_empty());
    service.finish(&[]);
}

#[test]
fn a_condition_on_an_uncached_meeting_is_evaluated_after_the_fetch() {
    let sim = sim(|_| ());
    for id in ["91111111111", "92222222222", "93333333333"] {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let service = Service::start(&sim, &[]);
    let ask = |id: &str, name: &str, value: &str| {
        request(service.addr, "GET", &format!("/qos/{id}"), &[(name, value)])
    };
    let other = ask("91111111111", "If-None-Match", "\"x\"");
    assert_eq!((other.status, other.cache_status()), (200, MISS));
    let any = ask("92222222222", "If-None-Match", "*");
    assert_eq!((any.status, any.cache_status(), age(&any)), (304, MISS, 0));
    assert_not_modified(&any, &service.get("/qos/92222222222"));
    let future = date(SystemTime::now() + Duration::from_secs(3600));
    let later = ask("93333333333", "If-Modified-Since", &future);
    assert_eq!((later.status, later.cache_status()), (304, MISS));
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn an_error_is_never_a_304() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    for (method, path, status) in [
        ("GET", "/qos/90000000000", 404),
        ("GET", "/qos/90000000000", 404),
        ("GET", "/qos/1", 400),
        ("GET", "/nowhere", 404),
        ("POST", PATH, 405),
    ] {
        let headers = [("If-None-Match", "*"), ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")];
        let answer = request(service.addr, method, path, &headers);
        assert_eq!(answer.status, status, "{method} {path}");
        answer.problem();
        assert_eq!(answer.header("etag"), None);
    }
    let both = [("If-None-Match", "*"), ("Cache-Control", "only-if-cached")];
    assert_eq!(request(service.addr, "GET", PATH, &both).problem(), "not_cached");
    service.finish(&[]);
}

#[test]
fn after_a_refresh_the_old_tag_gets_the_new_snapshot() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.live_fresh", "1s"), NO_REVALIDATION]);
    let old = service.get(PATH);
    wait_until_not_served(&service, PATH);
    let new = if_none_match(&service, &etag(&old));
    assert_eq!((new.status, new.cache_status()), (200, "zoom-qos-proxy; fwd=stale; fwd-status=200; stored"));
    assert_ne!(etag(&new), etag(&old));
    assert!(last_modified(&new) > last_modified(&old));
    let since = date(last_modified(&old));
    assert_whole(&if_modified_since(&service, &since), &new);
    assert_not_modified(&if_none_match(&service, &format!("{}, {}", etag(&old), etag(&new))), &new);
    service.finish(&[]);
}

#[test]
fn a_forced_fetch_can_end_in_a_304_too() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.refresh_floor", "0s")]);
    service.get(PATH);
    let both = [("If-None-Match", "*"), ("Cache-Control", "no-cache")];
    let answer = request(service.addr, "GET", PATH, &both);
    assert_eq!(answer.cache_status(), "zoom-qos-proxy; fwd=request; fwd-status=200; stored");
    assert_not_modified(&answer, &service.get(PATH));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn a_304_for_a_stale_snapshot_says_how_stale_it_is() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let whole = service.get(PATH);
    wait_until_stale(&service, PATH);
    sim.set_latency(Duration::from_millis(500));
    let stale = if_none_match(&service, &etag(&whole));
    assert_not_modified(&stale, &whole);
    let since = ttl(&stale);
    assert!(since < 0);
    assert_eq!(stale.cache_status(), format!("zoom-qos-proxy; hit; ttl={since}; detail=revalidating"));
    assert_eq!(stale.header("cache-control"), Some("private, max-age=0"));
    assert!(age(&stale) >= 1);
    // Waits for the refresh that the stale answer started.
    let renewed = wait_for(|| {
        let answer = if_none_match(&service, &etag(&whole));
        (answer.status == 200).then_some(answer)
    });
    assert_ne!(etag(&renewed), etag(&whole));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn while_zoom_fails_a_304_says_why() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[BRIEFLY_FRESH, NO_REVALIDATION]);
    let whole = service.get(PATH);
    wait_until_not_served(&service, PATH);
    sim.inject(Fault::new(FaultKind::EndpointUnknown));
    let stale = if_none_match(&service, &etag(&whole));
    assert_not_modified(&stale, &whole);
    assert_eq!(stale.cache_status(), format!("zoom-qos-proxy; hit; ttl={}; detail=zoom_failed", ttl(&stale)));
    assert_eq!((ttl(&stale) < 0, stale.header("cache-control")), (true, Some("private, max-age=0")));
    service.finish(&["flight failed"]);
}

#[test]
fn live_and_past_have_different_tags() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let live = service.get(PATH);
    let past = format!("{PATH}?type=past");
    let answer = request(service.addr, "GET", &past, &[("If-None-Match", &etag(&live))]);
    assert_eq!(answer.status, 200);
    assert_ne!(etag(&answer), etag(&live));
    service.finish(&[]);
}

#[test]
fn not_modified_is_its_own_outcome_and_counts_as_saved_calls() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    service.get(PATH);
    for (method, id) in [("GET", "have-it-1"), ("HEAD", "have-it-2")] {
        let headers = [("If-None-Match", "*"), ("X-Request-Id", id)];
        assert_eq!(request(service.addr, method, PATH, &headers).status, 304);
    }
    let count = |labels: &str| service.metric(&format!("zoom_qos_proxy_requests_total{{{labels}}}"));
    assert_eq!(count("outcome=\"not_modified\",status=\"304\""), 2.0);
    assert_eq!(count("outcome=\"hit\",status=\"200\""), 0.0);
    assert_eq!(service.metric("zoom_qos_proxy_calls_saved_total"), 2.0);
    let lines = service.finish(&[]);
    let logged: Vec<Value> = lines
        .iter()
        .filter(|line| line.contains("\"have-it-"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(logged.len(), 2);
    for line in logged {
        assert_eq!((&line["outcome"], &line["status"]), (&"not_modified".into(), &304.into()), "{line}");
    }
}
