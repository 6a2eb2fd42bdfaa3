//! The problems that callers get when Zoom refuses or fails: status, code and Zoom's message, but nothing internal.

use std::time::Duration;

use serde_json::json;
use test_support::{
    client::Answer,
    service::{QUICK, Service},
    simulator::{calls_for, sim},
    wait::wait_for,
};
use zoom_sim::{Call, Fault, FaultKind, Meeting, Sim};

const SCOPES: &str =
    "Invalid access token, does not contain scopes:[dashboard:read:list_meeting_participants_qos:admin].";
const PLAN: &str = "This API is only available for ZMP and Business or higher accounts that have enabled the Dashboard \
                    feature.";
const PER_SECOND: &str = "You have reached the maximum per-second rate limit for this API. Try again later.";
const PAGE_TOKEN: &str = "The next page token is invalid or expired.";

fn meeting_id(number: usize) -> String {
    format!("{:011}", 91_000_000_000 + number)
}

fn in_200(code: i64, message: &str) -> FaultKind {
    FaultKind::ErrorIn200 { code, message: message.to_owned() }
}

fn status(status: u16, body: &str) -> FaultKind {
    FaultKind::Status { status, body: body.to_owned() }
}

/// Zoom's response: HTTP status, `code` and `message`.
type Said<'a> = (u16, Option<i64>, Option<&'a str>);

/// Checks a problem's status, code and cache headers, that it reveals nothing internal, and that it quotes Zoom's
/// response to `call`.
fn check(answer: &Answer, sim: &Sim, expected: (u16, &str), said: Said<'_>, call: &Call) {
    assert_eq!((answer.status, answer.problem().as_str()), expected, "{}", answer.text());
    answer.assert_discreet(sim);
    let (status, code, message) = said;
    let zoom = json!({ "status": status, "code": code, "message": message, "tracking_id": call.tracking_id });
    assert_eq!(answer.json()["zoom"], zoom);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("etag").is_none() && answer.header("last-modified").is_none());
}

/// For several ways in which Zoom refuses a meeting: the fault, the problem that callers get, and the response that the
/// problem quotes.
fn refusals(redirect: FaultKind) -> Vec<(FaultKind, (u16, &'static str), Said<'static>)> {
    let no_type = r#"{"code":300,"message":"The value of the query parameter type is invalid."}"#;
    vec![
        (FaultKind::PageTokenInvalid, (502, "zoom_failed"), (400, Some(300), Some(PAGE_TOKEN))),
        (FaultKind::PageTokenInvalidStatus300, (502, "zoom_failed"), (300, Some(300), Some(PAGE_TOKEN))),
        (
            FaultKind::Webinar,
            (404, "not_a_meeting"),
            (400, Some(300), Some("Can not access webinar info, {id}.")),
        ),
        (
            FaultKind::TooOld,
            (410, "meeting_too_old"),
            (400, Some(12702), Some("Can not access a meeting a year ago.")),
        ),
        (
            FaultKind::NotAvailable,
            (404, "meeting_not_found"),
            (404, Some(3001), Some("This meeting's detail info is not available.")),
        ),
        (
            FaultKind::DoesNotExist,
            (404, "meeting_not_found"),
            (404, Some(3001), Some("Meeting does not exist: {id}.")),
        ),
        (
            FaultKind::EndpointUnknown,
            (502, "zoom_failed"),
            (404, Some(2300), Some("This API endpoint is not recognized.")),
        ),
        (in_200(3001, "gone"), (404, "meeting_not_found"), (200, Some(3001), Some("gone"))),
        (in_200(12702, "old"), (410, "meeting_too_old"), (200, Some(12702), Some("old"))),
        (
            in_200(300, "Can not access webinar info, 1."),
            (404, "not_a_meeting"),
            (200, Some(300), Some("Can not access webinar info, 1.")),
        ),
        (in_200(300, PAGE_TOKEN), (502, "zoom_failed"), (200, Some(300), Some(PAGE_TOKEN))),
        (in_200(2300, "no"), (502, "zoom_failed"), (200, Some(2300), Some("no"))),
        (
            status(400, no_type),
            (502, "zoom_failed"),
            (400, Some(300), Some("The value of the query parameter type is invalid.")),
        ),
        (status(403, r#"{"code":9999,"message":"no"}"#), (502, "zoom_failed"), (403, Some(9999), Some("no"))),
        (
            status(404, r#"{"code":"3001","message":"no"}"#),
            (404, "meeting_not_found"),
            (404, Some(3001), Some("no")),
        ),
        (status(404, "<html>nothing</html>"), (502, "zoom_failed"), (404, None, None)),
        (status(400, ""), (502, "zoom_failed"), (400, None, None)),
        (status(422, "[1, 2"), (502, "zoom_failed"), (422, None, None)),
        (redirect, (502, "zoom_failed"), (302, None, None)),
        (FaultKind::Oversized(100_000), (502, "zoom_failed"), (200, None, None)),
    ]
}

#[test]
fn each_meeting_refusal_costs_one_call_and_carries_zooms_message() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("zoom.max_body", "64KiB")]);
    let elsewhere = FaultKind::Redirect(format!("{}/metrics/meetings/elsewhere", sim.api_base_url()));
    for (number, (kind, expected, (status, code, message))) in refusals(elsewhere).into_iter().enumerate() {
        println!("{kind:?}");
        let id = meeting_id(number);
        sim.add_meeting(Meeting::generated(&id, 2, 1));
        sim.inject(Fault::new(kind).for_meeting(&id).forever());
        let answer = service.get(&format!("/qos/{id}?kind=meeting"));
        let message = message.map(|text| text.replace("{id}", &id));
        let calls = calls_for(&sim, &id);
        assert_eq!(calls.len(), 1);
        check(&answer, &sim, expected, (status, code, message.as_deref()), &calls[0]);
        let remembered = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
        // `zoom_failed` is cached for 30 s, and its `Retry-After` says so. The other problems have no `Retry-After`: a
        // missing meeting may begin at any time, and the rest are not expected to change.
        assert_eq!(remembered, (expected.1 == "zoom_failed").then_some(30));
    }
    let asked: Vec<_> = sim.calls().iter().map(|call| call.kind).collect();
    assert!(!asked.contains(&zoom_sim::CallKind::Other), "no redirect is followed");
    assert_eq!(service.ops_get("/readyz").status, 200, "none of these concerns the credentials");
    service.finish(&["flight failed", "larger than zoom.max_body"]);
}

#[test]
fn a_missing_scope_or_plan_costs_one_call_and_a_backoff() {
    let table: Vec<(FaultKind, Said<'_>)> = vec![
        (FaultKind::PlanTooLow, (400, Some(200), Some(PLAN))),
        (FaultKind::MissingScope, (400, Some(4711), Some(SCOPES))),
        (FaultKind::MissingScope104, (400, Some(104), Some(SCOPES))),
        (FaultKind::MissingScopeMalformed, (400, None, None)),
        (in_200(4711, SCOPES), (200, Some(4711), Some(SCOPES))),
        (in_200(200, PLAN), (200, Some(200), Some(PLAN))),
    ];
    for (kind, said) in table {
        println!("{kind:?}");
        let sim = sim(|_| ());
        sim.add_meeting(Meeting::generated("91111111111", 1, 1));
        sim.inject(Fault::new(kind).forever());
        let service = Service::start(&sim, &[]);
        for path in ["/qos/91111111111", "/qos/91111111111", "/qos/92222222222?type=past"] {
            let answer = service.get(path);
            check(&answer, &sim, (502, "zoom_rejected_credentials"), said, &sim.qos_calls()[0]);
            assert!((25..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
        }
        assert_eq!(sim.qos_calls().len(), 1);
        let ready = service.ops_get("/readyz");
        assert_eq!(ready.status, 503);
        assert_eq!(ready.json()["reasons"][0]["code"], "zoom_rejected_credentials");
        ready.assert_discreet(&sim);
        service.finish(&["Zoom refuses the credentials"]);
    }
}

#[test]
fn a_rate_limit_carries_zooms_message_wherever_the_code_is() {
    let per_second = FaultKind::RateSecond { retry_after: Some("60".into()), headers: true };
    let daily = "You have reached the maximum daily rate limit for this API.";
    let table: Vec<(FaultKind, &str, Said<'_>, std::ops::RangeInclusive<u64>)> = vec![
        (per_second, "zoom_rate_limited", (429, Some(429), Some(PER_SECOND)), 55..=60),
        (in_200(429, daily), "zoom_daily_quota_spent", (200, Some(429), Some(daily)), 1..=86_400),
    ];
    for (kind, code, said, retry_after) in table {
        let sim = sim(|_| ());
        sim.inject(Fault::new(kind).forever());
        let service = Service::start(&sim, &[]);
        let answer = service.get("/qos/91111111111");
        let calls = sim.qos_calls();
        check(&answer, &sim, (503, code), said, &calls[0]);
        assert!(retry_after.contains(&answer.retry_after()), "{}", answer.retry_after());
        assert_eq!(service.get("/qos/92222222222").problem(), code);
        assert_eq!(sim.qos_calls().len(), 1, "all calls pause");
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn inside_a_200_a_429_pauses_and_an_expired_token_is_renewed() {
    let sim = sim(|_| ());
    for (kind, pauses, tokens) in
        [(in_200(429, PER_SECOND), true, 1), (in_200(124, "Access token is expired."), false, 2)]
    {
        sim.add_meeting(Meeting::generated("91111111111", 2, 1));
        sim.clear_calls();
        sim.inject(Fault::new(kind));
        let service = Service::start(&sim, &[]);
        assert_eq!(service.get("/qos/91111111111").json()["total_records"], 2);
        let calls = sim.qos_calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(sim.token_calls().len(), tokens);
        let pause = (calls[1].at - calls[0].at).as_secs_f64();
        assert_eq!((1.0..2.0).contains(&pause), pauses, "{pause}");
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn zooms_refusals_of_a_meeting_are_cached_and_then_requested_again() {
    let sim = sim(|_| ());
    let settings = [("cache.not_found_live", "1s"), ("cache.not_found_past", "1s"), ("cache.refusal", "1s")];
    let service = Service::start(&sim, &settings);
    let kinds = [
        (FaultKind::DoesNotExist, "meeting_not_found"),
        (FaultKind::NotAvailable, "meeting_not_found"),
        (FaultKind::Webinar, "not_a_meeting"),
        (FaultKind::TooOld, "meeting_too_old"),
        (in_200(3001, "gone"), "meeting_not_found"),
        (in_200(12702, "old"), "meeting_too_old"),
        (in_200(300, "Can not access webinar info, 1."), "not_a_meeting"),
    ];
    let mut asked = Vec::new();
    for (number, (kind, code)) in kinds.iter().enumerate() {
        for view in ["live", "past"] {
            let id = meeting_id(if view == "live" { number } else { 100 + number });
            let path = format!("/qos/{id}?type={view}&kind=meeting");
            sim.inject(Fault::new(kind.clone()).for_meeting(&id).forever());
            let (first, second) = (service.get(&path), service.get(&path));
            assert_eq!(
                calls_for(&sim, &id).len(),
                1,
                "{path}: the second request is answered from the cache"
            );
            assert_eq!((first.problem().as_str(), second.problem().as_str()), (*code, *code));
            assert_eq!(first.json()["zoom"], second.json()["zoom"]);
            assert_ne!(first.json()["request_id"], second.json()["request_id"]);
            asked.push((id, path));
        }
    }
    for (id, path) in asked {
        let calls = wait_for(|| {
            service.get(&path);
            Some(calls_for(&sim, &id)).filter(|calls| calls.len() == 2)
        });
        assert!(calls[1].at - calls[0].at >= Duration::from_secs(1), "{path}");
    }
    service.finish(&[]);
}

#[test]
fn a_missing_live_meeting_is_retried_sooner_than_a_past_one() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[("cache.not_found_live", "300ms")]);
    let (live, past) = ("/qos/91111111111", "/qos/91111111111?type=past");
    assert_eq!(service.get(past).problem(), "meeting_not_found");
    assert_eq!(service.get(live).problem(), "meeting_not_found");
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    let found = wait_for(|| Some(service.get(live)).filter(|answer| answer.status == 200));
    assert!(found.cache_status().starts_with("zoom-qos-proxy; fwd="), "{}", found.cache_status());
    assert_eq!(service.get(past).problem(), "meeting_not_found", "remembered for cache.not_found_past");
    assert_eq!(sim.qos_calls().len(), 3);
    service.finish(&[]);
}

#[test]
fn a_refusal_is_cached_longer_than_a_missing_meeting() {
    let sim = sim(|_| ());
    let settings = [("cache.not_found_live", "300ms"), ("cache.refusal", "1h")];
    let service = Service::start(&sim, &settings);
    let paths = [0, 1, 2].map(|number| format!("/qos/{}?kind=meeting", meeting_id(number)));
    sim.inject(Fault::new(FaultKind::Webinar).for_meeting(meeting_id(0)).forever());
    sim.inject(Fault::new(FaultKind::TooOld).for_meeting(meeting_id(1)).forever());
    let codes = || paths.each_ref().map(|path| service.get(path).problem());
    let all = ["not_a_meeting", "meeting_too_old", "meeting_not_found"];
    assert_eq!(codes(), all);
    // The third meeting does not exist. Its refusal expires after 300 ms, so it is requested twice more while the other
    // two refusals are still cached.
    wait_for(|| {
        assert_eq!(codes(), all);
        (calls_for(&sim, &meeting_id(2)).len() == 3).then_some(())
    });
    assert_eq!([0, 1].map(|number| calls_for(&sim, &meeting_id(number)).len()), [1, 1]);
    service.finish(&[]);
}

#[test]
fn a_missing_scope_is_retried_after_thirty_seconds_and_not_before() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim.inject(Fault::new(FaultKind::MissingScope));
    let service = Service::start(&sim, &[]);
    let answer = wait_for(|| {
        let answer = service.get("/qos/91111111111");
        if answer.status == 502 {
            assert_eq!(answer.problem(), "zoom_rejected_credentials");
            return None;
        }
        Some(answer)
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    let held = (calls[1].at - calls[0].at).as_secs_f64();
    assert!((29.9..32.0).contains(&held), "{held}");
    service.finish(&["Zoom refuses the credentials"]);
}

#[test]
fn a_temporary_failure_is_retried_once_it_is_no_longer_cached() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[QUICK[0], QUICK[1], ("cache.refusal", "1s")]);
    let table = [
        (FaultKind::ServerErrorHtml(500), 3, "zoom_failed"),
        (FaultKind::ServerErrorHtml(502), 3, "zoom_failed"),
        (FaultKind::ServerErrorHtml(503), 3, "zoom_failed"),
        (FaultKind::ServerErrorHtml(504), 3, "zoom_failed"),
        (status(500, r#"{"code":5000,"message":"Internal error."}"#), 3, "zoom_failed"),
        (FaultKind::NotJson, 3, "zoom_failed"),
        (FaultKind::EmptyBody, 3, "zoom_failed"),
        (FaultKind::EmptyObject, 3, "zoom_failed"),
        (in_200(2300, "no"), 1, "zoom_failed"),
        (FaultKind::PageTokenInvalid, 1, "zoom_failed"),
        (FaultKind::Truncated, 3, "zoom_failed"),
        (FaultKind::ResetBeforeAnswer, 3, "zoom_failed"),
        (FaultKind::EndpointUnknown, 1, "zoom_failed"),
        (status(403, r#"{"code":9999,"message":"no"}"#), 1, "zoom_failed"),
        (FaultKind::Hang, 3, "zoom_timed_out"),
    ];
    std::thread::scope(|scope| {
        for (number, (kind, calls, code)) in table.into_iter().enumerate() {
            let (id, sim, service) = (meeting_id(number), &sim, &service);
            sim.add_meeting(Meeting::generated(&id, 1, 1));
            sim.inject(Fault::new(kind).for_meeting(&id).times(calls));
            scope.spawn(move || {
                let path = format!("/qos/{id}");
                assert_eq!(service.get(&path).problem(), code);
                assert_eq!(calls_for(sim, &id).len(), calls);
                wait_for(|| (service.get(&path).status == 200).then_some(()));
                assert_eq!(calls_for(sim, &id).len(), calls + 1);
            });
        }
    });
    service.finish(&["flight failed"]);
}

#[test]
fn a_call_succeeds_after_the_pause_for_a_rate_limit() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 1, 1));
    sim.inject(Fault::new(FaultKind::RateSecond { retry_after: Some("2".into()), headers: true }));
    let service = Service::start(&sim, &[("server.wait", "1s")]);
    assert_eq!(service.get("/qos/91111111111").problem(), "zoom_rate_limited");
    wait_for(|| Some(service.get("/qos/91111111111")).filter(|answer| answer.status == 200));
    let calls = sim.qos_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(2));
    service.finish(&["all calls pause"]);
}

#[test]
fn a_flight_that_fails_after_three_429s_is_not_cached() {
    let rate = |daily: bool| {
        let retry_after = Some("1".to_owned());
        if daily {
            FaultKind::RateDay { retry_after, headers: true }
        } else {
            FaultKind::RateSecond { retry_after, headers: true }
        }
    };
    for (daily, code) in [(false, "zoom_rate_limited"), (true, "zoom_daily_quota_spent")] {
        let sim = sim(|_| ());
        sim.add_meeting(Meeting::generated("91111111111", 1, 1));
        sim.inject(Fault::new(rate(daily)).times(3));
        let service = Service::start(&sim, &[]);
        assert_eq!(service.get("/qos/91111111111").problem(), code);
        assert_eq!(sim.qos_calls().len(), 3);
        // This request is answered when the pause of the last 429 ends.
        assert_eq!(service.get("/qos/91111111111").status, 200);
        let calls = sim.qos_calls();
        assert_eq!(calls.len(), 4);
        let pause = calls[3].at - calls[2].at;
        assert!(pause < Duration::from_secs(2), "{pause:?}");
        service.finish(&["all calls pause"]);
    }
}

#[test]
fn zooms_messages_are_truncated_and_its_html_is_not_quoted() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let long = "x".repeat(5_000);
    let long_body = format!(r#"{{"code":9999,"message":"{long}"}}"#);
    let html = "<html><a href=\"https://zoom.us\">awc</a></html>";
    for (number, body) in [long_body.as_str(), html].into_iter().enumerate() {
        let id = meeting_id(number);
        sim.inject(Fault::new(status(403, body)).for_meeting(&id));
        let answer = service.get(&format!("/qos/{id}"));
        assert_eq!(answer.problem(), "zoom_failed");
        assert!(answer.body.len() < 2_000, "{}", answer.body.len());
        answer.assert_discreet(&sim);
    }
    service.finish(&["flight failed"]);
}

#[test]
fn a_repeated_page_token_is_reported_with_zooms_status() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 40, 1));
    sim.inject(Fault::new(FaultKind::RepeatPageToken).on_page(1).forever());
    let service = Service::start(&sim, &[]);
    let answer = service.get("/qos/91111111111");
    let calls = sim.qos_calls();
    check(&answer, &sim, (502, "zoom_failed"), (200, None, None), &calls[calls.len() - 1]);
    service.finish(&["Zoom repeats a page token", "flight failed"]);
}

#[test]
fn a_url_in_zooms_message_is_not_passed_on() {
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let link = r#"{"code":9999,"message":"Not enabled. See https://marketplace.zoom.us/docs for more."}"#;
    sim.inject(Fault::new(status(403, link)));
    let answer = service.get("/qos/91111111111");
    assert_eq!(answer.problem(), "zoom_failed");
    answer.assert_discreet(&sim);
    service.finish(&["flight failed"]);
}
