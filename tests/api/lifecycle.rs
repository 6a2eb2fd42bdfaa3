//! How the process starts, fails to start, drains and exits, and its other commands.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use test_support::{
    client::{Connection, at_once, raw, read_answer, request},
    process::{Ended, Process, run_to_end},
    service::{Service, command, program},
    simulator::sim,
    wait::{pause, wait_for},
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const WRONG_CONFIGURATION: Option<i32> = Some(78);

/// Runs the command line against `sim` until it exits.
fn run(sim: &Sim, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
    run_to_end(command(sim, settings).args(arguments))
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Asserts that standard error contains no panic and no debug output of Rust, which operators cannot read.
fn assert_plain_words(ended: &Ended) {
    for rust in ["panicked", "RUST_BACKTRACE", "unwrap", "Error {", "Os {", "Err("] {
        assert!(!ended.stderr.contains(rust), "{rust} in {}", ended.stderr);
    }
}

/// An address that refuses connections while the socket is kept, because the socket is bound but does not listen.
fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Whether the listener at this address accepts a new connection.
fn answers(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_ok()
}

fn requests_waiting(service: &Service) -> u64 {
    service.ops_get("/status").json()["flights"]["requests_waiting"].as_u64().unwrap()
}

/// Sends a stop signal while a meeting of three pages is being fetched. Asserts that the caller gets the complete
/// meeting.
fn a_slow_request_outlives(signal: &str) {
    let sim = sim(|config| config.latency = Duration::from_millis(300));
    sim.add_meeting(Meeting::generated("91111111111", 30, 1));
    let service = Service::start(&sim, &[]);
    let addr = service.addr;
    let caller = thread::spawn(move || request(addr, "GET", "/qos/91111111111", &[]));
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    service.signal(signal);
    let mut service = service;
    let status = service.wait();
    let answer = caller.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["total_records"], 30, "all of its pages");
    assert_eq!(status.code(), Some(0));
    assert_eq!(sim.qos_calls().len(), 3);
    let lines = service.printed();
    assert!(lines.iter().all(|line| !line.contains("\"WARN\"") && !line.contains("\"ERROR\"")), "{lines:#?}");
    assert_eq!(
        lines.iter().filter(|line| line.contains("\"route\"")).count(),
        1,
        "its log line is not lost: {lines:#?}"
    );
}

#[test]
fn a_slow_request_gets_its_answer_after_sigterm() {
    a_slow_request_outlives("TERM");
}

#[test]
fn a_slow_request_gets_its_answer_after_sigint() {
    a_slow_request_outlives("INT");
}

#[test]
fn fifty_requests_in_flight_all_get_their_answer_after_sigterm() {
    let sim = sim(|config| config.latency = Duration::from_millis(1_200));
    let ids: Vec<_> = (0..10).map(|number| format!("{}", 91_000_000_000_u64 + number)).collect();
    for id in &ids {
        sim.add_meeting(Meeting::generated(id, 3, 2));
    }
    let service = Service::start(&sim, &[]);
    let addr = service.addr;
    let paths = ids.iter().cycle().take(50).map(|id| format!("/qos/{id}")).collect();
    let callers = thread::spawn(move || at_once(addr, paths));
    wait_for(|| (requests_waiting(&service) == 50).then_some(()));
    let lines = service.finish(&[]);
    let answers = callers.join().unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 50);
    assert_eq!(sim.qos_calls().len(), 10);
    assert_eq!(lines.iter().filter(|line| line.contains("\"route\"")).count(), 50, "no line is lost");
}

#[test]
fn a_draining_process_answers_but_is_not_ready_then_refuses_connections() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[("server.drain_delay", "1s")]);
    assert_eq!(service.get("/qos/85746065432").status, 200);
    assert_eq!(service.ops_get("/readyz").status, 200);
    let mut kept = Connection::open(service.addr);
    assert_eq!(kept.ask("GET", "/qos/1").status, 400);
    let asked = Instant::now();
    service.signal("TERM");
    let not_ready = service.wait_until_ready(503);
    assert!(asked.elapsed() < Duration::from_millis(800), "at once, not after {:?}", asked.elapsed());
    assert_eq!(not_ready.header("content-type"), Some("application/json"));
    assert!(not_ready.text().contains("shutting_down"), "{}", not_ready.text());
    assert_eq!(service.ops_get("/healthz").status, 200, "it is alive while it drains");
    let cold = service.get("/qos/91111111111");
    assert_eq!(cold.status, 200, "a flight may still start: {}", cold.text());
    assert!(service.get("/qos/85746065432").cache_status().contains("; hit"));
    assert_eq!(kept.ask("GET", "/qos/85746065432").status, 200, "on existing connections, too");
    assert_eq!(
        service.metric("zoom_qos_proxy_zoom_calls_total{result=\"ok\"}"),
        2.0,
        "Prometheus can still scrape"
    );
    wait_for(|| (!answers(service.addr)).then_some(()));
    let refused_after = asked.elapsed().as_secs_f64();
    assert!((0.9..2.5).contains(&refused_after), "connections are refused after {refused_after} s");
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert_eq!(sim.qos_calls().len(), 2);
}

#[test]
fn a_flight_that_starts_during_the_drain_is_completed_after_it() {
    let sim = sim(|config| config.latency = Duration::from_millis(500));
    sim.add_meeting(Meeting::generated("91111111111", 30, 1));
    let service = Service::start(&sim, &[("server.drain_delay", "500ms")]);
    service.signal("TERM");
    service.wait_until_ready(503);
    let answer = service.get("/qos/91111111111");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["total_records"], 30);
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(sim.qos_calls().len(), 3);
}

#[test]
fn an_abandoned_flight_is_finished_before_the_process_exits() {
    let sim = sim(|config| config.latency = Duration::from_millis(400));
    sim.add_meeting(Meeting::generated("91111111111", 20, 1));
    let service = Service::start(&sim, &[]);
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.write_all(b"GET /qos/91111111111 HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    drop(stream);
    service.finish(&[]);
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.status == Some(200)));
}

#[test]
fn a_large_body_that_is_read_slowly_arrives_complete_after_sigterm() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 60, 60));
    let service = Service::start(&sim, &[]);
    let whole = service.get("/qos/91111111111");
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.write_all(b"GET /qos/91111111111 HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n").unwrap();
    let mut peeked = [0; 100];
    wait_for(|| (stream.peek(&mut peeked).unwrap() == 100).then_some(()));
    service.signal("TERM");
    service.wait_until_ready(503);
    // The service drains while the caller has not read the whole response.
    pause(Duration::from_millis(300));
    let answer = read_answer(stream);
    assert!(answer.body == whole.body, "{} of {} bytes", answer.body.len(), whole.body.len());
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
    assert!(service.printed().iter().all(|line| !line.contains("\"WARN\"") && !line.contains("\"ERROR\"")));
}

#[test]
fn after_the_drain_a_kept_connection_gets_shutting_down_or_is_closed() {
    let sim = sim(|config| config.latency = Duration::from_millis(800));
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[]);
    let mut kept = Connection::open(service.addr);
    assert_eq!(kept.ask("GET", "/qos/1").status, 400);
    let addr = service.addr;
    let slow = thread::spawn(move || request(addr, "GET", "/qos/85746065432", &[]));
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    service.signal("TERM");
    wait_for(|| (!answers(addr)).then_some(()));
    if let Some(answer) = kept.try_ask("GET", "/qos/91111111111") {
        assert_eq!((answer.status, answer.problem().as_str()), (503, "shutting_down"));
    }
    assert_eq!(slow.join().unwrap().status, 200);
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(sim.qos_calls().len(), 1);
}

#[test]
fn idle_connections_do_not_delay_the_exit() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let mut callers: Vec<_> = (0..5).map(|_| Connection::open(service.addr)).collect();
    for caller in &mut callers {
        assert_eq!(caller.ask("GET", "/qos/85746065432").status, 200);
    }
    let mut prometheus = Connection::open(service.ops);
    assert_eq!(prometheus.ask("GET", "/metrics").status, 200);
    let never_used = TcpStream::connect(service.addr).unwrap();
    let asked = Instant::now();
    service.finish(&[]);
    assert!(asked.elapsed() < Duration::from_secs(4), "it took {:?}", asked.elapsed());
    drop((callers, prometheus, never_used));
}

#[test]
fn a_hanging_zoom_delays_the_exit_by_at_most_the_shutdown_timeout() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(FaultKind::Hang).forever());
    let mut service = Service::start(&sim, &[("server.shutdown_timeout", "1s")]);
    let mut stream = TcpStream::connect(service.addr).unwrap();
    stream.write_all(b"GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
    assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
    let asked = Instant::now();
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    let took = asked.elapsed().as_secs_f64();
    assert!((0.9..3.0).contains(&took), "{took} s");
    let lines = service.printed();
    let warned: Vec<_> =
        lines.iter().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect();
    assert_eq!(warned.len(), 1, "{lines:#?}");
    assert!(warned[0].contains("server.shutdown_timeout"), "{}", warned[0]);
}

#[test]
fn while_stopping_an_interrupt_ends_the_process_and_sigterm_does_not() {
    let sim = sim(|_| ());
    sim.inject(Fault::new(FaultKind::Hang).forever());
    for drain_delay in ["0s", "20s"] {
        let mut service = Service::start(&sim, &[("server.drain_delay", drain_delay)]);
        sim.clear_calls();
        let mut stream = TcpStream::connect(service.addr).unwrap();
        stream.write_all(b"GET /qos/85746065432 HTTP/1.1\r\nHost: service\r\n\r\n").unwrap();
        assert!(sim.wait_for_calls(1, Duration::from_secs(10)));
        service.signal("TERM");
        service.wait_until_ready(503);
        service.signal("TERM");
        assert_eq!(service.ops_get("/healthz").status, 200, "a repeated SIGTERM changes nothing");
        let insisted = Instant::now();
        service.signal("INT");
        service.wait();
        assert!(insisted.elapsed() < Duration::from_secs(2), "{:?}", insisted.elapsed());
    }
}

#[test]
fn a_taken_port_fails_the_start_with_its_name_and_advice() {
    let sim = sim(|_| ());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["server.listen", "server.ops_listen"] {
        let ended = run(&sim, &[(key, &address)], &[]);
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
        for part in [key, &address, "another process", "port"] {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_plain_words(&ended);
        assert!(!ended.stdout.contains("listening"), "{}", ended.stdout);
    }
    assert!(sim.calls().is_empty());
}

#[test]
fn an_address_that_this_machine_lacks_is_a_readable_start_error() {
    let sim = sim(|_| ());
    let ended = run(&sim, &[("server.listen", "203.0.113.1:0")], &["serve"]);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert!(ended.stderr.contains("server.listen 203.0.113.1:0"), "{}", ended.stderr);
    assert_plain_words(&ended);
}

#[test]
fn a_state_file_that_cannot_be_written_is_an_error_at_start() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("day.json");
    let below_a_file = file(folder.path(), "plain", "").join("day.json");
    for path in [missing.as_path(), folder.path(), &below_a_file] {
        let path = path.to_str().unwrap();
        let ended = run(&sim, &[("limits.state_file", path)], &[]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(
            ended.stderr.starts_with("limits.state_file: the file cannot be written: "),
            "{}",
            ended.stderr
        );
        assert_plain_words(&ended);
        assert!(!ended.stdout.contains("listening"), "{}", ended.stdout);
    }
}

#[test]
fn a_torn_or_foreign_state_file_is_moved_aside_at_start() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    for text in ["{\"zoom_calls_of_d", "", "hello\n", "{}", "[1,2]", "\u{0}\u{0}\u{0}\u{0}"] {
        let path = file(folder.path(), "day.json", text);
        let service = Service::start(&sim, &[("limits.state_file", path.to_str().unwrap())]);
        assert_eq!(service.ops_get("/status").json()["budget"]["day_calls_used"], 0, "counted from zero");
        assert_eq!(service.get("/qos/85746065432").status, 200);
        let lines = service.finish(&["limits.state_file"]);
        let said =
            lines.iter().filter(|line| line.contains("\"ERROR\"") && line.contains("limits.state_file"));
        assert_eq!(said.count(), 1, "{text:?}: {lines:#?}");
        let others = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside: Vec<_> = others.filter(|other| *other != path).collect();
        assert!(
            aside.iter().any(|other| std::fs::read_to_string(other).unwrap() == text),
            "kept as it was: {aside:?}"
        );
        let again = Service::start(&sim, &[("limits.state_file", path.to_str().unwrap())]);
        assert_eq!(again.ops_get("/status").json()["budget"]["day_calls_used"], 1, "the new file counts");
        again.finish(&[]);
    }
}

#[test]
fn an_impossible_day_or_count_in_the_state_file_is_discarded() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let today = Timestamp::now().as_second() / 86_400;
    for text in [
        "{\"zoom_calls_of_day\":99999999,\"calls\":60000}".to_owned(),
        format!("{{\"zoom_calls_of_day\":{today},\"calls\":18446744073709551615}}"),
    ] {
        let path = file(folder.path(), "day.json", &text);
        let service = Service::start(&sim, &[("limits.state_file", path.to_str().unwrap())]);
        assert_eq!(service.get("/qos/85746065432").status, 200, "{text}");
        let lines = service.finish(&["limits.state_file"]);
        assert!(lines.iter().any(|line| line.contains("\"ERROR\"") && line.contains("limits.state_file")));
    }
}

#[test]
fn check_config_prints_the_effective_values_and_no_secret() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let secret_file = file(folder.path(), "secret", "zebra-from-file\n");
    let settings = [
        ("cache.live_fresh", "7s"),
        ("zoom.client_secret_file", secret_file.to_str().unwrap()),
        ("zoom.client_id", "zebra-id"),
    ];
    let ended = run(&sim, &settings, &["check-config"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let printed: toml::Table =
        ended.stdout.parse().unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    assert_eq!(printed["cache"]["live_fresh"].as_str(), Some("7s"));
    assert_eq!(printed["cache"]["past_fresh"].as_str(), Some("24h"), "defaults too");
    assert_eq!(printed["limits"]["heavy_per_second"].as_integer(), Some(40), "the plan's limits, too");
    assert!(ended.stdout.contains("QOS_PROXY__CACHE__LIVE_FRESH"), "and where it was set: {}", ended.stdout);
    for secret in ["zebra", "sim-secret"] {
        let said = format!("{}{}", ended.stdout, ended.stderr).replace(secret_file.to_str().unwrap(), "");
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    assert_eq!(ended.stderr, "");
    assert!(sim.calls().is_empty(), "no call is made");
}

#[test]
fn check_config_warns_of_valid_but_unusual_values() {
    let sim = sim(|_| ());
    let ended = run(&sim, &[("limits.heavy_per_second", "500")], &["check-config"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("warning") && ended.stderr.contains("limits.heavy_per_second"),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_mistake_is_reported_with_key_and_origin_and_exit_78() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(
        folder.path(),
        "wrong.toml",
        "[cache]\nlive_freh = \"7s\"\n\n[server]\nwait = \"15\"\n[zebra]\nx = 1\n",
    );
    let secret = "zebra-secret\u{1}";
    let settings = [
        ("limits.headroom_percent", "150"),
        ("limits.heavy_per_day", "0"),
        ("zoom.connect_timeout", "20s"),
        ("cache.max_bytes", "many"),
        ("telemetry.log_format", "xml"),
        ("server.ops_listen", "localhost"),
        ("zoom.account_id", ""),
        ("zoom.client_secret", secret),
    ];
    for arguments in [&["check-config"][..], &["serve"], &[]] {
        let mut command = command(&sim, &settings);
        let ended = run_to_end(command.args(["--config", wrong.to_str().unwrap()]).args(arguments));
        assert_eq!(ended.code, WRONG_CONFIGURATION, "{arguments:?}: {ended:?}");
        for key in [
            "cache.live_freh",
            "server.wait",
            "zebra",
            "limits.headroom_percent",
            "limits.heavy_per_day",
            "zoom.connect_timeout",
            "cache.max_bytes",
            "telemetry.log_format",
            "server.ops_listen",
            "zoom.account_id",
        ] {
            assert!(ended.stderr.contains(key), "{key} in {}", ended.stderr);
        }
        assert!(
            ended.stderr.contains("wrong.toml:2") && ended.stderr.contains("wrong.toml:5"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("QOS_PROXY__LIMITS__HEADROOM_PERCENT"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("zebra-secret"), "{}", ended.stderr);
        assert_plain_words(&ended);
        assert_eq!(ended.stdout, "");
    }
    assert!(sim.calls().is_empty());
}

#[test]
fn missing_credentials_and_files_are_reported_by_name_with_exit_78() {
    let sim = sim(|_| ());
    let mut bare = command(&sim, &[]);
    for key in ["ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET"] {
        bare.env_remove(format!("QOS_PROXY__ZOOM__{key}"));
    }
    let ended = run_to_end(bare.args(["--config", "/nowhere/at-all.toml"]));
    assert_eq!(ended.code, WRONG_CONFIGURATION);
    for name in ["zoom.account_id", "zoom.client_id", "zoom.client_secret", "/nowhere/at-all.toml"] {
        assert!(ended.stderr.contains(name), "{name} in {}", ended.stderr);
    }
    assert_plain_words(&ended);
}

#[test]
fn a_later_file_and_then_the_environment_take_precedence() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let first = file(
        folder.path(),
        "1.toml",
        "[cache]\nlive_fresh = \"11s\"\npast_fresh = \"1h\"\nsettle = \"1m\"\n",
    );
    let second = file(folder.path(), "2.toml", "[cache]\nlive_fresh = \"12s\"\npast_fresh = \"2h\"\n");
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let settings_of = |arguments: &[&str]| {
        let ended = run(&sim, &[("cache.live_fresh", "13s")], arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let cache = ended.stdout.parse::<toml::Table>().unwrap()["cache"].clone();
        ["live_fresh", "past_fresh", "settle"].map(|key| cache[key].as_str().unwrap().to_owned())
    };
    assert_eq!(settings_of(&["--config", first, "--config", second, "check-config"]), ["13s", "2h", "1m"]);
    assert_eq!(settings_of(&["--config", second, "--config", first, "check-config"]), ["13s", "1h", "1m"]);
    assert_eq!(
        settings_of(&["check-config", "--config", first, "--config", second]),
        ["13s", "2h", "1m"],
        "options may follow the command"
    );
}

#[test]
fn the_service_runs_with_its_configuration() {
    let sim = sim(|_| ());
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), "c.toml", "[cache]\nlive_fresh = \"11s\"\n");
    let mut command = command(&sim, &[]);
    let mut process = Process::start(command.args(["serve", "--config", config.to_str().unwrap()]));
    let first = BufReader::new(process.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let listen = serde_json::from_str::<Value>(&first).unwrap()["listen"].as_str().unwrap().parse().unwrap();
    let control = request(listen, "GET", "/qos/85746065432", &[]).header("cache-control").unwrap().to_owned();
    assert!(["private, max-age=10", "private, max-age=11"].contains(&control.as_str()), "{control}");
}

#[test]
fn version_and_help_need_no_configuration() {
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(program());
        command.env_clear().args(arguments);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        run_to_end(&mut command)
    };
    let version = bare(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("zoom-qos-proxy ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let help = bare(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for part in ["serve", "check-config", "healthcheck", "--config", "--version", "--help", "QOS_PROXY__"] {
        assert!(help.stdout.contains(part), "{part} in {}", help.stdout);
    }
    for arguments in
        [&["--zebra"][..], &["zebra"], &["serve", "--port", "1"], &["--config"], &["check-config", "x"]]
    {
        let ended = bare(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains("--help") || ended.stderr.contains("Usage"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn healthcheck_is_0_when_ready_and_1_when_draining_or_not_running() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.drain_delay", "20s")]);
    let ops = service.ops.to_string();
    let healthcheck = |address: &str| run(&sim, &[("server.ops_listen", address)], &["healthcheck"]);
    let ready = healthcheck(&ops);
    assert_eq!((ready.code, ready.stderr.as_str()), (Some(0), ""));
    let everywhere = ops.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(healthcheck(&everywhere).code, Some(0), "as a container image sets it");
    let mut alone = command(&sim, &[("server.ops_listen", &ops)]);
    for key in ["ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET"] {
        alone.env_remove(format!("QOS_PROXY__ZOOM__{key}"));
    }
    let elsewhere = run_to_end(alone.arg("healthcheck"));
    assert_eq!(
        elsewhere.code,
        Some(0),
        "credentials may be in a --config that it does not get: {}",
        elsewhere.stderr
    );
    service.signal("TERM");
    service.wait_until_ready(503);
    let draining = healthcheck(&ops);
    assert_eq!(draining.code, Some(1));
    assert!(draining.stderr.contains("503"), "{}", draining.stderr);
    service.crash();
    let (_socket, closed) = closed_port();
    let none = healthcheck(&closed.to_string());
    assert_eq!(none.code, Some(1));
    assert_plain_words(&none);
    assert!(!none.stderr.is_empty());
    let wrong = healthcheck("9090");
    assert_eq!(wrong.code, Some(1), "a health check exits with 0 or 1: {}", wrong.stderr);
    assert!(wrong.stderr.contains("server.ops_listen"), "{}", wrong.stderr);
}

#[test]
fn healthcheck_of_a_url_needs_no_configuration_and_succeeds_only_on_200() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("server.drain_delay", "20s")]);
    let healthcheck = |url: &str| {
        let mut command = Command::new(program());
        command.env_clear().args(["healthcheck", "--url", url]);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        run_to_end(&mut command)
    };
    let by_name = format!("http://localhost:{}/readyz", service.ops.port());
    let ready = healthcheck(&by_name);
    assert_eq!((ready.code, ready.stderr.as_str()), (Some(0), ""));
    assert_eq!(healthcheck(&format!("http://{}/openapi.json", service.addr)).code, Some(0));
    // Without the query, the answer would be 200, so the 400 shows that the check sends the query.
    let refused = healthcheck(&format!("http://{}/qos/85746065432?type=", service.addr));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("400"), "{}", refused.stderr);
    service.signal("TERM");
    service.wait_until_ready(503);
    let draining = healthcheck(&by_name);
    assert_eq!(draining.code, Some(1));
    assert!(draining.stderr.contains("503"), "{}", draining.stderr);
    service.crash();
    let (_socket, closed) = closed_port();
    let none = healthcheck(&format!("http://{closed}/readyz"));
    assert_eq!(none.code, Some(1));
    assert_plain_words(&none);
    for not_asked in ["https://localhost/readyz", "localhost:9090", "/readyz", ""] {
        let ended = healthcheck(not_asked);
        assert_eq!(ended.code, Some(2), "{not_asked}: {}", ended.stderr);
        assert!(ended.stderr.contains("--url"), "{}", ended.stderr);
    }
}

#[test]
fn a_closed_standard_output_does_not_end_the_service() {
    let sim = sim(|_| ());
    let mut process = Process::start(&mut command(&sim, &[]));
    let first = {
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap()
    };
    drop(process.0.stderr.take());
    let first: Value = serde_json::from_str(&first).unwrap();
    let address = |key: &str| first[key].as_str().unwrap().parse::<SocketAddr>().unwrap();
    for _ in 0..50 {
        assert_eq!(request(address("listen"), "GET", "/qos/85746065432", &[]).status, 200);
    }
    assert_eq!(raw(address("listen"), b"NONSENSE\r\n\r\n").status, 400);
    assert_eq!(request(address("ops_listen"), "GET", "/readyz", &[]).status, 200);
    assert!(process.0.try_wait().unwrap().is_none(), "the service still runs");
    let killed = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(sim.qos_calls().len(), 1);
}

#[test]
fn the_service_starts_and_is_ready_without_zoom() {
    let sim = sim(|_| ());
    let (_socket, closed) = closed_port();
    let nowhere = format!("http://{closed}/v2");
    let oauth = format!("http://{closed}/oauth/token");
    let settings =
        [("zoom.api_base_url", nowhere.as_str()), ("zoom.oauth_url", &oauth), ("server.wait", "3s")];
    let service = Service::start(&sim, &settings);
    assert_eq!(service.ops_get("/readyz").status, 200);
    assert_eq!(service.ops_get("/healthz").status, 200);
    let answer = service.get("/qos/85746065432");
    assert!(matches!(answer.status, 502..=504), "{}", answer.text());
    answer.problem();
    assert_eq!(service.ops_get("/readyz").status, 200, "a failing Zoom does not make a replica unready");
    assert!(sim.calls().is_empty());
    service.finish(&["flight failed", "access token"]);
}

#[test]
fn two_services_that_share_nothing_but_the_machine_run_side_by_side() {
    let sim = sim(|_| ());
    let (one, other) = (Service::start(&sim, &[]), Service::start(&sim, &[]));
    for service in [&one, &other] {
        assert_eq!(service.get("/qos/85746065432").status, 200);
    }
    assert_eq!(sim.qos_calls().len(), 2);
    one.finish(&[]);
    assert!(other.get("/qos/85746065432").cache_status().contains("; hit"));
    other.finish(&[]);
}

#[test]
fn a_low_open_file_limit_is_raised_to_the_hard_limit() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start_by(&sim, &[], &["sh", "-c", "ulimit -Sn 64; exec \"$0\""]);
    let mut connections: Vec<_> = (0..200).map(|_| Connection::open(service.addr)).collect();
    for connection in &mut connections {
        assert_eq!(connection.ask("GET", "/qos/91111111111").status, 200);
    }
    service.finish(&[]);
}
