//! Another program writes impossible values to the shared Redis. Callers still get answers, the process survives, and
//! the values are counted. Later heartbeats and requests repair them.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use test_support::{
    client::request,
    redis_server::Server,
    replicas::{AWAY, day_of, finish, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, calls_for, sim},
    wait::{pause, wait_for},
};
use zoom_qos_proxy::{
    cluster::{
        keys::RecordKey,
        record_codec::{self, RecordKind},
    },
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType, SnapshotKey},
};
use zoom_sim::{Meeting, Sim};

/// Part of the warning that a service logs about impossible values.
const REFUSED: &str = "is out of bounds";
const SECOND: Duration = Duration::from_secs(1);
const NUMBERS: [&str; 10] = [
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e300",
    "18446744073709551615",
    "-9223372036854775808",
    "0x7fffffffffff",
    // The year 10000, in microseconds since 1970.
    "253402300800000000",
    "",
];

fn start(sim: &Sim, redis: &Server) -> Service {
    let url = redis.url();
    let settings = [
        ("redis.url", url.as_str()),
        ("redis.replicas", "2"),
        ("limits.headroom_percent", "0"),
        ("cache.refresh_floor", "0s"),
    ];
    let service = Service::start(sim, &settings);
    wait_until_redis_is(&service, 1.0);
    service
}

fn key(redis: &Server, name: &str) -> String {
    wait_for(|| redis.command::<Vec<String>>(&["KEYS", &format!("{{zqp:*}}:{name}")]).pop())
}

fn named(redis: &Server, name: &str) -> String {
    key(redis, "budget").replace(":budget", &format!(":{name}"))
}

fn refused(service: &Service, kind: &str) -> f64 {
    service.metric(&format!("zoom_qos_proxy_redis_values_rejected_total{{kind=\"{kind}\"}}"))
}

fn publish(redis: &Server, message: &str) {
    assert!(
        redis.command::<u32>(&["PUBLISH", &named(redis, "events"), message]) > 0,
        "no replica is subscribed"
    );
}

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Asserts that the service serves this meeting, and still uses Redis.
fn assert_serves(service: &Service, path: &str, after: &str) {
    let answer = service.get(path);
    assert_eq!(answer.status, 200, "after {after}: {} {:?}", answer.text(), answer.headers);
    assert_eq!(service.metric("zoom_qos_proxy_redis_up"), 1.0, "after {after}");
}

/// The number of connections that the server has accepted, from its `INFO stats`.
fn received(stats: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn an_impossible_event_is_counted_and_stops_no_caller() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let paths = add_meetings(&sim, 0, 20);
    let mut paths = paths.iter();
    let day_after_tomorrow = (micros() + 48 * 3_600_000_000).to_string();
    let numbers =
        NUMBERS.into_iter().chain([day_after_tomorrow.as_str()]).filter(|number| !number.is_empty());
    let mut said = 0.0;
    for number in numbers {
        for what in ["cool day", "cool second", "purged *", "landed x:live", "failed x:live"] {
            // A fence may be up to 48 h ahead, but the end of a cool-down may not.
            if number != day_after_tomorrow || what.starts_with("cool") {
                publish(&redis, &format!("{what} {number} "));
                said += 1.0;
            }
        }
        assert_serves(&service, paths.next().unwrap(), number);
    }
    let late = (micros() + 100_000_000).to_string();
    let words = |retry_at: &str| format!("{{\"reason\":\"zoom_failed\",\"retry_at\":{retry_at}}}");
    for message in [
        format!("cool second {late}"),
        "x".repeat(500_000),
        format!("purged {} 1", "x".repeat(500_000)),
        format!("failed 85746065432:live 1 {}", words("18446744073709551615")),
    ] {
        publish(&redis, &message);
        said += 1.0;
    }
    assert_serves(&service, paths.next().unwrap(), "long ones");
    wait_for(|| (refused(&service, "event") == said).then_some(()));
    // An event that is larger than any valid reply ends the connection. The replica opens a new one immediately.
    let connections = || redis.command::<String>(&["INFO", "stats"]);
    let before = connections();
    publish(&redis, &"x".repeat(5_000_000));
    wait_for(|| (received(&connections()) > received(&before) + 1).then_some(()));
    assert_serves(&service, paths.next().unwrap(), "one that ends the connection");
    let lines = service.finish(&[REFUSED, "Redis"]);
    assert_eq!(
        lines.iter().filter(|line| line.contains(REFUSED)).count(),
        1,
        "logged once, not {said} times"
    );
}

#[test]
fn a_pause_of_another_replica_ends_within_its_bounds() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let path = add_meetings(&sim, 0, 1).remove(0);
    publish(&redis, &format!("cool second {} ", micros() + 50_000_000));
    let answer = wait_for(|| Some(service.get(&path)).filter(|answer| answer.status == 503));
    assert!((40..=51).contains(&answer.retry_after()), "{}", answer.retry_after());
    // A cool-down in the budget itself may end up to a minute after 00:00 UTC.
    let budget = key(&redis, "budget");
    let to_midnight = 86_400_000_000 - micros() % 86_400_000_000;
    redis.command::<u32>(&["HSET", &budget, "cool_day", &(micros() + to_midnight + 59_000_000).to_string()]);
    let most = to_midnight / 1_000_000 + 61;
    let answer = wait_for(|| Some(service.get(&path)).filter(|answer| answer.retry_after() > 60));
    assert!((most - 5..=most).contains(&answer.retry_after()), "{} of {most}", answer.retry_after());
    service.finish(&[]);
}

#[test]
fn an_impossible_budget_is_repaired_by_the_next_heartbeat() {
    const FIELDS: [&str; 12] = [
        "now",
        "fresh",
        "empty",
        "next",
        "day",
        "base",
        "used",
        "taken",
        "cool_second",
        "cool_day",
        "purge",
        "purged_all",
    ];
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let paths = add_meetings(&sim, 0, 40);
    let (mut paths, mut calls) = (paths.iter(), 0);
    let (budget, members) = (key(&redis, "budget"), key(&redis, "members"));
    let long = "9".repeat(1_000_000);
    let mut serves = |after: &str| {
        assert_serves(&service, paths.next().unwrap(), after);
        calls += 1;
        let counted = day_of(&service);
        assert!((calls..=calls + 20).contains(&counted), "after {after}: {counted} of {calls} calls");
    };
    serves("nothing");
    for value in NUMBERS.into_iter().chain([long.as_str()]) {
        let mut forged = vec!["HSET", &budget];
        forged.extend(FIELDS.iter().flat_map(|field| [*field, value]));
        redis.command::<u32>(&forged);
        serves(&format!("{value:.30} everywhere"));
        // The request's look-up repairs `purged_all`, and a heartbeat repairs the other fields.
        let healed = || {
            let all: Vec<Option<String>> = redis.command(&[&["HMGET", &budget], &FIELDS[..]].concat());
            all.into_iter().flatten().all(|field| field != value).then_some(())
        };
        wait_for(healed);
    }
    for field in FIELDS {
        redis.command::<u32>(&["HSET", &budget, field, "253402300800000000"]);
        serves(field);
    }
    // Entries of replicas: some with impossible values, and one whose times are far in the future.
    for about in [
        "nan nan nan nan nan",
        "",
        "1e300 1e300 1e300 1e300 1e300",
        &long,
        "253402300800000000 253402300800000000 9 9 9",
    ] {
        redis.command::<u32>(&["HSET", &members, "somebody", about]);
        serves(&format!("a member {about:.30}"));
        wait_for(|| (redis.command::<u32>(&["HEXISTS", &members, "somebody"]) == 0).then_some(()));
    }
    // Both keys are strings instead of hashes.
    for name in [&budget, &members] {
        redis.command::<()>(&["SET", name, "a text"]);
        serves(name);
    }
    assert!(refused(&service, "budget") > 100.0, "{}", refused(&service, "budget"));
    let lines = service.finish(&[REFUSED]);
    assert!(lines.iter().filter(|line| line.contains(REFUSED)).count() <= 3, "once for each kind");
}

#[test]
fn impossible_fences_hide_no_record_from_any_replica() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = [start(&sim, &redis), start(&sim, &redis)];
    let (budget, mut number) = (key(&redis, "budget"), 92_000_000_000_u64);
    let mut is_shared = |after: &str, forge: &dyn Fn(&str)| {
        number += 1;
        let id = format!("{number:011}");
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        let path = format!("/qos/{id}");
        forge(&id);
        assert_serves(&replicas[0], &path, after);
        // Wait until the first replica has stored its record in Redis.
        wait_for(|| {
            let record = named(&redis, &format!("r:{id}:live"));
            (redis.command::<u32>(&["EXISTS", &record]) == 1).then_some(())
        });
        assert_serves(&replicas[1], &path, after);
        assert_eq!(
            calls_for(&sim, &id).len(),
            1,
            "after {after}: one replica fetches the meeting, and both serve it"
        );
        assert_eq!(request(replicas[0].ops, "DELETE", &format!("/cache/{id}"), &[]).status, 204);
        wait_for(|| {
            let answer = request(replicas[1].addr, "GET", &path, &[("Cache-Control", "only-if-cached")]);
            (answer.status == 504).then_some(())
        });
    };
    for value in NUMBERS {
        let fence = named(&redis, "fence");
        is_shared(&format!("{value} everywhere"), &|id| {
            redis.command::<u32>(&["HSET", &budget, "purge", value, "purged_all", value]);
            redis.command::<()>(&["SET", &fence, value]);
            redis.command::<()>(&["SET", &named(&redis, &format!("p:{id}:live")), value]);
            redis.command::<u32>(&["HSET", &named(&redis, &format!("r:{id}:live")), "f", value, "d", "x"]);
            redis.command::<u32>(&["HSET", &named(&redis, &format!("c:{id}:live")), "f", value, "o", "x"]);
            publish(&redis, &format!("purged * {value} x"));
        });
    }
    is_shared("purges far ahead", &|_| {
        let purges = named(&redis, "purges");
        redis.command::<u32>(&["ZADD", &purges, "1e300", "x:live", "inf", "y:live"]);
        // A new `purge` number makes both replicas read the list of purges.
        redis.command::<u32>(&["HSET", &budget, "purge", &(micros() + 10_000_000).to_string()]);
        wait_for(|| (redis.command::<u32>(&["ZCARD", &purges]) <= 1_000).then_some(()));
    });
    is_shared("keys of another type", &|id| {
        for name in ["fence", "purges"] {
            redis.command::<u32>(&["DEL", &named(&redis, name)]);
            redis.command::<u32>(&["SADD", &named(&redis, name), "x"]);
        }
        for kind in ["r", "c", "p"] {
            redis.command::<u32>(&["SADD", &named(&redis, &format!("{kind}:{id}:live")), "x"]);
        }
    });
    assert!(refused(&replicas[0], "fence") > 10.0);
    finish(replicas.into(), &[REFUSED]);
}

#[test]
fn a_forged_claim_delays_callers_for_less_than_three_seconds() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let path = add_meetings(&sim, 0, 1).remove(0);
    let members = key(&redis, "members");
    let claim = named(&redis, &format!("c:{}:live", path.trim_start_matches("/qos/")));
    // A claim that never expires, of a replica that seems to be alive.
    redis.command::<u32>(&["HSET", &members, "somebody", &format!("{} 0 0 0 -1", micros() + 3_600_000_000)]);
    redis.command::<u32>(&["HSET", &claim, "o", "somebody", "f", &micros().to_string()]);
    let asked = Instant::now();
    assert_serves(&service, &path, "a claim");
    assert!(asked.elapsed() < 3 * SECOND, "{:?}", asked.elapsed());
    assert!(refused(&service, "fence") >= 1.0);
    service.finish(&[REFUSED]);
}

#[test]
fn a_forged_failure_cannot_make_callers_wait_for_hours() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let path = add_meetings(&sim, 0, 1).remove(0);
    let subject = format!("{}:live", path.trim_start_matches("/qos/"));
    let claim = named(&redis, &format!("c:{subject}"));
    let claimed = micros().to_string();
    let lives = || {
        let about = format!("{} 0 0 0 -1", micros());
        redis.command::<u32>(&["HSET", &key(&redis, "members"), "somebody", &about]);
    };
    lives();
    redis.command::<u32>(&["HSET", &claim, "o", "somebody", "f", &claimed]);
    redis.command::<u32>(&["PEXPIRE", &claim, "50000"]);
    let words = format!("{{\"reason\":\"zoom_failed\",\"retry_at\":{}}}", micros() + 47 * 3_600_000_000);
    let answer = thread::scope(|scope| {
        let waits = scope.spawn(|| service.get(&path));
        // Published repeatedly, because an event that arrives before the subscription is lost.
        wait_for(|| {
            lives();
            publish(&redis, &format!("failed {subject} {claimed} {words}"));
            waits.is_finished().then_some(())
        });
        waits.join().unwrap()
    });
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
    assert!(answer.retry_after() <= 60, "{}", answer.retry_after());
    // The same bound holds for an event that arrives just before a request. The loop repeats this until an event
    // affects its request.
    let mut later = add_meetings(&sim, 1, 100).into_iter();
    let answer = wait_for(|| {
        let path = later.next().unwrap();
        publish(&redis, &format!("failed {}:live {claimed} {words}", path.trim_start_matches("/qos/")));
        Some(service.get(&path)).filter(|answer| answer.status == 502)
    });
    assert!(answer.retry_after() <= 60, "{}", answer.retry_after());
    service.finish(&["flight failed"]);
}

/// The key of a live meeting's record.
fn live(id: &str) -> RecordKey {
    RecordKey::meeting(&SnapshotKey {
        meeting: MeetingId::parse(id).unwrap(),
        kind: MeetingKind::Meeting,
        meeting_type: MeetingType::Live,
    })
}

/// Returns the record of a snapshot with one field changed.
fn with_field(key: &RecordKey, record: &[u8], field: &str, value: &str) -> Vec<u8> {
    let read = record_codec::decode(None, key, record).unwrap();
    let (length, rest) = read.content.split_first_chunk::<4>().unwrap();
    let (about, bodies) = rest.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
    let mut about: serde_json::Value = serde_json::from_slice(about).unwrap();
    about[field] = serde_json::from_str(value).unwrap();
    let about = about.to_string();
    let length = u32::try_from(about.len()).unwrap().to_le_bytes();
    let body = [&length[..], about.as_bytes(), bodies].concat();
    record_codec::encode(None, key, RecordKind::Snapshot, read.fetched_at, &body).unwrap()
}

#[test]
fn an_oversized_record_is_not_sent_and_an_impossible_one_refetched() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let (one, other) = (start(&sim, &redis), start(&sim, &redis));
    let forge = |id: &str, bytes: &[u8]| {
        let name = named(&redis, &format!("r:{id}:live"));
        let mut connection = redis.connection();
        let forged =
            redis::cmd("HSET").arg(&name).arg("f").arg(micros()).arg("d").arg(bytes).exec(&mut connection);
        forged.unwrap();
    };
    let sent = || {
        let stats: String = redis.command(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let [large, year, fresh, long] = [1, 2, 3, 4].map(|number| {
        let id = format!("{:011}", 92_000_000_000_u64 + number);
        sim.add_meeting(Meeting::generated(&id, 3, 1));
        id
    });
    let (before, resident) = (sent(), one.resident());
    forge(&large, &vec![b'x'; 100_000_000]);
    assert_serves(&one, &format!("/qos/{large}"), "100 MB");
    let (sent, more) = (sent() - before, one.resident().saturating_sub(resident));
    println!("{sent} of 100 MB were sent, and memory grew by {more} bytes");
    assert!(sent < 10_000_000, "{sent}");
    assert!(more < 50_000_000, "{more}");
    assert!(refused(&one, "record") >= 1.0);
    for (id, from, to) in [
        (&year, "fetched_at_ms", "253402300800000"),
        (&fresh, "fresh_for_ms", "18446744073709551615"),
        (&long, "length", "1000000000000"),
    ] {
        assert_serves(&one, &format!("/qos/{id}"), "nothing");
        let name = named(&redis, &format!("r:{id}:live"));
        let record = wait_for(|| redis.command::<Option<Vec<u8>>>(&["HGET", &name, "d"]));
        forge(id, &with_field(&live(id), &record, from, to));
        let rejected = refused(&other, "record");
        let answer = other.get(&format!("/qos/{id}"));
        assert_eq!(answer.status, 200, "{from}: {}", answer.text());
        let age: u64 =
            answer.header("cache-control").unwrap().split_once("max-age=").unwrap().1.parse().unwrap();
        assert!(age <= 30, "{from}: {age}");
        assert_eq!(calls_for(&sim, id).len(), 2, "{from}: fetched again");
        assert!(refused(&other, "record") > rejected, "{from}");
    }
    // A forged refusal whose `retry_at` is later than that of any valid refusal.
    let id = "92000000999";
    let words =
        format!("{{\"reason\":\"meeting_not_found\",\"retry_at\":{}}}", micros() + 47 * 3_600_000_000);
    let record =
        record_codec::encode(None, &live(id), RecordKind::Refusal, micros(), words.as_bytes()).unwrap();
    forge(id, &record);
    let asked = Instant::now();
    assert_eq!(one.get(&format!("/qos/{id}")).problem(), "meeting_not_found");
    sim.add_meeting(Meeting::generated(id, 3, 1));
    wait_for(|| (one.get(&format!("/qos/{id}")).status == 200).then_some(()));
    assert!(asked.elapsed() < 20 * SECOND, "{:?}", asked.elapsed());
    finish(vec![one, other], &[REFUSED]);
}

#[test]
fn a_password_is_not_logged_even_if_the_server_repeats_it() {
    const PASSWORD: &str = "Zebra-of-the-password";
    let (sim, redis) = (sim(|_| ()), Server::with(&["--rename-command", "HELLO", ""]));
    let path = add_meetings(&sim, 0, 1).remove(0);
    for (user, said) in [("", "HELLO is renamed"), ("zebra-of-the-user", "HELLO is renamed")] {
        let url = redis.url().replace("://", &format!("://{user}:{PASSWORD}@"));
        let service = Service::start(&sim, &[("redis.url", &url), ("server.wait", "39s")]);
        wait_for(|| service.printed().iter().any(|line| line.contains(AWAY)).then_some(()));
        assert_eq!(service.get(&path).status, 200);
        let lines = service.finish(&[AWAY]);
        assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
        for line in lines {
            let line = line.to_lowercase();
            assert!(!line.contains("zebra-of"), "{line}");
        }
    }
}

#[test]
fn a_pause_is_accepted_only_for_its_own_limit() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let paths = add_meetings(&sim, 0, 8);
    let (mut paths, mut said) = (paths.iter(), 0.0);
    let soon = || micros() + 50_000_000;
    for (kind, words) in [
        ("day", r#"{"reason":"meeting_not_found","zoom":{"status":404}}"#),
        ("second", r#"{"reason":"meeting_too_old"}"#),
        ("second", r#"{"reason":"zoom_rejected_credentials"}"#),
        ("second", r#"{"reason":"zoom_daily_quota_spent"}"#),
        ("day", r#"{"reason":"zoom_rate_limited"}"#),
    ] {
        publish(&redis, &format!("cool {kind} {} {words}", soon()));
        said += 1.0;
        wait_for(|| (refused(&service, "event") == said).then_some(()));
        assert_serves(&service, paths.next().unwrap(), words);
    }
    let path = paths.next().unwrap();
    publish(&redis, &format!(r#"cool second {} {{"reason":"zoom_rate_limited"}}"#, soon()));
    let answer = wait_for(|| Some(service.get(path)).filter(|answer| answer.status != 200));
    assert_eq!(answer.problem(), "zoom_rate_limited");
    service.finish(&[REFUSED]);
}

#[test]
fn an_impossible_daily_count_is_forgotten_by_all_replicas() {
    const DAY: u64 = 86_400_000_000;
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = [start(&sim, &redis), start(&sim, &redis)];
    let paths = add_meetings(&sim, 0, 60);
    let mut paths = paths.iter();
    let budget = key(&redis, "budget");
    let mut serve = |after: &str| {
        for replica in &replicas {
            wait_until_redis_is(replica, 1.0);
            assert_serves(replica, paths.next().unwrap(), after);
            assert!(day_of(replica) < 200, "after {after}: {}", day_of(replica));
        }
    };
    let tomorrow = (micros() / DAY + 1).to_string();
    let mut forgeries = vec![
        vec!["base", "4294967295", "used", "1"],
        vec!["base", "1", "used", "4294967295"],
        vec!["base", "4294967295", "used", "-4294967295"],
        vec!["base", "4294967295", "used", "0"],
        vec!["day", &tomorrow, "base", "4294967295", "used", "0"],
    ];
    if micros() % DAY < DAY - 400_000_000 {
        forgeries.push(vec!["day", &tomorrow, "base", "99999", "used", "0"]);
    } else {
        println!("skipped minutes before 00:00 UTC, when tomorrow's day is accepted");
    }
    for forgery in &forgeries {
        let after = forgery.join(" ");
        let before: Vec<_> = replicas.iter().map(|replica| refused(replica, "budget")).collect();
        redis.command::<u32>(&[&["HSET", budget.as_str()], forgery.as_slice()].concat());
        wait_for(|| {
            let now = replicas.iter().map(|replica| refused(replica, "budget"));
            now.zip(&before).any(|(now, before)| now > *before).then_some(())
        });
        serve(&after);
        // After the key is deleted, the replicas write the counts that they know. The forged count must not be among
        // them.
        redis.command::<u32>(&["DEL", &budget]);
        serve(&format!("{after}, and nothing"));
    }
    finish(replicas.into(), &[REFUSED]);
}

#[test]
fn a_record_with_a_broken_body_is_fetched_again() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let (one, other) = (start(&sim, &redis), start(&sim, &redis));
    for (id, rows, encoding) in
        [("92000000001", 1, "identity"), ("92000000002", 30, "zstd"), ("92000000003", 100, "identity")]
    {
        sim.add_meeting(Meeting::generated(id, rows, 1));
        assert_serves(&one, &format!("/qos/{id}"), "nothing");
        let name = named(&redis, &format!("r:{id}:live"));
        let record = wait_for(|| redis.command::<Option<Vec<u8>>>(&["HGET", &name, "d"]));
        let key = SnapshotKey {
            meeting: MeetingId::parse(id).unwrap(),
            kind: MeetingKind::Meeting,
            meeting_type: MeetingType::Live,
        };
        let of = RecordKey::meeting(&key);
        let read = record_codec::decode(None, &of, &record).unwrap();
        let mut body = read.content.clone();
        let length = 4 + usize::try_from(u32::from_le_bytes(body[..4].try_into().unwrap())).unwrap();
        body[length..].fill(7);
        let calls = calls_for(&sim, id).len();
        let forged = record_codec::encode(None, &of, RecordKind::Snapshot, read.fetched_at, &body).unwrap();
        redis::cmd("HSET").arg(&name).arg("d").arg(forged).exec(&mut redis.connection()).unwrap();
        let rejected = refused(&other, "record");
        let answer = request(other.addr, "GET", &format!("/qos/{id}"), &[("Accept-Encoding", encoding)]);
        assert_eq!(answer.status, 200, "{id}");
        assert!(!answer.body.is_empty(), "{id}");
        assert!(refused(&other, "record") > rejected, "{id}");
        assert_eq!(calls_for(&sim, id).len(), 2 * calls, "{id}: fetched again");
    }
    finish(vec![one, other], &[REFUSED]);
}

/// Writes random values for two seconds. They do less harm than those of the other tests, but there are many more.
#[test]
fn callers_are_answered_during_random_writes_to_redis() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let service = start(&sim, &redis);
    let paths = add_meetings(&sim, 0, 200);
    let names = ["budget", "members", "fence", "purges", "events"].map(|name| named(&redis, name));
    let begun = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(17);
            let mut connection = redis.connection();
            let mut written = 0;
            while begun.elapsed() < 2 * SECOND {
                let value = match random.u8(..4) {
                    0 => NUMBERS[random.usize(..NUMBERS.len())].as_bytes().to_vec(),
                    1 => random.u64(..).to_string().into_bytes(),
                    2 => (0..random.usize(..60)).map(|_| random.u8(..)).collect(),
                    _ => format!("cool day {}", random.u64(..)).into_bytes(),
                };
                let name = &names[random.usize(..names.len())];
                let fields = ["next", "day", "used", "cool_day", "purge", "somebody"];
                let mut command = match random.u8(..5) {
                    0 => redis::cmd("SET"),
                    1 => redis::cmd("PUBLISH"),
                    2 => redis::cmd("DEL"),
                    _ => redis::cmd("HSET"),
                };
                command.arg(name);
                // The command fails if the key has another type, which does not matter.
                match random.u8(..2) {
                    0 => command
                        .arg(fields[random.usize(..fields.len())])
                        .arg(value)
                        .exec(&mut connection)
                        .ok(),
                    _ => command.arg(value).exec(&mut connection).ok(),
                };
                written += 1;
                pause(Duration::from_millis(2));
            }
            written
        });
        let mut answers = Vec::new();
        for path in &paths {
            if writer.is_finished() {
                break;
            }
            let answer = service.get(path);
            if answer.status != 200 {
                assert!(answer.retry_after() <= 86_460, "{}", answer.text());
            }
            answers.push(answer.status);
        }
        println!("{} forgeries, {} answers: {answers:?}", writer.join().unwrap(), answers.len());
    });
    wait_until_redis_is(&service, 1.0);
    wait_for(|| (service.get(&paths[199]).status == 200).then_some(()));
    service.finish(&[REFUSED, "Redis is away"]);
}
