//! The commands that replicas send to Redis, and what they do if it is full or read-only or has lost their scripts.

use std::{
    thread,
    time::{Duration, Instant},
};

use test_support::{
    callers::{KEY, callers_file, get_as, two_callers},
    client::{Answer, Connection, at_once},
    redis_server::Server,
    relay::Relay,
    replicas::{AWAY, REPLICAS, ask, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, refused_by_zoom, sim},
    wait::wait_for,
};
use zoom_sim::Sim;

const BEAT_EVERY: Duration = Duration::from_millis(300);

/// How many times Redis has executed this command since the last `CONFIG RESETSTAT`, inside or outside scripts.
fn times(redis: &Server, command: &str) -> u32 {
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// The maximum number of heartbeats that all replicas have sent since this time, including those in flight at the
/// start.
fn beats(since: Instant) -> u32 {
    let each = since.elapsed().as_millis() / BEAT_EVERY.as_millis() + 2;
    u32::try_from(each).unwrap() * u32::try_from(REPLICAS).unwrap()
}

fn times_said(replica: &Service, what: &str) -> usize {
    replica.printed().iter().filter(|line| line.contains(what)).count()
}

fn assert_all_answered(answers: &[Answer]) {
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answers.len(), failed.first());
}

/// Makes Redis unavailable with `upset`, and asserts the behaviour that docs/OPERATIONS.md describes for that case.
fn is_away_and_nobody_is_refused(sim: &Sim, replicas: &[Service], first: usize, upset: impl FnOnce()) {
    let lines: Vec<_> = replicas.iter().map(|replica| times_said(replica, AWAY)).collect();
    upset();
    for replica in replicas {
        wait_until_redis_is(replica, 0.0);
        let ready = replica.wait_until_ready(200).json();
        assert_eq!(
            (&ready["status"], &ready["reasons"][0]["code"]),
            (&"degraded".into(), &"redis_away".into())
        );
    }
    assert_all_answered(&ask(replicas, &add_meetings(sim, first, 60)));
    for (replica, before) in replicas.iter().zip(lines) {
        assert_eq!(times_said(replica, AWAY), before + 1, "each change is logged once");
        assert_eq!(replica.metric("zoom_qos_proxy_redis_up"), 0.0, "Redis stays unavailable");
    }
}

fn all_ask_the_same(replicas: &[Service], paths: &[String]) {
    thread::scope(|scope| {
        let asked: Vec<_> =
            replicas.iter().map(|replica| scope.spawn(|| at_once(replica.addr, paths.to_vec()))).collect();
        for asked in asked {
            assert_all_answered(&asked.join().unwrap());
        }
    });
}

fn all_come_back(replicas: &[Service]) {
    for replica in replicas {
        wait_until_redis_is(replica, 1.0);
        wait_for(|| (replica.ops_get("/readyz").json()["status"] == "ready").then_some(()));
    }
}

#[test]
fn a_full_or_read_only_redis_counts_as_unavailable_without_rejections() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    is_away_and_nobody_is_refused(&sim, &replicas, 0, || {
        redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    });
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    all_come_back(&replicas);
    is_away_and_nobody_is_refused(&sim, &replicas, 1_000, || {
        // A Redis replica whose master cannot be reached is read-only.
        redis.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    });
    redis.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    all_come_back(&replicas);
    assert_all_answered(&ask(&replicas, &add_meetings(&sim, 2_000, 30)));
    assert_eq!((sim.qos_calls().len(), refused_by_zoom(&sim)), (150, 0));
    finish(replicas, &[AWAY]);
}

#[test]
fn no_caller_notices_that_redis_forgot_its_scripts() {
    let (sim, redis) = (sim(|config| config.per_second = 60), Server::start());
    let replicas = start(&sim, &redis, &[("server.wait", "39s")]);
    let paths = add_meetings(&sim, 0, 100);
    thread::scope(|scope| {
        let asked: Vec<_> =
            replicas.iter().map(|replica| scope.spawn(|| at_once(replica.addr, paths.clone()))).collect();
        // Flushes the scripts as often as possible, so that some flushes hit between two commands of one operation.
        let (mut flushed, mut connection) = (0, redis.connection());
        while asked.iter().any(|asked| !asked.is_finished()) {
            redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
            flushed += 1;
        }
        println!("scripts were forgotten {flushed} times");
        for asked in asked {
            assert_all_answered(&asked.join().unwrap());
        }
    });
    assert_eq!((sim.qos_calls().len(), refused_by_zoom(&sim)), (100, 0), "each meeting is fetched once");
    for replica in &replicas {
        assert_eq!(replica.metric("zoom_qos_proxy_redis_up"), 1.0);
    }
    finish(replicas, &[]);
}

/// For 400 ms, Redis does not reply, which is longer than an operation may take. No replica fetches on its own because
/// of that.
#[test]
fn a_moment_without_redis_costs_no_second_fetch() {
    let (sim, redis) = (sim(|config| config.per_second = 60), Server::start());
    let replicas = start(&sim, &redis, &[("server.wait", "39s")]);
    let paths = add_meetings(&sim, 0, 40);
    redis.command::<()>(&["CLIENT", "PAUSE", "400", "ALL"]);
    all_ask_the_same(&replicas, &paths);
    assert_eq!((sim.qos_calls().len(), refused_by_zoom(&sim)), (40, 0), "each meeting is fetched once");
    finish(replicas, &[]);
}

#[test]
fn a_hit_sends_no_command_to_redis() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1h")]);
    let path = add_meetings(&sim, 0, 1).remove(0);
    assert!(replicas.iter().all(|replica| replica.get(&path).status == 200));
    let since = Instant::now();
    redis.command::<()>(&["CONFIG", "RESETSTAT"]);
    for replica in &replicas {
        let mut connection = Connection::open(replica.addr);
        for _ in 0..1_000 {
            assert_eq!(connection.ask("GET", &path).status, 200);
        }
    }
    // A look-up executes HGET, and a claim executes GET. A heartbeat executes neither.
    let (scripts, most) = (times(&redis, "evalsha"), beats(since));
    println!("3,000 hits in {:?}: {scripts} scripts, all of them heartbeats", since.elapsed());
    assert_eq!([times(&redis, "hget"), times(&redis, "get")], [0, 0]);
    assert!(scripts <= most, "{scripts} scripts, {most} heartbeats at most");
    assert_eq!(sim.qos_calls().len(), 1);
    finish(replicas, &[]);
}

/// If operations take less time than their timeout, everything is shared, and a miss takes longer. If they take more,
/// Redis counts as unavailable, and the state does not flap.
#[test]
fn a_slow_redis_costs_time_and_a_too_slow_one_is_unavailable() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let wire = Relay::to(redis.port);
    let url = wire.url();
    let settings = [
        ("redis.url", url.as_str()),
        ("redis.replicas", "3"),
        ("limits.headroom_percent", "0"),
        ("server.wait", "39s"),
    ];
    let replicas: Vec<_> = (0..REPLICAS).map(|_| Service::start(&sim, &settings)).collect();
    all_come_back(&replicas);
    // The first request loads the scripts into the server.
    assert_eq!(replicas[0].get(&add_meetings(&sim, 500, 1)[0]).status, 200);
    sim.clear_calls();
    wire.late(Duration::from_millis(60));
    let begun = Instant::now();
    let paths = add_meetings(&sim, 0, 60);
    all_ask_the_same(&replicas, &paths);
    println!("60 meetings took {:?} with 120 ms for each operation", begun.elapsed());
    assert_eq!((sim.qos_calls().len(), refused_by_zoom(&sim)), (60, 0), "each meeting is fetched once");
    let alone = add_meetings(&sim, 1_000, 1).remove(0);
    let asked = Instant::now();
    assert_eq!(replicas[0].get(&alone).status, 200);
    println!("a miss took {:?} with 120 ms for each operation", asked.elapsed());
    assert!(replicas.iter().all(|replica| times_said(replica, AWAY) == 0));
    is_away_and_nobody_is_refused(&sim, &replicas, 2_000, || wire.late(Duration::from_millis(200)));
    let asked = Instant::now();
    assert_eq!(replicas[0].get(&paths[0]).status, 200);
    assert!(asked.elapsed() < Duration::from_millis(200), "no caller waits for Redis: {:?}", asked.elapsed());
    wire.late(Duration::ZERO);
    all_come_back(&replicas);
    assert_eq!(refused_by_zoom(&sim), 0);
    finish(replicas, &[AWAY]);
}

/// Rejected callers must not load Redis instead of Zoom.
#[test]
fn forty_rejected_requests_cost_at_most_ten_look_ups_in_redis() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let (_folder, file) = callers_file(&two_callers("calls_per_minute = 1"));
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    let paths = add_meetings(&sim, 0, 2);
    assert_eq!(get_as(&replicas[0], KEY, &paths[0]).status, 200);
    redis.command::<()>(&["CONFIG", "RESETSTAT"]);
    // Delays all commands, including reads, by less than the timeout of an operation.
    redis.command::<()>(&["CLIENT", "PAUSE", "150", "ALL"]);
    thread::scope(|scope| {
        let asked: Vec<_> =
            (0..40).map(|_| scope.spawn(|| get_as(&replicas[0], KEY, &paths[1]).problem())).collect();
        for asked in asked {
            assert_eq!(asked.join().unwrap(), "caller_over_limit");
        }
    });
    let looks = times(&redis, "hget");
    println!("40 callers over their limit at once: {looks} look-ups");
    assert!(looks <= 10, "{looks}");
    assert_eq!(sim.qos_calls().len(), 1);
    finish(replicas, &[]);
}

/// All callers of a replica wait for one flight. An event notifies the flight when the record is stored.
#[test]
fn a_waiting_replica_queries_redis_once_a_second() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_secs(5)), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let path = add_meetings(&sim, 0, 1).remove(0);
    let (leader, others) = replicas.split_first().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| leader.get(&path));
        wait_for(|| (sim.qos_calls().len() == 1).then_some(()));
        redis.command::<()>(&["CONFIG", "RESETSTAT"]);
        let since = Instant::now();
        let followed: Vec<_> =
            others.iter().map(|other| scope.spawn(|| at_once(other.addr, vec![path.clone(); 40]))).collect();
        for followed in followed {
            assert_all_answered(&followed.join().unwrap());
        }
        assert_eq!(first.join().unwrap().status, 200);
        // Each claim executes one GET to check for a purge, and so does storing the record.
        let (claims, seconds) = (times(&redis, "get"), since.elapsed().as_secs_f64());
        println!("two waiting replicas claimed {claims} times in {seconds:.1} s, for 80 callers");
        assert!(f64::from(claims) <= 2.0 * (seconds + 2.0), "{claims} in {seconds} s");
        // Each waiting replica looks for the record when it starts to wait, and again when the record is stored.
        let (scripts, most) = (times(&redis, "evalsha"), beats(since) + claims + 4);
        assert!(scripts <= most, "{scripts} scripts, {most} at most");
    });
    assert_eq!(sim.qos_calls().len(), 1);
    finish(replicas, &[]);
}
