//! Three replicas with one Redis. All of them share a snapshot that one has fetched. A replica that dies, stalls or is
//! cut off leaves no partial meeting and no conflicting snapshots.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, get_as, two_callers},
    client::{Answer, at_once, request},
    redis_server::Server,
    relay::Relay,
    replicas::{AWAY, ask, day_of, finish, start, wait_until_redis_is},
    service::Service,
    simulator::{calls_for, most_in_a_second, refused_by_zoom, sim},
    wait::{PATIENCE, wait_for},
};
use zoom_sim::{Call, Fault, FaultKind, Meeting, Sim};

const SECOND: Duration = Duration::from_secs(1);

fn meeting(sim: &Sim, number: u64, participants: usize) -> (String, String) {
    let id = format!("{number:011}");
    sim.add_meeting(Meeting::generated(&id, participants, 1));
    (format!("/qos/{id}"), id)
}

fn settings<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let ours = [("redis.url", url), ("redis.replicas", "3"), ("limits.headroom_percent", "0")];
    ours.into_iter().chain(more.iter().copied()).collect()
}

/// How many times each page was fetched.
fn pages(calls: &[Call]) -> BTreeMap<usize, usize> {
    let mut pages = BTreeMap::new();
    for call in calls {
        *pages.entry(call.page.unwrap()).or_default() += 1;
    }
    pages
}

/// Asserts that both answers have the same body and the same entity tag.
fn assert_same(one: &Answer, other: &Answer) {
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
    assert_eq!(one.header("etag"), other.header("etag"));
    assert_eq!(one.body, other.body);
}

/// Sends a request without waiting for the answer.
fn send_request(of: &Service, path: &str) -> TcpStream {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(of.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: service\r\n\r\n").as_bytes()).unwrap();
    stream
}

#[test]
fn a_snapshot_is_a_hit_on_other_replicas_at_the_same_age() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.refresh_floor", "1s")]);
    let (path, id) = meeting(&sim, 92_000_000_000, 12);
    let first = replicas[0].get(&path);
    assert!(first.cache_status().contains("fwd=uri-miss"), "{first:?}");
    let fetched = Instant::now();
    wait_for(|| (fetched.elapsed() > 2 * SECOND).then_some(()));
    for other in &replicas[1..] {
        let answer = other.get(&path);
        assert_same(&first, &answer);
        assert!(answer.cache_status().contains("hit"), "{answer:?}");
        let age: u64 = answer.header("age").unwrap().parse().unwrap();
        assert!((2..=4).contains(&age), "{age}");
    }
    assert_eq!(calls_for(&sim, &id).len(), 2);
    // One caller requires a newer snapshot and gets it. The other replicas then serve the same snapshot.
    let newer = request(replicas[1].addr, "GET", &path, &[("Cache-Control", "no-cache")]);
    assert!(newer.cache_status().contains("fwd=request"), "{newer:?}");
    assert_eq!(calls_for(&sim, &id).len(), 4);
    for other in [&replicas[0], &replicas[2]] {
        let also = request(other.addr, "GET", &path, &[("Cache-Control", "max-age=1")]);
        assert_same(&newer, &also);
    }
    assert_eq!(calls_for(&sim, &id).len(), 4, "no caller may force a fetch below the floor");
    // One 404 from Zoom is enough for all replicas.
    let answers: Vec<_> = replicas.iter().map(|replica| replica.get("/qos/92000000999")).collect();
    for answer in &answers {
        assert_eq!((answer.status, answer.problem().as_str()), (404, "meeting_not_found"));
        assert_eq!(answer.json()["zoom"], answers[0].json()["zoom"], "Zoom's message");
    }
    assert_eq!(calls_for(&sim, "92000000999").len(), 1);
    finish(replicas, &[]);
}

/// A snapshot that another replica fetched costs no call, so the caller's limit does not apply.
#[test]
fn a_caller_over_its_limit_still_gets_snapshots_of_other_replicas() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let [(one, first), (two, other)] = [1, 2].map(|number| meeting(&sim, 92_000_000_000 + number, 1));
    let (_folder, file) = callers_file(&two_callers("calls_per_minute = 1"));
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    assert_eq!(get_as(&replicas[0], KEY, &one).status, 200);
    assert_eq!(get_as(&replicas[0], KEY, &two).problem(), "caller_over_limit");
    let fetched = get_as(&replicas[1], OTHER_KEY, &two);
    let found = get_as(&replicas[0], KEY, &two);
    assert_same(&fetched, &found);
    assert!(found.cache_status().contains("hit"), "{found:?}");
    assert_eq!([calls_for(&sim, &first).len(), calls_for(&sim, &other).len()], [1, 1]);
    finish(replicas, &[]);
}

/// The waiting replicas report the failure of the flight, and do not try for themselves.
#[test]
fn a_failed_flight_fails_for_callers_at_all_replicas() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let (path, id) = meeting(&sim, 92_000_000_000, 1);
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(500)).for_meeting(&id).forever());
    sim.set_latency(Duration::from_millis(300));
    let answers = thread::scope(|scope| {
        let first = scope.spawn(|| replicas[0].get(&path));
        wait_for(|| (!calls_for(&sim, &id).is_empty()).then_some(()));
        let others: Vec<_> = replicas[1..].iter().map(|replica| scope.spawn(|| replica.get(&path))).collect();
        [first].into_iter().chain(others).map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &answers {
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    }
    assert_eq!(calls_for(&sim, &id).len(), 3, "the first call and two retries");
    sim.clear_faults();
    wait_for(|| (replicas[0].get(&path).status == 200).then_some(()));
    assert!(replicas.iter().all(|replica| replica.get(&path).status == 200));
    assert_eq!(calls_for(&sim, &id).len(), 4, "the failure is cached only during its pause");
    finish(replicas, &["flight failed"]);
}

#[test]
fn a_restarted_replica_serves_shared_snapshots_while_zoom_is_down() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1s")]);
    let (path, id) = meeting(&sim, 92_000_000_000, 3);
    let had = replicas[0].get(&path);
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).for_meeting(&id).forever());
    let url = redis.url();
    let fetched = Instant::now();
    let late = Service::start(&sim, &settings(&url, &[("cache.live_fresh", "1s")]));
    wait_until_redis_is(&late, 1.0);
    wait_for(|| (fetched.elapsed() > 2 * SECOND).then_some(()));
    let answer = late.get(&path);
    assert_same(&had, &answer);
    assert!(answer.cache_status().contains("stale") || answer.cache_status().contains("ttl=-"), "{answer:?}");
    late.finish(&["flight failed"]);
    finish(replicas, &[]);
}

/// The requests go to the replicas in turn, as through a load balancer.
#[test]
fn paging_continues_on_any_replica_though_newer_snapshots_are_fetched() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.live_fresh", "1s"), ("cache.stale_while_revalidate", "0s")]);
    let (path, id) = meeting(&sim, 92_000_000_000, 45);
    let (mut asked, mut token, mut seen) = (0, None::<String>, Vec::new());
    let mut fetched_at = HashSet::new();
    loop {
        let next = token.as_deref().map(|token| format!("&next_page_token={token}")).unwrap_or_default();
        let answer = replicas[asked % 3].get(&format!("{path}?page_size=10{next}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let slice = answer.json();
        seen.extend(slice["participants"].as_array().unwrap().iter().cloned());
        fetched_at.insert(slice["fetched_at"].to_string());
        token = slice["next_page_token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        asked += 1;
        if token.is_none() {
            break;
        }
        // Between two slices, other callers get a newer snapshot from every replica.
        let newer = wait_for(|| {
            let answer = replicas[asked % 3].get(&path);
            let newer = answer.json()["fetched_at"].to_string();
            (!fetched_at.contains(&newer)).then_some(newer)
        });
        for replica in &replicas {
            let theirs = replica.get(&path).json()["fetched_at"].to_string();
            assert!(theirs >= newer, "{theirs}");
        }
    }
    let whole = replicas[0].get(&path).json();
    assert_eq!((asked, fetched_at.len()), (5, 1), "all slices are of one snapshot");
    assert_eq!(&seen, whole["participants"].as_array().unwrap());
    // After a purge, no replica continues to page through the snapshot.
    let first = replicas[0].get(&format!("{path}?page_size=10")).json();
    let token = first["next_page_token"].as_str().unwrap();
    let next = format!("{path}?page_size=10&next_page_token={token}");
    wait_for(|| (redis.command::<Vec<String>>(&["KEYS", "{zqp:*}:r:*:live:*"]).len() >= 2).then_some(()));
    assert_eq!(request(replicas[0].ops, "DELETE", &path.replace("/qos", "/cache"), &[]).status, 204);
    for replica in &replicas {
        let gone = || (replica.get(&next).status == 400).then(|| replica.get(&next).problem());
        assert_eq!(wait_for(gone), "invalid_page_token");
    }
    assert_eq!(refused_by_zoom(&sim) + calls_for(&sim, &id).len() % 5, 0, "whole meetings, and no more");
    finish(replicas, &[]);
}

#[test]
fn another_replica_takes_over_the_flight_of_one_that_dies() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(400)), Server::start());
    let mut replicas = start(&sim, &redis, &[]);
    let (path, id) = meeting(&sim, 92_000_000_000, 45);
    let leader = replicas.remove(0);
    let answers = thread::scope(|scope| {
        let mut lost = send_request(&leader, &path);
        wait_for(|| (!calls_for(&sim, &id).is_empty()).then_some(()));
        let others: Vec<_> = replicas.iter().map(|replica| scope.spawn(|| replica.get(&path))).collect();
        wait_for(|| (calls_for(&sim, &id).len() >= 3).then_some(()));
        assert!(pages(&calls_for(&sim, &id)).values().all(|times| *times == 1), "the others wait");
        leader.crash();
        let died = Instant::now();
        let answers: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        // The claim becomes free 3 s after the last heartbeat. Another replica notices that within a second, and
        // fetches the 5 pages in 2 s.
        assert!(died.elapsed() < 8 * SECOND, "{:?}", died.elapsed());
        assert_eq!(lost.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
        answers
    });
    assert_same(&answers[0], &answers[1]);
    assert_eq!(answers[0].json()["participants"].as_array().unwrap().len(), 45);
    let pages = pages(&calls_for(&sim, &id));
    assert_eq!((pages.len(), refused_by_zoom(&sim)), (5, 0));
    assert!(pages.values().all(|times| *times <= 2), "only one replica takes over: {pages:?}");
    let calls = sim.qos_calls().len() as u64;
    for replica in &replicas {
        // The slots that the dead replica had reserved count as used.
        wait_for(|| (calls..=calls + 10).contains(&day_of(replica)).then_some(()));
    }
    finish(replicas, &[]);
}

/// The replica is suspended long enough for its claim to become free. When it resumes, its pages are older than the
/// snapshot that another replica has fetched.
#[test]
fn a_replica_suspended_during_a_flight_overwrites_nothing_newer() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(400)), Server::start());
    let replicas = start(&sim, &redis, &[("server.wait", "30s")]);
    let (path, id) = meeting(&sim, 92_000_000_000, 25);
    let (leader, others) = replicas.split_first().unwrap();
    let (of_leader, of_others) = thread::scope(|scope| {
        let first = scope.spawn(|| leader.get(&path));
        wait_for(|| (calls_for(&sim, &id).len() == 2).then_some(()));
        leader.signal("STOP");
        let stopped = Instant::now();
        let others: Vec<_> = others.iter().map(|other| scope.spawn(|| other.get(&path))).collect();
        let answers: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        wait_for(|| (stopped.elapsed() > 5 * SECOND).then_some(()));
        leader.signal("CONT");
        (first.join().unwrap(), answers)
    });
    assert_same(&of_others[0], &of_others[1]);
    assert_same(&of_leader, &of_others[0]);
    for replica in &replicas {
        assert_same(&of_others[0], &replica.get(&path));
    }
    assert_eq!(refused_by_zoom(&sim), 0);
    let pages = pages(&calls_for(&sim, &id));
    assert!(pages.values().all(|times| *times <= 2), "{pages:?}");
    // The suspended process has lost its connections to Redis.
    finish(replicas, &[AWAY]);
}

#[test]
fn a_replica_that_loses_redis_during_a_flight_still_answers() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(300)), Server::start());
    let relay = Relay::to(redis.port);
    let url = relay.url();
    let cut_off = Service::start(&sim, &settings(&url, &[]));
    let direct = redis.url();
    let other = Service::start(&sim, &settings(&direct, &[]));
    for replica in [&cut_off, &other] {
        wait_until_redis_is(replica, 1.0);
    }
    let (path, id) = meeting(&sim, 92_000_000_000, 35);
    let (mine, theirs) = thread::scope(|scope| {
        let mine = scope.spawn(|| cut_off.get(&path));
        wait_for(|| (!calls_for(&sim, &id).is_empty()).then_some(()));
        let theirs = scope.spawn(|| other.get(&path));
        relay.cut(true);
        (mine.join().unwrap(), theirs.join().unwrap())
    });
    for answer in [&mine, &theirs] {
        assert_eq!((answer.status, answer.json()["participants"].as_array().unwrap().len()), (200, 35));
    }
    let pages = pages(&calls_for(&sim, &id));
    assert!(pages.len() == 4 && pages.values().all(|times| *times <= 2), "{pages:?}");
    // Without Redis, the replica calls Zoom on its own.
    wait_until_redis_is(&cut_off, 0.0);
    let paths: Vec<_> = (1..=20).map(|number| meeting(&sim, 92_000_000_000 + number, 1).0).collect();
    assert!(at_once(cut_off.addr, paths.clone()).iter().all(|answer| answer.status == 200));
    relay.cut(false);
    wait_until_redis_is(&cut_off, 1.0);
    assert_eq!(refused_by_zoom(&sim), 0);
    let calls = sim.qos_calls().len() as u64;
    for replica in [&cut_off, &other] {
        wait_for(|| (calls..=calls + 10).contains(&day_of(replica)).then_some(()));
    }
    cut_off.finish(&[AWAY]);
    other.finish(&[]);
}

/// Without Redis, the replica fetches a snapshot that is newer than the shared record, but fresh for a shorter time.
/// That can happen while a changed setting is rolled out.
#[test]
fn a_replica_never_serves_an_older_snapshot_after_a_newer_one() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let relay = Relay::to(redis.port);
    let (through, direct) = (relay.url(), redis.url());
    let short = [("cache.live_fresh", "1s"), ("cache.stale_while_revalidate", "0s")];
    let cut_off = Service::start(&sim, &settings(&through, &short));
    let other = Service::start(&sim, &settings(&direct, &[("cache.live_fresh", "1h")]));
    for replica in [&cut_off, &other] {
        wait_until_redis_is(replica, 1.0);
    }
    let (path, id) = meeting(&sim, 92_000_000_000, 3);
    other.get(&path);
    relay.cut(true);
    wait_until_redis_is(&cut_off, 0.0);
    let fetched_at = |answer: &Answer| answer.json()["fetched_at"].as_str().unwrap().to_owned();
    let seen = fetched_at(&cut_off.get(&path));
    let fetched = Instant::now();
    assert!(seen > fetched_at(&other.get(&path)), "the replica without Redis fetches the meeting itself");
    relay.cut(false);
    wait_until_redis_is(&cut_off, 1.0);
    wait_for(|| (fetched.elapsed() > 2 * SECOND).then_some(()));
    let later = cut_off.get(&path);
    assert!(fetched_at(&later) > seen, "{}", later.cache_status());
    assert_eq!(calls_for(&sim, &id).len(), 3);
    cut_off.finish(&[AWAY]);
    other.finish(&[]);
}

/// The refusal is not cached, but callers that already wait for the flight get it.
#[test]
fn an_uncached_refusal_reaches_all_waiting_replicas() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(300)), Server::start());
    let replicas = start(&sim, &redis, &[("cache.not_found_live", "0s")]);
    let id = "92000000999";
    let get = |replica: &Service| replica.get(&format!("/qos/{id}"));
    let answers = thread::scope(|scope| {
        let first = scope.spawn(|| get(&replicas[0]));
        wait_for(|| (!calls_for(&sim, id).is_empty()).then_some(()));
        let others: Vec<_> = replicas[1..].iter().map(|replica| scope.spawn(move || get(replica))).collect();
        [first].into_iter().chain(others).map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &answers {
        assert_eq!((answer.status, answer.problem().as_str()), (404, "meeting_not_found"));
        assert_eq!(answer.json()["zoom"], answers[0].json()["zoom"], "Zoom's message");
    }
    assert_eq!(calls_for(&sim, id).len(), 1);
    replicas[1].get(&format!("/qos/{id}"));
    assert_eq!(calls_for(&sim, id).len(), 2, "the refusal is not cached");
    finish(replicas, &[]);
}

#[test]
fn all_replicas_know_a_refusal_that_is_cached_for_days() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[("cache.not_found_live", "72h")]);
    for replica in &replicas {
        assert_eq!(replica.get("/qos/92000000999").problem(), "meeting_not_found");
        assert_eq!(replica.metric("zoom_qos_proxy_redis_values_rejected_total{kind=\"record\"}"), 0.0);
    }
    assert_eq!(calls_for(&sim, "92000000999").len(), 1);
    finish(replicas, &[]);
}

/// The replica stays alive, so its claim stays valid, but it cannot report that its flight has ended.
#[test]
fn a_replica_that_cannot_finish_does_not_keep_others_waiting() {
    let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(500)), Server::start());
    let relay = Relay::to(redis.port);
    let (through, direct) = (relay.url(), redis.url());
    let cut_off = Service::start(&sim, &settings(&through, &[]));
    let other = Service::start(&sim, &settings(&direct, &[]));
    for replica in [&cut_off, &other] {
        wait_until_redis_is(replica, 1.0);
    }
    let (path, id) = meeting(&sim, 92_000_000_000, 3);
    thread::scope(|scope| {
        let first = scope.spawn(|| cut_off.get(&path));
        wait_for(|| (!calls_for(&sim, &id).is_empty()).then_some(()));
        relay.cut(true);
        assert_eq!(first.join().unwrap().status, 200);
    });
    wait_until_redis_is(&cut_off, 0.0);
    relay.cut(false);
    wait_until_redis_is(&cut_off, 1.0);
    let asked = Instant::now();
    let answer = other.get(&path);
    assert_eq!((answer.status, answer.json()["participants"].as_array().unwrap().len()), (200, 3));
    println!("a caller whose event was lost got the answer after {:?}", asked.elapsed());
    assert!(asked.elapsed() < 5 * SECOND, "{:?}", asked.elapsed());
    assert_eq!((calls_for(&sim, &id).len(), refused_by_zoom(&sim)), (2, 0));
    cut_off.finish(&[AWAY]);
    other.finish(&[]);
}

/// A stopping replica still answers callers that wait for the flight of another replica. A replica whose shutdown
/// timeout ends leaves its own flight to the others.
#[test]
fn replicas_that_stop_during_a_flight_leave_no_caller_waiting() {
    let (sim, redis) = (sim(|config| config.latency = 2 * SECOND), Server::start());
    let mut replicas = start(&sim, &redis, &[("server.shutdown_timeout", "6s")]);
    let url = redis.url();
    let leader = Service::start(&sim, &settings(&url, &[("server.shutdown_timeout", "500ms")]));
    wait_until_redis_is(&leader, 1.0);
    let (path, id) = meeting(&sim, 92_000_000_000, 3);
    let follower = replicas.remove(0);
    thread::scope(|scope| {
        drop(send_request(&leader, &path));
        wait_for(|| (!calls_for(&sim, &id).is_empty()).then_some(()));
        let answer = scope.spawn(|| request(follower.addr, "GET", &path, &[]));
        wait_for(|| (follower.ops_get("/status").json()["flights"]["active"] == 1).then_some(()));
        follower.signal("TERM");
        let stopped = Instant::now();
        leader.finish(&["stopped before all requests and flights finished"]);
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.json()["participants"].as_array().unwrap().len()), (200, 3));
        // This takes the shutdown timeout of the leader (0.5 s), up to a second until the next look-up, and the call (2
        // s).
        assert!(stopped.elapsed() < 5 * SECOND, "{:?}", stopped.elapsed());
    });
    assert_same(&replicas[0].get(&path), &replicas[1].get(&path));
    assert_eq!((calls_for(&sim, &id).len(), refused_by_zoom(&sim)), (2, 0));
    follower.finish_stopped(&[]);
    finish(replicas, &[]);
}

#[test]
fn a_clock_that_is_ten_minutes_off_changes_nothing_for_the_others() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    // The `faketime` program would be a process between the test and the service, so the library is preloaded directly.
    let preload = "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1";
    // The library must not use shared memory, because a killed process would leave it behind.
    let shared = "FAKETIME_DISABLE_SHM=1";
    let ahead = ["env", preload, "FAKETIME=+10m", "FAKETIME_DONT_FAKE_MONOTONIC=1", shared];
    let off = Service::start_by(&sim, &settings(&url, &[]), &ahead);
    let right = Service::start(&sim, &settings(&url, &[]));
    for replica in [&off, &right] {
        wait_until_redis_is(replica, 1.0);
    }
    let date = httpdate::parse_http_date(off.get("/qos/92000000999").header("date").unwrap()).unwrap();
    assert!(
        date > SystemTime::now() + 590 * SECOND,
        "the clock is not changed ({date:?}): `scripts/prepare faketime` installs the library that changes it"
    );
    for (number, (first, second)) in [(&off, &right), (&right, &off)].into_iter().enumerate() {
        let (path, id) = meeting(&sim, 92_000_000_000 + number as u64, 3);
        let before = SystemTime::now();
        let fetched = first.get(&path);
        let modified = httpdate::parse_http_date(fetched.header("last-modified").unwrap()).unwrap();
        let apart =
            modified.duration_since(UNIX_EPOCH).unwrap().abs_diff(before.duration_since(UNIX_EPOCH).unwrap());
        assert!(apart < 3 * SECOND, "both replicas use the clock of Redis: {apart:?}");
        let other = second.get(&path);
        assert_same(&fetched, &other);
        let age: u64 = other.header("age").unwrap().parse().unwrap();
        assert!(age <= 2, "{age}");
        assert_eq!(calls_for(&sim, &id).len(), 1);
    }
    let paths: Vec<_> = (10..50).map(|number| meeting(&sim, 92_000_000_000 + number, 1).0).collect();
    let replicas = vec![off, right];
    assert!(ask(&replicas, &paths).iter().all(|answer| answer.status == 200));
    assert_eq!(refused_by_zoom(&sim), 0);
    finish(replicas, &[]);
}

/// This happens in a rolling upgrade if neither version can read the records of the other.
#[test]
fn a_record_of_another_format_is_a_miss_and_not_an_error() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let (path, id) = meeting(&sim, 92_000_000_000, 12);
    replicas[0].get(&path);
    let names: Vec<String> = redis.command(&["KEYS", "{zqp:*}:r:*"]);
    assert_eq!(names.len(), 1, "{names:?}");
    let torn: &[&str] = &["out of bounds or torn"];
    for (script, said) in [
        (
            "redis.call('HSET', KEYS[1], 'd', 'ZQ' .. string.char(99) .. string.sub(redis.call('HGET', KEYS[1], 'd'), 4))",
            &[][..],
        ),
        ("redis.call('HSET', KEYS[1], 'd', string.sub(redis.call('HGET', KEYS[1], 'd'), 1, -9))", torn),
        ("redis.call('HSET', KEYS[1], 'd', '')", torn),
        ("redis.call('HDEL', KEYS[1], 'd')", &[]),
    ] {
        redis.command::<redis::Value>(&["EVAL", script, "1", &names[0]]);
        sim.clear_calls();
        // These replicas start with an empty cache. The first one fetches the meeting again, and the second one finds
        // its record.
        let url = redis.url();
        let late = [0, 1].map(|_| Service::start(&sim, &settings(&url, &[])));
        for late in &late {
            wait_until_redis_is(late, 1.0);
            assert_eq!(late.get(&path).status, 200);
        }
        assert_eq!(pages(&calls_for(&sim, &id)).into_values().collect::<Vec<_>>(), [1, 1], "{script}");
        for late in late {
            late.finish(said);
        }
    }
    finish(replicas, &[]);
}

/// These tests depend on timing and need the machine to themselves. `make tests` runs them one at a time, after the
/// others.
mod alone {
    use super::*;

    #[test]
    fn a_hundred_meetings_requested_from_three_replicas_are_fetched_once() {
        let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(50)), Server::start());
        let replicas = start(&sim, &redis, &[("server.wait", "39s")]);
        let paths: Vec<_> = (0..100).map(|number| meeting(&sim, 92_000_000_000 + number, 15).0).collect();
        let answers = thread::scope(|scope| {
            let asked: Vec<_> =
                replicas.iter().map(|replica| scope.spawn(|| at_once(replica.addr, paths.clone()))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
        });
        for (number, first) in answers[0].iter().enumerate() {
            assert_eq!(first.json()["participants"].as_array().unwrap().len(), 15);
            for other in &answers[1..] {
                assert_same(first, &other[number]);
            }
        }
        let calls = sim.qos_calls();
        let distinct: HashSet<_> = calls.iter().map(|call| (call.meeting.clone(), call.page)).collect();
        assert_eq!((calls.len(), distinct.len(), refused_by_zoom(&sim)), (200, 200, 0));
        println!("{} at most in any second", most_in_a_second(&calls));
        for replica in &replicas {
            wait_for(|| (day_of(replica) == 200).then_some(()));
            for path in &paths {
                let answer = replica.get(path);
                assert_eq!(answer.cache_status().split(';').nth(1), Some(" hit"), "{answer:?}");
            }
        }
        assert_eq!(sim.qos_calls().len(), 200);
        finish(replicas, &[]);
    }

    /// All replicas are making calls when one receives the 429.
    #[test]
    fn a_429_stops_all_replicas_within_a_tenth_of_a_second() {
        let (sim, redis) = (sim(|config| config.latency = Duration::from_millis(20)), Server::start());
        let replicas = start(&sim, &redis, &[("server.wait", "39s")]);
        let paths: Vec<_> = (0..150).map(|number| meeting(&sim, 92_000_000_000 + number, 1).0).collect();
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&replicas, &paths));
            wait_for(|| (sim.qos_calls().len() > 30).then_some(()));
            sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("3".into()), headers: true }));
            assert!(asked.join().unwrap().iter().all(|answer| answer.status == 200));
        });
        let calls = sim.qos_calls();
        let refused: Vec<_> = calls.iter().filter(|call| call.status == Some(429)).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        // Zoom answers the refused call after 20 ms.
        let refused_at = refused[0].at + Duration::from_millis(20);
        let since = |call: &&Call| {
            call.at > refused_at + Duration::from_millis(100)
                && call.at < refused_at + Duration::from_millis(2_900)
        };
        assert_eq!(calls.iter().filter(since).count(), 0);
        let last =
            calls.iter().filter(|call| call.at < refused_at + SECOND).map(|call| call.at).max().unwrap();
        println!("the last call came {:?} after the refusal", last.saturating_duration_since(refused_at));
        finish(replicas, &["all calls pause"]);
    }
}
