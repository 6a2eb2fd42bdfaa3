//! Configured paths that are not regular files are reported as errors, and opening them never blocks.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
};

use test_support::{
    process::{Ended, run_to_end},
    service::{command, program},
    simulator::sim,
};
use zoom_sim::Sim;

const WRONG_CONFIGURATION: Option<i32> = Some(78);

/// The configuration keys of the files that `check-config` reads.
const FILE_KEYS: [&str; 10] = [
    "zoom.account_id_file",
    "zoom.client_id_file",
    "zoom.client_secret_file",
    "zoom.proxy_file",
    "zoom.ca_file",
    "callers.file",
    "ops.key_sha256_file",
    "redis.url_file",
    "redis.ca_file",
    "redis.encryption_key_file",
];

fn check(sim: &Sim, key: &str, path: &str) -> Ended {
    let mut settings = vec![(key, path)];
    // The CA and the encryption key have no effect without `redis.url`.
    if ["redis.ca_file", "redis.encryption_key_file"].contains(&key) {
        settings.push(("redis.url", "rediss://127.0.0.1:1"));
    }
    run_to_end(command(sim, &settings).arg("check-config"))
}

fn fifo_in(folder: &Path) -> String {
    let path = folder.join("fifo").to_str().unwrap().to_owned();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn a_fifo_or_device_instead_of_a_file_fails_without_blocking() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let fifo = fifo_in(folder.path());
    thread::scope(|scope| {
        for key in FILE_KEYS {
            for (path, kind) in [(fifo.as_str(), "a pipe"), ("/dev/null", "a device")] {
                let sim = &sim;
                scope.spawn(move || {
                    let ended = check(sim, key, path);
                    assert_eq!(ended.code, WRONG_CONFIGURATION, "{key}: {ended:?}");
                    let said = format!("it is {kind}, not a regular file");
                    assert!(ended.stderr.starts_with(key) && ended.stderr.contains(&said), "{ended:?}");
                });
            }
        }
    });
}

#[test]
fn a_fifo_as_config_or_state_file_fails_without_blocking() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let fifo = fifo_in(folder.path());
    for arguments in [&["check-config"][..], &["serve"], &["callers", "add", "x"]] {
        let ended = run_to_end(command(&sim, &[]).args(arguments).args(["--config", &fifo]));
        assert_eq!(ended.code, WRONG_CONFIGURATION, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("fifo: cannot be read: it is a pipe, not a regular file"), "{ended:?}");
    }
    // The service writes the day's count to a file with the suffix `.new`, and then renames it.
    let state = folder.path().join("day.json").to_str().unwrap().to_owned();
    std::fs::rename(&fifo, format!("{state}.new")).unwrap();
    let ended = run_to_end(&mut command(&sim, &[("limits.state_file", &state)]));
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("it is a pipe"), "{ended:?}");
}

#[test]
fn an_unusable_state_file_is_reported_with_other_problems_and_changes_nothing() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let fifo = fifo_in(folder.path());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    std::fs::create_dir(at("taken.new")).unwrap();
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let check = |path: &str, more: &[(&str, &str)]| {
        let settings: Vec<_> = [("limits.state_file", path)].iter().chain(more).copied().collect();
        run_to_end(command(&sim, &settings).arg("check-config"))
    };
    for (path, why) in [
        (fifo.as_str(), "it is a pipe"),
        (&at("socket"), "it is a socket"),
        (&at("."), "it is a directory"),
        ("/dev/null", "it is a device"),
        (&at("missing/day.json"), "No such file or directory"),
        (&at("file/day.json"), "Not a directory"),
        // The service writes the day's count to a file with the suffix `.new`, and then renames it.
        (&at("taken"), "it is a directory"),
    ] {
        let ended = check(path, &[("server.workers", "none")]);
        assert_eq!(ended.code, WRONG_CONFIGURATION, "{path}: {ended:?}");
        assert!(
            ended.stderr.contains("limits.state_file: ") && ended.stderr.contains(why),
            "{path}: {ended:?}"
        );
        assert!(ended.stderr.contains("server.workers: "), "{ended:?}");
    }
    for path in [at("new.json"), at("file")] {
        assert_eq!(check(&path, &[]).code, Some(0), "{path}");
    }
    let with_redis = check(&at("missing/day.json"), &[("redis.url", "redis://127.0.0.1:1")]);
    assert_eq!(with_redis.code, Some(0), "with Redis, the file is not used: {with_redis:?}");
    assert_eq!(names(), before);
}

#[test]
fn a_full_or_closed_standard_error_changes_no_exit_code() {
    let sim = sim(|_| ());
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let arguments = [&["check-config"][..], &["serve"], &["callers", "add", "x"]];
    for stderr in [Stdio::from(full()), closed.into()].into_iter().zip(arguments) {
        let (stderr, arguments) = stderr;
        let ended = Command::new(program())
            .env_clear()
            .env("QOS_PROXY__X__Y", "1")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .status();
        assert_eq!(ended.unwrap().code(), WRONG_CONFIGURATION, "{arguments:?}");
    }
    // The warning is lost, but the command succeeds.
    let mut asked = command(&sim, &[("limits.heavy_per_second", "1000")]);
    let warned = asked.arg("check-config").stderr(full()).stdout(Stdio::null()).status();
    assert_eq!(warned.unwrap().code(), Some(0));
}

#[test]
fn standard_input_is_a_configuration_only_if_it_is_a_file() {
    let (sim, folder) = (sim(|_| ()), tempfile::tempdir().unwrap());
    let check = |stdin: Stdio| {
        run_to_end(command(&sim, &[]).stdin(stdin).args(["check-config", "--config", "/dev/stdin"]))
    };
    // A read from this pipe would block: nothing is written to it, and it stays open until the test ends.
    let (reader, _writer) = std::io::pipe().unwrap();
    let ended = check(reader.into());
    assert_eq!(ended.code, WRONG_CONFIGURATION, "{ended:?}");
    assert!(ended.stderr.contains("write the content to a file and give its path"), "{ended:?}");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "[server]\nwait = \"7s\"\n").unwrap();
    let ended = check(std::fs::File::open(&path).unwrap().into());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("wait = \"7s\""), "{}", ended.stdout);
}
