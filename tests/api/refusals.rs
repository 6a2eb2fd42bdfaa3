//! Cached failures: a caller in a retry loop does not spend the day's calls on a meeting that Zoom refuses.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;
use test_support::{
    client::request,
    freshness::{BRIEFLY_FRESH, wait_until_stale},
    raw_zoom::{RawZoom, Step, answer},
    redis_server::Server,
    replicas::{finish, start},
    service::Service,
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting};

const ID: &str = "91111111111";
const PATH: &str = "/qos/91111111111";

fn status(status: u16, body: &str) -> FaultKind {
    FaultKind::Status { status, body: body.to_owned() }
}

#[test]
fn looping_on_a_lasting_refusal_costs_one_flight_and_gets_retry_after() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("zoom.max_body", "64KiB")]);
    let table = [
        (FaultKind::EndpointUnknown, 1),
        (FaultKind::ServerErrorHtml(403), 1),
        (status(400, r#"{"code":300,"message":"The value is invalid."}"#), 1),
        (status(418, ""), 1),
        (FaultKind::PageTokenInvalid, 1),
        (FaultKind::Redirect("/elsewhere".to_owned()), 1),
        (FaultKind::Oversized(100_000), 1),
        (FaultKind::RepeatPageToken, 3),
    ];
    for (number, (kind, calls)) in table.into_iter().enumerate() {
        println!("{kind:?}");
        let id = format!("{}", 91_000_000_000 + number);
        sim.add_meeting(Meeting::generated(&id, 40, 1));
        let too_large = matches!(kind, FaultKind::Oversized(_));
        sim.inject(Fault::new(kind).for_meeting(&id).forever());
        let answers: Vec<_> = (0..20).map(|_| service.get(&format!("/qos/{id}"))).collect();
        for answer in &answers {
            assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
            assert!((25..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
            assert_eq!(answer.json()["zoom"], answers[0].json()["zoom"]);
            assert_eq!(answer.json()["detail"].as_str().unwrap().contains("larger"), too_large);
        }
        assert!(calls_for(&sim, &id).len() <= calls, "{} calls", calls_for(&sim, &id).len());
    }
    service.finish(&["flight failed", "larger than zoom.max_body", "repeats a page token"]);
}

#[test]
fn endless_pages_are_read_ten_beyond_the_announced_count() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 25, 1));
    sim.inject(Fault::new(FaultKind::EndlessPages).for_meeting(ID).forever());
    let service = Service::start(&sim, &[]);
    for _ in 0..5 {
        let answer = service.get(PATH);
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("does not end"));
        assert!((25..=30).contains(&answer.retry_after()));
    }
    assert_eq!(calls_for(&sim, ID).len(), 3 + 10);
    service.finish(&["flight failed", "pages do not end"]);
}

/// A page of a meeting that claims 10^18 rows, with this next-page token.
fn a_page_before(next_page_token: &str) -> Vec<u8> {
    let participants = [json!({ "user_id": "1", "user_name": "anna", "user_qos": [] })];
    let total = 1_000_000_000_000_000_000_u64;
    let page =
        json!({ "next_page_token": next_page_token, "total_records": total, "participants": participants });
    answer(&page.to_string())
}

#[test]
fn no_announced_row_count_makes_a_flight_read_over_5000_pages() {
    let sim = sim(|_| ());
    let pages = AtomicUsize::new(0);
    let zoom = RawZoom::start(move |_| {
        vec![Step::Send(a_page_before(&pages.fetch_add(1, Ordering::Relaxed).to_string()))]
    });
    let settings = [("zoom.api_base_url", &*zoom.api_base_url()), ("limits.heavy_per_second", "2000")];
    let service = Service::start(&sim, &settings);
    let failed = wait_for(|| Some(service.get(PATH)).filter(|answer| answer.status == 502));
    assert!(failed.json()["detail"].as_str().unwrap().contains("does not end"));
    assert_eq!(zoom.asked().len(), 5_000);
    service.finish(&["flight failed", "pages do not end", "limits.heavy_per_second: 2000 is more than"]);
}

#[test]
fn a_page_token_above_4_kib_is_a_cached_failure() {
    for (length, calls) in [(4 * 1024, 2), (4 * 1024 + 1, 1), (70_000, 1)] {
        println!("{length}");
        let sim = sim(|_| ());
        let zoom = RawZoom::start(move |_| vec![Step::Send(a_page_before(&"+".repeat(length)))]);
        let service = Service::start(&sim, &[("zoom.api_base_url", &zoom.api_base_url())]);
        for _ in 0..3 {
            let answer = service.get(PATH);
            assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(if calls == 1 { "too long" } else { "does not end" }), "{detail}");
            assert!((25..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
        }
        assert_eq!(zoom.asked().len(), calls);
        service.finish(&["flight failed", "page token"]);
    }
}

#[test]
fn a_permanent_refusal_is_cached_for_cache_refusal_and_then_retried() {
    let sim = sim(|_| ());
    let settings = [("cache.refusal", "1s"), ("cache.not_found_live", "1h"), ("cache.not_found_past", "1h")];
    let service = Service::start(&sim, &settings);
    // The last kind is not a refusal but a failure, which pauses its meeting for at least 2 s.
    let kinds = [(FaultKind::Webinar, 1.0), (FaultKind::TooOld, 1.0), (FaultKind::EndpointUnknown, 2.0)];
    for (number, (kind, least)) in kinds.into_iter().enumerate() {
        let id = format!("{}", 91_000_000_000 + number);
        sim.inject(Fault::new(kind).for_meeting(&id).forever());
        let calls = wait_for(|| {
            assert!(service.get(&format!("/qos/{id}?kind=meeting")).status >= 400);
            Some(calls_for(&sim, &id)).filter(|calls| calls.len() == 2)
        });
        let pause = calls[1].at - calls[0].at;
        assert!((least..least + 1.0).contains(&pause.as_secs_f64()), "{pause:?}");
    }
    service.finish(&["flight failed"]);
}

#[test]
fn without_cache_refusal_a_retry_loop_flies_at_most_every_two_seconds() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.refusal", "0s"), ("zoom.max_body", "64KiB")]);
    let kinds = [FaultKind::EndpointUnknown, FaultKind::Oversized(100_000)];
    for (number, kind) in kinds.into_iter().enumerate() {
        let id = format!("{}", 91_000_000_000 + number);
        sim.add_meeting(Meeting::generated(&id, 1, 1));
        sim.inject(Fault::new(kind).for_meeting(&id).forever());
        let calls = wait_for(|| {
            let answer = service.get(&format!("/qos/{id}"));
            assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
            assert!((1..=2).contains(&answer.retry_after()));
            Some(calls_for(&sim, &id)).filter(|calls| calls.len() == 3)
        });
        assert!(calls.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_millis(1_900)));
    }
    service.finish(&["flight failed", "larger than zoom.max_body"]);
}

#[test]
fn retrying_a_failing_meeting_flies_at_most_every_two_seconds() {
    for kind in [FaultKind::ServerErrorHtml(500), FaultKind::NotJson, FaultKind::CloseBeforeAnswer] {
        let sim = sim(|_| ());
        let service = Service::start(&sim, &[]);
        sim.inject(Fault::new(kind).forever());
        let calls = wait_for(|| {
            let answer = service.get(PATH);
            assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
            assert!((1..=2).contains(&answer.retry_after()));
            Some(sim.qos_calls()).filter(|calls| calls.len() >= 7)
        });
        for flight in [3, 6] {
            let pause = calls[flight].at - calls[flight - 1].at;
            assert!((1.9..4.0).contains(&pause.as_secs_f64()), "{pause:?}");
        }
        // The answer after the pause comes from Zoom, not from the cached failure.
        sim.clear_faults();
        sim.add_meeting(Meeting::generated(ID, 1, 1));
        wait_for(|| (service.get(PATH).status == 200).then_some(()));
        service.finish(&["flight failed"]);
    }
}

#[test]
fn a_cached_failure_keeps_the_stale_snapshot_and_costs_no_call() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated(ID, 3, 1));
    let service = Service::start(&sim, &[BRIEFLY_FRESH]);
    let first = service.get(PATH);
    wait_until_stale(&service, PATH);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).for_meeting(ID).forever());
    let because = wait_for(|| {
        let answer = service.get(PATH);
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        Some(answer).filter(|answer| answer.cache_status().ends_with("detail=zoom_failed"))
    });
    assert_eq!(because.header("etag"), first.header("etag"));
    for directive in ["no-cache", "max-age=0", "min-fresh=5"] {
        let answer = request(service.addr, "GET", PATH, &[("Cache-Control", directive)]);
        assert!(answer.cache_status().ends_with("detail=zoom_failed"), "{}", answer.cache_status());
        assert_eq!(answer.body, first.body);
    }
    assert_eq!(calls_for(&sim, ID).len(), 2);
    // A purge removes the snapshot and the failure.
    assert_eq!(request(service.ops, "DELETE", "/cache/91111111111", &[]).status, 204);
    assert_eq!(service.get(PATH).problem(), "zoom_failed");
    assert_eq!(calls_for(&sim, ID).len(), 3);
    service.finish(&["flight failed"]);
}

#[test]
fn replicas_do_not_repeat_a_request_that_zoom_refused_another() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    sim.inject(Fault::new(FaultKind::EndpointUnknown).for_meeting(ID).forever());
    for replica in replicas.iter().cycle().take(9) {
        let answer = replica.get(PATH);
        assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_failed"));
        assert!((20..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
        assert_eq!(answer.json()["zoom"]["code"], 2300);
        assert!(answer.json()["detail"].as_str().unwrap().contains("refuses"));
    }
    assert_eq!(calls_for(&sim, ID).len(), 1);
    // A purge at one replica removes the cached failure at all of them.
    assert_eq!(request(replicas[1].ops, "DELETE", "/cache", &[]).status, 204);
    replicas[2].get(PATH);
    assert_eq!(calls_for(&sim, ID).len(), 2);
    finish(replicas, &["flight failed"]);
}

#[test]
fn a_retry_loop_over_all_replicas_flies_at_most_every_two_seconds() {
    let (sim, redis) = (sim(|_| ()), Server::start());
    let replicas = start(&sim, &redis, &[]);
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(503)).for_meeting(ID).forever());
    let mut next = replicas.iter().cycle();
    let calls = wait_for(|| {
        assert_eq!(next.next().unwrap().get(PATH).problem(), "zoom_failed");
        Some(calls_for(&sim, ID)).filter(|calls| calls.len() >= 7)
    });
    for flight in [3, 6] {
        let pause = calls[flight].at - calls[flight - 1].at;
        assert!(pause >= Duration::from_millis(1_800), "{pause:?}");
    }
    finish(replicas, &["flight failed"]);
}
