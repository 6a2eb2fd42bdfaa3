//! Snapshots by age: settings that make them stale soon, and what answers say about it.

use crate::{
    client::{Answer, request},
    service::Service,
    wait::wait_for,
};

/// The documented example, which the simulator has from the start.
pub const ID: &str = "85746065432";
pub const PATH: &str = "/qos/85746065432";

/// Fresh for a second, then within stale-while-revalidate for half a minute.
pub const BRIEFLY_FRESH: (&str, &str) = ("cache.live_fresh", "1s");
/// Past freshness a snapshot is served only if Zoom fails.
pub const NO_REVALIDATION: (&str, &str) = ("cache.stale_while_revalidate", "0s");

/// `GET` with this `Cache-Control`.
pub fn get_with(service: &Service, path: &str, cache_control: &str) -> Answer {
    request(service.addr, "GET", path, &[("Cache-Control", cache_control)])
}

/// Waits until the snapshot is past its freshness, without starting a flight.
pub fn wait_until_stale(service: &Service, path: &str) {
    wait_for(|| {
        let answer = get_with(service, path, "only-if-cached");
        (answer.status == 504 || ttl(&answer) < 0).then_some(())
    });
}

/// Waits until the snapshot is past stale-while-revalidate, without starting a flight.
pub fn wait_until_not_served(service: &Service, path: &str) {
    wait_for(|| (get_with(service, path, "only-if-cached").status == 504).then_some(()));
}

/// `N` of `…; hit; ttl=N`.
pub fn ttl(answer: &Answer) -> i64 {
    let status = answer.cache_status();
    let ttl = status.strip_prefix("zoom-qos-proxy; hit; ttl=").unwrap_or_else(|| panic!("{status}"));
    ttl.split("; ").next().unwrap().parse().unwrap()
}

pub fn age(answer: &Answer) -> i64 {
    answer.header("age").expect("Age").parse().unwrap()
}
