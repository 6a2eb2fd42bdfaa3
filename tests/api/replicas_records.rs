//! Problems with snapshots that are shared through Redis: a record is late, lost, too large, or outdated by a later
//! fetch.

use std::{
    thread,
    time::{Duration, Instant},
};

use test_support::{
    client::{Answer, request},
    freshness::{age, wait_until_stale},
    redis_server::Server,
    replicas::{AWAY, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{calls_for, incompressible_pages, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const ID: &str = "93000000000";
const PATH: &str = "/qos/93000000000";

fn start_one(sim: &Sim, redis: &Server, settings: &[(&str, &str)]) -> Service {
    let url = redis.url();
    let ours = [("redis.url", url.as_str()), ("redis.replicas", "3"), ("limits.headroom_percent", "0")];
    let replica = Service::start(sim, &ours.iter().chain(settings).copied().collect::<Vec<_>>());
    wait_until_redis_is(&replica, 1.0);
    replica
}

fn elapsed(since: Instant, time: Duration) {
    wait_for(|| (since.elapsed() >= time).then_some(()));
}

/// The first attempt to share the snapshot fails, because Redis is unavailable.
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

/// The flight of the stale meeting waits for the end of the cool-down, behind the flights of other meetings.
#[test]
fn a_cooldown_makes_no_caller_of_a_stale_meeting_wait() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let [limited, queued] = ["93000000001", "93000000002"];
    for id in [ID, limited, queued] {
        sim.add_meeting(Meeting::generated(id, 1, 1));
    }
    let settings = [("cache.live_fresh", "1s"), ("cache.stale_while_revalidate", "0s")];
    let service = start_one(&sim, &redis, &settings);
    assert_eq!(service.get(PATH).status, 200);
    wait_until_stale(&service, PATH);
    let kind = FaultKind::RateSecond { retry_after: Some("8".into()), headers: true };
    sim.inject(Fault::new(kind).for_meeting(limited));
    thread::scope(|scope| {
        let waits_for = |id| {
            (
                id,
                scope.spawn({
                    let service = &service;
                    move || service.get(&format!("/qos/{id}"))
                }),
            )
        };
        let mut cold = vec![waits_for(limited)];
        wait_for(|| {
            (service.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}") == 1.0).then_some(())
        });
        cold.push(waits_for(queued));
        wait_for(|| (service.metric("zoom_qos_proxy_permits_queued") == 2.0).then_some(()));
        for _ in 0..3 {
            let asked = Instant::now();
            let answer = service.get(PATH);
            assert!(answer.cache_status().ends_with("detail=zoom_rate_limited"), "{answer:?}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        for (id, answer) in cold {
            assert_eq!(answer.join().unwrap().status, 200, "{id}");
        }
    });
    service.finish(&["all calls pause"]);
}

/// The suspended replica fetched its page before the meeting was deleted. When it resumes, another replica has taken
/// over its claim.
#[test]
fn a_suspended_replica_does_not_bring_back_what_zoom_has_denied_since() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(500)), Server::start());
    let settings = [("server.wait", "30s"), ("zoom.request_timeout", "30s"), ("cache.not_found_live", "60s")];
    let replicas = start(&sim, &redis, &settings);
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    let (leader, others) = replicas.split_first().unwrap();
    let of_leader = thread::scope(|scope| {
        let first = scope.spawn(|| leader.get(PATH));
        wait_for(|| (!calls_for(&sim, ID).is_empty()).then_some(()));
        leader.signal("STOP");
        sim.remove_meeting(ID);
        assert_eq!(others[0].get(PATH).problem(), "meeting_not_found");
        leader.signal("CONT");
        first.join().unwrap()
    });
    let denied = |answer: Answer| (answer.status == 404).then(|| answer.problem());
    assert_eq!(denied(of_leader).as_deref(), Some("meeting_not_found"));
    for replica in &replicas {
        assert_eq!(denied(replica.get(PATH)).as_deref(), Some("meeting_not_found"));
    }
    let statuses: Vec<_> = calls_for(&sim, ID).iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(200), Some(404)]);
    finish(replicas, &[AWAY]);
}

/// A caller at the other replica waits for Redis. Meanwhile, the shared snapshot grows older.
#[test]
fn the_age_of_a_shared_snapshot_includes_the_wait_for_redis() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    let [one, two] = [(); 2].map(|()| start_one(&sim, &redis, &[("redis.timeout", "1s")]));
    assert_eq!(one.get(PATH).status, 200);
    let fetched = Instant::now();
    elapsed(fetched, Duration::from_millis(600));
    let (answer, at_least) = thread::scope(|scope| {
        redis.signal("-STOP");
        let stopped = Instant::now();
        let answer = scope.spawn(|| two.get(PATH));
        elapsed(stopped, Duration::from_millis(600));
        let at_least = fetched.elapsed();
        redis.signal("-CONT");
        (answer.join().unwrap(), at_least)
    });
    assert_eq!(calls_for(&sim, ID).len(), 1);
    let (age, max_age) = (age(&answer), answer.header("cache-control").unwrap());
    assert!(age >= i64::try_from(at_least.as_secs()).unwrap(), "{age} s, but {at_least:?} have passed");
    assert_ne!(max_age, "private, max-age=29", "the wait reduces the remaining freshness");
    one.finish(&[AWAY]);
    two.finish(&[AWAY]);
}

#[test]
fn a_redis_that_does_not_answer_withholds_no_fetched_snapshot() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(300)), Server::start());
    sim.add_meeting(Meeting::generated(ID, 1, 1));
    sim.add_meeting(Meeting::generated("93000000001", 1, 1));
    let service = start_one(&sim, &redis, &[("redis.timeout", "1s"), ("server.wait", "1s")]);
    // Redis grants the first slots a second after the start.
    wait_for(|| (service.get("/qos/93000000001").status == 200).then_some(()));
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| service.get(PATH));
        wait_for(|| (!calls_for(&sim, ID).is_empty()).then_some(()));
        redis.signal("-STOP");
        let answer = answer.join().unwrap();
        redis.signal("-CONT");
        answer
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    service.finish(&[AWAY]);
}

#[test]
fn a_meeting_too_large_to_share_is_fetched_by_each_replica() {
    const LOGGED: &str = "too large to share";
    let (sim, redis) = (sim(|_| ()), Server::start());
    sim.add_meeting(Meeting::raw_pages(ID, incompressible_pages(ID, 1, 12 << 20)));
    let replicas = [(); 2].map(|()| start_one(&sim, &redis, &[("cache.refresh_floor", "0s")]));
    for replica in &replicas {
        for _ in 0..2 {
            let answer = request(replica.addr, "GET", PATH, &[("Cache-Control", "no-cache")]);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    assert_eq!(calls_for(&sim, ID).len(), 4);
    for replica in replicas {
        let lines = replica.finish(&[LOGGED]);
        let logged: Vec<_> = lines.iter().filter(|line| line.contains(LOGGED)).collect();
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert!(logged[0].contains(ID), "{logged:?}");
    }
}
