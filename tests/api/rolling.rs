//! Replicas are replaced one after another behind a real load balancer (haproxy), while callers keep requesting.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use test_support::{
    client::{Connection, request},
    process::Process,
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::Meeting;

/// Balances as a Kubernetes Service does: new connections go to ready replicas, and failed requests are not retried.
struct Balancer {
    _process: Process,
    _folder: TempDir,
    control: PathBuf,
    addr: SocketAddr,
}

/// The number of places in the balancer: two for the replicas, and one for a replacement.
const PLACES: usize = 3;

impl Balancer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control");
        // haproxy cannot report its port, so the test chooses one that was free a moment ago.
        let addr = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let mut config = format!(
            "global\n  stats socket {} mode 600 level admin\n\
             defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  retries 0\n\
             frontend callers\n  bind {addr}\n  default_backend replicas\n\
             backend replicas\n  balance roundrobin\n  option httpchk GET /readyz\n  \
             default-server inter 50ms fall 1 rise 1\n",
            control.display()
        );
        for place in 0..PLACES {
            writeln!(config, "  server r{place} 127.0.0.1:1 check port 1 disabled").unwrap();
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        // Prefers the haproxy that `scripts/prepare haproxy` has unpacked to an installed one.
        let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/target/debian/bin/haproxy");
        let mut command = Command::new(if Path::new(unpacked).exists() { unpacked } else { "haproxy" });
        command.arg("-q").arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start(&mut command);
        wait_for(|| UnixStream::connect(&control).ok());
        Self { _process: process, _folder: folder, control, addr }
    }

    fn tell(&self, words: &str) -> String {
        tell(&self.control, words)
    }

    /// Gives the place to this replica, and waits until haproxy considers the replica up.
    fn put(&self, place: usize, replica: &Service) {
        let server = format!("replicas/r{place}");
        let (addr, ops) = (replica.addr, replica.ops);
        for words in [
            format!("set server {server} addr {} port {}", addr.ip(), addr.port()),
            format!("set server {server} check-port {}", ops.port()),
            format!("set server {server} state ready"),
            format!("enable health {server}"),
        ] {
            self.tell(&words);
        }
        wait_for(|| self.is_up(place).then_some(()));
    }

    fn is_up(&self, place: usize) -> bool {
        let table = self.tell("show stat replicas 4 -1");
        let line = table.lines().find(|line| line.starts_with(&format!("replicas,r{place},")));
        line.and_then(|line| line.split(',').nth(17)) == Some("UP")
    }
}

fn tell(control: &Path, words: &str) -> String {
    let mut socket = UnixStream::connect(control).unwrap();
    writeln!(socket, "{words}").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends one request after another until stopped. Opens a new connection after an answer with `Connection: close`.
/// Counts the answers, and panics if one is not a complete 200.
fn ask_on(addr: SocketAddr, stop: &AtomicBool, next_cold: &AtomicU64, answered: &AtomicU64) {
    let mut connection = Connection::open(addr);
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = match number % 4 {
            0 => format!("/qos/{}", next_cold.fetch_add(1, Ordering::Relaxed)),
            _ => "/qos/91000000000".to_owned(),
        };
        let answer = connection.ask("GET", &path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            connection = Connection::open(addr);
        }
    }
}

const CALLERS: usize = 8;

#[test]
fn two_replicas_are_replaced_under_load_and_no_request_fails() {
    let sim = sim(|config| {
        (config.latency, config.per_second, config.per_day) = (Duration::from_millis(30), 10_000, 1_000_000);
    });
    for id in 91_000_000_000..91_000_004_000_u64 {
        sim.add_meeting(Meeting::generated(id.to_string(), 1, 1));
    }
    let settings = [
        ("server.drain_delay", "1s"),
        ("limits.heavy_per_second", "900"),
        ("limits.heavy_per_day", "1000000"),
    ];
    let start = || Service::start(&sim, &settings);
    let balancer = Balancer::start();
    let mut replicas = vec![start(), start()];
    balancer.put(0, &replicas[0]);
    balancer.put(1, &replicas[1]);
    assert_eq!(request(balancer.addr, "GET", "/qos/91000000000", &[]).status, 200);
    let (stop, next_cold, answered) =
        (AtomicBool::new(false), AtomicU64::new(91_000_000_001), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // Stops the callers, even if this thread panics.
        let _stop = StopWhenDropped(&stop);
        for _ in 0..CALLERS {
            scope.spawn(|| ask_on(balancer.addr, &stop, &next_cold, &answered));
        }
        let more_answers = |count: u64| {
            let before = answered.load(Ordering::Relaxed);
            wait_for(|| (answered.load(Ordering::Relaxed) >= before + count).then_some(()));
        };
        more_answers(100);
        for (leaves, free) in [(0, 2), (1, 0)] {
            let newcomer = start();
            balancer.put(free, &newcomer);
            replicas.push(newcomer);
            more_answers(100);
            let old = replicas.remove(0);
            old.finish(&["limits."]);
            assert!(!balancer.is_up(leaves));
            more_answers(100);
        }
    });
    println!("{} answers, all of them 200", answered.load(Ordering::Relaxed));
    for replica in replicas {
        replica.finish(&["limits."]);
    }
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Without a balancer, only `Connection: close` makes a caller open a new connection.
#[test]
fn a_kept_connection_gets_connection_close_during_the_drain() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let service = Service::start(&sim, &[("server.drain_delay", "2s")]);
    let mut kept = Connection::open(service.addr);
    assert_eq!(kept.ask("GET", "/qos/91111111111").header("connection"), None);
    service.signal("TERM");
    service.wait_until_ready(503);
    let last = kept.ask("GET", "/qos/91111111111");
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(
        kept.try_ask("GET", "/qos/91111111111").is_none(),
        "the service closes the connection after that answer"
    );
    let mut service = service;
    assert_eq!(service.wait().code(), Some(0));
}
