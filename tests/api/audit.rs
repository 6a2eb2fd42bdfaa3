//! With `telemetry.log_meeting_ids`, the log line of a request for a meeting contains that meeting.

use serde_json::Value;
use test_support::{client::request, service::Service, simulator::sim};

const NUMBER: &str = "85746065432";
const UUID: &str = "/abc//DEF+ghi012345678==";

/// Sends requests to several routes, and returns the route and meeting of each logged request, sorted.
fn logged_meetings(settings: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    let sim = sim(|_| ());
    let service = Service::start(&sim, settings);
    for path in [
        format!("/qos/{NUMBER}"),
        format!("/qos/{NUMBER}/summary"),
        format!("/v2/metrics/meetings/{NUMBER}/participants/qos?type=live"),
        "/qos/%252Fabc%252F%252FDEF%252Bghi012345678%253D%253D?type=past".to_owned(),
        "/qos/not-an-id".to_owned(),
        "/openapi.json".to_owned(),
        "/meetings/857-4606-5432".to_owned(),
        "/meetings/857%204606%205432?type=past".to_owned(),
    ] {
        service.get(&path);
    }
    assert_eq!(request(service.ops, "DELETE", &format!("/cache/{UUID}"), &[]).status, 204);
    let lines = service.finish(&[]);
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = parsed.filter(|line| line["message"] == "request");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut logged: Vec<_> =
        requests.map(|line| (text(&line["route"]).unwrap(), text(&line["meeting"]))).collect();
    // Lines of different threads can be out of order.
    logged.sort();
    logged
}

#[test]
fn the_log_names_meetings_only_if_configured() {
    let without = logged_meetings(&[]);
    assert_eq!(without.len(), 9);
    assert!(without.iter().all(|(_, meeting)| meeting.is_none()), "{without:?}");

    let with = logged_meetings(&[("telemetry.log_meeting_ids", "true")]);
    let expected = [
        ("/cache/{meetingId}", Some(UUID)),
        ("openapi", None),
        ("page", Some(NUMBER)),
        ("page", Some(NUMBER)),
        ("qos", None),
        ("qos", Some(UUID)),
        ("qos", Some(NUMBER)),
        ("summary", Some(NUMBER)),
        ("zoom_qos", Some(NUMBER)),
    ];
    let expected = expected.map(|(route, meeting)| (route.to_owned(), meeting.map(str::to_owned)));
    assert_eq!(with, expected);
}
