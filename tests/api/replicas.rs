//! Three replicas share one account and one Redis. Each test starts a real Redis server, and a simulator that enforces
//! Zoom's limits.

use std::{
    thread,
    time::{Duration, Instant},
};

use test_support::{
    client::{Answer, at_once, request},
    redis_server::Server,
    replicas::{AWAY, REPLICAS, ask, day_of, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, calls_for, most_in_a_second, refused_by_zoom, sim},
    wait::{PATIENCE, wait_for},
};
use zoom_sim::{Fault, FaultKind};

#[test]
fn all_replicas_share_one_daily_limit() {
    let (sim, redis) = (sim(|config| config.per_day = 30), Server::start());
    let replicas = start(&sim, &redis, &[("limits.heavy_per_day", "30")]);
    let answers = ask(&replicas, &add_meetings(&sim, 0, 60));
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, sim.qos_calls().len(), refused_by_zoom(&sim)), (30, 30, 0));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_daily_quota_spent"));
    }
    for replica in &replicas {
        wait_for(|| (day_of(replica) == 30).then_some(()));
        let answer = replica.get("/qos/91000000999");
        assert_eq!((answer.status, answer.problem().as_str()), (503, "zoom_daily_quota_spent"));
    }
    // A replica that starts later also knows the count.
    let url = redis.url();
    let settings =
        [("redis.url", url.as_str()), ("limits.heavy_per_day", "30"), ("limits.headroom_percent", "0")];
    let late = Service::start(&sim, &settings);
    wait_until_redis_is(&late, 1.0);
    assert_eq!(late.get("/qos/91000000998").problem(), "zoom_daily_quota_spent");
    assert_eq!(sim.qos_calls().len(), 30);
    late.finish(&[]);
    finish(replicas, &[]);
}

#[test]
fn a_429_that_one_replica_sees_stops_all() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let paths = add_meetings(&sim, 0, 2 * REPLICAS);
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("4".into()), headers: true }));
    let (one, others) = replicas.split_first().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| one.get(&paths[0]));
        wait_for(|| (refused_by_zoom(&sim) == 1).then_some(()));
        let refused_at = Instant::now();
        for other in others {
            wait_for(|| {
                (other.metric("zoom_qos_proxy_cooldown_active{kind=\"per_second\"}") == 1.0).then_some(())
            });
        }
        assert!(refused_at.elapsed() < Duration::from_secs(2), "{:?}", refused_at.elapsed());
        let answers = ask(&replicas, &paths[1..]);
        assert!(answers.iter().all(|answer| answer.status == 200), "the pause ends within their wait");
        assert_eq!(first.join().unwrap().status, 200);
    });
    let calls = sim.qos_calls();
    let refused = calls.iter().find(|call| call.status == Some(429)).unwrap().at;
    let during =
        calls.iter().filter(|call| call.at > refused && call.at < refused + Duration::from_millis(3_900));
    assert_eq!(during.count(), 0, "no call during the pause");
    finish(replicas, &["all calls pause"]);
}

/// In Kubernetes, the Secret is replaced while the pods keep running.
#[test]
fn a_password_that_changes_is_read_from_its_file() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let write = |password: &str| {
        let url = format!("redis://:{password}@127.0.0.1:{}/0\n", redis.port);
        std::fs::write(folder.path().join("new"), url).unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
    };
    redis.command::<String>(&["CONFIG", "SET", "requirepass", "hunter-one"]);
    write("hunter-one");
    let settings = [("redis.url_file", file.to_str().unwrap()), ("redis.replicas", "1")];
    let service = Service::start(&sim, &settings);
    wait_until_redis_is(&service, 1.0);
    let authorised = redis::Client::open(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
    let mut connection = authorised.get_connection().unwrap();
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("hunter-two").exec(&mut connection).unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut connection).unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut connection).unwrap();
    wait_until_redis_is(&service, 0.0);
    write("hunter-two");
    wait_until_redis_is(&service, 1.0);
    let lines = service.finish(&[AWAY]);
    assert!(lines.iter().all(|line| !line.contains("hunter")));
    let refused = |line: &String| line.contains(AWAY) && line.contains("the user or the password is refused");
    assert!(lines.iter().any(refused), "{lines:#?}");
}

fn budget_key(redis: &Server) -> String {
    let keys: Vec<String> = redis.command(&["KEYS", "{zqp:*}:budget"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

#[test]
fn a_purge_reaches_all_replicas_even_if_redis_was_away() {
    let (sim, mut redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1h")]);
    let paths = add_meetings(&sim, 0, 2);
    let has = |replica: &Service, path: &str| {
        request(replica.addr, "GET", path, &[("Cache-Control", "only-if-cached")]).status == 200
    };
    let calls = |path: &str| calls_for(&sim, path.trim_start_matches("/qos/")).len();
    let fetch_all = || {
        for replica in &replicas {
            assert!(paths.iter().all(|path| replica.get(path).status == 200));
        }
    };
    let purge = |path: &str| {
        assert_eq!(request(replicas[0].ops, "DELETE", &path.replace("/qos", "/cache"), &[]).status, 204);
    };
    fetch_all();
    assert_eq!([calls(&paths[0]), calls(&paths[1])], [1, 1], "one fetches for all");
    purge(&paths[0]);
    for replica in &replicas {
        wait_for(|| (!has(replica, &paths[0])).then_some(()));
        assert!(has(replica, &paths[1]), "the other meeting stays cached");
    }
    fetch_all();
    assert_eq!([calls(&paths[0]), calls(&paths[1])], [2, 1], "the record in Redis is purged, too");
    purge("/qos");
    for replica in &replicas {
        wait_for(|| (!has(replica, &paths[0]) && !has(replica, &paths[1])).then_some(()));
    }
    fetch_all();
    assert_eq!([calls(&paths[0]), calls(&paths[1])], [3, 2]);
    redis.stop();
    for replica in &replicas {
        wait_until_redis_is(replica, 0.0);
    }
    purge(&paths[0]);
    assert!(
        !has(&replicas[0], &paths[0]) && has(&replicas[1], &paths[0]),
        "without Redis, the other replica does not learn of the purge"
    );
    redis.start_again();
    for replica in &replicas {
        wait_for(|| (!has(replica, &paths[0])).then_some(()));
        assert!(has(replica, &paths[1]), "the other meeting stays cached");
    }
    finish(replicas, &[AWAY, "cannot announce the purge"]);
}

/// A look-up reaches Redis before the purge, and its reply arrives after the replica has purged its own cache.
#[test]
fn a_purge_is_not_undone_by_an_earlier_look_up() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1h")]);
    let path = add_meetings(&sim, 0, 1).remove(0);
    let [first, other] = [&replicas[0], &replicas[1]];
    first.get(&path);
    // Delays scripts and the look-up, by less than the timeout of an operation.
    redis.command::<()>(&["CLIENT", "PAUSE", "150", "WRITE"]);
    let purged = thread::scope(|scope| {
        let purged =
            scope.spawn(|| request(other.ops, "DELETE", &path.replace("/qos", "/cache"), &[]).status);
        wait_for(|| other.printed().iter().any(|line| line.contains("\"purged\"")).then_some(()));
        assert!(other.get(&path).cache_status().contains("hit"), "found, not fetched");
        purged.join().unwrap()
    });
    assert_eq!(purged, 204);
    for replica in &replicas {
        wait_for(|| {
            let asked = [("Cache-Control", "only-if-cached")];
            (request(replica.addr, "GET", &path, &asked).status == 504).then_some(())
        });
    }
    finish(replicas, &[]);
}

/// A replica that receives SIGTERM announces that it leaves, so the others get its share immediately.
#[test]
fn a_replica_that_stops_leaves_its_share_to_the_others() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let mut replicas = start(&sim, &redis, &[]);
    replicas.pop().unwrap().finish(&[]);
    let said = Instant::now();
    for replica in &replicas {
        wait_for(|| (replica.ops_get("/status").json()["redis"]["replicas"] == 2).then_some(()));
    }
    assert!(
        said.elapsed() < Duration::from_millis(1_400),
        "the others noticed its absence, but not its announcement"
    );
    let key = budget_key(&redis).replace("budget", "members");
    assert_eq!(redis.command::<u64>(&["HLEN", &key]), 2);
    assert!(said.elapsed() < PATIENCE);
    finish(replicas, &[]);
}

/// These tests depend on timing and need the machine to themselves. `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    /// An empty Redis reserves the shares of replicas that it has not heard from. Once it knows all three, they share
    /// the whole limit.
    #[test]
    fn three_replicas_together_use_the_whole_limit_without_a_429() {
        let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(100)), Server::start());
        // The calls take 12 s, as long as the default of `server.wait`, so callers wait longer here.
        let replicas = start(&sim, &redis, &[("server.wait", "30s")]);
        // An empty server grants nothing in the first second, so these calls come first. They count towards the limit
        // of the simulator for another second, so the measurement starts after that.
        let warm = add_meetings(&sim, 0, REPLICAS);
        assert!(ask(&replicas, &warm).iter().all(|answer| answer.status == 200));
        let called = sim.qos_calls().last().unwrap().at;
        wait_for(|| (called.elapsed() > Duration::from_secs(1)).then_some(()));
        sim.clear_calls();
        let count = 480;
        let answers = ask(&replicas, &add_meetings(&sim, 1_000, count));
        let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let calls = sim.qos_calls();
        assert_eq!((calls.len(), refused_by_zoom(&sim)), (count, 0));
        let took = calls.last().unwrap().at - calls[0].at;
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let used = (count - 1) as f64 / took.as_secs_f64() / 40.0;
        let most = most_in_a_second(&calls);
        println!(
            "three replicas used {:.1} % of 40 calls a second, {most} at most in any second",
            used * 100.0
        );
        assert!(most <= 40 && used >= 0.95, "{most} in a second, {used}");
        let counted = (REPLICAS + count) as u64;
        for replica in &replicas {
            wait_for(|| (day_of(replica) == counted).then_some(()));
            assert_eq!(replica.wait_until_ready(200).json()["status"], "ready");
        }
        finish(replicas, &[]);
    }

    /// Redis is killed under load and restarts empty. Zoom sends no 429, callers still get answers, and no call is
    /// missing from the day's count.
    #[test]
    fn redis_restarting_empty_under_load_costs_throughput_only() {
        let (sim, mut redis) = (sim(|config| config.latency = Duration::from_millis(30)), Server::start());
        let replicas = start(&sim, &redis, &[("server.wait", "39s")]);
        let paths = add_meetings(&sim, 0, 600);
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&replicas, &paths));
            let calls_after = |count: usize| wait_for(|| (sim.qos_calls().len() >= count).then_some(()));
            calls_after(60);
            redis.stop();
            let stopped = sim.qos_calls().len();
            for replica in &replicas {
                wait_until_redis_is(replica, 0.0);
                let ready = replica.wait_until_ready(200).json();
                assert_eq!(
                    (&ready["status"], &ready["reasons"][0]["code"]),
                    (&"degraded".into(), &"redis_away".into())
                );
            }
            calls_after(stopped + 60);
            redis.start_again();
            for replica in &replicas {
                wait_until_redis_is(replica, 1.0);
            }
            let back = sim.qos_calls().len();
            assert!(back < paths.len(), "all calls were made before Redis was back");
            let answers = asked.join().unwrap();
            let failed: Vec<_> =
                answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
            assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answers.len(), failed.first());
        });
        let calls = sim.qos_calls();
        println!("{} at most in any second", most_in_a_second(&calls));
        assert_eq!((calls.len(), refused_by_zoom(&sim)), (paths.len(), 0));
        for replica in &replicas {
            wait_for(|| (day_of(replica) >= paths.len() as u64).then_some(()));
            // Slots that were reserved but not used when Redis died also count.
            let counted = day_of(replica);
            assert!(counted <= paths.len() as u64 + 40, "{counted} counted");
        }
        finish(replicas, &[AWAY]);
    }

    #[test]
    fn a_replica_started_without_redis_serves_its_share_and_joins_later() {
        let (sim, mut redis) = (sim(|_| ()), Server::start());
        redis.stop();
        let url = redis.url();
        let settings =
            [("redis.url", url.as_str()), ("redis.replicas", "3"), ("limits.headroom_percent", "0")];
        let service = Service::start(&sim, &settings);
        assert_eq!(
            service.wait_until_ready(200).json()["reasons"].as_array().unwrap().len(),
            0,
            "Redis does not count as unavailable yet"
        );
        let answers = at_once(service.addr, add_meetings(&sim, 0, 40));
        assert!(answers.iter().all(|answer| answer.status == 200));
        let most = most_in_a_second(&sim.qos_calls());
        assert!((11..=13).contains(&most), "{most} in a second are not a third of 40");
        redis.start_again();
        wait_until_redis_is(&service, 1.0);
        wait_for(|| (day_of(&service) == 40).then_some(()));
        assert_eq!(
            redis.command::<String>(&["HGET", &budget_key(&redis), "used"]),
            "40",
            "the replica reports the calls that it made without Redis"
        );
        service.finish(&[AWAY]);
    }
}
