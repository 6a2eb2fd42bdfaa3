//! Settings that make snapshots stale soon, and the ages that answers report.

use crate::{
    client::{Answer, request},
    service::Service,
    wait::wait_for,
};

/// The meeting of Zoom's documentation, which the simulator has from the start.
pub const ID: &str = "85746065432";
pub const PATH: &str = "/qos/85746065432";

/// With this setting, a live snapshot is fresh for a second. After that, `cache.stale_while_revalidate` lets the
/// service serve it for 30 s.
pub const BRIEFLY_FRESH: (&str, &str) = ("cache.live_fresh", "1s");
/// With this setting, a stale snapshot is not served while it is fetched again.
pub const NO_REVALIDATION: (&str, &str) = ("cache.stale_while_revalidate", "0s");

/// Sends a `GET` with this `Cache-Control`.
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

/// The `ttl` of a hit, from `Cache-Status`; negative if the snapshot is stale.
pub fn ttl(answer: &Answer) -> i64 {
    let status = answer.cache_status();
    let ttl = status.strip_prefix("zoom-qos-proxy; hit; ttl=").unwrap_or_else(|| panic!("{status}"));
    ttl.split("; ").next().unwrap().parse().unwrap()
}

pub fn age(answer: &Answer) -> i64 {
    answer.header("age").expect("Age").parse().unwrap()
}
