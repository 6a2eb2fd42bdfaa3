//! Commands that the chart runs outside the service: `check-config` with `--allow-missing-files` or
//! `--access-token`, and `sleep`.

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
fn the_files_of_issuers_are_checked() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let issuer = |number: u32, lines: &str| {
        format!(
            "[[issuer]]\nname = \"i{number}\"\nurl = \"https://{number}.example\"\naudience = \"a\"\n{lines}\n"
        )
    };
    let text = [
        "[[caller]]\nname = \"ann\"\nsubject = \"ann\"\n".to_owned(),
        issuer(1, &format!("jwks_file = \"{}\"", at("none.json"))),
        issuer(2, &format!("jwks_file = \"{}\"", at("empty"))),
        issuer(3, &format!("token_file = \"{}\"\nca_file = \"{}\"", at("none"), at("none.pem"))),
        issuer(4, &format!("token_file = \"{}\"\nca_file = \"{}\"", at("empty"), at("empty"))),
    ]
    .concat();
    std::fs::write(at("callers.toml"), text).unwrap();
    std::fs::write(at("empty"), "\n").unwrap();
    let file = at("callers.toml");
    let settings = [("callers.file", file.as_str())];
    let missing = [
        format!("issuer i1: jwks_file {} cannot be read", at("none.json")),
        format!("issuer i3: token_file {} cannot be read", at("none")),
        format!("issuer i3: ca_file {} cannot be read", at("none.pem")),
    ];
    let unusable = [
        format!("issuer i2: jwks_file {}: the keys are not a JWK Set", at("empty")),
        format!("issuer i4: token_file {} is empty", at("empty")),
        format!("issuer i4: ca_file {} has no usable certificate", at("empty")),
    ];
    let ended = run_to_end(command(&sim, &settings).arg("check-config"));
    assert_eq!((ended.code, ended.stderr.lines().count()), (WRONG_CONFIGURATION, 6), "{ended:?}");
    for problem in missing.iter().chain(&unusable) {
        assert!(ended.stderr.contains(problem), "{problem} in {ended:?}");
    }
    let ended = check(&sim, &settings, "--allow-missing-files");
    assert_eq!((ended.code, ended.stderr.lines().count()), (WRONG_CONFIGURATION, 3), "{ended:?}");
    for problem in &unusable {
        assert!(ended.stderr.contains(problem), "{problem} in {ended:?}");
    }
    let text = std::fs::read_to_string(&file).unwrap().replace(&at("empty"), &at("none"));
    std::fs::write(&file, text).unwrap();
    let ended = check(&sim, &settings, "--allow-missing-files");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for warning in missing {
        assert!(ended.stderr.contains(&warning), "{warning} in {ended:?}");
    }
}

#[test]
fn the_url_of_an_issuer_is_a_bare_one() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let file = folder.path().join("callers.toml");
    for url in
        ["https://Zebra@i.example", "https://:Zebra@i.example", "https://i.example/?a", "https://i.example#a"]
    {
        let text = format!(
            "[[caller]]\nname = \"ann\"\nsubject = \"ann\"\n[[issuer]]\nname = \"i\"\nurl = \"{url}\"\naudience = \"a\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let ended =
            run_to_end(command(&sim, &[("callers.file", file.to_str().unwrap())]).arg("check-config"));
        assert_eq!(ended.code, WRONG_CONFIGURATION, "{url}");
        let said = "callers.toml:6: url must have no user, password, query or fragment";
        assert!(ended.stderr.contains(said) && !ended.stderr.contains("Zebra"), "{ended:?}");
    }
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
