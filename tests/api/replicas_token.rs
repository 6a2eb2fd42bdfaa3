//! The access token of several replicas. They share one, encrypted in Redis, and request it once. If Redis cannot share
//! it, each replica requests its own.

use std::{
    fs,
    time::{Duration, Instant},
};

use test_support::{
    client::{Answer, at_once},
    redis_server::Server,
    replicas::{AWAY, REPLICAS, ask, finish, wait_until_redis_is},
    service::Service,
    simulator::{add_meetings, secrets, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, Sim};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const ENCRYPTED: [(&str, &str); 1] = [("redis.encryption_key", KEY)];
const REJECTED: &str = "Zoom refuses the credentials";

fn start_one(sim: &Sim, url: &str, settings: &[(&str, &str)]) -> Service {
    // With a short timeout, a replica on a busy machine could give up on Redis and request its own token. The tests
    // count such requests.
    let patient = ("redis.timeout", "1s");
    let all = [("redis.url", url), ("redis.replicas", "3"), ("limits.headroom_percent", "0"), patient];
    Service::start(sim, &all.iter().chain(settings).copied().collect::<Vec<_>>())
}

/// Starts all replicas at the same time.
fn start_together(sim: &Sim, redis: &Server, settings: &[(&str, &str)]) -> Vec<Service> {
    let url = redis.url();
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..REPLICAS).map(|_| scope.spawn(|| start_one(sim, &url, settings))).collect();
        started.into_iter().map(|replica| replica.join().unwrap()).collect()
    })
}

/// Requests two new meetings from each replica.
fn ask_anew(sim: &Sim, replicas: &[Service], first: usize) -> Vec<Answer> {
    ask(replicas, &add_meetings(sim, first, 2 * replicas.len()))
}

fn assert_all_served(answers: &[Answer]) {
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The number of renewals of this replica that had this result.
fn renewals(replica: &Service, result: &str) -> f64 {
    replica.metric(&format!("zoom_qos_proxy_access_token_renewals_total{{result=\"{result}\"}}"))
}

fn renewals_of_all(replicas: &[Service], result: &str) -> f64 {
    replicas.iter().map(|replica| renewals(replica, result)).sum()
}

/// All keys and values in Redis.
fn everything_in(redis: &Server) -> Vec<Vec<u8>> {
    let names: Vec<String> = redis.command(&["KEYS", "*"]);
    let mut found = Vec::new();
    for name in names {
        match redis.command::<String>(&["TYPE", &name]).as_str() {
            "hash" => found.extend(redis.command::<Vec<Vec<u8>>>(&["HGETALL", &name])),
            "zset" => found.extend(redis.command::<Vec<Vec<u8>>>(&["ZRANGE", &name, "0", "-1"])),
            "string" => found.push(redis.command(&["GET", &name])),
            other => panic!("{name} is a {other}: search it, too"),
        }
        found.push(name.into_bytes());
    }
    found
}

fn assert_not_in(redis: &Server, words: &[String]) {
    for value in everything_in(redis) {
        for word in words {
            let is_there = value.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!is_there, "{word} in {}", String::from_utf8_lossy(&value));
        }
    }
}

fn names_of_tokens(redis: &Server) -> Vec<String> {
    redis.command(&["KEYS", "*:r:access-token:*"])
}

fn slow_token(sim: &Sim) {
    let slowly = FaultKind::Slow(Duration::from_millis(500));
    sim.inject(Fault::new(slowly).on_token_endpoint().forever());
}

#[test]
fn three_replicas_share_one_token_even_after_a_restart() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    slow_token(&sim);
    let mut replicas = start_together(&sim, &redis, &ENCRYPTED);
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    assert_eq!(sim.token_calls().len(), 1);
    assert_eq!((renewals_of_all(&replicas, "ok"), renewals_of_all(&replicas, "shared")), (1.0, 2.0));
    replicas.pop().unwrap().finish(&[]);
    replicas.push(start_one(&sim, &redis.url(), &ENCRYPTED));
    assert_all_served(&ask_anew(&sim, &replicas, 100));
    assert_eq!(sim.token_calls().len(), 1, "a restart costs no token");
    let kept: Vec<u64> = names_of_tokens(&redis).iter().map(|name| redis.command(&["PTTL", name])).collect();
    assert!(matches!(kept[..], [3_500_000..=3_600_000]), "the token is stored for its lifetime: {kept:?}");
    assert!(secrets(&sim).len() >= 5, "the secrets include the token");
    assert_not_in(&redis, &secrets(&sim));
    finish(replicas, &[]);
}

#[test]
fn a_token_that_zoom_revokes_is_replaced_by_one_for_all() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start_together(&sim, &redis, &ENCRYPTED);
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    slow_token(&sim);
    for round in 1..=3 {
        sim.revoke_access_tokens();
        // All replicas notice the revocation at the same time, some of them with a call in flight.
        assert_all_served(&ask_anew(&sim, &replicas, 100 * round));
        assert_eq!(sim.token_calls().len(), 1 + round);
        assert_all_served(&ask_anew(&sim, &replicas, 100 * round + 50));
        assert_eq!(sim.token_calls().len(), 1 + round, "no further token is requested");
        assert_eq!(names_of_tokens(&redis).len(), 1);
    }
    // Only one replica notices this revocation. The others get the new token before they use the old one again.
    sim.revoke_access_tokens();
    assert_eq!(replicas[0].get(&add_meetings(&sim, 900, 1)[0]).status, 200);
    let known = renewals_of_all(&replicas, "ok") + renewals_of_all(&replicas, "shared");
    wait_for(|| {
        let now = renewals_of_all(&replicas, "ok") + renewals_of_all(&replicas, "shared");
        (now >= known.max(5.0 * 3.0)).then_some(())
    });
    sim.clear_calls();
    assert_all_served(&ask_anew(&sim, &replicas, 1_000));
    assert!(sim.qos_calls().iter().all(|call| call.status == Some(200)), "no replica used the old token");
    assert!(sim.token_calls().is_empty());
    finish(replicas, &[]);
}

/// On some accounts, a new token revokes the previous one. Replicas that renewed their tokens independently would then
/// revoke each other's tokens forever.
#[test]
fn replicas_do_not_invalidate_each_others_tokens() {
    let life = Duration::from_secs(4);
    let sim = sim(|config| {
        config.new_token_kills_old = true;
        config.access_token_life = life;
        config.latency = Duration::from_millis(100);
    });
    let redis = Server::start();
    let replicas = start_together(&sim, &redis, &ENCRYPTED);
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < 3 * life {
        assert_all_served(&ask_anew(&sim, &replicas, asked));
        asked += 100;
    }
    // A token is renewed after half of its lifetime, so all replicas together request one every 2 s.
    let (tokens, most) = (sim.token_calls().len(), began.elapsed().as_secs() / 2 + 2);
    println!("{tokens} tokens in {:?}", began.elapsed());
    assert!((4..=usize::try_from(most).unwrap()).contains(&tokens), "{tokens} tokens");
    finish(replicas, &[]);
}

#[test]
fn without_a_key_each_replica_has_its_own_token_and_redis_none() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start_together(&sim, &redis, &[]);
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    assert_eq!((sim.token_calls().len(), renewals_of_all(&replicas, "ok")), (REPLICAS, 3.0));
    assert!(names_of_tokens(&redis).is_empty());
    assert_not_in(&redis, &secrets(&sim));
    finish(replicas, &[]);
}

#[test]
fn a_replica_without_a_token_does_not_fail_the_callers_of_another() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    let other = start_one(&sim, &url, &[]);
    wait_for(|| (renewals(&other, "ok") == 1.0).then_some(()));
    let out_of_order = FaultKind::Status { status: 500, body: "{}".into() };
    sim.inject(Fault::new(out_of_order).on_token_endpoint().forever());
    let tokenless = start_one(&sim, &url, &[]);
    let path = &add_meetings(&sim, 0, 1)[0];
    let (first, second) = std::thread::scope(|scope| {
        let calls = sim.token_calls().len();
        let first = scope.spawn(|| tokenless.get(path));
        wait_for(|| (sim.token_calls().len() > calls).then_some(()));
        let second = other.get(path);
        (first.join().unwrap(), second)
    });
    assert_eq!((first.status, first.problem().as_str()), (502, "zoom_failed"));
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(other.get(path).status, 200);
    other.finish(&[]);
    tokenless.finish(&["no access token", "flight failed"]);
}

#[test]
fn replicas_with_different_keys_use_different_tokens() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    let with = |key| start_one(&sim, &url, &[("redis.encryption_key", key)]);
    let replicas = [KEY, OTHER_KEY, KEY, OTHER_KEY].map(with).into_iter().collect::<Vec<_>>();
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    assert_eq!((sim.token_calls().len(), names_of_tokens(&redis).len()), (2, 2));
    finish(replicas, &[]);
}

#[test]
fn a_dead_replicas_token_request_is_repeated_within_six_seconds() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    sim.inject(Fault::new(FaultKind::Hang).on_token_endpoint());
    let url = redis.url();
    let asks = start_one(&sim, &url, &ENCRYPTED);
    wait_for(|| (sim.token_calls().len() == 1).then_some(()));
    let others = [(); 2].map(|()| start_one(&sim, &url, &ENCRYPTED)).into_iter().collect::<Vec<_>>();
    for replica in &others {
        wait_until_redis_is(replica, 1.0);
    }
    asks.crash();
    let died = Instant::now();
    wait_for(|| (sim.token_calls().len() == 2).then_some(()));
    let took = died.elapsed();
    println!("another replica requested one {took:?} later");
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_all_served(&ask_anew(&sim, &others, 0));
    assert_eq!(sim.token_calls().len(), 2, "one token for the remaining replicas");
    finish(others, &[]);
}

/// The replica stays alive while its token request hangs. The others wait for it only as long as they would wait for
/// Zoom.
#[test]
fn a_replica_whose_request_hangs_does_not_keep_the_others_for_long() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    sim.inject(Fault::new(FaultKind::Hang).on_token_endpoint());
    let url = redis.url();
    let patient = [("zoom.request_timeout", "30s"), ENCRYPTED[0]];
    let hangs = start_one(&sim, &url, &patient);
    wait_for(|| (sim.token_calls().len() == 1).then_some(()));
    let quick = [("zoom.request_timeout", "3s"), ENCRYPTED[0]];
    let other = start_one(&sim, &url, &quick);
    assert_eq!(other.get(&add_meetings(&sim, 0, 1)[0]).status, 200);
    assert_eq!(sim.token_calls().len(), 2);
    other.finish(&[]);
    hangs.crash();
}

#[test]
fn replicas_share_a_token_again_once_redis_is_back() {
    let (sim, mut redis) = (sim(|_| ()), Server::start());
    redis.stop();
    let replicas = start_together(&sim, &redis, &ENCRYPTED);
    for replica in &replicas {
        wait_for(|| (renewals(replica, "ok") == 1.0).then_some(()));
    }
    assert_eq!(sim.token_calls().len(), REPLICAS);
    redis.start_again();
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    sim.revoke_access_tokens();
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    assert_eq!(sim.token_calls().len(), REPLICAS + 1, "one token for all replicas");
    redis.stop();
    for replica in &replicas {
        wait_until_redis_is(replica, 0.0);
    }
    sim.revoke_access_tokens();
    assert_all_served(&ask_anew(&sim, &replicas, 100));
    assert_eq!(sim.token_calls().len(), 2 * REPLICAS + 1, "one token for each replica");
    finish(replicas, &[AWAY]);
}

/// A replica with wrong credentials does not use the token of the others, so its configuration error is noticed.
#[test]
fn only_replicas_with_the_same_credentials_share_a_token() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    let right = start_one(&sim, &url, &ENCRYPTED);
    assert_eq!(right.get(&add_meetings(&sim, 0, 1)[0]).status, 200);
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("secret");
    fs::write(&mounted, "wrong").unwrap();
    let settings = [ENCRYPTED[0], ("zoom.client_secret_file", mounted.to_str().unwrap())];
    let wrong = start_one(&sim, &url, &settings);
    wrong.wait_until_ready(503);
    assert_eq!(wrong.get("/qos/91000000999").problem(), "zoom_rejected_credentials");
    assert_eq!(sim.token_calls().len(), 2);
    // With the right secret, the replica uses the shared token.
    fs::write(&mounted, "sim-secret").unwrap();
    wrong.wait_until_ready(200);
    assert_eq!(wrong.get(&add_meetings(&sim, 1, 1)[0]).status, 200);
    assert_eq!((sim.token_calls().len(), renewals(&wrong, "shared")), (2, 1.0));
    finish(vec![right], &[]);
    wrong.finish(&[REJECTED]);
}

#[test]
fn replicas_with_the_same_wrong_secret_make_one_token_request() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let wrong = [ENCRYPTED[0], ("zoom.client_secret", "wrong")];
    slow_token(&sim);
    let replicas = start_together(&sim, &redis, &wrong);
    for replica in &replicas {
        let ready = replica.wait_until_ready(503).text();
        assert!(ready.contains("Invalid client_id or client_secret"), "Zoom's own words: {ready}");
    }
    assert_eq!((sim.token_calls().len(), renewals_of_all(&replicas, "refused")), (1, 3.0));
    assert!(names_of_tokens(&redis).is_empty());
    finish(replicas, &[REJECTED]);
}

/// Scopes are fixed when a token is issued, so a token that lacks one is removed from Redis.
#[test]
fn a_token_that_lacks_a_scope_is_no_longer_shared() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let url = redis.url();
    let first = start_one(&sim, &url, &ENCRYPTED);
    assert_eq!(first.get(&add_meetings(&sim, 0, 1)[0]).status, 200);
    assert_eq!(names_of_tokens(&redis).len(), 1);
    sim.inject(Fault::new(FaultKind::MissingScope));
    assert_eq!(first.get(&add_meetings(&sim, 1, 1)[0]).problem(), "zoom_rejected_credentials");
    wait_for(|| names_of_tokens(&redis).is_empty().then_some(()));
    let second = start_one(&sim, &url, &ENCRYPTED);
    assert_eq!(second.get(&add_meetings(&sim, 2, 1)[0]).status, 200);
    assert_eq!(sim.token_calls().len(), 2);
    second.finish(&[]);
    first.finish(&[REJECTED]);
}

/// A full server stores no token, so each replica requests its own.
#[test]
fn a_full_redis_costs_at_most_one_token_for_each_replica() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start_together(&sim, &redis, &ENCRYPTED);
    assert_all_served(&ask_anew(&sim, &replicas, 0));
    let _: String = redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    sim.revoke_access_tokens();
    assert_all_served(&ask_anew(&sim, &replicas, 100));
    assert!(sim.token_calls().len() <= 1 + REPLICAS, "{}", sim.token_calls().len());
    finish(replicas, &[AWAY]);
}

/// The tokens, the keys and the data of participants appear in no log, status, metric or problem. In Redis, they are
/// encrypted.
#[test]
fn shared_data_appears_in_no_log_status_metric_or_problem() {
    const MARK: &str = "Quagga";
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start_together(&sim, &redis, &[ENCRYPTED[0], ("telemetry.log_level", "trace")]);
    let page = format!("[{{\"user_name\":\"{MARK}\",\"ip_address\":\"{MARK}-192.0.2.7\"}}]");
    let meetings: Vec<_> = (0..12).map(|number| format!("9{number:010}")).collect();
    for id in &meetings {
        sim.add_meeting(Meeting::raw_pages(id, vec![page.clone()]));
    }
    let (before, after) = meetings.split_at(6);
    let paths = |ids: &[String]| ids.iter().map(|id| format!("/qos/{id}")).collect::<Vec<_>>();
    let answers = ask(&replicas, &paths(before));
    assert_all_served(&answers);
    assert!(answers.iter().all(|answer| answer.text().contains(MARK)));
    sim.revoke_access_tokens();
    assert_all_served(&ask(&replicas, &paths(after)));
    sim.inject(Fault::new(FaultKind::TokenInvalid).forever());
    let refused = at_once(replicas[0].addr, vec!["/qos/91000000999".to_owned()]);
    assert_eq!(refused[0].problem(), "zoom_rejected_credentials");
    let mut words = secrets(&sim);
    assert!(words.len() >= 6, "two tokens are among them: {}", words.len());
    words.extend([KEY, MARK, "Bearer ey"].map(str::to_owned));
    assert_not_in(&redis, &words);
    let mut said = vec![refused[0].text()];
    for replica in &replicas {
        said.extend(["/status", "/metrics", "/readyz"].map(|path| replica.ops_get(path).text()));
    }
    for replica in replicas {
        said.extend(replica.finish(&[""]));
    }
    for word in &words {
        let place = said.iter().find(|text| text.contains(word.as_str()));
        assert_eq!(place, None, "{word} appears in an output");
    }
}
