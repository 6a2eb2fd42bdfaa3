//! Callers with signed tokens: which tokens are accepted, for whom, and why others are refused.

use std::fs;

use serde_json::{Value, json};
use test_support::{
    callers::{KEY, callers_file, entry, start},
    client::{Answer, request},
    freshness::PATH,
    issuer::{Issuer, TokenKey, in_seconds},
    preload,
    service::Service,
    simulator::sim,
    wait::wait_for,
};

pub(crate) fn get_with(service: &Service, token: &str) -> Answer {
    request(service.addr, "GET", PATH, &[("Authorization", &format!("Bearer {token}"))])
}

/// The entry of a caller in `callers.file`, with the line that identifies it.
fn caller(name: &str, way: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\n{way}\n")
}

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, answer.problem().as_str()), (401, "unknown_caller"), "{reason}: {answer:?}");
    let challenge = answer.header("www-authenticate").unwrap();
    let expected = format!("Bearer error=\"invalid_token\", error_description=\"{reason}");
    assert!(challenge.starts_with(&expected) && challenge.ends_with('"'), "{reason}: {challenge}");
}

#[test]
fn a_token_belongs_to_the_first_caller_that_it_matches() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("k"));
    let (issuer, other) = (Issuer::start(&[&key]), Issuer::start(&[&key]));
    let text = [
        caller("bot", "service_account = \"support/ticket-bot\""),
        caller("people", "group = \"sre\""),
        caller("ann", "subject = \"ann\""),
        caller("ann-again", "subject = \"ann\""),
        caller("elsewhere", "subject = \"ann\"\nissuer = \"other\""),
        entry("by-key", KEY, ""),
        issuer.entry(""),
        other.entry("").replace("name = \"test\"", "name = \"other\""),
    ]
    .concat();
    let (service, _folder, _) = start(&sim, &text, &[]);
    let of = |issuer: &Issuer, subject: &str, groups: Value| {
        let mut claims = issuer.claims(subject);
        claims["groups"] = groups;
        key.sign(&claims)
    };
    for (token, name) in [
        (of(&issuer, "system:serviceaccount:support:ticket-bot", Value::Null), "bot"),
        (of(&issuer, "ann", json!(["dev", "sre"])), "people"),
        (of(&issuer, "ann", json!("sre")), "ann"),
        (of(&other, "ann", json!(["sre"])), "elsewhere"),
    ] {
        // The second request uses the cached verification.
        for _ in 0..2 {
            assert_eq!(get_with(&service, &token).status, 200, "{name}");
        }
    }
    assert_eq!(get_with(&service, KEY).status, 200);
    for token in
        [of(&issuer, "bob", Value::Null), of(&other, "system:serviceaccount:support:ticket-bot", json!([]))]
    {
        assert_refused(&get_with(&service, &token), "no caller is configured");
    }
    let lines = service.finish(&[]);
    let named =
        |name: &str| lines.iter().filter(|line| line.contains(&format!("\"caller\":\"{name}\""))).count();
    let callers = ["bot", "people", "ann", "ann-again", "elsewhere", "by-key", "unknown"];
    assert_eq!(callers.map(named), [2, 2, 2, 0, 2, 1, 2]);
    assert!(!lines.iter().any(|line| line.contains("eyJ")), "a token is in the log");
}

#[test]
fn an_invalid_token_is_rejected_with_the_reason() {
    let (sim, key, stranger) = (sim(|_| ()), TokenKey::new("k"), TokenKey::new("k"));
    let issuer = Issuer::start(&[&key]);
    let text = caller("ann", "subject = \"ann\"") + &issuer.entry("");
    let (service, _folder, _) = start(&sim, &text, &[]);
    let good = issuer.claims("ann");
    assert_eq!(wait_for(|| Some(get_with(&service, &key.sign(&good)).status).filter(|s| *s != 503)), 200);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let signed = key.sign(&good);
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let head = |members: Value| key.sign_with(&good, &members);
    let refused = [
        (stranger.sign(&good), "the signature"),
        (format!("{message}.{}", signature.chars().rev().collect::<String>()), "the "),
        (format!("{message}."), "the signature"),
        (head(json!({ "alg": "none" })), "the token is malformed"),
        (head(json!({ "alg": "HS256" })), "the alg of the token"),
        (head(json!({ "alg": "RS256" })), "the alg of the token does not fit"),
        (head(json!({ "kid": "other" })), "the issuer has no key"),
        (head(json!({ "crit": ["exp"], "exp": 1 })), "the "),
        (head(json!({ "crit": ["b64"], "b64": true })), "the token has critical"),
        (stranger.sign_with(&good, &json!({ "jwk": stranger.jwk() })), "the signature"),
        (stranger.sign_with(&good, &json!({ "jku": issuer.keys_url() })), "the signature"),
        (with("iss", "https://other.example".into()), "the token has no iss"),
        (with("iss", json!([issuer.url()])), "the token has no iss"),
        (with("iss", Value::Null), "the token has no iss"),
        (with("aud", "other".into()), "the token has no aud"),
        (with("aud", json!([])), "the token has no aud"),
        (with("aud", Value::Null), "the token has no aud"),
        (with("exp", in_seconds(-62).into()), "the token has expired"),
        (with("exp", Value::Null), "the "),
        (with("exp", "soon".into()), "the "),
        (with("nbf", in_seconds(120).into()), "the token is not valid yet"),
        (with("pad", "x".repeat(16 * 1024).into()), "the token is longer than"),
        (format!("{signed}x"), "the "),
    ];
    for (token, reason) in &refused {
        assert_refused(&get_with(&service, token), reason);
    }
    // These do not have the form of tokens, so the service treats them as unknown keys.
    for text in [message, &format!("{signed}.x"), "eyJhbGciOiJFUzI1NiJ9"] {
        assert_eq!(get_with(&service, text).header("www-authenticate"), Some("Bearer"));
    }
    for token in [
        with("exp", in_seconds(-50).into()),
        with("nbf", in_seconds(50).into()),
        with("aud", "zoom-qos-proxy".into()),
    ] {
        assert_eq!(get_with(&service, &token).status, 200, "within the leeway");
    }
    assert_eq!(issuer.fetches(), 2, "at the start, and once for an unknown kid");
    let lines = service.finish(&[]);
    assert!(!lines.iter().any(|line| line.contains("eyJ")), "a token is in the log");
}

#[test]
fn a_remembered_token_ends_with_its_exp_when_the_clock_is_set() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("k"));
    let (issuer, folder) = (Issuer::start(&[&key]), tempfile::tempdir().unwrap());
    let (callers, ahead) = (folder.path().join("callers.toml"), folder.path().join("ahead"));
    fs::write(&callers, caller("ann", "subject = \"ann\"") + &issuer.entry("")).unwrap();
    let by = preload::with(&[("CLOCK_AHEAD_WHILE", ahead.to_str().unwrap())]);
    let settings = [("callers.file", callers.to_str().unwrap())];
    let service = Service::start_by(&sim, &settings, &by.iter().map(String::as_str).collect::<Vec<_>>());
    let with_exp = |seconds| {
        let mut claims = issuer.claims("ann");
        claims["exp"] = in_seconds(seconds).into();
        key.sign(&claims)
    };
    let (short, long) = (with_exp(1_800), with_exp(36_000));
    let statuses = || [&short, &long].map(|token| get_with(&service, token).status);
    wait_for(|| (statuses() == [200, 200]).then_some(()));
    assert_eq!(statuses(), [200, 200]);
    fs::write(&ahead, "").unwrap();
    assert_refused(&get_with(&service, &short), "the token has expired");
    assert_eq!(get_with(&service, &long).status, 200);
    service.finish(&[]);
}

#[test]
fn zooms_paths_accept_a_token_only_as_a_bearer_value() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("k"));
    let issuer = Issuer::start(&[&key]);
    let text = caller("ann", "subject = \"ann\"") + &issuer.entry("");
    let (service, _folder, _) = start(&sim, &text, &[]);
    let zoom = "/v2/metrics/meetings/85746065432/participants/qos";
    let token = key.sign(&issuer.claims("ann"));
    for (header, value, status) in [
        ("Authorization", format!("Bearer {token}"), 200),
        ("Authorization", format!("Bearer {token}x"), 401),
        ("X-Api-Key", token.clone(), 401),
    ] {
        let answer = request(service.addr, "GET", zoom, &[(header, &value)]);
        assert_eq!(answer.status, status, "{header}");
        assert!(status == 200 || answer.json()["code"] == 124, "{}", answer.text());
    }
    service.finish(&[]);
}

#[test]
fn without_the_right_entries_the_callers_file_is_rejected() {
    let sim = sim(|_| ());
    for (text, said) in [
        (caller("a", "subject = \"s\""), ":1: the tokens of a need their [[issuer]]"),
        (caller("a", "weight = 1"), ":1: this caller has no key_sha256, service_account, subject or group"),
    ] {
        let (_folder, path) = callers_file(&text);
        let settings = [("callers.file", path.to_str().unwrap())];
        let ended = test_support::process::run_to_end(&mut test_support::service::command(&sim, &settings));
        assert_eq!((ended.code, ended.stderr.contains(said)), (Some(78), true), "{ended:?}");
    }
}
