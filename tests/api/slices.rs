//! Slices of a meeting all come from one snapshot, and cost no further calls to Zoom.

use std::collections::HashSet;

use test_support::{
    client::{Answer, request},
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::Meeting;

const MEETING: &str = "98765432101";
const PATH: &str = "/qos/98765432101";

fn token(answer: &Answer) -> Option<String> {
    let json = answer.json();
    let token = json.get("next_page_token").unwrap_or_else(|| panic!("no next_page_token in {json}"));
    token.as_str().map(str::to_owned)
}

/// Requests all slices in order.
fn walk(service: &Service, path: &str, page_size: usize) -> Vec<Answer> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut slices = vec![service.get(&format!("{path}{separator}page_size={page_size}"))];
    while let Some(token) = token(slices.last().unwrap()) {
        assert!(slices.len() < 1_000, "the slices do not end");
        slices.push(service.get(&format!("{path}{separator}next_page_token={token}")));
    }
    slices
}

#[test]
fn the_slices_are_the_meeting_in_order_and_cost_no_call() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 25, 3));
    let service = Service::start(&sim, &[]);
    for page_size in [1, 7, 10, 24, 25, 26, 300] {
        let slices = walk(&service, PATH, page_size);
        assert_eq!(slices.len(), 25_usize.div_ceil(page_size));
        let whole = service.get(PATH);
        let joined: Vec<_> = slices.iter().flat_map(Answer::participants).collect();
        assert_eq!(joined, whole.participants(), "in slices of {page_size}");
        for slice in &slices {
            assert_eq!(slice.status, 200);
            let json = slice.json();
            assert_eq!(json["page_size"], page_size);
            assert_eq!(json["total_records"], 25, "of the whole meeting");
            for same in ["meeting_id", "type", "fetched_at"] {
                assert_eq!(json[same], whole.json()[same], "{same}");
            }
            let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys.len(), 7, "{keys:?}");
            assert!(slice.text().ends_with('}') && slice.text().contains("],\"page_size\":"));
        }
        let tags: HashSet<_> = slices.iter().map(|slice| slice.header("etag").unwrap()).collect();
        assert_eq!(tags.len(), slices.len(), "each slice has its own tag");
        assert!(!tags.contains(whole.header("etag").unwrap()));
    }
    assert_eq!(sim.qos_calls().len(), 3, "one flight for all requests");
    assert!(
        !service.get(PATH).json().as_object().unwrap().contains_key("page_size"),
        "a whole meeting is not a slice"
    );
    service.finish(&[]);
}

#[test]
fn slices_of_a_meeting_stored_only_compressed_are_the_same() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 45, 20));
    // The uncompressed body is larger than a sixteenth of the cache, so only the compressed bodies are stored.
    let service = Service::start(&sim, &[("cache.max_bytes", "3MiB")]);
    let whole = service.get(PATH);
    assert!(whole.body.len() > 1_000_000);
    let slices = walk(&service, PATH, 20);
    let joined: Vec<_> = slices.iter().flat_map(Answer::participants).collect();
    assert_eq!(joined, whole.participants());
    assert_eq!(sim.qos_calls().len(), 5);
    service.finish(&[]);
}

#[test]
fn a_caller_that_pages_sees_one_snapshot_despite_newer_ones() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 25, 2).growing_every(std::time::Duration::from_millis(200)));
    let settings = [("cache.live_fresh", "1s"), ("cache.refresh_floor", "0s")];
    let service = Service::start(&sim, &settings);
    let first = service.get(&format!("{PATH}?page_size=10"));
    let next = token(&first).unwrap();
    // Two newer snapshots replace the one that the caller pages through.
    for _ in 0..2 {
        let before = service.get(PATH).json()["fetched_at"].clone();
        wait_for(|| {
            let newer = request(service.addr, "GET", PATH, &[("cache-control", "no-cache")]);
            Some(()).filter(|()| newer.json()["fetched_at"] != before)
        });
    }
    let calls = sim.qos_calls().len();
    let second = service.get(&format!("{PATH}?next_page_token={next}"));
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(second.json()["fetched_at"], first.json()["fetched_at"]);
    let third = service.get(&format!("{PATH}?next_page_token={}", token(&second).unwrap()));
    assert_eq!(third.json()["fetched_at"], first.json()["fetched_at"]);
    assert_eq!(token(&third), None);
    assert_eq!(third.participants().len(), 5);
    let age: u64 = third.header("age").unwrap().parse().unwrap();
    assert!(age >= 1, "the age counts from the fetch of the snapshot");
    assert_eq!(sim.qos_calls().len(), calls, "paging costs no call, however old the snapshot is");
    let newest = service.get(&format!("{PATH}?page_size=10"));
    assert_ne!(
        newest.json()["fetched_at"],
        first.json()["fetched_at"],
        "a new first slice comes from the newest snapshot"
    );
    service.finish(&[]);
}

#[test]
fn the_page_size_may_change_between_slices() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 25, 1));
    let service = Service::start(&sim, &[]);
    let first = service.get(&format!("{PATH}?page_size=10"));
    let rest = service.get(&format!("{PATH}?page_size=300&next_page_token={}", token(&first).unwrap()));
    assert_eq!(rest.participants().len(), 15);
    assert_eq!((rest.json()["page_size"].clone(), token(&rest)), (300.into(), None));
    service.finish(&[]);
}

#[test]
fn a_token_is_valid_for_its_meeting_and_type_only() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 12, 1));
    sim.add_meeting(Meeting::generated("91234567890", 12, 1));
    let service = Service::start(&sim, &[]);
    let token = token(&service.get(&format!("{PATH}?page_size=10"))).unwrap();
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
    service.get("/qos/91234567890");
    service.get(&format!("{PATH}?type=past"));
    let calls = sim.qos_calls().len();
    let mut cut_short = token.clone();
    cut_short.pop();
    let mut changed = token.clone();
    let other = if token.as_bytes()[20] == b'A' { "B" } else { "A" };
    changed.replace_range(20..21, other);
    for path in [
        format!("/qos/91234567890?next_page_token={token}"),
        format!("{PATH}?type=past&next_page_token={token}"),
        format!("/qos/99999999999?next_page_token={token}"),
        format!("{PATH}?next_page_token={cut_short}"),
        format!("{PATH}?next_page_token={changed}"),
        format!("{PATH}?next_page_token=abc"),
        format!("{PATH}?next_page_token=%00%FF"),
        format!("{PATH}?next_page_token={}", "A".repeat(5_000)),
    ] {
        let answer = service.get(&path);
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid_page_token"), "{path}");
        answer.assert_discreet(&sim);
    }
    assert_eq!(service.get(&format!("{PATH}?next_page_token={token}")).status, 200);
    assert_eq!(sim.qos_calls().len(), calls);
    service.finish(&[]);
}

#[test]
fn a_token_of_a_removed_snapshot_is_rejected_without_a_call() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 12, 1));
    let settings =
        [("cache.live_fresh", "1s"), ("cache.stale_while_revalidate", "0s"), ("cache.stale_if_error", "0s")];
    let service = Service::start(&sim, &settings);
    let path =
        format!("{PATH}?next_page_token={}", token(&service.get(&format!("{PATH}?page_size=10"))).unwrap());
    let gone = wait_for(|| Some(service.get(&path)).filter(|answer| answer.status != 200));
    assert_eq!((gone.status, gone.problem().as_str()), (400, "invalid_page_token"));
    assert_eq!(sim.qos_calls().len(), 2, "a token never causes a call to Zoom");
    service.finish(&[]);
}

#[test]
fn a_first_slice_is_a_request_like_any_other() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 12, 1));
    let service = Service::start(&sim, &[]);
    let path = format!("{PATH}?page_size=5");
    let only_if_cached = request(service.addr, "GET", &path, &[("cache-control", "only-if-cached")]);
    assert_eq!(only_if_cached.problem(), "not_cached");
    let miss = service.get(&path);
    assert_eq!(miss.cache_status(), "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored");
    let hit = service.get(&path);
    assert!(hit.cache_status().starts_with("zoom-qos-proxy; hit; ttl="), "{}", hit.cache_status());
    assert_eq!(hit.body, miss.body, "equal bytes under an equal tag");
    let tag = hit.header("etag").unwrap();
    assert_eq!(miss.header("etag"), Some(tag));
    let again = request(service.addr, "GET", &path, &[("if-none-match", tag)]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let compressed = request(service.addr, "GET", &path, &[("accept-encoding", "gzip")]);
    assert_eq!(compressed.status, 200);
    assert_eq!(compressed.header("vary"), Some("Accept-Encoding, Accept"));
    assert_eq!(sim.qos_calls().len(), 2);
    service.finish(&[]);
}

#[test]
fn an_empty_meeting_is_one_empty_slice() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 0, 0));
    let service = Service::start(&sim, &[]);
    let slice = service.get(&format!("{PATH}?page_size=10"));
    assert_eq!(slice.status, 200);
    assert_eq!((slice.participants().len(), token(&slice)), (0, None));
    service.finish(&[]);
}

#[test]
fn the_last_slice_costs_about_as_much_as_the_first() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(MEETING, 200, 40));
    // The cache is too small to store the uncompressed body.
    let service = Service::start(&sim, &[("cache.max_bytes", "32MiB"), ("server.workers", "1")]);
    let slices = walk(&service, PATH, 10);
    let joined: Vec<_> = slices.iter().flat_map(Answer::participants).collect();
    assert_eq!(joined, service.get(PATH).participants());
    let first = format!("{PATH}?page_size=10");
    let last = format!("{PATH}?next_page_token={}", token(&slices[18]).unwrap());
    let mut ticks = [0; 2];
    for _ in 0..5 {
        for (path, ticks) in [&first, &last].into_iter().zip(&mut ticks) {
            let before = service.cpu_ticks();
            (0..30).for_each(|_| assert_eq!(service.get(path).status, 200));
            *ticks += service.cpu_ticks() - before;
        }
    }
    // Decompressed from the start of the body, the last slice would cost at least ten times as much as the first. From the
    // restart point before it, it costs up to twice as much. Other processes make both figures inexact.
    assert!(ticks[1] < ticks[0] * 4, "the first slice takes {} ticks, and the last {}", ticks[0], ticks[1]);
    service.finish(&[]);
}
