//! Zoom's own paths. A client made for Zoom gets what Zoom would send, from the same snapshots as `/qos`.

use serde_json::{Value, json};
use test_support::{
    callers::{KEY, get_as, start, two_callers},
    client::{Answer, request},
    service::Service,
    simulator::sim,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const MEETING: &str = "98765432101";
const LIST: &str = "/v2/metrics/meetings/98765432101/participants/qos";

/// Checks the form of an error in Zoom's format, and returns its status, code and message.
fn error(answer: &Answer) -> (u16, i64, String) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json = answer.json();
    let message = json["message"].as_str().unwrap_or_else(|| panic!("{json}"));
    (answer.status, json["code"].as_i64().unwrap_or_else(|| panic!("{json}")), message.to_owned())
}

/// All participants, in order, as the simulator sends them.
fn sent_by_zoom(meeting: &Meeting) -> Vec<Value> {
    let pages = meeting.pages();
    pages.iter().flat_map(|page| serde_json::from_str::<Vec<Value>>(page).unwrap()).collect()
}

fn token(answer: &Answer) -> String {
    answer.json()["next_page_token"].as_str().unwrap().to_owned()
}

/// Requests all pages. Like some clients, sends only the token for each further page.
fn walk(service: &Service, first: &str) -> Vec<Answer> {
    let mut pages = vec![service.get(first)];
    while !token(pages.last().unwrap()).is_empty() {
        assert!(pages.len() < 1_000, "the pages do not end");
        pages.push(service.get(&format!("{LIST}?next_page_token={}", token(pages.last().unwrap()))));
    }
    pages
}

fn service_with(sim: &Sim, participants: usize) -> (Service, Meeting) {
    let meeting = Meeting::generated(MEETING, participants, 3);
    sim.add_meeting(meeting.clone());
    (Service::start(sim, &[]), meeting)
}

#[test]
fn pages_are_zooms_byte_for_byte_and_cost_one_flight() {
    let sim = sim(|_| ());
    let (service, meeting) = service_with(&sim, 25);
    let expected = sent_by_zoom(&meeting);
    for size in [1, 7, 25, 30, 300] {
        let pages = walk(&service, &format!("{LIST}?type=past&page_size={size}"));
        assert_eq!(pages.len(), 25_usize.div_ceil(size));
        let joined: Vec<_> = pages.iter().flat_map(Answer::participants).collect();
        assert!(joined == expected, "in pages of {size}");
        for page in &pages {
            let json = page.json();
            let envelope = (&json["page_count"], &json["page_size"], &json["total_records"]);
            assert_eq!(envelope, (&json!(pages.len()), &json!(size), &json!(25)));
        }
    }
    let whole = service.get(&format!("{LIST}?type=past&page_size=300")).text();
    let sent: Vec<_> = meeting.pages().iter().map(|page| page.trim_matches(['[', ']']).to_owned()).collect();
    assert!(whole.ends_with(&format!("\"participants\":[{}]}}", sent.join(","))), "byte for byte");
    assert_eq!(sim.qos_calls().len(), 3, "one flight for all requests");
    assert_eq!(service.get(&format!("/qos/{MEETING}?type=past")).status, 200);
    assert_eq!(sim.qos_calls().len(), 3, "shared with /qos");
    service.finish(&[]);
}

#[test]
fn a_page_has_one_participant_by_default_and_at_most_300() {
    let sim = sim(|_| ());
    let (service, _) = service_with(&sim, 12);
    for (query, size) in [
        ("", 1),
        ("?page_size=", 1),
        ("?page_size=301", 300),
        ("?page_size=99999999999", 300),
        ("?page_size=5&page_size=x", 5),
    ] {
        let page = service.get(&format!("{LIST}{query}"));
        assert_eq!((page.status, &page.json()["page_size"]), (200, &json!(size)), "{query}");
        assert_eq!(page.participants().len(), size.min(12));
    }
    for query in ["page_size=0", "page_size=-1", "page_size=ten", "type=pastOne"] {
        let answer = service.get(&format!("{LIST}?{query}"));
        assert_eq!(error(&answer), (400, 300, "Validation Failed.".to_owned()), "{query}");
        let field = query.split('=').next().unwrap();
        let errors = &answer.json()["errors"];
        assert_eq!(errors[0]["field"], field);
        assert!(errors[0]["message"].as_str().unwrap().starts_with(field));
    }
    let strays = "meeting_id=1&include_fields=&next_page_token=&type=&kind=x&=";
    assert_eq!(service.get(&format!("{LIST}?{strays}")).status, 200);
    service.finish(&[]);
}

#[test]
fn a_token_remembers_its_size_and_type_and_belongs_to_its_meeting() {
    let sim = sim(|_| ());
    let (service, _) = service_with(&sim, 25);
    sim.add_meeting(Meeting::generated("91234567890", 25, 1));
    let token = token(&service.get(&format!("{LIST}?type=past&page_size=10")));
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
    let calls = sim.qos_calls().len();
    let alone = service.get(&format!("{LIST}?next_page_token={token}"));
    assert_eq!((alone.participants().len(), &alone.json()["page_size"]), (10, &json!(10)));
    let other_size = service.get(&format!("{LIST}?next_page_token={token}&page_size=3&type=past"));
    assert_eq!(
        other_size.participants()[..],
        alone.participants()[..3],
        "the page begins at the token's place"
    );
    for path in [
        format!("{LIST}?type=live&next_page_token={token}"),
        format!("{LIST}?next_page_token={token}x"),
        format!("/v2/metrics/meetings/91234567890/participants/qos?next_page_token={token}"),
        format!("/v2/metrics/webinars/{MEETING}/participants/qos?next_page_token={token}"),
    ] {
        let expected = (400, 300, "The next page token is invalid or expired.".to_owned());
        assert_eq!(error(&service.get(&path)), expected, "{path}");
    }
    assert_eq!(sim.qos_calls().len(), calls);
    service.finish(&[]);
}

#[test]
fn an_id_may_be_spelled_in_every_way() {
    let sim = sim(|_| ());
    let uuids = ["/ajXp112QmuoKj48548750==", "aj//p112Q+uoKj4854875A==", "atsXxhSEQWit9t+U02HXNQ=="];
    for uuid in uuids {
        sim.add_meeting(Meeting::generated(uuid, 2, 1));
    }
    let service = Service::start(&sim, &[]);
    for uuid in uuids {
        let once = uuid.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        let twice = once.replace('%', "%25");
        for spelling in [uuid, &once, &twice, &once.replace("%2F", "%2f")] {
            let page = service.get(&format!("/v2/metrics/meetings/{spelling}/participants/qos?page_size=10"));
            assert_eq!((page.status, page.participants().len()), (200, 2), "{spelling}");
        }
    }
    assert_eq!(sim.qos_calls().len(), 3, "one flight for each meeting");
    service.finish(&[]);
}

#[test]
fn one_participant_is_found_by_each_id_and_the_newest_row_counts() {
    let sim = sim(|_| ());
    let row = |user: &str, id: &str, uuid: &str, joined: &str| {
        format!(
            r#"{{"user_id":"{user}","id":"{id}","participant_uuid":"{uuid}","join_time":"{joined}","user_qos":[]}}"#
        )
    };
    let rows = [
        row("1", "a/b", "U-1", "2026-11-23T10:00:00Z"),
        row("2", "c", "U-2", "2026-11-23T10:00:00Z"),
        row("1", "a/b", "U-1", "2026-11-23T12:00:00Z"),
        row("1", "a/b", "U-1", "2026-11-23T11:00:00Z"),
    ];
    sim.add_meeting(Meeting::raw_pages(MEETING, vec![format!("[{}]", rows.join(","))]));
    let service = Service::start(&sim, &[]);
    let path = |id: &str| format!("/v2/metrics/meetings/{MEETING}/participants/{id}/qos");
    for id in ["1", "a%2Fb", "a/b", "U-1"] {
        let found = service.get(&path(id));
        assert_eq!((found.status, found.text()), (200, rows[2].clone()), "{id}");
    }
    assert_eq!(service.get(&path("U-2")).text(), rows[1]);
    for (id, shown) in [("3", "3"), ("U", "U"), ("%2F%2F", "//"), ("", "")] {
        let expected = (404, 1010, format!("Participant does not exist: {shown}."));
        assert_eq!(error(&service.get(&path(id))), expected);
        let conditional = request(
            service.addr,
            "GET",
            &path(id),
            &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")],
        );
        assert_eq!(conditional.status, 404, "even if the meeting has not changed");
    }
    assert_eq!(sim.qos_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_page_has_the_headers_of_its_snapshot() {
    let sim = sim(|_| ());
    let (service, _) = service_with(&sim, 25);
    let path = format!("{LIST}?page_size=20");
    let miss = service.get(&path);
    assert_eq!(miss.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    let whole = service.get(&format!("/qos/{MEETING}"));
    for name in ["last-modified", "cache-control"] {
        assert_eq!(miss.header(name).is_some(), whole.header(name).is_some(), "{name}");
    }
    let mut tags = std::collections::HashSet::from([whole.header("etag").unwrap().to_owned()]);
    for coding in ["identity", "gzip", "zstd"] {
        let answer = request(service.addr, "GET", &path, &[("accept-encoding", coding)]);
        assert!(answer.cache_status().starts_with("zoom-qos-proxy; hit; ttl="), "{}", answer.cache_status());
        assert_eq!(answer.header("content-encoding"), Some(coding).filter(|coding| *coding != "identity"));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        let plain = match coding {
            "gzip" => {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut plain)
                    .unwrap();
                plain
            }
            "zstd" => zstd::decode_all(&answer.body[..]).unwrap(),
            _ => answer.body.clone(),
        };
        assert_eq!(plain, miss.body, "{coding}");
        let tag = answer.header("etag").unwrap().to_owned();
        let again =
            request(service.addr, "GET", &path, &[("accept-encoding", coding), ("if-none-match", &tag)]);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(&*tag)));
        let head = request(service.addr, "HEAD", &path, &[("accept-encoding", coding)]);
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(&*tag)));
        assert!(tags.insert(tag), "each page has its own tag");
    }
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn zooms_errors_come_back_with_zooms_code_and_message() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let list = |id: &str| service.get(&format!("/v2/metrics/meetings/{id}/participants/qos"));
    let missing = list("91111111111");
    assert_eq!(error(&missing), (404, 3001, "Meeting does not exist: 91111111111.".to_owned()));
    for (id, shown) in [("12", "12"), ("", ""), ("%2Fx%22", "/x\\\"")] {
        let answer = list(id);
        assert_eq!(error(&answer).1, 3001);
        assert!(
            answer.text().contains(&format!("\"Meeting does not exist: {shown}.\"")),
            "{}",
            answer.text()
        );
    }
    sim.inject(Fault::new(FaultKind::TooOld).for_meeting("92222222222"));
    assert_eq!(error(&list("92222222222")), (400, 12702, "Can not access a meeting a year ago.".to_owned()));
    for path in ["/v2/", "/v2/users/me", "/v2/metrics/meetings", "/v2/metrics/meetings/1/participants"] {
        let expected = (404, 2300, "This API endpoint is not recognized.".to_owned());
        let unknown = service.get(path);
        assert_eq!(error(&unknown), expected, "{path}");
        assert_eq!(unknown.header("link"), Some("</openapi.json>; rel=\"service-desc\""));
        assert_eq!(error(&request(service.addr, "POST", path, &[])), expected);
    }
    let wrong_method = request(service.addr, "POST", LIST, &[]);
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(wrong_method.json()["code"], 405);
    service.finish(&[]);
}

#[test]
fn a_limit_is_reported_as_zoom_would_with_a_date() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 1, 1));
    sim.set_day_used(0);
    let settings = [("limits.heavy_per_day", "2"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    for id in ["91111111111", "92222222222"] {
        service.get(&format!("/v2/metrics/meetings/{id}/participants/qos"));
    }
    let spent = service.get(LIST);
    let (status, code, message) = error(&spent);
    assert_eq!((status, code, spent.header("x-ratelimit-type")), (429, 429, Some("Daily-limit")));
    assert!(message.starts_with("You have reached the maximum daily rate limit for this API."), "{message}");
    let date = httpdate::parse_http_date(spent.header("retry-after").unwrap()).unwrap();
    assert!(date > std::time::SystemTime::now());
    assert_eq!(spent.header("ratelimit"), None, "only on /qos");
    assert_eq!(service.metric("zoom_qos_proxy_refusals_total{by=\"budget_day\"}"), 1.0);
    let lines = service.finish(&[]);
    assert!(lines.iter().any(|line| line.contains(r#""refused_by":"budget_day""#)), "{lines:?}");
}

#[test]
fn callers_are_known_by_their_key_and_counted() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 2, 1));
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    for answer in [service.get(LIST), get_as(&service, "zqp_wrong", LIST)] {
        assert_eq!(error(&answer), (401, 124, "Invalid access token.".to_owned()));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let authorization = format!("Bearer {KEY}");
    let answer = request(service.addr, "GET", LIST, &[("authorization", &authorization)]);
    assert_eq!(answer.status, 200);
    let requests = |outcome: &str, status: u16| {
        service.metric(&format!("zoom_qos_proxy_requests_total{{outcome=\"{outcome}\",status=\"{status}\"}}"))
    };
    assert_eq!((requests("miss", 200), requests("refused", 401)), (1.0, 2.0));
    let lines = service.finish(&[]);
    let logged = lines.iter().filter(|line| line.contains(r#""route":"zoom_qos""#)).count();
    assert_eq!(logged, 3, "{lines:?}");
}
