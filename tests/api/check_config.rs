//! The commands that the chart runs in other containers: `check-config` where some files are not mounted, or with a
//! request for an access token, and `sleep`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use test_support::{
    process::{Ended, Process, run_to_end},
    service::{command, program},
    simulator::{secrets, sim},
};
use zoom_sim::{Fault, FaultKind, Sim};

const WRONG_CONFIGURATION: Option<i32> = Some(78);

fn check(sim: &Sim, settings: &[(&str, &str)], option: &str) -> Ended {
    let ended = run_to_end(command(sim, settings).args(["check-config", option]));
    for secret in secrets(sim) {
        assert!(!ended.stderr.contains(&secret), "{ended:?}");
    }
    ended
}

const MISSING: [(&str, &str); 6] = [
    ("zoom.account_id_file", "/missing/account_id"),
    ("zoom.proxy_file", "/missing/proxy"),
    ("zoom.ca_file", "/missing/ca.crt"),
    ("callers.file", "/missing/callers.toml"),
    ("redis.url_file", "/missing/url"),
    ("ops.key_sha256_file", "/missing/ops_key_sha256"),
];

#[test]
fn missing_files_are_warnings_and_other_mistakes_still_problems() {
    let sim = sim(|_| ());
    let ended = check(&sim, &MISSING, "--allow-missing-files");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (key, path) in MISSING {
        assert!(ended.stderr.contains(&format!("warning: {key}")), "{key}: {ended:?}");
        assert!(ended.stdout.contains(path), "{key}: {ended:?}");
    }
    let wrong = [&MISSING[..], &[("zoom.connect_timeout", "11s")]].concat();
    let ended = check(&sim, &wrong, "--allow-missing-files");
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    assert!(ended.stderr.starts_with("zoom.connect_timeout"), "{ended:?}");
    assert_eq!(run_to_end(command(&sim, &MISSING).arg("check-config")).code, WRONG_CONFIGURATION);
}

#[test]
fn a_file_that_exists_is_checked_even_if_others_may_be_missing() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let file = folder.path().join("callers.toml");
    std::fs::write(&file, "[[caller]]\nname = 7\n").unwrap();
    let ended = check(&sim, &[("callers.file", file.to_str().unwrap())], "--allow-missing-files");
    assert_eq!(ended.code, WRONG_CONFIGURATION, "{ended:?}");
    assert!(ended.stderr.contains("callers.toml"), "{ended:?}");
}

#[test]
fn one_access_token_shows_that_zoom_accepts_the_credentials() {
    let sim = sim(|_| ());
    let ended = check(&sim, &[], "--access-token");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("Zoom accepts the credentials"), "{ended:?}");
    assert_eq!((sim.token_calls().len(), sim.qos_calls().len()), (1, 0));
}

#[test]
fn refused_credentials_and_an_unreachable_zoom_fail_with_the_reason() {
    let sim = sim(|_| ());
    let refused = check(&sim, &[("zoom.client_secret", "wrong")], "--access-token");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("no access token: Zoom refuses the credentials: "), "{refused:?}");

    let away = check(&sim, &[("zoom.oauth_url", "http://127.0.0.1:9/oauth/token")], "--access-token");
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.stderr.contains("no access token: 127.0.0.1 cannot be reached: "), "{away:?}");

    sim.inject(
        Fault::new(FaultKind::Status { status: 500, body: String::new() }).on_token_endpoint().forever(),
    );
    let failing = check(&sim, &[], "--access-token");
    assert_eq!(failing.code, Some(1), "{failing:?}");
    assert!(failing.stderr.contains("no usable response: status 500"), "{failing:?}");
}

#[test]
fn a_wrong_configuration_requests_no_access_token() {
    let sim = sim(|_| ());
    let ended = check(&sim, &[("server.wait", "0s")], "--access-token");
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    assert!(sim.calls().is_empty());
}

fn waits(duration: &str) -> Command {
    let mut command = Command::new(program());
    command.args(["sleep", duration]).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_sleep_succeeds_in_time_and_fails_on_sigterm() {
    assert_eq!(run_to_end(&mut waits("10ms")).code, Some(0));
    let mut process = Process::start(&mut waits("1h"));
    let mut line = String::new();
    BufReader::new(process.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "waiting for 1h\n");
    assert!(Command::new("kill").arg(process.0.id().to_string()).status().unwrap().success());
    assert_eq!(process.wait().code(), Some(1));
}

#[test]
fn a_sleep_without_a_unit_is_refused() {
    let ended = run_to_end(&mut waits("40"));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("write a number and its unit, such as 40s"), "{ended:?}");
}
