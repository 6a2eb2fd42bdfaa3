//! Callers with `hide` at two replicas that share Redis, and the data that Redis contains.

use std::collections::BTreeMap;

use tempfile::TempDir;
use test_support::{
    callers::{callers_file, get_as},
    client::{Answer, request},
    hidden_fields::{ID, PATH, V2, callers, combinations, everything, meeting, participants, pseudonym_of},
    redis_server::Server,
    replicas::{finish, wait_until_redis_is},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::Sim;

const ENCRYPTED: [(&str, &str); 1] =
    [("redis.encryption_key", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0")];

/// Starts two replicas with a caller for every combination of `hide`.
fn start_two(sim: &Sim, redis: &Server, more: &[(&str, &str)]) -> (Vec<Service>, TempDir) {
    sim.add_meeting(meeting(ID));
    let (folder, path) = callers_file(&callers());
    let url = redis.url();
    let mut settings = vec![
        ("redis.url", url.as_str()),
        ("redis.replicas", "2"),
        ("limits.headroom_percent", "0"),
        ("cache.past_by_number_fresh", "1h"),
        ("callers.file", path.to_str().unwrap()),
    ];
    settings.extend(more);
    let replicas: Vec<_> = (0..2).map(|_| Service::start(sim, &settings)).collect();
    for replica in &replicas {
        wait_until_redis_is(replica, 1.0);
    }
    (replicas, folder)
}

fn etag(answer: &Answer) -> &str {
    answer.header("etag").unwrap()
}

#[test]
fn tags_and_tokens_with_hidden_fields_are_valid_at_the_other_replica() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let (replicas, _folder) = start_two(&sim, &redis, &[]);
    let [one, two] = [&replicas[0], &replicas[1]];
    for (caller, hide) in combinations() {
        let pseudonym = pseudonym_of(one, &caller);
        assert_eq!(pseudonym_of(two, &caller), pseudonym, "{hide:?}");
        for path in [
            PATH.to_owned(),
            format!("{PATH}&format=csv"),
            format!("{PATH}&participant={pseudonym}"),
            format!("{PATH}&page_size=1"),
            format!("/qos/{ID}/summary?type=past"),
            format!("/meetings/{ID}?type=past"),
            format!("{V2}/qos?type=past&page_size=2"),
            format!("{V2}/{pseudonym}/qos?type=past"),
        ] {
            let (here, there) = (get_as(one, &caller, &path), get_as(two, &caller, &path));
            assert_eq!((here.status, there.status), (200, 200), "{path}: {}", there.text());
            assert_eq!((etag(&here), here.text()), (etag(&there), there.text()), "{path} for {hide:?}");
            let headers = [("X-Api-Key", caller.as_str()), ("If-None-Match", etag(&here))];
            assert_eq!(request(two.addr, "GET", &path, &headers).status, 304, "{path} for {hide:?}");
        }
        // The two replicas serve the slices alternately.
        let mut walked = Vec::new();
        let mut next = get_as(one, &caller, &format!("{PATH}&page_size=1"));
        for replica in [two, one] {
            walked.extend(participants(&next));
            let token = next.json()["next_page_token"].as_str().unwrap().to_owned();
            next = get_as(replica, &caller, &format!("{PATH}&next_page_token={token}"));
        }
        walked.extend(participants(&next));
        assert_eq!(next.json()["next_page_token"], serde_json::Value::Null);
        assert_eq!(walked, participants(&get_as(two, &caller, PATH)), "{hide:?}");
    }
    assert_eq!(calls_for(&sim, ID).len(), 1, "one replica fetched the meeting for both");
    finish(replicas, &[]);
}

/// Every key with its serialized value (`DUMP`). The server must not compress its dumps, so that the values can be
/// searched for text.
fn content(redis: &Server) -> BTreeMap<String, Vec<u8>> {
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    let dumped = keys.into_iter().filter_map(|key| {
        let value: Option<Vec<u8>> = redis.command(&["DUMP", &key]);
        Some((key, value?))
    });
    dumped.collect()
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    value.windows(part.len()).any(|window| window == part)
}

/// Without an encryption key, Redis contains complete meetings. With one, the meetings are encrypted, but
/// not their ids (`docs/PRIVACY.md`).
#[test]
fn redis_contains_whole_meetings_unless_they_are_encrypted() {
    for more in [&[][..], &ENCRYPTED] {
        let (sim, redis) = (sim(|_| ()), Server::with(&["--rdbcompression", "no"]));
        let (replicas, _folder) = start_two(&sim, &redis, more);
        let service = &replicas[0];
        let hidden = get_as(service, "caller-7", &format!("{PATH}&page_size=1"));
        assert!(!everything(&hidden).contains("mark-user-name"), "{}", hidden.text());
        let whole = ["identity", "gzip", "zstd"].map(|coding| {
            let headers = [("X-Api-Key", "caller-0"), ("Accept-Encoding", coding)];
            request(service.addr, "GET", PATH, &headers).body
        });
        let copies = |content: &BTreeMap<String, Vec<u8>>| {
            let has = |value: &[u8]| whole.iter().any(|body| contains(value, body));
            let with = content.iter().filter(|(_, value)| has(value));
            with.map(|(key, _)| key.split_once("}:").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        let record = format!("r:{ID}:past");
        let all = wait_for(|| {
            let all = content(&redis);
            (all.keys().filter(|key| key.contains(&format!(":{record}"))).count() == 2).then_some(all)
        });
        let found = copies(&all);
        if more.is_empty() {
            assert!(found.len() == 2 && found[0] == record, "the record, and a copy for pages: {found:?}");
            assert!(found[1].starts_with(&format!("{record}:")), "{found:?}");
        } else {
            assert!(found.is_empty(), "{found:?}");
            for (key, value) in &all {
                for part in ["mark", "participants", "2026-01-15", "user_qos"] {
                    assert!(!contains(value, part.as_bytes()), "{part} in {key}");
                }
            }
        }
        assert!(all.keys().all(|key| !key.contains("mark")), "{:?}", all.keys());

        assert_eq!(request(replicas[1].ops, "DELETE", &format!("/cache/{ID}"), &[]).status, 204);
        let purged = content(&redis);
        assert!(purged.keys().all(|key| !key.ends_with(&record)), "{:?}", purged.keys());
        let copy = purged.keys().find(|key| key.contains(&record)).expect("the copy for pages is left");
        let left: i64 = redis.command(&["PTTL", copy]);
        assert!((1..=900_000).contains(&left), "{left} ms");
        let listed = purged.iter().find(|(key, _)| key.ends_with(":purges")).unwrap();
        assert!(contains(listed.1, ID.as_bytes()), "purges are listed with the meeting's id");
        finish(replicas, &[]);
    }
}
