//! `GET /qos/{meetingId}/summary` from outside: the same snapshots, headers and problems as `/qos/{meetingId}`.

use std::{collections::BTreeSet, io::Read as _};

use serde_json::{Value, json};
use test_support::{
    callers::{KEY, start, two_callers},
    client::request,
    freshness::wait_until_stale,
    service::Service,
    simulator::sim,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const MEETING: &str = "/qos/98765432101";
const PATH: &str = "/qos/98765432101/summary?type=past";

fn service_with_a_meeting(sim: &Sim) -> Service {
    sim.add_meeting(Meeting::generated("98765432101", 12, 5));
    Service::start(sim, &[])
}

#[test]
fn a_summary_is_the_documented_json() {
    let sim = sim(|_| ());
    let group = |latency: u16, jitter: u16| {
        format!(r#"{{"latency":"{latency} ms","jitter":"{jitter} ms","avg_loss":"0.3%"}}"#)
    };
    let sample = |minute: u8, group: &str| {
        format!(r#"{{"date_time":"2026-01-15T10:0{minute}:00Z","audio_input":{group}}}"#)
    };
    let samples =
        [sample(1, &group(126, 6)), sample(2, &group(301, 6)), sample(3, &group(126, 41))].join(",");
    let bad = |id: u8| format!(r#"{{"user_id":"{id}","network_type":"Wifi","user_qos":[{samples}]}}"#);
    let others = r#"{"user_name":"","network_type":"Wired"},{"email":"j@example.com","leave_time":"t"}"#;
    let page = format!("[{},{},{others}]", bad(1), bad(2));
    sim.add_meeting(Meeting::raw_pages("91111111111", vec![page]).webinar());
    let service = Service::start(&sim, &[]);
    let summary = service.get("/qos/91111111111/summary");
    assert_eq!((summary.status, summary.header("content-type")), (200, Some("application/json")));
    let text = summary.text();
    assert!(text.starts_with(r#"{"meeting_id":"91111111111","type":"live","kind":"webinar","fetched_at":""#));
    let fetched_at = summary.json()["fetched_at"].clone();
    let (_, rest) = text.split_once(&format!("{fetched_at},")).unwrap();
    let statistics = |min: f64, avg: f64, max: f64, over: u8| {
        format!(r#"{{"min":{min},"avg":{avg},"p95":{max},"max":{max},"over":{over}}}"#)
    };
    let group = format!(
        r#""audio_input":{{"samples":3,"minutes_over":2,"latency_ms":{},"jitter_ms":{},"avg_loss_percent":{},"mos_estimate":{{"min":3.77,"avg":4.1}}}}"#,
        statistics(126.0, 184.33, 301.0, 1),
        statistics(6.0, 17.67, 41.0, 1),
        statistics(0.3, 0.3, 0.3, 0),
    );
    let reason = |measurement: &str, worst: u16, minute: u8| {
        format!(
            r#"{{"group":"audio_input","measurement":"{measurement}","minutes_over":1,"of":3,"worst":{worst},"worst_at":"2026-01-15T10:0{minute}:00Z"}}"#
        )
    };
    let reasons = [reason("latency_ms", 301, 2), reason("jitter_ms", 41, 3)].join(",");
    let entry = |user_id: &str, email: &str, leave_time: &str, rest: &str| {
        format!(
            r#"{{"user_id":{user_id},"id":null,"participant_uuid":null,"user_name":null,"email":{email},"join_time":null,"leave_time":{leave_time},{rest}}}"#
        )
    };
    let bad = format!(r#""samples":3,"quality":"bad","reasons":[{reasons}],"groups":{{{group}}}"#);
    let unknown = r#""samples":0,"quality":"unknown","reasons":[],"groups":{}"#;
    let expected = format!(
        concat!(
            r#""limits":{{"latency_ms":150,"jitter_ms":40,"loss_percent":2,"cpu_percent":90}},"#,
            r#""quality":{{"good":0,"fair":0,"poor":0,"bad":2,"unknown":2}},"#,
            r#""common":[{{"field":"network_type","value":"Wifi","affected":2,"of":2}}],"participants":[{},{},{},{}]}}"#
        ),
        entry("\"1\"", "null", "null", &bad),
        entry("\"2\"", "null", "null", &bad),
        entry("null", "null", "null", unknown),
        entry("null", "\"j@example.com\"", "\"t\"", unknown),
    );
    assert_eq!(rest, expected);
    service.finish(&[]);
}

#[test]
fn a_summary_shares_its_meetings_flight_and_headers() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let first = service.get(PATH);
    assert_eq!(first.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    assert!(first.header("ratelimit").is_some(), "it cost a call");
    let whole = service.get(&format!("{MEETING}?type=past"));
    let again = service.get(PATH);
    for answer in [&whole, &again] {
        assert!(answer.cache_status().starts_with("zoom-qos-proxy; hit; ttl="), "{answer:?}");
        assert_eq!(answer.header("ratelimit"), None);
    }
    for name in ["last-modified", "vary"] {
        assert!(again.header(name).is_some(), "{name}");
        assert_eq!(again.header(name), whole.header(name));
    }
    assert_eq!(again.header("vary"), Some("Accept-Encoding, Accept"));
    assert_eq!(again.body, first.body);
    let head = request(service.addr, "HEAD", PATH, &[]);
    assert_eq!((head.status, head.header("etag"), head.body.len()), (200, again.header("etag"), 0));
    let summary = again.json();
    assert_eq!(summary["participants"].as_array().unwrap().len(), 12);
    let rows: u64 = summary["quality"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(rows, 12);
    assert_eq!(sim.qos_calls().len(), 2, "two pages, once");
    assert_eq!(service.metric("zoom_qos_proxy_requests_total{outcome=\"hit\",status=\"200\"}"), 3.0);
    let log = service.finish(&[]);
    assert!(log.iter().any(|line| line.contains(r#""route":"summary""#)));
}

#[test]
fn each_summary_has_its_own_tag_and_is_compressed() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let mut tags = BTreeSet::new();
    let queries = ["", "&jitter_ms=1", "&cpu_percent=40.5", "&groups=audio", "&groups=audio&latency_ms=1"];
    for query in queries {
        let path = format!("{PATH}{query}");
        let plain = service.get(&path);
        let tag = plain.header("etag").unwrap();
        tags.insert(tag.to_owned());
        for (coding, unpack) in [("gzip", gunzip as fn(&[u8]) -> String), ("zstd", unzstd)] {
            let packed = service.get_with_headers(&path, &[("accept-encoding", coding)]);
            assert_eq!(packed.header("content-encoding"), Some(coding));
            assert_eq!(unpack(&packed.body), plain.text());
            tags.insert(packed.header("etag").unwrap().to_owned());
        }
        let same = service.get_with_headers(&path, &[("if-none-match", tag)]);
        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tag)));
        let dated = [("if-modified-since", plain.header("last-modified").unwrap())];
        assert_eq!(service.get_with_headers(&path, &dated).status, 304);
        let whole = service.get_with_headers(&format!("{MEETING}?type=past"), &[("if-none-match", tag)]);
        assert_eq!(whole.status, 200, "another representation");
    }
    assert_eq!(tags.len(), 3 * queries.len());
    let (one, other) =
        (service.get(PATH), service.get(&format!("{PATH}&latency_ms=0150.0&kind=meeting&x=y")));
    assert_eq!((one.header("etag"), &one.body), (other.header("etag"), &other.body));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

fn unzstd(body: &[u8]) -> String {
    String::from_utf8(zstd::decode_all(body).unwrap()).unwrap()
}

#[test]
fn limits_of_the_query_replace_those_of_the_configuration() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 3, 5));
    let service = Service::start(&sim, &[("summary.latency_ms", "99.5"), ("summary.cpu_percent", "0")]);
    let limits = |query: &str| service.get(&format!("{PATH}{query}")).json()["limits"].clone();
    let configured = json!({ "latency_ms": 99.5, "jitter_ms": 40, "loss_percent": 2, "cpu_percent": 0 });
    assert_eq!(limits(""), configured);
    let all = "&latency_ms=999999&jitter_ms=0&loss_percent=0.25&cpu_percent=100";
    let of_query = json!({ "latency_ms": 999_999, "jitter_ms": 0, "loss_percent": 0.25, "cpu_percent": 100 });
    assert_eq!(limits(all), of_query);
    let summary = service.get(&format!("{PATH}&latency_ms=1")).json();
    assert_eq!(summary["quality"], json!({ "good": 0, "fair": 0, "poor": 0, "bad": 3, "unknown": 0 }));
    assert_eq!(summary["participants"][0]["groups"]["cpu_usage"]["minutes_over"], 5);
    service.finish(&[]);
}

#[test]
fn a_selection_is_summarized_alone() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let whole = service.get(PATH).json();
    assert_eq!(whole["selected_records"], Value::Null);
    let jane = &whole["participants"][7];
    let one = service.get(&format!("{PATH}&participant={}", jane["user_id"].as_str().unwrap())).json();
    assert_eq!((&one["selected_records"], &one["participants"]), (&json!(1), &json!([jane])));
    let audio = service.get(&format!("{PATH}&groups=audio")).json();
    assert_eq!(audio["selected_records"], 12);
    let groups: Vec<_> = audio["participants"][7]["groups"].as_object().unwrap().keys().collect();
    assert!(
        groups.iter().any(|group| *group == "audio_input")
            && groups.iter().all(|group| group.starts_with("audio_")),
        "{groups:?}"
    );
    let none = service.get(&format!("{PATH}&until=2000-01-01T00:00:00Z")).json();
    assert_eq!((&none["selected_records"], &none["participants"]), (&json!(0), &json!([])));
    service.get(&format!("{PATH}&participant=nobody")).assert_problem(404, "participant_not_found");
    service.finish(&[]);
}

#[test]
fn a_summary_that_cannot_be_made_costs_no_call() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    for query in [
        "type=next",
        "kind=",
        "format=json",
        "format=csv",
        "rows=sample",
        "page_size=10",
        "next_page_token=x",
        "latency_ms=",
        "latency_ms=1000000",
        "latency_ms=1&latency_ms=1",
        "jitter_ms=-1",
        "jitter_ms=1e2",
        "loss_percent=100.1",
        "loss_percent=2%25",
        "cpu_percent=.5",
        "cpu_percent=101",
        "since=2026-01-15T11:00:00Z&until=2026-01-15T10:00:00Z",
        "groups=",
    ] {
        let answer = service.get(&format!("{MEETING}/summary?{query}"));
        answer.assert_problem(400, "invalid_query");
        let name = query.split('=').next().unwrap();
        assert!(answer.json()["detail"].as_str().unwrap().contains(name), "{}", answer.text());
    }
    for accept in ["text/csv", "application/x-ndjson", "text/html", "*/*, application/json;q=0"] {
        service.get_with_headers(PATH, &[("accept", accept)]).assert_problem(406, "not_acceptable");
    }
    for path in ["/qos/1/summary", "/qos//summary", "/qos/98765432101/summary/", "/qos/98765432101/summaries"]
    {
        service.get(path).assert_problem(400, "invalid_meeting_id");
    }
    let posted = request(service.addr, "POST", PATH, &[]);
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    service.get_with_headers(PATH, &[("cache-control", "only-if-cached")]).assert_problem(504, "not_cached");
    assert!(sim.qos_calls().is_empty());
    for accept in ["application/json", "text/html, */*;q=0.1", "application/*"] {
        assert_eq!(service.get_with_headers(PATH, &[("accept", accept)]).status, 200, "{accept}");
    }
    service.get("/qos/91111111111/summary").assert_problem(404, "meeting_not_found");
    service.finish(&[]);
}

#[test]
fn an_id_with_slashes_has_a_summary_in_every_spelling() {
    let sim = sim(|_| ());
    let ids = ["/ajXp112QmuoKj48548750==", "aj//p112Q+uo/summary75==", "atsXxhSEQWit9t+U02HXNQ=="];
    for id in ids {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let service = Service::start(&sim, &[]);
    for id in ids {
        let once = id.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        for spelling in [id, &once, &once.replace('%', "%25")] {
            let summary = service.get(&format!("/qos/{spelling}/summary"));
            assert_eq!((summary.status, &summary.json()["meeting_id"]), (200, &json!(id)), "{spelling}");
            let whole = service.get(&format!("/qos/{spelling}"));
            assert_eq!((whole.status, &whole.json()["total_records"]), (200, &json!(1)));
        }
    }
    assert_eq!(sim.qos_calls().len(), ids.len());
    service.finish(&[]);
}

#[test]
fn a_summary_is_as_stale_as_its_meeting() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let path = "/qos/98765432101/summary";
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms")]);
    let first = service.get(path);
    sim.inject(Fault::new(FaultKind::Status { status: 503, body: String::new() }).forever());
    wait_until_stale(&service, path);
    let stale = service.get(path);
    assert_eq!((stale.status, &stale.body), (200, &first.body));
    assert!(stale.cache_status().starts_with("zoom-qos-proxy; hit; ttl=-"), "{}", stale.cache_status());
    service.finish(&["flight failed"]);
}

#[test]
fn a_summary_needs_a_key_if_callers_are_configured() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let path = "/qos/85746065432/summary?latency_ms=x";
    service.get(path).assert_problem(401, "unknown_caller");
    let known = service.get_with_headers("/qos/85746065432/summary", &[("x-api-key", KEY)]);
    assert_eq!(known.status, 200);
    assert_eq!(known.header("vary"), Some("Accept-Encoding, Accept, Authorization, X-Api-Key"));
    service.finish(&[]);
}
