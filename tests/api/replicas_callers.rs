//! Three replicas with one Redis. The limits of a caller hold for all of them together.

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, entry, get_as, in_status},
    client::Answer,
    redis_server::Server,
    replicas::{AWAY, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

/// Sends all requests at the same time and with the same key, to the replicas in turn.
fn at_once(replicas: &[Service], paths: &[String]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = (paths.iter().zip(replicas.iter().cycle()))
            .map(|(path, replica)| scope.spawn(move || get_as(replica, KEY, path)))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn the_limits_of_a_caller_hold_for_all_replicas_together() {
    for (ceiling, calls) in [("calls_per_minute = 5", 5), ("calls_per_day = 8", 8)] {
        let (sim, redis) = (sim(|_| ()), Server::start());
        let paths = add_meetings(&sim, 0, 60);
        let callers = entry("support-tools", KEY, ceiling) + &entry("bi", OTHER_KEY, "");
        let (_folder, file) = callers_file(&callers);
        let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
        let known = |replica: &Service, caller: &str| {
            in_status(replica, caller)["day"]["calls_used"].as_u64().unwrap()
        };
        let all_know = |caller: &str, calls: usize| {
            let calls = u64::try_from(calls).unwrap();
            replicas.iter().all(|replica| known(replica, caller) == calls).then_some(())
        };
        // Waits until every replica knows this call, and so has received the counts of all callers.
        assert_eq!(get_as(&replicas[0], OTHER_KEY, &paths[0]).status, 200);
        wait_for(|| all_know("bi", 1));
        sim.clear_calls();
        let answers = at_once(&replicas, &paths[1..]);
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
        // On a busy machine, a replica may read a reply too late. Redis has then counted a call that is not made.
        let made = sim.qos_calls().len();
        assert!((calls - 1..=calls).contains(&made), "{ceiling}: {made}");
        assert_eq!(refused.len(), 59 - made, "{ceiling}");
        assert!(refused.iter().all(|refused| refused.problem() == "caller_over_limit"));
        assert!(refused.iter().all(|refused| refused.retry_after() > 50), "{ceiling}: {refused:?}");
        wait_for(|| all_know("support-tools", made));
        // Redis forgets the calls of the minute and of the day. The replicas still know them.
        redis.command::<()>(&["FLUSHALL"]);
        // Waits for a heartbeat that restores the count. Until then, the empty server looks like the start of a new
        // day.
        wait_for(|| {
            let keys = redis.command::<Vec<String>>(&["KEYS", "*:callers"]);
            let account =
                keys.first().map(|key| redis.command::<Option<String>>(&["HGET", key, "support-tools"]));
            account.flatten()
        });
        for replica in &replicas {
            wait_until_redis_is(replica, 1.0);
        }
        assert!(
            at_once(&replicas, &paths[40..])
                .iter()
                .all(|answer| answer.status == 429 || answer.status == 200)
        );
        assert!(
            sim.qos_calls().len() <= calls,
            "after the server lost everything: {}",
            sim.qos_calls().len()
        );
        finish(replicas, &[AWAY]);
    }
}

#[test]
fn a_replica_that_restarts_keeps_to_the_minute_of_the_others() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let paths = add_meetings(&sim, 0, 20);
    let (_folder, file) = callers_file(&entry("support-tools", KEY, "calls_per_minute = 5"));
    let settings = [("callers.file", file.to_str().unwrap())];
    let replicas = start(&sim, &redis, &settings);
    at_once(&replicas, &paths[..10]);
    finish(replicas, &[]);
    let replicas = start(&sim, &redis, &settings);
    at_once(&replicas, &paths[10..]);
    assert_eq!(sim.qos_calls().len(), 5);
    finish(replicas, &[]);
}

#[test]
fn a_flight_continues_for_the_caller_that_is_within_its_limit() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let paths = add_meetings(&sim, 0, 12);
    let callers = entry("support-tools", KEY, "calls_per_minute = 2") + &entry("bi", OTHER_KEY, "");
    let (_folder, file) = callers_file(&callers);
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    // Both callers request every meeting. The requests go to the replicas in turn.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = [KEY, OTHER_KEY]
            .into_iter()
            .flat_map(|key| paths.iter().map(move |path| (key, path)))
            .zip(replicas.iter().cycle())
            .map(|((key, path), replica)| scope.spawn(move || (key, get_as(replica, key, path))))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let others = answers.iter().filter(|(key, _)| *key == OTHER_KEY);
    for (_, answer) in others {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(sim.qos_calls().len(), 12);
    finish(replicas, &[]);
}
