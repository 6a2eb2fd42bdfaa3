//! The keys of issuers: where they come from, when they are fetched again, and what happens if the issuer is
//! unavailable.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use test_support::{
    callers::{KEY, entry, get_as, start},
    client::{Answer, request},
    connect_proxy::ConnectProxy,
    freshness::PATH,
    issuer::{AUDIENCE, Issuer, TokenKey},
    service::Service,
    simulator::sim,
    tls_front::TlsFront,
    wait::wait_for,
};

const AWAY: &str = "cannot get the issuer's keys";

fn get_with(service: &Service, token: &str) -> Answer {
    request(service.addr, "GET", PATH, &[("Authorization", &format!("Bearer {token}"))])
}

/// Two callers: `ann` uses tokens of the first issuer, and `by-key` uses a key.
fn callers() -> String {
    "[[caller]]\nname = \"ann\"\nsubject = \"ann\"\n".to_owned() + &entry("by-key", KEY, "")
}

fn in_status(service: &Service) -> Value {
    service.ops_get("/status").json()["issuers"][0].clone()
}

fn wait_until(service: &Service, token: &str, status: u16) {
    wait_for(|| (get_with(service, token).status == status).then_some(()));
}

#[test]
fn a_new_key_is_fetched_at_once_and_a_removed_one_rejected() {
    let (sim, first, second) = (sim(|_| ()), TokenKey::new("1"), TokenKey::new("2"));
    let issuer = Issuer::start(&[&first]);
    let (service, _folder, path) = start(&sim, &(callers() + &issuer.entry("")), &[]);
    let (old, new) = (first.sign(&issuer.claims("ann")), second.sign(&issuer.claims("ann")));
    wait_until(&service, &old, 200);
    assert_eq!(in_status(&service)["keys"], 1);
    issuer.set_keys(&[&second]);
    assert_eq!(get_with(&service, &new).status, 200, "the first token with a new key waits for it");
    assert_eq!(get_with(&service, &old).status, 401, "a cached verification ends with its key");
    for _ in 0..20 {
        let unknown = TokenKey::new("3").sign(&issuer.claims("ann"));
        assert_eq!(get_with(&service, &unknown).status, 401);
    }
    assert_eq!(issuer.fetches(), 2, "unknown key ids cause one fetch in 30 s");
    assert_eq!(get_with(&service, &new).status, 200);
    // A changed `callers.file` discards the cached verifications, but not the keys of the issuer.
    fs::write(&path, callers().replace("subject = \"ann\"", "subject = \"bob\"") + &issuer.entry(""))
        .unwrap();
    wait_until(&service, &new, 401);
    assert_eq!(issuer.fetches(), 2);
    service.finish(&[]);
}

#[test]
fn keys_and_known_tokens_work_while_the_issuer_is_unavailable() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("1"));
    let issuer = Issuer::start(&[&key]);
    issuer.answer("/keys", 500, "");
    let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry("")), &[]);
    let token = key.sign(&issuer.claims("ann"));
    let answer = get_with(&service, &token);
    assert_eq!((answer.status, answer.problem().as_str()), (503, "issuer_unavailable"), "{answer:?}");
    assert!((1..=10).contains(&answer.retry_after()));
    assert_eq!(get_as(&service, KEY, PATH).status, 200);
    assert_eq!(service.ops_get("/readyz").status, 200);
    assert_eq!(service.metric("zoom_qos_proxy_issuer_keys{issuer=\"test\"}"), 0.0);
    let failure = in_status(&service)["last_failure"].as_str().unwrap().to_owned();
    assert!(failure.ends_with("/keys answers with status 500"), "{failure}");
    issuer.set_keys(&[&key]);
    wait_until(&service, &token, 200);
    assert_eq!(in_status(&service)["last_failure"], Value::Null);
    assert_eq!(service.metric("zoom_qos_proxy_issuer_keys{issuer=\"test\"}"), 1.0);
    issuer.answer("/keys", 200, "<html>");
    let unknown = TokenKey::new("2").sign(&issuer.claims("ann"));
    assert_eq!(get_with(&service, &unknown).status, 401);
    wait_for(|| in_status(&service)["last_failure"].is_string().then_some(()));
    let fresh = key.sign(&issuer.claims("ann"));
    assert_eq!((get_with(&service, &token).status, get_with(&service, &fresh).status), (200, 200));
    let lines = service.finish(&[AWAY]);
    assert_eq!(lines.iter().filter(|line| line.contains(AWAY)).count(), 2, "once per change");
}

#[test]
fn a_token_without_kid_is_tried_with_every_key() {
    let keys: Vec<_> = (0..300).map(|number| TokenKey::new(&number.to_string())).collect();
    let (sim, issuer) = (sim(|_| ()), Issuer::start(&keys.iter().collect::<Vec<_>>()));
    let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry("")), &[]);
    let token = |key: &TokenKey| key.sign_with(&issuer.claims("ann"), &json!({ "kid": null }));
    for key in [&keys[0], &keys[299]] {
        wait_until(&service, &token(key), 200);
    }
    let stranger = TokenKey::new("0");
    for _ in 0..2 {
        assert_eq!(get_with(&service, &token(&stranger)).status, 401);
    }
    // These are more tokens than the workers verify in a second.
    for _ in 0..150 {
        assert_eq!(get_with(&service, &stranger.sign(&issuer.claims("ann"))).status, 401);
        assert_eq!(get_as(&service, KEY, PATH).status, 200);
    }
    assert_eq!(get_with(&service, &keys[7].sign(&issuer.claims("ann"))).status, 200);
    service.finish(&[]);
}

#[test]
fn tokens_without_kid_do_not_delay_the_first_token_of_another_issuer() {
    const CLIENTS: usize = 40;
    let keys: Vec<_> = (0..2_000).map(|number| TokenKey::new(&number.to_string())).collect();
    let (sim, key, stranger) = (sim(|_| ()), TokenKey::new("k"), TokenKey::new("k"));
    let (large, small) = (Issuer::start(&keys.iter().collect::<Vec<_>>()), Issuer::start(&[&key]));
    let text = callers()
        + &large.entry("")
        + "[[caller]]\nname = \"bob\"\nsubject = \"bob\"\nissuer = \"small\"\n"
        + &small.entry("").replace("name = \"test\"", "name = \"small\"");
    let (service, _folder, _) = start(&sim, &text, &[]);
    wait_until(&service, &keys[0].sign(&large.claims("ann")), 200);
    wait_until(&service, &key.sign(&small.claims("bob")), 200);
    let (without_id, wrong) = (json!({ "kid": null }), stranger.sign(&small.claims("bob")));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    get_with(&service, &stranger.sign_with(&large.claims("ann"), &without_id));
                }
            });
        }
        // Uses up the workers' budget for verifications.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(get_with(&service, &wrong).status, 401);
            }
        });
        let first = |number: u32| {
            let mut claims = small.claims("bob");
            claims["jti"] = number.into();
            get_with(&service, &key.sign(&claims)).status
        };
        let began = Instant::now();
        let mut statuses = Vec::new();
        for number in 0..10_000 {
            statuses.push(first(number));
            if began.elapsed() > Duration::from_secs(5) {
                break;
            }
        }
        // The clients stop before the assertion, so that the test ends even if it fails.
        is_over.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
    service.finish(&[]);
}

#[test]
fn a_slow_issuer_delays_no_hit() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("1"));
    let issuer = Issuer::start(&[&key]);
    let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry("")), &[("server.workers", "1")]);
    let token = key.sign(&issuer.claims("ann"));
    wait_until(&service, &token, 200);
    issuer.set_delay(Duration::from_secs(60));
    let fetches = issuer.fetches();
    std::thread::scope(|scope| {
        let unknown = TokenKey::new("2").sign(&issuer.claims("ann"));
        let service = &service;
        let waiting = scope.spawn(move || get_with(service, &unknown).status);
        wait_for(|| (issuer.requests().len() > 2).then_some(()));
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!((get_with(service, &token).status, get_as(service, KEY, PATH).status), (200, 200));
        }
        assert!(
            !waiting.is_finished() || began.elapsed() > Duration::from_secs(2),
            "hits waited for the issuer"
        );
        assert_eq!(waiting.join().unwrap(), 401);
    });
    assert!(issuer.fetches() <= fetches + 1);
    service.finish(&[AWAY]);
}

#[test]
fn discovery_is_strict_and_redirects_are_not_followed() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("1"));
    let elsewhere = Issuer::start(&[&key]);
    for (discovery, said) in [
        (
            json!({ "issuer": "https://other.example", "jwks_uri": elsewhere.keys_url() }),
            "that of another issuer",
        ),
        (json!({ "issuer": "URL", "jwks_uri": "http://192.0.2.1/keys" }), "no https URL"),
        (json!({ "jwks_uri": elsewhere.keys_url() }), "has no issuer or no jwks_uri"),
        (Value::Null, "answers with status 302"),
    ] {
        let issuer = Issuer::start(&[&key]);
        let path = "/.well-known/openid-configuration";
        if discovery.is_null() {
            issuer.redirect(path, &elsewhere.keys_url());
        } else {
            issuer.answer(path, 200, &discovery.to_string().replace("URL", &issuer.url()));
        }
        let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry("")), &[]);
        let failure = wait_for(|| in_status(&service)["last_failure"].as_str().map(str::to_owned));
        assert!(failure.contains(said), "{failure}");
        assert_eq!(get_with(&service, &key.sign(&issuer.claims("ann"))).status, 503);
        service.finish(&[AWAY]);
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn the_token_file_is_sent_to_its_issuer_only_and_read_again() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("1"));
    let (issuer, keys_elsewhere) = (Issuer::start(&[&key]), Issuer::start(&[&key]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first-Zebra\n").unwrap();
    let more = format!("token_file = \"{}\"", file.display());
    let discovery = json!({ "issuer": issuer.url(), "jwks_uri": keys_elsewhere.keys_url() });
    issuer.answer("/.well-known/openid-configuration", 200, &discovery.to_string());
    let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry(&more)), &[]);
    let token = key.sign(&issuer.claims("ann"));
    wait_until(&service, &token, 200);
    fs::write(&file, "second-Zebra").unwrap();
    assert_eq!(get_with(&service, &TokenKey::new("2").sign(&issuer.claims("ann"))).status, 401);
    let sent: Vec<_> = issuer.requests().into_iter().map(|request| request.authorization.unwrap()).collect();
    assert_eq!(sent, ["Bearer first-Zebra", "Bearer second-Zebra"]);
    assert!(keys_elsewhere.requests().iter().all(|request| request.authorization.is_none()));
    let lines = service.finish(&[]);
    assert!(!lines.iter().any(|line| line.contains("Zebra")), "{lines:?}");
}

#[test]
fn a_mounted_key_file_is_read_again_when_it_changes() {
    let (sim, first, second) = (sim(|_| ()), TokenKey::new("1"), TokenKey::new("2"));
    let issuer = Issuer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let keys = |key: &TokenKey| json!({ "keys": [key.jwk()] }).to_string();
    fs::write(&file, keys(&first)).unwrap();
    let text = callers() + &issuer.entry(&format!("jwks_file = \"{}\"", file.display()));
    let (service, _folder, _) = start(&sim, &text, &[]);
    let (old, new) = (first.sign(&issuer.claims("ann")), second.sign(&issuer.claims("ann")));
    wait_until(&service, &old, 200);
    fs::write(&file, keys(&second)).unwrap();
    let began = Instant::now();
    wait_until(&service, &new, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(get_with(&service, &old).status, 401);
    fs::remove_file(&file).unwrap();
    wait_for(|| in_status(&service)["last_failure"].is_string().then_some(()));
    assert_eq!(get_with(&service, &new).status, 200);
    assert!(issuer.requests().is_empty());
    service.finish(&[AWAY]);
}

#[test]
fn an_issuer_with_a_thousand_keys_works_with_and_without_kid() {
    let sim = sim(|_| ());
    let keys: Vec<_> = (0..1_000).map(|number| TokenKey::new(&format!("key-{number}"))).collect();
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>());
    let (service, _folder, _) = start(&sim, &(callers() + &issuer.entry("")), &[]);
    wait_until(&service, &keys[999].sign(&issuer.claims("ann")), 200);
    assert_eq!(in_status(&service)["keys"], 1_000);
    let without_id = keys[500].sign_with(&issuer.claims("ann"), &json!({ "kid": null }));
    assert_eq!(get_with(&service, &without_id).status, 200);
    service.finish(&[]);
}

#[test]
fn an_issuer_is_reached_through_the_environments_proxy_with_its_own_authority() {
    let (sim, key) = (sim(|_| ()), TokenKey::new("1"));
    let issuer = Issuer::start(&[&key]);
    let url = "https://issuer.test";
    issuer.answer(
        "/.well-known/openid-configuration",
        200,
        &json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string(),
    );
    let tls = TlsFront::start(issuer.address, &["issuer.test"]);
    let proxy = ConnectProxy::to(tls.address);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &tls.ca).unwrap();
    let text =
        callers() + &issuer.entry(&format!("ca_file = \"{}\"", ca.display())).replace(&issuer.url(), url);
    let file = folder.path().join("callers.toml");
    fs::write(&file, text).unwrap();
    let settings = [("callers.file", file.to_str().unwrap()), ("zoom.proxy", "none")];
    let by = ["/usr/bin/env".to_owned(), format!("HTTPS_PROXY={}", proxy.url(""))];
    let service = Service::start_by(&sim, &settings, &by.each_ref().map(String::as_str));
    let claims =
        json!({ "iss": url, "aud": AUDIENCE, "exp": test_support::issuer::in_seconds(60), "sub": "ann" });
    wait_until(&service, &key.sign(&claims), 200);
    assert_eq!(proxy.targets(), ["issuer.test:443"]);
    service.finish(&[]);
}
