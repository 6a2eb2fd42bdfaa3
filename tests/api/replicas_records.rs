//! Snapshots shared through Redis when something goes wrong: a record is late, lost, too large, or outdated by a later
//! fetch.

use test_support::{
    redis_server::Server,
    replicas::{AWAY, finish, start, wait_until_redis_is},
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::Meeting;

const ID: &str = "93000000000";
const PATH: &str = "/qos/93000000000";

/// The first attempt to share the snapshot fails, because Redis is away.
#[test]
fn page_tokens_work_on_other_replicas_once_redis_is_back() {
    let (sim, mut redis) = (sim(|_| ()), Server::start());
    sim.add_meeting(Meeting::generated(ID, 25, 1));
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1h")]);
    redis.stop();
    for replica in &replicas {
        wait_until_redis_is(replica, 0.0);
    }
    let first_slice = || replicas[0].get(&format!("{PATH}?page_size=10"));
    assert_eq!(first_slice().status, 200);
    redis.start_again();
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    wait_for(|| {
        let first = first_slice().json();
        let token = first["next_page_token"].as_str().unwrap();
        let next = replicas[1].get(&format!("{PATH}?page_size=10&next_page_token={token}"));
        (next.status == 200).then(|| assert_eq!(next.json()["fetched_at"], first["fetched_at"]))
    });
    assert_eq!(calls_for(&sim, ID).len(), 3, "one meeting of three pages");
    finish(replicas, &[AWAY]);
}
