//! Replicas: processes of the service that share one Redis.

use std::thread;

use zoom_sim::Sim;

use crate::{
    client::{Answer, at_once},
    redis_server::Server,
    service::Service,
    wait::wait_for,
};

pub const REPLICAS: usize = 3;
/// Part of the warning that a replica logs when Redis becomes unavailable.
pub const AWAY: &str = "Redis is away";

/// Starts [`REPLICAS`] replicas, with `settings` in addition to those for Redis, and waits until each knows all others.
pub fn start(sim: &Sim, redis: &Server, settings: &[(&str, &str)]) -> Vec<Service> {
    let url = redis.url();
    let mut all =
        vec![("redis.url", url.as_str()), ("redis.replicas", "3"), ("limits.headroom_percent", "0")];
    all.extend(settings);
    let replicas: Vec<_> = (0..REPLICAS).map(|_| Service::start(sim, &all)).collect();
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    wait_for(|| {
        let known = |replica: &Service| replica.ops_get("/status").json()["redis"]["replicas"] == REPLICAS;
        replicas.iter().all(known).then_some(())
    });
    replicas
}

pub fn wait_until_redis_is(replica: &Service, up: f64) {
    wait_for(|| (replica.metric("zoom_qos_proxy_redis_up") == up).then_some(()));
}

pub fn finish(replicas: Vec<Service>, announced: &[&str]) {
    for replica in replicas {
        replica.finish(announced);
    }
}

/// Divides the paths among the replicas in consecutive parts, and requests all of them at the same time. The answers
/// are in the order of the paths.
pub fn ask(replicas: &[Service], paths: &[String]) -> Vec<Answer> {
    let asked: Vec<_> = replicas
        .iter()
        .zip(paths.chunks(paths.len().div_ceil(replicas.len())))
        .map(|(replica, paths)| {
            let (addr, paths) = (replica.addr, paths.to_vec());
            thread::spawn(move || at_once(addr, paths))
        })
        .collect();
    asked.into_iter().flat_map(|asked| asked.join().unwrap()).collect()
}

pub fn day_of(replica: &Service) -> u64 {
    replica.ops_get("/status").json()["budget"]["day_calls_used"].as_u64().unwrap()
}
