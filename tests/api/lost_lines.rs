//! Log lines that cannot be written are counted, and affect no request.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    process::Stdio,
};

use test_support::{client::request, process::Process, service::command, simulator::sim, wait::wait_for};
use zoom_sim::Meeting;

const DROPPED: &str = "zoom_qos_proxy_log_lines_dropped_total ";
const REQUESTS: u64 = 5;

/// Two free addresses. The test chooses them, because the log that would name them is lost.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn answers(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

fn dropped(ops: SocketAddr) -> u64 {
    let metrics = request(ops, "GET", "/metrics", &[]).text();
    metrics.lines().find_map(|line| line.strip_prefix(DROPPED)).map_or(0, |count| count.parse().unwrap())
}

/// Starts a service whose standard output accepts no writes, and asserts that it counts every log line as dropped.
fn all_lines_are_counted_with(stdout: Stdio) {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let [callers, ops] = free_addresses();
    let (callers_text, ops_text) = (callers.to_string(), ops.to_string());
    let settings = [("server.listen", callers_text.as_str()), ("server.ops_listen", &ops_text)];
    let mut process = Process::start(command(&sim, &settings).stdout(stdout).stderr(Stdio::null()));
    wait_for(|| (answers(callers) && answers(ops)).then_some(()));
    for _ in 0..REQUESTS {
        assert_eq!(request(callers, "GET", "/qos/91111111111", &[]).status, 200);
    }
    // The service logs one line for each request, and others at startup.
    wait_for(|| (dropped(ops) > REQUESTS).then_some(()));
    let before = dropped(ops);
    assert_eq!(request(callers, "GET", "/qos/91111111111", &[]).status, 200);
    wait_for(|| (dropped(ops) == before + 1).then_some(()));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&process.0),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert!(process.wait().success());
}

#[test]
fn lines_for_a_full_disk_are_counted() {
    all_lines_are_counted_with(File::options().write(true).open("/dev/full").unwrap().into());
}

#[test]
fn lines_for_a_closed_pipe_are_counted() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    all_lines_are_counted_with(writer.into());
}
