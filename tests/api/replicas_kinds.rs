//! Three replicas with one Redis. Finding out that an id is a webinar's costs one refused call for all of them.

use std::{collections::HashSet, time::Duration};

use test_support::{
    callers::{KEY, OTHER_KEY, callers_file, get_as, two_callers},
    client::request,
    redis_server::Server,
    replicas::{ask, finish, start},
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{
    Meeting,
    QosEndpoint::{self, MeetingList, WebinarList},
    Sim,
};

const WEBINAR: &str = "/qos/91111111111";
/// Settings with which no stale snapshot is served.
const NEVER_STALE: [(&str, &str); 2] =
    [("cache.stale_while_revalidate", "0s"), ("cache.stale_if_error", "0s")];

fn with_webinar(latency: Duration) -> Sim {
    let sim = sim(|config| config.latency = latency);
    sim.add_meeting(Meeting::generated("91111111111", 30, 2).webinar());
    sim
}

/// The numbers of calls to the endpoints for meetings and for webinars.
fn calls(sim: &Sim) -> (usize, usize) {
    let count =
        |endpoint: QosEndpoint| sim.qos_calls().iter().filter(|call| call.endpoint == Some(endpoint)).count();
    (count(MeetingList), count(WebinarList))
}

#[test]
fn replicas_that_are_asked_at_once_share_refusal_and_pages() {
    let (sim, redis) = (with_webinar(Duration::from_millis(300)), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let paths: Vec<_> = (0..18)
        .map(|number| if number % 3 == 0 { format!("{WEBINAR}?kind=webinar") } else { WEBINAR.to_owned() })
        .collect();
    let answers = ask(&replicas, &paths);
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(answers.iter().map(|answer| &answer.body).collect::<HashSet<_>>().len(), 1);
    assert_eq!(calls(&sim), (1, 3));
    for replica in &replicas {
        let refused = replica.get(&format!("{WEBINAR}?kind=meeting"));
        assert_eq!((refused.status, refused.problem().as_str()), (404, "not_a_meeting"));
    }
    assert_eq!(calls(&sim), (1, 3), "all replicas know the refusal");
    finish(replicas, &[]);
}

#[test]
fn a_replica_learns_the_kind_from_an_expired_refusal_of_another() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    let settings = [("cache.live_fresh", "500ms"), ("cache.refusal", "500ms")];
    let replicas = start(&sim, &redis, &[&settings[..], &NEVER_STALE].concat());
    assert_eq!(replicas[0].get(WEBINAR).status, 200);
    let refused = sim.qos_calls()[0].at;
    wait_for(|| (refused.elapsed() > Duration::from_secs(1)).then_some(()));
    assert_eq!(replicas[1].get(WEBINAR).json()["kind"], "webinar");
    assert_eq!(calls(&sim), (1, 6));
    // A caller that names the kind `meeting` still causes a call.
    let insisting = replicas[2].get(&format!("{WEBINAR}?kind=meeting"));
    assert_eq!(insisting.problem(), "not_a_meeting");
    assert_eq!(calls(&sim), (2, 6));
    // The id now names a meeting. The remembered kind is wrong, and costs one refused call.
    sim.add_meeting(Meeting::generated("91111111111", 5, 1));
    let asked = sim.qos_calls().last().unwrap().at;
    wait_for(|| (asked.elapsed() > Duration::from_secs(1)).then_some(()));
    assert_eq!(replicas[1].get(WEBINAR).json()["total_records"], 5);
    assert_eq!(calls(&sim), (3, 7));
    finish(replicas, &[]);
}

#[test]
fn a_purge_forgets_the_kind_at_every_replica() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    let replicas = start(&sim, &redis, &[]);
    for replica in &replicas {
        assert_eq!(replica.get(WEBINAR).status, 200);
    }
    assert_eq!(calls(&sim), (1, 3));
    assert_eq!(request(replicas[0].ops, "DELETE", "/cache/91111111111", &[]).status, 204);
    sim.add_meeting(Meeting::generated("91111111111", 5, 1));
    wait_for(|| (replicas[1].get(WEBINAR).json()["total_records"] == 5).then_some(()));
    wait_for(|| (replicas[2].get(WEBINAR).json()["total_records"] == 5).then_some(()));
    assert_eq!(calls(&sim), (2, 3), "the meeting endpoint is called first again, and only once");
    finish(replicas, &[]);
}

#[test]
fn after_a_purge_of_one_type_the_others_record_shows_no_kind() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    let settings = [("cache.live_fresh", "500ms"), ("cache.refusal", "500ms")];
    let replicas = start(&sim, &redis, &[&settings[..], &NEVER_STALE].concat());
    assert_eq!(replicas[0].get(WEBINAR).status, 200);
    let refused = sim.qos_calls()[0].at;
    wait_for(|| (refused.elapsed() > Duration::from_secs(1)).then_some(()));
    assert_eq!(request(replicas[0].ops, "DELETE", "/cache/91111111111?type=past", &[]).status, 204);
    let names: Vec<String> = redis.command(&["KEYS", "*:r:91111111111:live"]);
    assert_eq!(names.len(), 1, "the record stays");
    wait_for(|| replicas[1].printed().iter().any(|line| line.contains("\"purged\"")).then_some(()));
    assert_eq!(replicas[1].get(WEBINAR).status, 200);
    assert_eq!(calls(&sim), (2, 6));
    finish(replicas, &[]);
}

#[test]
fn a_webinars_pages_continue_at_another_replica_without_the_kind() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    let replicas = start(&sim, &redis, &[]);
    let mut token = String::new();
    let mut rows = 0;
    for replica in replicas.iter().cycle().take(3) {
        let slice = replica.get(&format!("{WEBINAR}?page_size=10{token}")).json();
        rows += slice["participants"].as_array().unwrap().len();
        token = slice["next_page_token"]
            .as_str()
            .map_or_else(String::new, |next| format!("&next_page_token={next}"));
    }
    assert_eq!((rows, token.as_str(), calls(&sim)), (30, "", (1, 3)));
    finish(replicas, &[]);
}

#[test]
fn a_caller_over_its_limit_still_gets_another_replicas_webinar() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    sim.add_meeting(Meeting::generated("92222222222", 1, 1));
    let (_folder, file) = callers_file(&two_callers("calls_per_minute = 1"));
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    assert_eq!(get_as(&replicas[0], KEY, "/qos/92222222222").status, 200);
    assert_eq!(get_as(&replicas[0], KEY, WEBINAR).problem(), "caller_over_limit");
    assert_eq!(get_as(&replicas[1], OTHER_KEY, WEBINAR).status, 200);
    let found = get_as(&replicas[0], KEY, WEBINAR);
    assert_eq!((found.status, &found.json()["kind"]), (200, &"webinar".into()), "{}", found.text());
    assert_eq!(calls(&sim), (2, 3));
    finish(replicas, &[]);
}

/// The refused call to the meeting endpoint already reaches the limit. A flight that has made a call completes.
#[test]
fn a_callers_limit_does_not_stop_the_search_for_its_webinar() {
    let (sim, redis) = (with_webinar(Duration::ZERO), Server::start());
    let (_folder, file) = callers_file(&two_callers("calls_per_minute = 1"));
    let replicas = start(&sim, &redis, &[("callers.file", file.to_str().unwrap())]);
    let found = get_as(&replicas[0], KEY, WEBINAR);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(calls(&sim), (1, 3));
    finish(replicas, &[]);
}
