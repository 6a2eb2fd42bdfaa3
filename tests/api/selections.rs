//! Selections and rows are made from the same snapshot as `/qos`, with the headers of their format.

use std::{collections::BTreeSet, io::Read as _};

use serde_json::Value;
use test_support::{
    callers::{KEY, start, two_callers},
    client::{Answer, request},
    freshness::wait_until_stale,
    service::Service,
    simulator::sim,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const PATH: &str = "/qos/98765432101?type=past";
const PARTICIPANTS: usize = 12;
const SAMPLES: usize = 5;

fn service_with_a_meeting(sim: &Sim) -> Service {
    sim.add_meeting(Meeting::generated("98765432101", PARTICIPANTS, SAMPLES));
    Service::start(sim, &[])
}

fn query(parameters: &str) -> String {
    format!("{PATH}&{parameters}")
}

fn rows(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"), "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decoded(answer: &Answer) -> String {
    let mut body = String::new();
    match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut body),
        Some("zstd") => zstd::stream::read::Decoder::new(&answer.body[..]).unwrap().read_to_string(&mut body),
        other => panic!("{other:?}"),
    }
    .unwrap();
    body
}

#[test]
fn every_line_of_accept_counts() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let lines = [("accept", "*/*"), ("accept", "application/json;q=0, text/csv")];
    let answer = service.get_with_headers(PATH, &lines);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let browser =
        service.get_with_headers(PATH, &[("accept", "application/json"), ("accept", "text/html;q=0.1")]);
    assert_eq!(browser.header("cache-control"), Some("private, no-cache"));
    service.finish(&[]);
}

#[test]
fn the_last_time_of_rfc_3339_is_valid() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    assert!(service.get(&query("since=9999-12-31T23:59:59Z")).participants().is_empty());
    assert_eq!(service.get(&query("until=9999-12-31T23:59:59Z")).participants().len(), PARTICIPANTS);
    service.finish(&[]);
}

#[test]
fn a_selection_is_json_with_the_head_of_the_meeting() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let whole = service.get(PATH);
    let jane = whole.participants()[7].clone();
    let one = service.get(&query(&format!("participant={}", jane["user_id"].as_str().unwrap())));
    assert_eq!(one.participants(), std::slice::from_ref(&jane));
    let head = whole.text().split_once("\"participants\":[").unwrap().0.to_owned();
    assert!(one.text().starts_with(&format!("{head}\"selected_records\":1,\"participants\":[{{")));
    for (name, value) in [("content-type", "application/json"), ("vary", "Accept-Encoding, Accept")] {
        assert_eq!(one.header(name), Some(value));
    }
    assert_eq!(one.header("content-disposition"), None);

    let audio = service.get(&query("groups=audio,cpu_usage"));
    assert_eq!(audio.participants().len(), PARTICIPANTS);
    assert_eq!(audio.json()["selected_records"], PARTICIPANTS);
    for sample in audio.participants().iter().flat_map(|one| one["user_qos"].as_array().unwrap()) {
        let names: BTreeSet<_> = sample.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(names.contains("audio_input") && names.contains("cpu_usage"), "{names:?}");
        assert!(
            names.iter().all(|name| ["date_time", "cpu_usage"].contains(name) || name.starts_with("audio_"))
        );
    }

    let third = jane["user_qos"][2]["date_time"].as_str().unwrap();
    let minute = service.get(&query(&format!("since={third}&until={}", third.replace(":00Z", ":01Z"))));
    for one in minute.participants() {
        let samples = one["user_qos"].as_array().unwrap().clone();
        assert_eq!((samples.len(), samples[0]["date_time"].as_str()), (1, Some(third)));
    }
    assert!(!minute.participants().is_empty());

    let nobodys = service.get(&query("groups=smell"));
    assert_eq!((nobodys.participants().len(), &nobodys.json()["selected_records"]), (0, &Value::from(0)));
    assert_eq!(nobodys.json()["total_records"], PARTICIPANTS);
    assert_eq!(sim.qos_calls().len(), 2, "one flight for all requests");
    service.finish(&[]);
}

#[test]
fn rows_are_a_line_for_each_sample_or_each_group() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let whole = service.get(PATH);
    let samples = rows(&service.get(&query("format=ndjson")));
    assert_eq!(samples.len(), PARTICIPANTS * SAMPLES);
    let jane = &whole.participants()[0];
    assert_eq!(samples[0]["meeting_id"], "98765432101");
    assert_eq!(samples[0]["user_id"], jane["user_id"]);
    assert_eq!(samples[1]["date_time"], jane["user_qos"][1]["date_time"]);
    assert_eq!(
        samples[1]["video_input.resolution.width"],
        jane["user_qos"][1]["video_input"]["resolution"]["width"]
    );
    let groups = rows(&service.get(&query("format=ndjson&rows=group&groups=audio_output")));
    assert_eq!(groups.len(), PARTICIPANTS * SAMPLES);
    assert!(groups.iter().all(|row| row["group"] == "audio_output"));
    assert_eq!(groups[1]["latency_ms"], jane["user_qos"][1]["audio_output"]["latency_ms"]);
    let answer = service.get(&query("format=csv"));
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let text = answer.text();
    assert_eq!(text.matches("\r\n").count(), 1 + PARTICIPANTS * SAMPLES);
    assert!(text.starts_with("meeting_id,user_id,id,participant_uuid,user_name,email,join_time,"), "{text}");
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn the_file_is_named_after_the_meeting() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("/ajXp112QmuoKj48548750==", 1, 1));
    let service = service_with_a_meeting(&sim);
    for (path, name) in [
        (query("format=csv"), "qos-98765432101.csv"),
        (query("format=ndjson&rows=group"), "qos-98765432101.ndjson"),
        ("/qos//ajXp112QmuoKj48548750==?format=csv".to_owned(), "qos-_ajXp112QmuoKj48548750__.csv"),
    ] {
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(service.get(&path).header("content-disposition"), Some(disposition.as_str()));
        let head = request(service.addr, "HEAD", &path, &[]);
        assert_eq!((head.status, head.header("content-disposition")), (200, Some(disposition.as_str())));
        assert!(head.body.is_empty());
    }
    service.finish(&[]);
}

#[test]
fn accept_chooses_the_format_unless_the_query_names_one() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let json = "application/json";
    let csv = "text/csv; charset=utf-8; header=present";
    let ndjson = "application/x-ndjson";
    for (path, accept, expected) in [
        (PATH, "application/json", json),
        (PATH, "*/*", json),
        (PATH, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", json),
        (PATH, "text/csv", csv),
        (PATH, "application/x-ndjson, application/json;q=0.5", ndjson),
        (&query("rows=group"), "text/csv", csv),
        (&query("format=csv"), "application/json", csv),
        (&query("format=json"), "text/csv", json),
        (&query("format=ndjson"), "image/png", ndjson),
        (&query("participant=nobody&format=json&groups=audio"), "image/png", "application/problem+json"),
    ] {
        let answer = service.get_with_headers(path, &[("accept", accept)]);
        assert_eq!(answer.header("content-type"), Some(expected), "{path} {accept}");
        if expected != "application/problem+json" {
            assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"));
        }
    }
    assert_eq!(service.get_with_headers("/openapi.json", &[("accept", "image/png")]).status, 200);
    let zooms = "/v2/metrics/meetings/98765432101/participants/qos?type=past";
    let zooms = service.get_with_headers(zooms, &[("accept", "image/png")]);
    assert_eq!((zooms.status, zooms.header("vary")), (200, Some("Accept-Encoding")));
    service.finish(&[]);
}

#[test]
fn requests_that_cannot_be_answered_cost_no_call() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    for accept in ["image/png", "text/html", "text/csv;q=0", "*/*;q=0"] {
        service.get_with_headers(PATH, &[("accept", accept)]).assert_problem(406, "not_acceptable");
        assert_eq!(request(service.addr, "HEAD", PATH, &[("accept", accept)]).status, 406);
    }
    for parameters in [
        "rows=sample",
        "rows=sample&format=json",
        "rows=minute&format=csv",
        "rows=&format=csv",
        "format=xml",
        "format=",
        "format=csv&format=csv",
        "participant=",
        "participant=1&participant=1",
        "groups=",
        "groups=audio,",
        "since=",
        "since=yesterday",
        "until=2026-11-23",
        "since=2026-11-23T10:15:00",
        "since=2026-11-23T10:15:01Z&until=2026-11-23T11:15:00%2B01:00",
        "page_size=2&format=csv",
        "page_size=2&participant=1",
        "page_size=2&groups=audio",
        "page_size=2&since=2026-11-23T10:15:00Z",
    ] {
        service.get(&query(parameters)).assert_problem(400, "invalid_query");
    }
    let groups = |count: usize| (0..count).map(|number| format!("g{number}")).collect::<Vec<_>>().join(",");
    let repeated = |names: String| query(&format!("groups={names},{names}"));
    service.get(&repeated(groups(65))).assert_problem(400, "invalid_query");
    service
        .get_with_headers(&query("page_size=2"), &[("accept", "text/csv")])
        .assert_problem(400, "invalid_query");
    service
        .get_with_headers(&query("rows=sample"), &[("accept", "*/*")])
        .assert_problem(400, "invalid_query");
    assert!(sim.qos_calls().is_empty());
    assert_eq!(service.get(&repeated(groups(64))).status, 200, "a repeated group counts once");
    let token = service.get(&query("page_size=2")).json()["next_page_token"].as_str().unwrap().to_owned();
    let next = query(&format!("next_page_token={token}"));
    service.get(&format!("{next}&format=ndjson")).assert_problem(400, "invalid_query");
    assert_eq!(service.get(&format!("{next}&format=json")).status, 200);
    for plus in ["+", "%20", "%2B"] {
        let window = format!("since=2026-11-23T10:15:00{plus}01:00&until=2026-11-23T09:15:00Z");
        assert_eq!(service.get(&query(&window)).status, 200, "{plus}");
    }
    service.finish(&[]);
}

#[test]
fn a_participant_that_the_meeting_lacks_is_not_found_in_any_format() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let date = service.get(PATH).header("last-modified").unwrap().to_owned();
    for form in ["format=json", "format=csv", "format=ndjson&rows=group", "groups=audio"] {
        let path = query(&format!("participant=nobody%40example.com&{form}"));
        service.get(&path).assert_problem(404, "participant_not_found");
        for condition in [("if-none-match", "*"), ("if-modified-since", date.as_str())] {
            service.get_with_headers(&path, &[condition]).assert_problem(404, "participant_not_found");
        }
        assert_eq!(request(service.addr, "HEAD", &path, &[]).status, 404);
    }
    // A participant without a sample in the window is still found.
    let known = service.get(PATH).participants()[0]["user_id"].as_str().unwrap().to_owned();
    let none = service.get(&query(&format!("participant={known}&until=2000-01-01T00:00:00Z")));
    assert_eq!((none.status, &none.json()["selected_records"]), (200, &Value::from(0)));
    let lines = query(&format!("participant={known}&until=2000-01-01T00:00:00Z&format=ndjson"));
    assert_eq!((service.get(&lines).status, service.get(&lines).body.len()), (200, 0));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn each_view_has_its_own_tag_is_compressed_and_not_modified() {
    let sim = sim(|_| ());
    let service = service_with_a_meeting(&sim);
    let mut tags = BTreeSet::new();
    let mut views = 0;
    for parameters in [
        "groups=audio",
        "groups=video",
        "until=2100-01-01T00:00:00Z",
        "format=ndjson",
        "format=ndjson&rows=group",
        "format=csv",
        "format=csv&rows=group",
        "format=csv&groups=audio",
    ] {
        let path = query(parameters);
        let plain = service.get(&path);
        for coding in ["gzip", "zstd"] {
            let packed = service.get_with_headers(&path, &[("accept-encoding", coding)]);
            assert_eq!(packed.header("content-encoding"), Some(coding));
            assert_eq!(decoded(&packed), plain.text(), "{parameters}");
            tags.insert(packed.header("etag").unwrap().to_owned());
        }
        let tag = plain.header("etag").unwrap();
        tags.insert(tag.to_owned());
        views += 3;
        let same = service.get_with_headers(&path, &[("if-none-match", tag)]);
        assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tag)));
        assert_eq!(same.header("vary"), Some("Accept-Encoding, Accept"));
        assert_eq!(
            service.get_with_headers(PATH, &[("if-none-match", tag)]).status,
            200,
            "another representation"
        );
        assert_eq!(service.get(&path).body, plain.body);
    }
    assert_eq!(tags.len(), views);
    let (one, other) = (service.get(&query("groups=audio,video")), service.get(&query("groups=video,audio")));
    assert_eq!((one.header("etag"), &one.body), (other.header("etag"), &other.body));
    assert_eq!(sim.qos_calls().len(), 2, "no view costs a call");
    service.finish(&[]);
}

#[test]
fn views_are_as_fresh_and_as_stale_as_the_meeting() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let path = "/qos/98765432101?format=csv";
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms")]);
    let first = service.get(path);
    assert_eq!(first.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    assert!(first.header("ratelimit").is_some(), "it cost a call");
    sim.inject(Fault::new(FaultKind::Status { status: 503, body: String::new() }).forever());
    wait_until_stale(&service, path);
    let stale = service.get(path);
    assert_eq!((stale.status, &stale.body), (200, &first.body));
    assert!(stale.cache_status().starts_with("zoom-qos-proxy; hit; ttl=-"), "{}", stale.cache_status());
    assert_eq!(stale.header("cache-control"), Some("private, max-age=0"));
    let none =
        service.get_with_headers("/qos/91111111111?format=csv", &[("cache-control", "only-if-cached")]);
    none.assert_problem(504, "not_cached");
    service.finish(&["flight failed"]);
}

#[test]
fn views_require_a_key_too() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let path = "/qos/85746065432?format=csv";
    service.get(path).assert_problem(401, "unknown_caller");
    let known = service.get_with_headers(path, &[("x-api-key", KEY)]);
    assert_eq!(known.status, 200);
    assert_eq!(known.header("vary"), Some("Accept-Encoding, Accept, Authorization, X-Api-Key"));
    service.finish(&[]);
}

/// The rows of a large meeting are sent as they are made. The service never holds all of them.
#[test]
fn rows_of_a_large_meeting_take_little_memory() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 300, 60));
    // Unoptimized code may need longer than the default wait.
    let service = Service::start(&sim, &[("server.wait", "30s")]);
    let whole = service.get(PATH);
    assert_eq!(whole.status, 200);
    let before = service.most_resident();
    let rows = service.get(&query("format=csv"));
    assert_eq!(rows.text().lines().count(), 1 + 300 * 60);
    let grown = service.most_resident() - before;
    let size = u64::try_from(whole.body.len().min(rows.body.len())).unwrap();
    assert!(grown < size / 2, "{grown} more bytes for {size}");
    service.finish(&[]);
}
