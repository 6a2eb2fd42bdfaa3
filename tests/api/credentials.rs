//! The access token. One request, as Zoom documents it, serves all flights, and the service renews the token before it
//! expires. While Zoom rejects the credentials, the service backs off.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{
    client::{Answer, at_once},
    service::Service,
    simulator::{calls_for, pages, secrets, sim},
    wait::{pause, wait_for},
};
use zoom_sim::{Call, Fault, FaultKind, Meeting, Sim};

const REJECTED: &str = "Zoom refuses the credentials";

fn add_meetings(sim: &Sim, count: usize, participants: usize) -> Vec<String> {
    let ids: Vec<_> = (0..count).map(|number| format!("{:011}", 91_000_000_000 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, participants, 1));
    }
    ids.iter().map(|id| format!("/qos/{id}")).collect()
}

fn statuses(calls: &[Call]) -> Vec<u16> {
    calls.iter().map(|call| call.status.unwrap()).collect()
}

fn assert_rejected(answer: &Answer, sim: &Sim) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (502, "zoom_rejected_credentials"),
        "{}",
        answer.text()
    );
    assert!((1..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
    answer.assert_discreet(sim);
}

fn assert_not_ready(service: &Service) {
    let ready = service.ops_get("/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"][0]["code"], "zoom_rejected_credentials");
}

/// A Secret as Kubernetes mounts it: `client_secret` → `..data/client_secret`, and `..data` → a versioned directory.
struct Mounted {
    folder: TempDir,
    versions: std::cell::Cell<u32>,
}

impl Mounted {
    fn new(secret: &str) -> Self {
        let mounted = Self { folder: tempfile::tempdir().unwrap(), versions: std::cell::Cell::new(0) };
        mounted.replace(secret);
        symlink("..data/client_secret", mounted.path()).unwrap();
        mounted
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("client_secret")
    }

    fn setting(&self) -> (&'static str, String) {
        ("zoom.client_secret_file", self.path().to_str().unwrap().to_owned())
    }

    /// Replaces all files atomically by renaming a new link over `..data`.
    fn replace(&self, secret: &str) {
        self.versions.set(self.versions.get() + 1);
        let version = format!("..version_{}", self.versions.get());
        let at = |name: &str| self.folder.path().join(name);
        fs::create_dir(at(&version)).unwrap();
        fs::write(at(&version).join("client_secret"), secret).unwrap();
        symlink(Path::new(&version), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    }
}

/// Requests one meeting after another for this time, and returns the answers.
fn steadily(service: &Service, paths: &mut impl Iterator<Item = String>, lasting: Duration) -> Vec<Answer> {
    let until = Instant::now() + lasting;
    let mut answers = Vec::new();
    while Instant::now() < until {
        answers.push(service.get(&paths.next().unwrap()));
        pause(Duration::from_millis(60)); // The interval between requests.
    }
    answers
}

#[test]
fn fifty_cold_meetings_share_one_access_token_requested_as_documented() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 50, 1);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_millis(500))).on_token_endpoint());
    let service = Service::start(&sim, &[]);
    assert!(at_once(service.addr, paths.clone()).iter().all(|answer| answer.status == 200));
    let tokens = sim.token_calls();
    assert_eq!(tokens.len(), 1);
    let asked = &tokens[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/oauth/token"));
    let basic = format!("Basic {}", BASE64.encode("sim-client:sim-secret"));
    assert_eq!(asked.header("authorization"), Some(basic.as_str()));
    assert!(asked.header("content-type").unwrap().starts_with("application/x-www-form-urlencoded"));
    assert_eq!(asked.body, "grant_type=account_credentials&account_id=sim-account");
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)));
    assert!(
        sim.qos_calls()[0].at >= asked.at + Duration::from_millis(500),
        "no permit is spent while there is no token"
    );
    let bearer = |call: &Call| call.header("authorization").unwrap().to_owned();
    let first = bearer(&sim.qos_calls()[0]);
    assert!(sim.qos_calls().iter().all(|call| bearer(call) == first), "the token is reused");
    assert_eq!(service.metric("zoom_qos_proxy_access_token_renewals_total{result=\"ok\"}"), 1.0);
    service.finish(&[]);
}

#[test]
fn credentials_with_any_characters_reach_zoom_unchanged() {
    let sim = sim(|config| {
        config.account_id = "a b&c=d+e/f%".to_owned();
        config.client_id = "id-ü".to_owned();
        config.client_secret = "s:e c&r=e+t/%".to_owned();
    });
    add_meetings(&sim, 1, 1);
    let settings = [
        ("zoom.account_id", "a b&c=d+e/f%"),
        ("zoom.client_id", "id-ü"),
        ("zoom.client_secret", "s:e c&r=e+t/%"),
    ];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get("/qos/91000000000").status, 200);
    assert_eq!(sim.token_calls().len(), 1);
    service.finish(&[]);
}

#[test]
fn a_token_is_renewed_before_zoom_sees_an_expired_one() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(3));
    let mut paths = add_meetings(&sim, 150, 1).into_iter();
    let service = Service::start(&sim, &[]);
    let answers = steadily(&service, &mut paths, Duration::from_millis(6_500));
    assert!(answers.len() >= 30 && answers.iter().all(|answer| answer.status == 200));
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)), "{:?}", statuses(&sim.qos_calls()));
    let renewals = sim.token_calls();
    assert!((3..=6).contains(&renewals.len()), "{}", renewals.len());
    assert!(renewals.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_secs(1)));
    service.finish(&[]);
}

#[test]
fn a_renewal_in_the_background_keeps_no_caller_waiting() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(8));
    let mut paths = add_meetings(&sim, 150, 1).into_iter();
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get(&paths.next().unwrap()).status, 200);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(1))).on_token_endpoint());
    let until = Instant::now() + Duration::from_secs(6);
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let asked = Instant::now();
        assert_eq!(service.get(&paths.next().unwrap()).status, 200);
        longest = longest.max(asked.elapsed());
        pause(Duration::from_millis(60)); // The interval between requests.
    }
    assert_eq!(sim.token_calls().len(), 2);
    assert!(longest < Duration::from_millis(700), "{longest:?}");
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)));
    service.finish(&[]);
}

#[test]
fn a_call_delayed_by_its_permit_still_carries_a_valid_token() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(3));
    let paths = add_meetings(&sim, 6, 1);
    let settings = [("limits.heavy_per_second", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    assert!(at_once(service.addr, paths).iter().all(|answer| answer.status == 200));
    assert_eq!(statuses(&sim.qos_calls()), [200; 6], "no permit is spent on an expired token");
    service.finish(&[]);
}

#[test]
fn a_token_revoked_between_requests_costs_one_renewal_and_one_repeated_call() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 2, 1);
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get(&paths[0]).status, 200);
    sim.revoke_access_tokens();
    assert_eq!(service.get(&paths[1]).status, 200);
    assert_eq!(statuses(&sim.qos_calls()), [200, 401, 200]);
    assert_eq!(sim.token_calls().len(), 2);
    assert_eq!(service.ops_get("/readyz").status, 200);
    service.finish(&[]);
}

#[test]
fn a_token_revoked_between_pages_costs_one_call_and_no_rows() {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    let paths = add_meetings(&sim, 1, 25);
    let service = Service::start(&sim, &[]);
    let answer = thread::scope(|scope| {
        let caller = scope.spawn(|| service.get(&paths[0]));
        assert!(sim.wait_for_calls(2, Duration::from_secs(10)));
        sim.revoke_access_tokens();
        caller.join().unwrap()
    });
    assert_eq!(answer.json()["participants"].as_array().unwrap().len(), 25);
    let calls = sim.qos_calls();
    assert_eq!(pages(&calls), [0, 1, 2, 2]);
    assert_eq!(statuses(&calls), [200, 200, 401, 200]);
    assert_eq!(sim.token_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn an_expired_token_is_recognised_with_any_status() {
    for (kind, status) in [
        (FaultKind::TokenExpired, 401),
        (FaultKind::TokenInvalid, 401),
        (FaultKind::TokenExpiredWith400, 400),
        (FaultKind::TokenExpiredIn200, 200),
        (FaultKind::Status { status: 401, body: "<html>".to_owned() }, 401),
        (FaultKind::Status { status: 401, body: String::new() }, 401),
        (FaultKind::Status { status: 403, body: r#"{"code":"124","message":"x"}"#.to_owned() }, 403),
    ] {
        println!("{kind:?}");
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 1, 25);
        sim.inject(Fault::new(kind).on_page(1));
        let service = Service::start(&sim, &[]);
        assert_eq!(service.get(&paths[0]).json()["participants"].as_array().unwrap().len(), 25);
        let calls = sim.qos_calls();
        assert_eq!(pages(&calls), [0, 1, 1, 2]);
        assert_eq!(statuses(&calls), [200, status, 200, 200]);
        assert_ne!(calls[1].header("authorization"), calls[2].header("authorization"));
        assert_eq!(sim.token_calls().len(), 2);
        service.finish(&[]);
    }
}

#[test]
fn many_flights_whose_token_is_revoked_share_one_renewal() {
    let sim = sim(|config| {
        config.latency = Duration::from_millis(200);
        config.per_second = 200;
        config.new_token_kills_old = true;
    });
    let paths = add_meetings(&sim, 20, 25);
    let service = Service::start(&sim, &[]);
    thread::scope(|scope| {
        let callers = scope.spawn(|| at_once(service.addr, paths.clone()));
        assert!(sim.wait_for_calls(20, Duration::from_secs(10)));
        sim.revoke_access_tokens();
        assert!(callers.join().unwrap().iter().all(|answer| answer.json()["total_records"] == 25));
    });
    assert_eq!(sim.token_calls().len(), 2);
    let refused = sim.qos_calls().iter().filter(|call| call.status == Some(401)).count();
    assert!((1..=20).contains(&refused), "{refused}");
    service.finish(&[]);
}

#[test]
fn tokens_that_invalidate_each_other_cause_no_renewal_storm() {
    let sim = sim(|config| {
        config.latency = Duration::from_millis(100);
        config.new_token_kills_old = true;
        config.access_token_life = Duration::from_secs(3);
    });
    let paths = add_meetings(&sim, 60, 25);
    let service = Service::start(&sim, &[]);
    let answers = at_once(service.addr, paths); // The 180 calls take five seconds.
    assert!(answers.iter().all(|answer| answer.json()["total_records"] == 25));
    assert!(sim.token_calls().len() <= 6, "{}", sim.token_calls().len());
    let refused = sim.qos_calls().iter().filter(|call| call.status == Some(401)).count();
    assert!(refused <= 60, "{refused}");
    service.finish(&[]);
}

#[test]
fn a_token_that_zoom_always_rejects_is_renewed_once_before_the_backoff() {
    for kind in [FaultKind::TokenInvalid, FaultKind::TokenExpiredWith400, FaultKind::TokenExpiredIn200] {
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 10, 25);
        sim.inject(Fault::new(kind).forever());
        let service = Service::start(&sim, &[]);
        let answer = service.get(&paths[0]);
        assert_rejected(&answer, &sim);
        let calls = sim.qos_calls();
        assert_eq!(calls.len(), 2);
        let call = &calls[1];
        assert_eq!(answer.json()["zoom"]["status"], call.status.unwrap());
        assert_eq!(answer.json()["zoom"]["code"], 124);
        assert_eq!(answer.json()["zoom"]["tracking_id"], call.tracking_id);
        for answer in at_once(service.addr, paths) {
            assert_rejected(&answer, &sim);
        }
        assert_eq!(sim.qos_calls().len(), 2, "no call during the backoff");
        assert_eq!(sim.token_calls().len(), 2, "no call during the backoff");
        assert_not_ready(&service);
        service.finish(&[REJECTED]);
    }
}

#[test]
fn rejected_credentials_cancel_calls_that_wait_for_a_permit() {
    for (kind, calls) in [(FaultKind::MissingScope, 1), (FaultKind::TokenInvalid, 2)] {
        println!("{kind:?}");
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 6, 1);
        sim.inject(Fault::new(kind).forever());
        let settings = [("limits.heavy_per_second", "2"), ("limits.headroom_percent", "0")];
        let service = Service::start(&sim, &settings);
        for answer in at_once(service.addr, paths) {
            assert_rejected(&answer, &sim);
        }
        assert!(
            sim.qos_calls().len() <= calls,
            "{} calls although the rejection was remembered",
            sim.qos_calls().len()
        );
        service.finish(&[REJECTED]);
    }
}

#[test]
fn a_wrong_secret_at_start_is_tried_once_for_all_callers() {
    let sim = sim(|config| config.client_secret = "another".to_owned());
    let paths = add_meetings(&sim, 20, 1);
    let service = Service::start(&sim, &[]);
    for answer in at_once(service.addr, paths.clone()) {
        assert_rejected(&answer, &sim);
    }
    let answer = service.get(&paths[0]);
    let zoom = json!({ "status": 400, "code": null, "message": null, "tracking_id": null });
    assert_eq!(answer.json()["zoom"], zoom);
    assert_eq!((sim.token_calls().len(), sim.qos_calls().len()), (1, 0));
    assert_not_ready(&service);
    assert_eq!(service.ops_get("/healthz").status, 200, "a restart would not help");
    assert_eq!(service.metric("zoom_qos_proxy_access_token_renewals_total{result=\"refused\"}"), 1.0);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0);
    let secrets = secrets(&sim);
    let printed = service.finish(&[REJECTED]).join("\n");
    assert!(secrets.iter().all(|secret| !printed.contains(secret)));
}

#[test]
fn a_corrected_secret_file_ends_the_backoff_within_five_seconds() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 1, 1);
    let mounted = Mounted::new("wrong\n");
    let (key, file) = mounted.setting();
    let service = Service::start(&sim, &[(key, &file)]);
    assert_rejected(&service.get(&paths[0]), &sim);
    assert_not_ready(&service);
    mounted.replace("still-wrong");
    wait_for(|| (sim.token_calls().len() == 2).then_some(()));
    assert_rejected(&service.get(&paths[0]), &sim);
    mounted.replace("sim-secret\r\n");
    let corrected = Instant::now();
    service.wait_until_ready(200);
    assert!(corrected.elapsed() < Duration::from_secs(5), "{:?}", corrected.elapsed());
    assert_eq!(service.get(&paths[0]).status, 200);
    assert_eq!(sim.token_calls().len(), 3, "one for each secret");
    let secrets = secrets(&sim);
    let printed = service.finish(&[REJECTED]).join("\n");
    assert!(secrets.iter().all(|secret| !printed.contains(secret)));
    assert!(!printed.contains("wrong"));
}

#[test]
fn a_secret_file_that_is_missing_fails_no_request() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(2));
    let mut paths = add_meetings(&sim, 150, 1).into_iter();
    let mounted = Mounted::new("sim-secret");
    let (key, file) = mounted.setting();
    let service = Service::start(&sim, &[(key, &file)]);
    assert_eq!(service.get(&paths.next().unwrap()).status, 200);
    fs::remove_file(mounted.folder.path().join("..data")).unwrap();
    let answers = steadily(&service, &mut paths, Duration::from_secs(4));
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "the service keeps using the secret that it read last"
    );
    assert!(sim.token_calls().len() >= 2);
    service.finish(&["a mounted Zoom secret cannot be read"]);
}

#[test]
fn a_wrong_new_secret_fails_no_request_while_the_token_is_valid() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(6));
    let mut paths = add_meetings(&sim, 150, 1).into_iter();
    let mounted = Mounted::new("sim-secret");
    let (key, file) = mounted.setting();
    let service = Service::start(&sim, &[(key, &file)]);
    assert_eq!(service.get(&paths.next().unwrap()).status, 200);
    mounted.replace("wrong");
    // The renewal starts after half of the token's lifetime, and fails. The old token stays valid.
    let answers = steadily(&service, &mut paths, Duration::from_secs(4));
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(service.ops_get("/readyz").status, 200);
    assert_eq!(sim.token_calls().len(), 2, "one failed attempt, not one for every request");
    mounted.replace("sim-secret");
    let answers = steadily(&service, &mut paths, Duration::from_secs(3));
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)));
    assert_eq!(sim.token_calls().len(), 3);
    service.finish(&["refuses to renew the access token"]);
}

#[test]
fn without_a_token_a_wrong_secret_blocks_calls_until_it_is_corrected() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(2));
    let mut paths = add_meetings(&sim, 150, 1).into_iter();
    let mounted = Mounted::new("sim-secret");
    let (key, file) = mounted.setting();
    let service = Service::start(&sim, &[(key, &file)]);
    assert_eq!(service.get(&paths.next().unwrap()).status, 200);
    mounted.replace("wrong");
    let rejected =
        wait_for(|| Some(service.get(&paths.next().unwrap())).filter(|answer| answer.status != 200));
    assert_rejected(&rejected, &sim);
    mounted.replace("sim-secret");
    let corrected = Instant::now();
    service.wait_until_ready(200);
    assert!(corrected.elapsed() < Duration::from_secs(5));
    assert_eq!(service.get(&paths.next().unwrap()).status, 200);
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)));
    service.finish(&[REJECTED, "refuses to renew the access token"]);
}

#[test]
fn a_changed_secret_also_ends_a_backoff_for_missing_scopes() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 2, 1);
    let mounted = Mounted::new("sim-secret");
    let (key, file) = mounted.setting();
    let service = Service::start(&sim, &[(key, &file)]);
    sim.inject(Fault::new(FaultKind::MissingScope));
    assert_rejected(&service.get(&paths[0]), &sim);
    assert_rejected(&service.get(&paths[1]), &sim);
    assert_eq!(sim.qos_calls().len(), 1, "the second request makes no call");
    assert_not_ready(&service);
    sim.set_client_secret("newer-secret");
    mounted.replace("newer-secret\n");
    service.wait_until_ready(200);
    assert_eq!(service.get(&paths[0]).status, 200);
    let calls = sim.qos_calls();
    assert_ne!(
        calls[0].header("authorization"),
        calls[1].header("authorization"),
        "new scopes need a new token"
    );
    let printed = service.finish(&[REJECTED]).join("\n");
    assert!(!printed.contains("newer-secret") && !printed.contains("sim-secret"));
}

/// Makes the token endpoint fail until the fault is removed. Asserts that the service makes three attempts, that
/// callers get this problem, and that a later request succeeds.
fn token_trouble(kind: FaultKind, status: u16, code: &str, zoom: Option<u16>) {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 10, 1);
    sim.inject(Fault::new(kind).on_token_endpoint().forever());
    let service =
        Service::start(&sim, &[("zoom.connect_timeout", "500ms"), ("zoom.request_timeout", "500ms")]);
    // The service requests a token at startup, and logs a warning after the last failed attempt.
    wait_for(|| service.printed().iter().find(|line| line.contains("token endpoint")).cloned());
    assert_eq!(sim.token_calls().len(), 3);
    sim.clear_calls();
    let answers = at_once(service.addr, paths.clone());
    assert_eq!(sim.token_calls().len(), 3, "one renewal for all: a call and two retries");
    let gaps: Vec<_> = sim.token_calls().windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(100)), "{gaps:?}");
    for answer in answers {
        assert_eq!((answer.status, answer.problem().as_str()), (status, code));
        answer.assert_discreet(&sim);
        assert_eq!(answer.json()["zoom"]["status"], zoom.map_or(Value::Null, Value::from));
    }
    assert_eq!(sim.qos_calls().len(), 0);
    assert_eq!(service.metric("zoom_qos_proxy_day_calls_used"), 0.0);
    assert_eq!(service.ops_get("/readyz").status, 200, "the credentials are not rejected");
    sim.clear_faults();
    assert_eq!(service.get(&paths[0]).status, 200, "the failure is not cached");
    service.finish(&["token endpoint", "flight failed"]);
}

#[test]
fn a_failing_token_endpoint_is_tried_three_times_then_zoom_failed() {
    thread::scope(|scope| {
        for (kind, zoom) in [
            (FaultKind::TokenNotJson, Some(200)),
            (FaultKind::ServerErrorHtml(500), Some(500)),
            (FaultKind::EmptyObject, Some(200)),
            (FaultKind::CloseBeforeAnswer, None),
        ] {
            scope.spawn(move || token_trouble(kind, 502, "zoom_failed", zoom));
        }
    });
}

#[test]
fn truncated_answers_of_the_token_endpoint_are_retried() {
    for kind in
        [FaultKind::Truncated, FaultKind::TruncatedChunked, FaultKind::ResetInBody, FaultKind::ShortValidJson]
    {
        println!("{kind:?}");
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 1, 1);
        sim.inject(Fault::new(kind).on_token_endpoint());
        let service = Service::start(&sim, &[]);
        assert_eq!(service.get(&paths[0]).status, 200);
        assert_eq!((sim.token_calls().len(), sim.qos_calls().len()), (2, 1));
        service.finish(&[]);
    }
}

#[test]
fn a_token_endpoint_that_hangs_is_a_timeout() {
    token_trouble(FaultKind::Hang, 504, "zoom_timed_out", None);
}

#[test]
fn flights_waiting_for_a_token_count_towards_the_queue_limit() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 9, 1);
    sim.inject(Fault::new(FaultKind::Slow(Duration::from_secs(2))).on_token_endpoint());
    let service = Service::start(&sim, &[("limits.max_queued", "4")]);
    let answers = thread::scope(|scope| {
        let waiting: Vec<_> = paths[..4].iter().map(|path| scope.spawn(|| service.get(path))).collect();
        wait_for(|| (service.metric("zoom_qos_proxy_permits_queued") == 4.0).then_some(()));
        for path in &paths[4..] {
            assert_eq!(service.get(path).problem(), "overloaded");
        }
        assert_eq!(sim.qos_calls().len(), 0, "no call without a token");
        waiting.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((sim.token_calls().len(), sim.qos_calls().len()), (1, 4));
    service.finish(&[]);
}

#[test]
fn a_spent_day_is_reported_at_once_without_an_access_token() {
    let sim = sim(|config| config.access_token_life = Duration::from_secs(1));
    let paths = add_meetings(&sim, 2, 1);
    let settings = [("limits.heavy_per_day", "1"), ("limits.headroom_percent", "0")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.get(&paths[0]).status, 200);
    sim.inject(Fault::new(FaultKind::Hang).on_token_endpoint().forever());
    let after_its_life = Instant::now() + Duration::from_secs(1);
    wait_for(|| (Instant::now() > after_its_life).then_some(()));
    let asked = Instant::now();
    assert_eq!(service.get(&paths[1]).problem(), "zoom_daily_quota_spent");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    service.finish(&["limits", "token endpoint"]);
}

#[test]
fn a_token_without_a_lifetime_is_used() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 5, 1);
    sim.inject(Fault::new(FaultKind::TokenWithoutExpiry));
    let service = Service::start(&sim, &[]);
    assert!(paths.iter().all(|path| service.get(path).status == 200));
    assert_eq!((sim.token_calls().len(), sim.qos_calls().len()), (1, 5));
    service.finish(&[]);
}

#[test]
fn an_invalid_client_in_a_401_means_rejected_credentials() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 2, 1);
    let body = r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#.to_owned();
    sim.inject(Fault::new(FaultKind::Status { status: 401, body }).on_token_endpoint().forever());
    let service = Service::start(&sim, &[]);
    for path in &paths {
        assert_rejected(&service.get(path), &sim);
    }
    assert_eq!(sim.token_calls().len(), 1);
    assert_not_ready(&service);
    service.finish(&[REJECTED]);
}

#[test]
fn a_token_refusal_in_either_envelope_is_recognised() {
    for status in [400, 200] {
        let sim = sim(|_| ());
        let paths = add_meetings(&sim, 2, 1);
        let body = r#"{"status":false,"errorCode":4702,"errorMessage":"Invalid client.","result":null}"#;
        let fault = FaultKind::Status { status, body: body.to_owned() };
        sim.inject(Fault::new(fault).on_token_endpoint().forever());
        let service = Service::start(&sim, &[]);
        for path in &paths {
            let answer = service.get(path);
            assert_rejected(&answer, &sim);
            assert!((25..=30).contains(&answer.retry_after()));
        }
        assert_eq!(sim.token_calls().len(), 1);
        assert_not_ready(&service);
        service.finish(&[REJECTED]);
    }
}

#[test]
fn a_token_with_a_very_short_lifetime_causes_no_renewal_storm() {
    let sim = sim(|config| config.access_token_life = Duration::from_millis(900)); // `expires_in` is 0.
    let paths = add_meetings(&sim, 3, 25);
    let service = Service::start(&sim, &[]);
    for path in &paths {
        assert_eq!(service.get(path).json()["total_records"], 25);
        assert_eq!(calls_for(&sim, path.strip_prefix("/qos/").unwrap()).len(), 3);
    }
    assert!(sim.token_calls().len() <= 10, "{}", sim.token_calls().len());
    service.finish(&[]);
}

#[test]
fn a_rate_limited_token_endpoint_gets_no_further_requests() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 30, 1);
    let too_many = FaultKind::RateSecond { retry_after: Some("30".into()), headers: true };
    sim.inject(Fault::new(too_many).on_token_endpoint().forever());
    let service = Service::start(&sim, &[]);
    for answer in at_once(service.addr, paths.clone()).into_iter().chain([service.get(&paths[0])]) {
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert_eq!(answer.json()["zoom"]["status"], 429);
    }
    assert_eq!(sim.token_calls().len(), 1);
    service.finish(&["token endpoint", "flight failed"]);
}

#[test]
fn secrets_that_zoom_repeats_in_its_messages_are_redacted() {
    let sim = sim(|_| ());
    let paths = add_meetings(&sim, 4, 1);
    let service = Service::start(&sim, &[]);
    assert_eq!(service.get(&paths[0]).status, 200);
    let bearer = sim.qos_calls()[0].header("authorization").unwrap().replace("Bearer ", "");
    let echo = json!({ "code": 9999, "message": format!("I do not like {bearer}.") }).to_string();
    sim.inject(Fault::new(FaultKind::Status { status: 400, body: echo.clone() }));
    service.get(&paths[1]).assert_discreet(&sim);
    sim.inject(Fault::new(FaultKind::Status { status: 200, body: echo }));
    service.get(&paths[2]).assert_discreet(&sim);
    let echo =
        json!({ "error": "invalid_client", "reason": "Who is sim-client with sim-secret?" }).to_string();
    sim.inject(Fault::new(FaultKind::Status { status: 200, body: echo }).on_token_endpoint().forever());
    sim.revoke_access_tokens();
    let answer = service.get(&paths[3]);
    assert_rejected(&answer, &sim);
    answer.assert_discreet(&sim);
    for path in ["/readyz", "/status"] {
        service.ops_get(path).assert_discreet(&sim);
    }
    let secrets = secrets(&sim);
    let printed = service.finish(&[REJECTED, "flight failed"]).join("\n");
    assert!(secrets.iter().all(|secret| !printed.contains(secret)));
}
