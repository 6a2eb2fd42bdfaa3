//! The memory of callers' connections: those that are kept after a large response, and those whose callers do not read.

use std::{net::SocketAddr, time::Duration};

use test_support::{
    client::Connection,
    service::Service,
    simulator::{incompressible_pages, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

const ID: &str = "91000000000";
/// The most that a connection may take, in bytes. The formula in docs/OPERATIONS.md has 40 KiB.
const MOST_BYTES: u64 = 40_000;

/// So many connections may have large write buffers.
const LARGE_BUFFERS: usize = 100;

/// Opens a connection, and requests the meeting as gzip.
fn request_gzip(service: SocketAddr) -> Connection {
    let mut connection = Connection::open(service);
    connection.send_for_gzip(&format!("/qos/{ID}"));
    connection
}

/// A service with a meeting in its cache and [`LARGE_BUFFERS`] connections, and its resident size.
fn start_with_a_meeting(pages: usize, bytes: usize) -> (zoom_sim::Sim, Service, Vec<Connection>, u64) {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::raw_pages(ID, incompressible_pages(ID, pages, bytes)));
    let service = Service::start(&sim, &[("telemetry.log_level", "error,zoom_qos_proxy::app=info")]);
    assert_eq!(request_gzip(service.addr).receive(false).status, 200);
    let first: Vec<_> = (0..LARGE_BUFFERS).map(|_| Connection::open(service.addr)).collect();
    wait_for(|| {
        let open = service.metric("zoom_qos_proxy_connections{listener=\"callers\"}");
        (open >= 100.0).then_some(())
    });
    let before = service.resident();
    (sim, service, first, before)
}

#[test]
fn kept_connections_take_little_memory_after_a_large_response() {
    const CONNECTIONS: u64 = 500;
    let (_sim, service, _first, before) = start_with_a_meeting(1, 150_000);
    let kept: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = request_gzip(service.addr);
            let length = connection.receive(false).body.len();
            assert!((100_000..131_072).contains(&length), "{length}: a buffer that actix keeps");
            connection
        })
        .collect();
    let each = (service.resident() - before) / CONNECTIONS;
    println!("{each} bytes for each connection");
    assert!(each <= MOST_BYTES, "{each}");
    drop(kept);
    service.finish(&[]);
}

#[test]
fn callers_that_do_not_read_take_little_memory_each() {
    const CONNECTIONS: u64 = 100;
    // More than the kernel takes for a caller that does not read.
    let (_sim, service, _first, before) = start_with_a_meeting(4, 4_000_000);
    let stalled: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = request_gzip(service.addr);
            assert!(connection.has_answer(Duration::from_secs(20)));
            connection
        })
        .collect();
    let each = (service.resident() - before) / CONNECTIONS;
    println!("{each} bytes for each connection");
    assert!(each <= MOST_BYTES, "{each}");
    drop(stalled);
    service.finish(&[]);
}
