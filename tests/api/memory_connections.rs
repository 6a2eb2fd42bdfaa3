//! The memory of callers' connections: of those that are kept after a large response, and of those whose callers do not
//! read.

use std::{net::SocketAddr, time::Duration};

use test_support::{
    client::Connection,
    service::Service,
    simulator::{incompressible_pages, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

const ID: &str = "91000000000";
/// The most that a connection may take, in bytes. The formula in docs/OPERATIONS.md allows 40 KiB.
const MOST_BYTES: u64 = 40_000;

/// The number of connections that may have large write buffers.
const LARGE_BUFFERS: u32 = 100;

/// Opens a connection, and requests the meeting as gzip.
fn request_gzip(service: SocketAddr) -> Connection {
    let mut connection = Connection::open(service);
    connection.send_for_gzip(&format!("/qos/{ID}"));
    connection
}

/// Caches a meeting of `pages` pages of `bytes` bytes, and opens [`LARGE_BUFFERS`] connections. Then opens `count` more
/// with `open`, and asserts that each of these takes little memory.
fn assert_each_takes_little(
    count: u64,
    (pages, bytes): (usize, usize),
    open: impl Fn(SocketAddr) -> Connection,
) {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::raw_pages(ID, incompressible_pages(ID, pages, bytes)));
    let service = Service::start(&sim, &[("telemetry.log_level", "error,zoom_qos_proxy::app=info")]);
    assert_eq!(request_gzip(service.addr).receive(false).status, 200);
    let first: Vec<_> = (0..LARGE_BUFFERS).map(|_| Connection::open(service.addr)).collect();
    wait_for(|| {
        let open = service.metric("zoom_qos_proxy_connections{listener=\"callers\"}");
        (open >= f64::from(LARGE_BUFFERS)).then_some(())
    });
    let before = service.resident();
    let further: Vec<_> = (0..count).map(|_| open(service.addr)).collect();
    let each = (service.resident() - before) / count;
    println!("{each} bytes for each connection");
    assert!(each <= MOST_BYTES, "{each}");
    drop((first, further));
    service.finish(&[]);
}

#[test]
fn kept_connections_take_little_memory_after_a_large_response() {
    assert_each_takes_little(500, (1, 150_000), |service| {
        let mut connection = request_gzip(service);
        let length = connection.receive(false).body.len();
        assert!((100_000..131_072).contains(&length), "{length}: a buffer that actix keeps");
        connection
    });
}

#[test]
fn callers_that_do_not_read_take_little_memory_each() {
    // The meeting is larger than what the kernel buffers for a caller that does not read.
    assert_each_takes_little(100, (4, 4_000_000), |service| {
        let mut connection = request_gzip(service);
        assert!(connection.has_answer(Duration::from_secs(20)));
        connection
    });
}
