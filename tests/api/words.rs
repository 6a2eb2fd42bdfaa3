//! Zoom's messages appear in answers, in the log and at the operators' endpoints without the service's secrets. Only
//! operators see the messages of the token endpoint.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use test_support::{
    client::Answer,
    connect_proxy::ConnectProxy,
    raw_zoom::{RawZoom, Step},
    service::Service,
    simulator::sim,
    wait::{PATIENCE, wait_for},
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const PATH: &str = "/qos/91111111111";
/// A secret with characters that different encodings write differently.
const CLIENT_SECRET: &str = "Zebra/+=\"secret";
const CLIENT_ID: &str = "Zebra-client";
const FAILURES: [&str; 3] = ["Zoom refuses", "flight failed", "access token"];

fn zebra() -> Sim {
    let sim = sim(|config| {
        CLIENT_SECRET.clone_into(&mut config.client_secret);
        CLIENT_ID.clone_into(&mut config.client_id);
    });
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim
}

fn start(sim: &Sim, settings: &[(&str, &str)]) -> Service {
    let secrets = [("zoom.client_id", CLIENT_ID), ("zoom.client_secret", CLIENT_SECRET)];
    let settings: Vec<_> =
        secrets.into_iter().chain([("cache.refusal", "0s")]).chain(settings.iter().copied()).collect();
    Service::start(sim, &settings)
}

/// Asserts that the answers, the operators' endpoints and the log contain none of these secrets.
fn assert_nowhere(service: Service, answers: &[Answer], secrets: &[String]) {
    let of_operators = ["/status", "/readyz", "/metrics"].map(|path| service.ops_get(path));
    let mut all: Vec<_> = answers
        .iter()
        .chain(&of_operators)
        .map(|answer| format!("{:?} {}", answer.headers, answer.text()))
        .collect();
    all.push(service.finish(&FAILURES).join("\n"));
    for secret in secrets {
        for text in &all {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// The access token that the first call carried.
fn access_token(sim: &Sim) -> String {
    sim.qos_calls()[0].header("authorization").unwrap().replace("Bearer ", "")
}

#[test]
fn truncating_zooms_message_reveals_no_prefix_of_an_access_token() {
    let sim = zebra();
    let service = start(&sim, &[]);
    assert_eq!(service.get(PATH).status, 200);
    let token = access_token(&sim);
    let mut answers = Vec::new();
    for before in [200, 240, 280, 290] {
        service.ops_purge();
        let message = format!("{}{token} is not good.", "x ".repeat(before / 2));
        let body = json!({ "code": 9999, "message": message }).to_string();
        sim.inject(Fault::new(FaultKind::Status { status: 400, body }));
        answers.push(service.get(PATH));
    }
    let message = answers[0].json()["zoom"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("x x x x") && message.contains("(left out)"), "{message}");
    assert_nowhere(service, &answers, &[token.split_at(10).0.to_owned()]);
}

#[test]
fn no_form_of_a_secret_appears_in_messages_or_tracking_ids() {
    let sim = zebra();
    let service = start(&sim, &[]);
    assert_eq!(service.get(PATH).status, 200);
    let token = access_token(&sim);
    let basic = BASE64.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let forms = [
        CLIENT_SECRET.to_owned(),
        "Zebra%2F%2B%3D%22secret".to_owned(),
        "Zebra%252f%252b%253d%2522secret".to_owned(),
        "Zebra\\/\\u002b=\\\"secret".to_owned(),
        CLIENT_SECRET.to_lowercase(),
        basic.replace('=', "%3D"),
        basic,
        CLIENT_ID.to_owned(),
        token,
    ];
    let mut answers = Vec::new();
    for form in &forms {
        service.ops_purge();
        let body = json!({ "code": 9999, "message": format!("Not with {form}.") }).to_string();
        let headers = vec![("x-zm-trackingid", format!("v=2;{form}"))];
        sim.inject(Fault::new(FaultKind::StatusWith { status: 403, headers, body }));
        answers.push(service.get(PATH));
        let zoom = &answers.last().unwrap().json()["zoom"];
        assert_eq!(zoom["message"], "Not with (left out).", "{form}");
        assert!(zoom["tracking_id"].as_str().unwrap().contains("(left out)"), "{zoom}");
    }
    assert_nowhere(service, &answers, &forms);
}

#[test]
fn no_eight_characters_of_a_split_or_encoded_secret_are_revealed() {
    // The id and the secret are as long as those of Zoom. The base64 of the pair then ends with two padding characters.
    let (id, secret) = ("ClientIdLmNoPqRsTuVwXy", "SecretYz0123456789abcdefGHIJKLmn");
    let sim = sim(|config| {
        id.clone_into(&mut config.client_id);
        secret.clone_into(&mut config.client_secret);
    });
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let settings = [("zoom.client_id", id), ("zoom.client_secret", secret), ("cache.refusal", "0s")];
    let service = Service::start(&sim, &settings);
    let pair = BASE64.encode(format!("{id}:{secret}"));
    assert!(pair.ends_with("=="), "{pair}");
    let (first, last) = secret.split_at(16);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
    let entities: String = secret.chars().map(|letter| format!("&#{};", u32::from(letter))).collect();
    let escaped: String = secret.bytes().map(|byte| format!("\\\\u{byte:04x}")).collect();
    let mut answers = Vec::new();
    for part in [
        pair.trim_end_matches('='),
        &format!("{}...", pair.split_at(60).0),
        &format!("{}...", secret.split_at(24).0),
        secret.split_at(8).1,
        &format!("{first} {last}"),
        &format!("{first}\u{200b}{last}"),
        &format!("\u{202e}{first}\u{ad}{last}"),
        &secret.replace('c', "&#99;"),
        &entities,
        &escaped,
        &BASE64.encode(secret),
        &hex,
    ] {
        service.ops_purge();
        let body = json!({ "code": 9999, "message": format!("Basic {part} refused.") }).to_string();
        sim.inject(Fault::new(FaultKind::Status { status: 400, body }));
        let answer = service.get(PATH);
        let zoom = answer.json()["zoom"].to_string();
        assert!(zoom.contains("Basic ") && zoom.contains("(left out)"), "{part}: {zoom}");
        answers.push(answer);
    }
    let forms = [pair, secret.to_owned(), BASE64.encode(secret), hex, entities, escaped];
    let runs = |form: &String| {
        let runs = form.as_bytes().windows(8).map(|run| String::from_utf8_lossy(run).into_owned());
        runs.collect::<Vec<_>>()
    };
    assert_nowhere(service, &answers, &forms.iter().flat_map(runs).collect::<Vec<_>>());
}

#[test]
fn the_proxys_password_is_redacted_from_zooms_messages() {
    let sim = zebra();
    let proxy = ConnectProxy::to(sim.addr());
    let url = proxy.url("user:Zebra-p%40ss@");
    let names = [
        ("zoom.api_base_url", "http://api.zoom.test/v2"),
        ("zoom.oauth_url", "http://zoom.test/oauth/token"),
    ];
    let service = start(&sim, &[names[0], names[1], ("zoom.proxy", &url)]);
    let forms = ["Zebra-p@ss".to_owned(), BASE64.encode("user:Zebra-p@ss")];
    let body = json!({ "code": 9999, "message": format!("Who is {}, {}?", forms[0], forms[1]) }).to_string();
    sim.inject(Fault::new(FaultKind::Status { status: 403, body }));
    let answer = service.get(PATH);
    assert_eq!(answer.json()["zoom"]["message"], "Who is (left out), (left out)?");
    let answers = [answer];
    let of_operators = service.ops_get("/status").text();
    assert!(forms.iter().all(|form| !of_operators.contains(form)), "{of_operators}");
    let printed = service.finish(&[FAILURES[1], "unencrypted"]).join("\n");
    assert!(forms.iter().all(|form| !printed.contains(form) && !answers[0].text().contains(form)));
}

#[test]
fn callers_see_only_the_token_endpoints_status_and_operators_its_message() {
    let words = |reason: &str| json!({ "reason": reason, "error": "invalid_client" }).to_string();
    let internal = json!({ "status": false, "errorCode": 4702, "errorMessage": "Quagga.", "result": null });
    for (status, body, is_refusal) in [
        (400, words("Quagga."), true),
        (401, words(&format!("Quagga. Not with {CLIENT_SECRET}.")), true),
        (200, internal.to_string(), true),
        (429, words("Quagga."), false),
        (500, words("Quagga."), false),
    ] {
        let sim = zebra();
        let headers = vec![("x-zm-trackingid", "Quagga-id".to_owned())];
        let fault = FaultKind::StatusWith { status, headers, body };
        sim.inject(Fault::new(fault).on_token_endpoint().forever());
        let service = start(&sim, &[]);
        let answer = service.get(PATH);
        let code = if is_refusal { "zoom_rejected_credentials" } else { "zoom_failed" };
        assert_eq!((answer.status, answer.problem().as_str()), (502, code), "{status}");
        let zoom = json!({ "status": status, "code": null, "message": null, "tracking_id": null });
        assert_eq!(answer.json()["zoom"], zoom, "{status}");
        assert_eq!(service.ops_get("/status").json()["zoom"]["credentials_refused"], is_refusal);
        let ready = service.ops_get("/readyz").text();
        assert_eq!(ready.contains("Quagga."), is_refusal, "{ready}");
        let printed = service.finish(&["Zoom refuses", "flight failed", "access token"]);
        let of_endpoint = |line: &&String| line.contains("Quagga");
        assert!(
            printed.iter().any(|line| of_endpoint(&line)),
            "operators can ask Zoom about it: {printed:#?}"
        );
        assert!(printed.iter().chain([&ready]).all(|text| !text.contains("Zebra")), "{printed:#?}");
    }
}

// ---- how much of a body is read ----

/// A response that announces 60 MiB and sends 100 KiB. It then stalls until the service gives up.
fn endless(status: &str, beginning: &str) -> Vec<Step> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", 60 << 20);
    let body = format!("{beginning}{}", "x".repeat(100 << 10));
    vec![Step::Send(format!("{head}{body}").into_bytes()), Step::Pause(PATIENCE)]
}

#[test]
fn an_error_is_classified_without_waiting_for_its_whole_body() {
    let not_found = r#"{"code":3001,"message":"Meeting does not exist: 91111111111.","more":""#;
    for (status, beginning, expected, message) in [
        ("404 Not Found", not_found, "meeting_not_found", json!("Meeting does not exist: 91111111111.")),
        ("403 Forbidden", "<html>", "zoom_failed", Value::Null),
        (
            "400 Bad Request",
            r#"{"message":"Too old.","code":12702,"more":[""#,
            "meeting_too_old",
            json!("Too old."),
        ),
    ] {
        let sim = zebra();
        let raw = RawZoom::start(move |_| endless(status, beginning));
        let service = start(&sim, &[("zoom.api_base_url", &raw.api_base_url())]);
        for _ in 0..2 {
            service.ops_purge();
            let answer = service.get(PATH);
            assert_eq!(answer.problem(), expected, "{status}");
            assert_eq!(answer.json()["zoom"]["message"], message);
        }
        // Each call uses its own connection: the unread bytes must not be taken for the next response.
        let asked = raw.asked();
        let connections: Vec<_> = asked.iter().map(|asked| asked.connection).collect();
        assert_eq!(connections, [0, 1], "one call each, on its own connection");
        wait_for(|| (service.metric("zoom_qos_proxy_fetch_bytes") == 0.0).then_some(()));
        service.finish(&["flight failed", "unencrypted"]);
    }
}

#[test]
fn a_long_refusal_of_the_token_endpoint_is_classified_by_its_beginning() {
    let beginning = r#"{"error":"invalid_client","reason":"Quagga.","pad":""#;
    let internal = r#"{"status":false,"errorCode":4702,"errorMessage":"Quagga.","pad":""#;
    for (status, beginning) in [(400, beginning), (400, internal)] {
        let sim = zebra();
        let body = format!("{beginning}{}\"}}", "x".repeat(100 << 10));
        sim.inject(Fault::new(FaultKind::Status { status, body }).on_token_endpoint().forever());
        let service = start(&sim, &[]);
        assert_eq!(service.get(PATH).problem(), "zoom_rejected_credentials", "{beginning}");
        let ready = service.ops_get("/readyz");
        assert!(ready.status == 503 && ready.text().contains("Quagga."), "{}", ready.text());
        service.finish(&FAILURES);
    }
}

#[test]
fn a_long_page_of_the_token_endpoint_is_classified_by_its_status() {
    let sim = zebra();
    let body = format!("<html>{}", "x".repeat(100 << 10));
    sim.inject(Fault::new(FaultKind::Status { status: 401, body }).on_token_endpoint().forever());
    let service = start(&sim, &[]);
    assert_eq!(service.get(PATH).problem(), "zoom_rejected_credentials");
    service.finish(&FAILURES);
}
