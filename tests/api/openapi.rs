//! `/openapi.json` needs no key, has an entity tag, and agrees with the responses of the service.

use serde_json::Value;
use test_support::{
    callers::{KEY, start, two_callers},
    client::{Answer, at_once, request},
    service::{QUICK, Service},
    simulator::sim,
};
use zoom_sim::{Fault, FaultKind, Meeting};

/// The description of a response of `GET /qos/{meetingId}` with this status.
fn described(document: &Value, status: u16) -> &Value {
    &document["paths"]["/qos/{meetingId}"]["get"]["responses"][status.to_string()]
}

/// The target of a reference within the document.
fn target<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

fn codes(document: &Value, status: u16) -> Vec<&str> {
    let problem = &described(document, status)["content"]["application/problem+json"];
    let code = problem["schema"]["properties"]["code"]["enum"].as_array().expect("codes");
    code.iter().map(|code| code.as_str().expect("a code")).collect()
}

#[test]
fn the_description_is_served_to_everybody_with_a_strong_tag() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/openapi.json");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("max-age=300"));
    assert!(answer.header("x-request-id").is_some() && answer.header("date").is_some());
    let tag = answer.header("etag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 2, "{tag}");
    let document = answer.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    let zooms = |path: &&&String| path.starts_with("/v2/") || path.as_str() == "/oauth/token";
    let ours: Vec<_> = paths.iter().filter(|path| !zooms(path)).collect();
    let pages = ["/", "/guide", "/meetings", "/meetings/{meetingId}"];
    let others = ["/openapi.json", "/qos/{meetingId}", "/qos/{meetingId}/summary"];
    assert!(ours.iter().copied().eq(pages.iter().chain(&others)), "{ours:?}");
    assert_eq!(paths.len(), 7 + 5, "five more paths are Zoom's: {paths:?}");
    answer.assert_discreet(&sim);

    let head = request(service.addr, "HEAD", "/openapi.json", &[]);
    assert_eq!((head.status, head.header("etag")), (200, Some(tag.as_str())));
    assert_eq!(head.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(head.body.is_empty());
    for (value, status) in [(tag.as_str(), 304), ("*", 304), ("\"other\"", 200)] {
        let again = request(service.addr, "GET", "/openapi.json", &[("If-None-Match", value)]);
        assert_eq!((again.status, again.header("etag")), (status, Some(tag.as_str())), "{value}");
        assert_eq!(again.body.is_empty(), status == 304);
    }
    let dated = [("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT"), ("Cache-Control", "only-if-cached")];
    assert_eq!(request(service.addr, "GET", "/openapi.json", &dated).status, 200, "the document has no date");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let other = request(service.addr, method, "/openapi.json", &[]);
        assert_eq!((other.status, other.problem().as_str()), (405, "method_not_allowed"));
        assert_eq!(other.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(service.get("/openapi.json/").problem(), "not_found");
    assert_eq!(service.ops_get("/openapi.json").problem(), "not_found", "the document is for callers");
    assert!(sim.qos_calls().is_empty());
    assert!(service.finish(&[]).iter().any(|line| line.contains(r#""route":"openapi""#)));
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let document = service.get("/openapi.json").json();
    let mut used = Vec::new();
    references(&document, &mut used);
    for reference in &used {
        assert!(target(&document, reference).is_some(), "{reference}");
    }
    // Security schemes are used by their names, not by references.
    let components = document["components"].as_object().unwrap().iter();
    for (kind, members) in components.filter(|(kind, _)| *kind != "securitySchemes") {
        for name in members.as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}").as_str()), "{kind} {name}");
        }
    }
    service.finish(&[]);
}

#[test]
fn every_problem_that_occurs_is_described_with_its_status_and_headers() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111100", 1, 1));
    let kinds = [
        FaultKind::DoesNotExist,
        FaultKind::Webinar,
        FaultKind::TooOld,
        FaultKind::NotJson,
        FaultKind::Hang,
        FaultKind::SlowDrip { chunk: 1, every: std::time::Duration::from_secs(1) },
    ];
    let faulty = |number: usize| format!("9111111110{}", number + 1);
    for (number, kind) in kinds.into_iter().enumerate() {
        sim.add_meeting(Meeting::generated(faulty(number), 1, 1));
        sim.inject(Fault::new(kind).for_meeting(faulty(number)).forever());
    }
    let service = Service::start(&sim, &[&QUICK[..], &[("server.wait", "4s")]].concat());
    let document = service.get("/openapi.json").json();
    let get = |path: &str| service.get(path);
    let with = |name, value| request(service.addr, "GET", "/qos/91111111100", &[(name, value)]);
    let mut answers =
        at_once(service.addr, (0..6).map(|number| format!("/qos/{}", faulty(number))).collect());
    answers.extend([
        get("/qos/1"),
        get("/qos/91111111100?type=next"),
        get("/nowhere"),
        request(service.addr, "POST", "/qos/91111111100", &[]),
        with("Cache-Control", "only-if-cached"),
        with("Accept", "text/html"),
    ]);
    let mut met = Vec::new();
    for answer in &answers {
        let code = answer.problem();
        assert!(codes(&document, answer.status).contains(&code.as_str()), "{} {code}", answer.status);
        check_headers(&document, answer);
        met.push(code);
    }
    met.sort();
    met.dedup();
    assert!(met.len() >= 10, "{met:?}");

    let whole = get("/qos/91111111100");
    let tag = whole.header("etag").unwrap().to_owned();
    let not_modified = request(service.addr, "GET", "/qos/91111111100", &[("If-None-Match", &tag)]);
    assert_eq!((whole.status, not_modified.status), (200, 304));
    check_headers(&document, &whole);
    check_headers(&document, &get("/qos/91111111100?format=csv"));
    check_headers(&document, &not_modified);
    service.finish(&["flight failed"]);
}

#[test]
fn every_page_is_described_with_its_statuses_and_headers() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111100", 1, 1));
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let document = service.get("/openapi.json").json();
    let pages = [
        ("/", "GET", "/", 200),
        ("/", "HEAD", "/", 200),
        ("/", "POST", "/", 405),
        ("/guide", "GET", "/guide", 200),
        ("/guide", "PUT", "/guide", 405),
        ("/meetings", "GET", "/meetings?id=911-1111-1100", 303),
        ("/meetings", "GET", "/meetings?id=", 400),
        ("/meetings", "DELETE", "/meetings", 405),
        ("/meetings/{meetingId}", "GET", "/meetings/91111111100", 200),
        ("/meetings/{meetingId}", "HEAD", "/meetings/91111111100", 200),
        ("/meetings/{meetingId}", "GET", "/meetings/92222222200", 404),
        ("/meetings/{meetingId}", "GET", "/meetings/91111111100?kind=x", 400),
        ("/meetings/{meetingId}", "POST", "/meetings/91111111100", 405),
    ];
    for (pattern, method, path, status) in pages {
        let answer = request(service.addr, method, path, &[("x-api-key", KEY)]);
        assert_eq!(answer.status, status, "{path}");
        let described = &document["paths"][pattern]["get"]["responses"][status.to_string()];
        check_against(&document, described, &answer);
        if let (Some(tag), "GET") = (answer.header("etag"), method) {
            let same = request(service.addr, "GET", path, &[("x-api-key", KEY), ("if-none-match", tag)]);
            assert_eq!(same.status, 304, "{path}");
            check_against(&document, &document["paths"][pattern]["get"]["responses"]["304"], &same);
        }
        let is_front = answer.header("link") == Some("</openapi.json>; rel=\"service-desc\"");
        assert_eq!(is_front, pattern == "/", "{path}");
    }
    for (pattern, path) in
        [("/meetings", "/meetings?id=91111111100"), ("/meetings/{meetingId}", "/meetings/91111111100")]
    {
        let answer = service.get(path);
        let described = &document["paths"][pattern]["get"]["responses"]["401"];
        check_against(&document, described, &answer);
        let challenge = target(&document, described["headers"]["WWW-Authenticate"]["$ref"].as_str().unwrap());
        let pattern = challenge.unwrap()["schema"]["pattern"].as_str().unwrap();
        assert_eq!(pattern, "^Bearer( .*)?, Basic\\srealm=\"zoom-qos-proxy\", charset=\"UTF-8\"$");
    }
    service.finish(&[]);
}

fn check_headers(document: &Value, answer: &Answer) {
    check_against(document, described(document, answer.status), answer);
}

/// Asserts that every required header is present, and that every present header is documented or belongs to the
/// framing.
fn check_against(document: &Value, described: &Value, answer: &Answer) {
    let documented = described["headers"].as_object().expect("headers");
    for (name, reference) in documented {
        let header = target(document, reference["$ref"].as_str().unwrap()).unwrap();
        if header["required"] == true {
            let mut names = answer.headers.iter().map(|(name, _)| name);
            assert!(names.any(|other| other.eq_ignore_ascii_case(name)), "{name} is missing: {answer:?}");
        }
    }
    for (name, _) in &answer.headers {
        let framing = ["content-length", "content-type", "connection"];
        let is_documented = documented.keys().any(|documented| documented.eq_ignore_ascii_case(name));
        assert!(is_documented || framing.contains(&name.as_str()), "{name} is not described: {answer:?}");
    }
}

#[test]
fn each_status_lists_its_problem_codes_and_headers() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let document = service.get("/openapi.json").json();
    for (status, expected) in [
        (400, "invalid_meeting_id invalid_query invalid_page_token"),
        (401, "unknown_caller"),
        (404, "participant_not_found not_found meeting_not_found not_a_meeting"),
        (405, "method_not_allowed"),
        (406, "not_acceptable"),
        (410, "meeting_too_old"),
        (429, "caller_over_limit"),
        (500, "internal_error"),
        (502, "zoom_rejected_credentials zoom_failed"),
        (
            503,
            "issuer_unavailable zoom_rate_limited zoom_daily_quota_spent still_fetching overloaded shutting_down",
        ),
        (504, "zoom_timed_out not_cached"),
    ] {
        assert_eq!(codes(&document, status).join(" "), expected);
        let head = &document["paths"]["/qos/{meetingId}"]["head"]["responses"][status.to_string()]["headers"];
        assert_eq!(head, &described(&document, status)["headers"], "HEAD has the same headers");
    }
    let paths = document["paths"].as_object().unwrap().iter();
    for (path, methods) in paths.filter(|(path, _)| path.starts_with("/v2/")) {
        assert!(methods["get"]["responses"]["406"].is_null(), "{path} ignores Accept");
    }
    for (status, headers) in [
        (401, "WWW-Authenticate"),
        (405, "Allow"),
        (429, "Retry-After"),
        (502, "Retry-After"),
        (503, "Retry-After"),
    ] {
        assert!(described(&document, status)["headers"][headers].is_object(), "{status} {headers}");
    }
    service.finish(&[]);
}
