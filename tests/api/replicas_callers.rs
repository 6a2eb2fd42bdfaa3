//! Three processes, one Redis: the limits of a caller hold for all replicas together.

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, entry, get_as, in_status},
    client::Answer,
    redis_server::Server,
    replicas::{AWAY, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

/// Requests the paths from the replicas in turn, all at once.
fn at_once(replicas: &[Service], paths: &[String]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = (paths.iter().zip(replicas.iter().cycle()))
            .map(|(path, replica)| scope.spawn(move || get_as(replica, KEY, path)))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn the_ceilings_of_a_caller_hold_for_all_replicas_together() {
    for (ceiling, calls) in [("calls_per_minute = 5", 5), ("calls_per_day = 8", 8)] {
        let (sim, redis) = (sim(|_| ()), Server::start());
        let paths = add_meetings(&sim, 0, 60);
        let (_folder, file) = callers_file(&entry("support-tools", KEY, ceiling));
        let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
        let answers = at_once(&replicas, &paths);
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
        assert_eq!((sim.qos_calls().len(), refused.len()), (calls, 60 - calls), "{ceiling}");
        assert!(refused.iter().all(|refused| refused.problem() == "caller_over_limit"));
        assert!(refused.iter().all(|refused| refused.retry_after() > 50), "{ceiling}: {refused:?}");
        let known =
            |replica: &Service| in_status(replica, "support-tools")["day"]["calls_used"].as_u64().unwrap();
        let made = u64::try_from(calls).unwrap();
        wait_for(|| replicas.iter().all(|replica| known(replica) == made).then_some(()));
        // The server forgets the minute and the day; the replicas do not.
        redis.command::<()>(&["FLUSHALL"]);
        for replica in &replicas {
            wait_until_redis_is(replica, 1.0);
        }
        assert!(
            at_once(&replicas, &paths[40..])
                .iter()
                .all(|answer| answer.status == 429 || answer.status == 200)
        );
        assert_eq!(sim.qos_calls().len(), calls, "after the server lost everything");
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
fn a_flight_goes_on_for_the_caller_that_is_within_its_limit() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let paths = add_meetings(&sim, 0, 12);
    let callers = entry("support-tools", KEY, "calls_per_minute = 2") + &entry("bi", OTHER_KEY, "");
    let (_folder, file) = callers_file(&callers);
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    // Each meeting is requested by both callers, from each replica.
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
