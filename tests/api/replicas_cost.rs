//! The cost of Redis: nothing for a hit, a few round trips for a miss, and some memory for each meeting. `cargo
//! test --test api -- --nocapture replicas_cost` prints the figures of docs/OPERATIONS.md.

use std::time::{Duration, Instant};

use test_support::{
    client::Connection, redis_server::Server, replicas::wait_until_redis_is, service::Service,
    simulator::sim, wait::wait_for,
};
use zoom_sim::Meeting;

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn time(connection: &mut Connection, path: &str) -> Duration {
    let asked = Instant::now();
    assert_eq!(connection.ask("GET", path).status, 200);
    asked.elapsed()
}

#[test]
fn a_meeting_takes_less_than_half_its_size_in_redis() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    let service = Service::start(&sim, &[("redis.url", &url), ("redis.replicas", "1")]);
    wait_until_redis_is(&service, 1.0);
    for (number, participants, samples) in [(1_u64, 3, 10), (2, 12, 15), (3, 120, 45)] {
        let id = format!("{:011}", 92_000_000_000 + number);
        sim.add_meeting(Meeting::generated(&id, participants, samples));
        let body = service.get(&format!("/qos/{id}")).body.len();
        let name: Vec<String> = redis.command(&["KEYS", &format!("{{zqp:*}}:r:{id}:live")]);
        let bytes: usize = redis.command(&["MEMORY", "USAGE", &name[0]]);
        println!("a meeting of {body} bytes takes {bytes} bytes in Redis");
        assert!(bytes < body / 2, "{bytes} of {body}");
        let left: i64 = redis.command(&["PTTL", &name[0]]);
        assert!(left > 0, "the record expires");
    }
    service.finish(&[]);
}

/// This test depends on timing and needs the machine to itself. `make tests` runs it after the others.
mod alone {
    use super::*;

    #[test]
    fn redis_costs_a_miss_little_and_a_hit_nothing() {
        let (sim, redis) = (sim(|_| ()), Server::start());
        let url = redis.url();
        let with =
            Service::start(&sim, &[("redis.url", &url), ("redis.replicas", "1"), ("cache.live_fresh", "1h")]);
        let without = Service::start(&sim, &[("cache.live_fresh", "1h")]);
        wait_until_redis_is(&with, 1.0);
        let mut connections = [&with, &without].map(|service| Connection::open(service.addr));
        let mut misses = [Vec::new(), Vec::new()];
        for number in 0..120_u64 {
            let which = usize::try_from(number % 2).unwrap();
            let id = format!("{:011}", 92_000_000_000 + number);
            sim.add_meeting(Meeting::generated(&id, 10, 2));
            // The wait at the end of the loop ensures that a permit is available, so that the rate limit is not
            // measured.
            let asked = Instant::now();
            let took = time(&mut connections[which], &format!("/qos/{id}"));
            if number >= 20 {
                misses[which].push(took);
            }
            wait_for(|| (asked.elapsed() > Duration::from_millis(60)).then_some(()));
        }
        let mut hits = [Vec::new(), Vec::new()];
        for round in 0..4_000_u64 {
            let which = usize::try_from(round % 2).unwrap();
            hits[which]
                .push(time(&mut connections[which], &format!("/qos/{:011}", 92_000_000_100 + round % 2)));
        }
        let [with_miss, without_miss] = misses.each_mut().map(|times| median(times));
        let [with_hit, without_hit] = hits.each_mut().map(|times| median(times));
        println!(
            "a miss: {with_miss:?} with Redis, {without_miss:?} without; a hit: {with_hit:?} and {without_hit:?}"
        );
        assert!(with_miss < without_miss + Duration::from_millis(25), "{with_miss:?} {without_miss:?}");
        assert!(with_hit < without_hit * 3 / 2, "{with_hit:?} {without_hit:?}");
        with.finish(&[]);
        without.finish(&[]);
    }
}
