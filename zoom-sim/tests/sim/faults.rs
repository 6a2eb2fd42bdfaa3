//! Faults and their bytes on the wire.

use std::time::{Duration, Instant};

use zoom_sim::{Call, Fault, FaultKind, Meeting, Sim, SimConfig};

use crate::client::{Client, EXAMPLE, End, Response, encoded, faulty, sim};

/// The answer to a call that this fault hits, and the record of the call.
fn under(kind: FaultKind) -> (Response, Call) {
    let (sim, mut client) = faulty(kind);
    let response = client.qos(EXAMPLE, "");
    assert_eq!(Client::authorized(&sim).qos(EXAMPLE, "").status(), 200, "a fault happens once by default");
    (response, sim.qos_calls().swap_remove(0))
}

/// The answer without a fault.
fn natural() -> String {
    Client::authorized(&sim()).qos(EXAMPLE, "").text().to_owned()
}

fn half() -> usize {
    natural().len() / 2
}

#[test]
fn errors_of_zooms_table_have_its_status_code_and_message() {
    let scopes =
        "Invalid access token, does not contain scopes:[dashboard:read:list_meeting_participants_qos:admin].";
    let page = "The next page token is invalid or expired.";
    let plan = "This API is only available for ZMP and Business or higher accounts that have enabled the Dashboard feature.";
    let expired = "Access token is expired.";
    let second = "You have reached the maximum per-second rate limit for this API. Try again later.";
    let day = "You have reached the maximum daily rate limit for this API. Refer to the response header for details on \
               when you can make another request.";
    let retry_after = None::<String>;
    for (kind, status, code, message) in [
        (FaultKind::PlanTooLow, 400, 200, plan),
        (FaultKind::PageTokenInvalid, 400, 300, page),
        (FaultKind::PageTokenInvalidStatus300, 300, 300, page),
        (FaultKind::Webinar, 400, 300, "Can not access webinar info, 85746065432."),
        (FaultKind::TooOld, 400, 12_702, "Can not access a meeting a year ago."),
        (FaultKind::NotAvailable, 404, 3001, "This meeting's detail info is not available."),
        (FaultKind::DoesNotExist, 404, 3001, "Meeting does not exist: 85746065432."),
        (FaultKind::EndpointUnknown, 404, 2300, "This API endpoint is not recognized."),
        (FaultKind::MissingScope, 400, 4711, scopes),
        (FaultKind::MissingScope104, 400, 104, scopes),
        (FaultKind::TokenExpired, 401, 124, expired),
        (FaultKind::TokenInvalid, 401, 124, "Invalid access token."),
        (FaultKind::TokenExpiredWith400, 400, 124, expired),
        (FaultKind::TokenExpiredIn200, 200, 124, expired),
        (FaultKind::RateSecond { retry_after: retry_after.clone(), headers: false }, 429, 429, second),
        (FaultKind::RateDay { retry_after: retry_after.clone(), headers: false }, 429, 429, day),
        (
            FaultKind::ErrorIn200 { code: 3161, message: "a \"quoted\" one".into() },
            200,
            3161,
            "a \"quoted\" one",
        ),
    ] {
        let (response, call) = under(kind.clone());
        assert_eq!(response.error(), (status, code, message.to_owned()), "{kind:?}");
        assert_eq!((call.status, call.code), (Some(status), Some(code)), "{kind:?}");
        assert_eq!(response.end, End::Complete);
        assert_eq!(response.header("x-ratelimit-type"), None);
    }
}

#[test]
fn a_malformed_scope_error_is_not_json() {
    let (response, call) = under(FaultKind::MissingScopeMalformed);
    assert_eq!((response.status(), call.code), (400, Some(4711)));
    assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());
    assert!(response.text().contains(r#"does not contain scopes:["dashboard:read"#));
}

#[test]
fn rate_faults_carry_the_configured_headers() {
    let retry_after = Some("2020-05-31T00:00:00Z".to_owned());
    let (response, _) = under(FaultKind::RateSecond { retry_after: Some("3".into()), headers: true });
    assert_eq!(response.header("X-RateLimit-Type"), Some("QPS"));
    assert_eq!(response.header("Retry-After"), Some("3"));
    let (response, _) = under(FaultKind::RateDay { retry_after: retry_after.clone(), headers: true });
    assert_eq!(response.header("X-RateLimit-Type"), Some("Daily-limit"));
    assert_eq!(response.header("X-RateLimit-Limit"), Some("60000"));
    assert_eq!(response.header("Retry-After"), retry_after.as_deref());
    let (response, call) = under(FaultKind::RateMystery { retry_after: None });
    assert_eq!((response.status(), response.body.len()), (429, 0));
    assert_eq!((call.status, call.code), (Some(429), None));
    assert!(!response.head.to_ascii_lowercase().contains("\r\nx-"), "{}", response.head);
}

#[test]
fn odd_but_complete_answers_arrive_as_configured() {
    let body = r#"{"code":5000,"x":1}"#.to_owned();
    let (response, call) = under(FaultKind::Status { status: 418, body: body.clone() });
    assert_eq!((response.status(), response.text(), call.code), (418, body.as_str(), Some(5000)));
    let (response, _) = under(FaultKind::ServerErrorHtml(502));
    assert_eq!((response.status(), response.header("content-type")), (502, Some("text/html;charset=UTF-8")));
    assert!(response.text().starts_with("<html>"));
    let (response, _) = under(FaultKind::EmptyBody);
    assert_eq!((response.status(), response.body.len(), response.end), (200, 0, End::Complete));
    let (response, _) = under(FaultKind::EmptyObject);
    assert_eq!((response.status(), response.text()), (200, "{}"));
    let (response, _) = under(FaultKind::NotJson);
    assert_eq!(response.status(), 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());
    let (response, _) = under(FaultKind::Redirect("http://192.0.2.1/elsewhere".into()));
    assert_eq!((response.status(), response.header("location")), (302, Some("http://192.0.2.1/elsewhere")));
}

#[test]
fn a_hang_sends_nothing() {
    let (sim, client) = faulty(FaultKind::Hang);
    let response = client.impatient().qos(EXAMPLE, "");
    assert_eq!((response.head.as_str(), response.end), ("", End::Silence));
    assert_eq!(sim.qos_calls()[0].status, None);
}

#[test]
fn a_hang_in_the_body_stops_half_way() {
    let (sim, client) = faulty(FaultKind::HangBody);
    let response = client.impatient().qos(EXAMPLE, "");
    assert_eq!((response.status(), response.body.len(), response.end), (200, half(), End::Silence));
    assert_eq!(sim.qos_calls()[0].status, Some(200));
}

#[test]
fn connections_break_as_configured() {
    let (response, call) = under(FaultKind::ResetBeforeAnswer);
    assert_eq!((response.head.as_str(), response.end, call.status), ("", End::Reset, None));
    let (response, call) = under(FaultKind::CloseBeforeAnswer);
    assert_eq!((response.head.as_str(), response.end, call.status), ("", End::Closed, None));
    let (response, call) = under(FaultKind::ResetInBody);
    assert_eq!((response.status(), response.body.len(), response.end), (200, half(), End::Reset));
    assert_eq!(call.status, Some(200));
}

#[test]
fn bodies_break_off_as_configured() {
    let natural = natural();
    let length = natural.len();
    let (response, _) = under(FaultKind::Truncated);
    assert_eq!((response.body.len(), response.end), (length / 2, End::Closed));
    assert_eq!(response.header("content-length"), Some(length.to_string().as_str()));
    let (response, _) = under(FaultKind::TruncatedChunked);
    assert_eq!((response.header("transfer-encoding"), response.end), (Some("chunked"), End::Closed));
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.text(), format!("{:x}\r\n{}\r\n", length / 2, natural.split_at(length / 2).0));
    let (response, _) = under(FaultKind::ShortValidJson);
    assert_eq!((response.text(), response.end), (natural.as_str(), End::Closed));
    assert_eq!(response.header("content-length"), Some((length + 1000).to_string().as_str()));
    let (response, _) = under(FaultKind::CloseDelimited);
    assert_eq!((response.text(), response.end), (natural.as_str(), End::Closed));
    assert_eq!((response.header("content-length"), response.header("connection")), (None, Some("close")));
    assert!(response.head.starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_oversized_page_is_valid_and_exactly_that_large() {
    let (response, _) = under(FaultKind::Oversized(3_000_000));
    assert_eq!((response.body.len(), response.end), (3_000_000, End::Complete));
    assert_eq!(response.json()["total_records"], 1);
}

#[test]
fn slow_answers_are_right_and_late() {
    let natural = natural();
    let begin = Instant::now();
    let (response, _) = under(FaultKind::Slow(Duration::from_millis(120)));
    assert_eq!((response.text(), response.end), (natural.as_str(), End::Complete));
    assert!(begin.elapsed() >= Duration::from_millis(120));
    let begin = Instant::now();
    let (response, _) = under(FaultKind::SlowDrip { chunk: 300, every: Duration::from_millis(30) });
    assert_eq!((response.text(), response.end), (natural.as_str(), End::Complete));
    assert!(begin.elapsed() >= Duration::from_millis(90));
}

#[test]
fn latency_is_added_to_every_qos_answer() {
    let sim = sim();
    let mut client = Client::authorized(&sim);
    sim.set_latency(Duration::from_millis(80));
    let begin = Instant::now();
    assert_eq!(client.qos("1", "").status(), 404);
    assert!(begin.elapsed() >= Duration::from_millis(80));
}

#[test]
fn a_call_whose_client_gave_up_has_no_status() {
    let sim = Sim::start(SimConfig { latency: Duration::from_secs(60), ..SimConfig::default() }).unwrap();
    let client = Client::authorized(&sim);
    assert_eq!(client.impatient().qos(EXAMPLE, "").end, End::Silence);
    assert!(sim.wait_for_calls(1, Duration::from_secs(20)));
    assert!(!sim.wait_for_calls(2, Duration::from_millis(1)));
    assert_eq!(sim.qos_calls()[0].status, None);
}

#[test]
fn a_repeated_page_token_leads_back_to_the_same_page() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("91234567890", 30, 1));
    let mut client = Client::authorized(&sim);
    let first = client.qos("91234567890", "page_size=10").next_page_token();
    sim.inject(Fault::new(FaultKind::RepeatPageToken).times(2));
    let query = format!("page_size=10&next_page_token={}", encoded(&first));
    assert_eq!(client.qos("91234567890", &query).next_page_token(), first);
    let constant = client.qos("91234567890", "page_size=10").next_page_token();
    let query = format!("page_size=10&next_page_token={}", encoded(&constant));
    let second = client.qos("91234567890", &query).json();
    assert_eq!(second["participants"][0]["user_name"], "Participant 11");
}

#[test]
fn a_fault_hits_only_its_meeting_page_and_number_of_requests() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("91234567890", 30, 1).with_uuid("some-uuid"));
    let mut client = Client::authorized(&sim);
    sim.inject(Fault::new(FaultKind::TooOld).for_meeting("91234567890").on_page(1).times(2));
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    for id in ["91234567890", "some-uuid"] {
        let first = client.qos(id, "page_size=10");
        assert_eq!(first.status(), 200);
        let query = format!("page_size=10&next_page_token={}", encoded(&first.next_page_token()));
        assert_eq!(client.qos(id, &query).error().1, 12_702);
    }
    sim.inject(Fault::new(FaultKind::EmptyObject).forever());
    for _ in 0..3 {
        assert_eq!(client.qos(EXAMPLE, "").text(), "{}");
    }
    sim.clear_faults();
    assert_ne!(client.qos(EXAMPLE, "").text(), "{}");
}

#[test]
fn dropping_the_simulator_ends_it_with_calls_still_hanging() {
    let (sim, client) = faulty(FaultKind::Hang);
    assert_eq!(client.impatient().qos(EXAMPLE, "").end, End::Silence);
    let addr = sim.addr();
    drop(sim);
    assert!(std::net::TcpStream::connect(addr).is_err());
}
