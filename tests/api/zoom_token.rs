//! `POST /oauth/token`: a client made for Zoom exchanges its caller key for an access token, which is the same key.

use serde_json::json;
use test_support::{
    callers::{KEY, OTHER_KEY, start, two_callers},
    client::{Answer, raw, request},
    service::Service,
    simulator::sim,
};
use zoom_sim::Meeting;

const FORM: &str = "grant_type=account_credentials&account_id=any";

fn post(service: &Service, query: &str, credentials: Option<&str>, form: &str) -> Answer {
    use base64::Engine as _;
    let encoded = credentials.map(|pair| base64::engine::general_purpose::STANDARD.encode(pair));
    let authorization = encoded.map(|pair| format!("Authorization: Basic {pair}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /oauth/token{query} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n{authorization}Content-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    raw(service.addr, head.as_bytes())
}

#[test]
fn a_caller_gets_its_key_as_an_access_token() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let credentials = format!("support-tools:{KEY}");
    for (query, form) in
        [("", FORM), ("?grant_type=account_credentials&account_id=x", ""), ("?grant_type=other", FORM)]
    {
        let answer = post(&service, query, Some(&credentials), form);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let expected = json!({
            "access_token": KEY, "token_type": "bearer", "expires_in": 3599,
            "scope": "dashboard:read:list_meeting_participants_qos:admin",
        });
        assert_eq!(answer.json(), expected);
    }
    let path = "/v2/metrics/meetings/98765432101/participants/qos";
    let bearer = format!("Bearer {KEY}");
    assert_eq!(request(service.addr, "GET", path, &[("authorization", &bearer)]).status, 200);
    let lines = service.finish(&[]);
    assert!(lines.iter().any(|line| line.contains(r#""route":"token""#)), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(KEY)), "the key is in the log");
}

#[test]
fn wrong_credentials_and_grants_get_zooms_errors() {
    let sim = sim(|_| ());
    let (service, _folder, _) = start(&sim, &two_callers(""), &[]);
    let invalid_client = json!({ "reason": "Invalid client_id or client_secret", "error": "invalid_client" });
    let wrong = [
        None,
        Some(format!("support-tools:{OTHER_KEY}")),
        Some(format!("nobody:{KEY}")),
        Some("support-tools:".to_owned()),
        Some(KEY.to_owned()),
        Some(":".to_owned()),
    ];
    for credentials in &wrong {
        let answer = post(&service, "", credentials.as_deref(), FORM);
        assert_eq!((answer.status, answer.json()), (400, invalid_client.clone()), "{credentials:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let attempts = wrong.len();
    let credentials = format!("bi:{OTHER_KEY}");
    for form in ["grant_type=client_credentials", "", "grant_type=&account_id=x", "\u{fffd}"] {
        let answer = post(&service, "?grant_type=", Some(&credentials), form);
        let expected = json!({ "reason": "unsupported grant type", "error": "unsupported_grant_type" });
        assert_eq!((answer.status, answer.json()), (400, expected), "{form}");
    }
    let huge = post(&service, "", Some(&credentials), &format!("{FORM}&x={}", "y".repeat(7_000)));
    assert_eq!(huge.status, 200);
    let wrong_method = request(service.addr, "GET", "/oauth/token", &[]);
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    assert_eq!(wrong_method.problem(), "method_not_allowed");
    let log = service.finish(&[]);
    let refused: Vec<_> = log.iter().filter(|line| line.contains(r#""code":"invalid_client""#)).collect();
    assert_eq!(refused.len(), attempts);
    let is_found =
        |line: &&String| line.contains(r#""peer":"127.0.0.1""#) && line.contains(r#""caller":"unknown""#);
    assert!(refused.iter().all(is_found), "{refused:?}");
    let other_grants = log.iter().filter(|line| line.contains("unsupported_grant_type"));
    assert!(other_grants.clone().count() == 4 && !other_grants.clone().any(|line| line.contains("peer")));
}

#[test]
fn without_callers_any_credentials_get_a_token() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("98765432101", 1, 1));
    let service = Service::start(&sim, &[]);
    for credentials in [None, Some("any:thing"), Some("any:")] {
        let answer = post(&service, "", credentials, FORM);
        assert_eq!(answer.status, 200);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert!(!token.contains("thing") && !token.is_empty());
        let bearer = format!("Bearer {token}");
        let path = "/v2/metrics/meetings/98765432101/participants/qos";
        assert_eq!(request(service.addr, "GET", path, &[("authorization", &bearer)]).status, 200);
    }
    service.finish(&[]);
}
