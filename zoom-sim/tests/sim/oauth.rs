//! The token endpoint and access tokens.

use std::time::Duration;

use zoom_sim::{CallKind, Fault, FaultKind, Sim, SimConfig, TokenParameters};

use crate::client::{Client, EXAMPLE, sim};

const GOOD: &str = "grant_type=account_credentials&account_id=sim-account";

#[test]
fn a_token_request_gives_a_long_access_token_and_its_life() {
    let sim = sim();
    let mut client = Client::connect(sim.addr());
    let first = client.mint();
    let second = client.mint();
    assert_eq!(first.status(), 200);
    let (first, second) = (first.json(), second.json());
    let token = first["access_token"].as_str().unwrap();
    assert!(token.starts_with("eyJ") && token.len() > 300, "{token}");
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(first["token_type"], "bearer");
    assert_eq!(first["expires_in"], 3600);
    assert_eq!(first["scope"], "dashboard:read:list_meeting_participants_qos:admin");
    assert_eq!(first["api_url"], "https://api.zoom.us");
    let calls = sim.token_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].kind, calls[0].method.as_str(), calls[0].path()),
        (CallKind::Token, "POST", "/oauth/token")
    );
    assert_eq!((calls[0].body.as_str(), calls[0].status), (GOOD, Some(200)));
    assert!(calls[0].header("Authorization").unwrap().starts_with("Basic "));
}

#[test]
fn wrong_credentials_grants_and_accounts_are_refused_in_three_ways() {
    let sim = sim();
    let mut client = Client::connect(sim.addr());
    let mut refused = |credentials: &str, form: &str| {
        let response = client.mint_with(credentials, form);
        assert_eq!(response.status(), 400);
        response.text().to_owned()
    };
    let invalid = r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#;
    assert_eq!(refused("sim-client:wrong", GOOD), invalid);
    let unsupported = r#"{"reason":"unsupported grant type","error":"unsupported_grant_type"}"#;
    assert_eq!(refused("sim-client:sim-secret", "grant_type=client_credentials"), unsupported);
    let bad = r#"{"reason":"Bad request","error":"invalid_request"}"#;
    assert_eq!(refused("sim-client:sim-secret", "grant_type=account_credentials&account_id=x"), bad);
}

#[test]
fn parameters_in_the_query_do_not_work() {
    let sim = sim();
    let request = format!(
        "POST /oauth/token?{GOOD} HTTP/1.1\r\nauthorization: Basic c2ltLWNsaWVudDpzaW0tc2VjcmV0\r\n\
         content-length: 0\r\n\r\n"
    );
    let response = Client::connect(sim.addr()).send(&request);
    assert_eq!(response.json()["error"], "unsupported_grant_type");
}

#[test]
fn parameters_in_the_query_work_if_the_configuration_says_so() {
    let config = SimConfig { token_parameters: TokenParameters::FormOrQuery, ..SimConfig::default() };
    let sim = Sim::start(config).unwrap();
    // A Python client of Zoom's API sends these headers.
    let request = format!(
        "POST /oauth/token?{GOOD} HTTP/1.1\r\nauthorization: Basic c2ltLWNsaWVudDpzaW0tc2VjcmV0\r\n\
         content-type: application/json\r\ncontent-length: 0\r\n\r\n"
    );
    let mut client = Client::connect(sim.addr());
    assert_eq!(client.send(&request).status(), 200);
    assert_eq!(client.send(&request.replace("sim-account", "x")).json()["error"], "invalid_request");
    assert_eq!(client.mint().status(), 200, "the form works too");
}

#[test]
fn a_changed_secret_applies_to_new_tokens() {
    let sim = sim();
    let mut client = Client::authorized(&sim);
    sim.set_client_secret("new");
    assert_eq!(client.mint().status(), 400);
    assert_eq!(client.mint_with("sim-client:new", GOOD).status(), 200);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200, "tokens issued before stay valid");
}

#[test]
fn an_access_token_is_needed_and_may_be_revoked() {
    let sim = sim();
    let mut client = Client::connect(sim.addr());
    let invalid = (401, 124, "Invalid access token.".to_owned());
    assert_eq!(client.qos(EXAMPLE, "").error(), invalid);
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    sim.revoke_access_tokens();
    assert_eq!(client.qos(EXAMPLE, "").error(), invalid);
    let calls = sim.qos_calls();
    assert_eq!((calls[0].status, calls[0].code), (Some(401), Some(124)));
    assert_eq!((calls[1].status, calls[1].code), (Some(200), None));
}

#[test]
fn an_access_token_expires() {
    let sim = Sim::start(SimConfig { access_token_life: Duration::ZERO, ..SimConfig::default() }).unwrap();
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos(EXAMPLE, "").error(), (401, 124, "Access token is expired.".to_owned()));
}

#[test]
fn a_new_token_invalidates_the_old_one_only_if_configured() {
    for kills in [false, true] {
        let sim = Sim::start(SimConfig { new_token_kills_old: kills, ..SimConfig::default() }).unwrap();
        let mut old = Client::authorized(&sim);
        let mut new = Client::authorized(&sim);
        assert_eq!(old.qos(EXAMPLE, "").status(), if kills { 401 } else { 200 });
        assert_eq!(new.qos(EXAMPLE, "").status(), 200);
    }
}

#[test]
fn the_token_endpoint_has_faults_of_its_own() {
    let sim = sim();
    sim.inject(Fault::new(FaultKind::InvalidClient));
    sim.inject(Fault::new(FaultKind::TokenNotJson));
    sim.inject(Fault::new(FaultKind::TokenWithoutExpiry));
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).on_token_endpoint());
    let mut client = Client::connect(sim.addr());
    assert_eq!(client.mint().json()["error"], "invalid_client");
    let not_json = client.mint();
    assert_eq!(not_json.status(), 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&not_json.body).is_err());
    let without = client.mint().json();
    assert_eq!(without.get("expires_in"), None);
    without["access_token"].as_str().unwrap().clone_into(&mut client.access_token);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(client.mint().status(), 503);
    assert_eq!(client.mint().status(), 200);
}
