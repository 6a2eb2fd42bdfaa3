//! Three processes, one Redis: the limits of a caller hold for all replicas together.

use test_support::{
    callers::{KEY, callers_file, entry, get_as, in_status},
    redis_server::Server,
    replicas::{finish, start},
    service::Service,
    simulator::{add_meetings, sim},
    wait::wait_for,
};

#[test]
fn the_ceilings_of_a_caller_hold_for_all_replicas_together() {
    for (ceiling, calls) in [("calls_per_minute = 6", 6), ("calls_per_day = 9", 9)] {
        let (sim, redis) = (sim(|_| ()), Server::start());
        let paths = add_meetings(&sim, 0, 60);
        let (_folder, file) = callers_file(&entry("support-tools", KEY, ceiling));
        let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = (paths.iter().zip(replicas.iter().cycle()))
                .map(|(path, replica)| scope.spawn(move || get_as(replica, KEY, path)))
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
        });
        let refused = answers.iter().filter(|answer| answer.status == 429).count();
        assert_eq!(sim.qos_calls().len() + refused, 60);
        // The rest of a division by the number of replicas.
        assert!(
            (1..=calls + 2).contains(&sim.qos_calls().len()),
            "{} calls of {calls}",
            sim.qos_calls().len()
        );
        wait_for(|| {
            let more = paths.iter().zip(replicas.iter().cycle());
            for (path, replica) in more {
                get_as(replica, KEY, path);
            }
            (sim.qos_calls().len() >= calls).then_some(())
        });
        assert!(sim.qos_calls().len() <= calls + 2, "{} calls of {calls}", sim.qos_calls().len());
        let known =
            |replica: &Service| in_status(replica, "support-tools")["day"]["calls_used"].as_u64().unwrap();
        let made = u64::try_from(sim.qos_calls().len()).unwrap();
        wait_for(|| replicas.iter().all(|replica| known(replica) == made).then_some(()));
        finish(replicas, &[]);
    }
}
