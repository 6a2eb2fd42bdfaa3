//! Zoom apps that lack the scope for webinars, or the scope for meetings.

use test_support::{
    client::Answer,
    freshness::{NO_REVALIDATION, wait_until_not_served},
    service::Service,
    simulator::sim,
    wait::wait_for,
};
use zoom_sim::{Fault, FaultKind, Meeting, QosEndpoint, Sim};

const WEBINAR: &str = "/qos/91111111111";
const MEETING: &str = "/qos/92222222222";
const MISSING: &str = "webinars: the app lacks the scope dashboard:read:list_webinar_participants_qos:admin";

fn both() -> Sim {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::generated("91111111111", 3, 2).webinar());
    sim.add_meeting(Meeting::generated("92222222222", 3, 2));
    sim.add_meeting(Meeting::generated("93333333333", 3, 2));
    sim
}

fn webinar_calls(sim: &Sim) -> usize {
    sim.qos_calls().iter().filter(|call| call.endpoint == Some(QosEndpoint::WebinarList)).count()
}

fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (502, "zoom_rejected_credentials"));
    assert!((25..=30).contains(&answer.retry_after()), "{}", answer.retry_after());
}

#[test]
fn a_refusal_of_webinars_affects_neither_meetings_nor_readiness() {
    let scope = "the app lacks the scope dashboard:read:list_webinar_participants_qos:admin";
    let plan = "the account's plan or settings have no Dashboard";
    let table = [
        (FaultKind::MissingScope, Some(4711), scope),
        (FaultKind::MissingScope104, Some(104), scope),
        (FaultKind::MissingScopeMalformed, None, scope),
        (FaultKind::PlanTooLow, Some(200), plan),
    ];
    for (kind, code, detail) in table {
        println!("{kind:?}");
        let sim = both();
        sim.inject(Fault::new(kind).on_endpoint(QosEndpoint::WebinarList).forever());
        let service = Service::start(&sim, &[]);
        for path in [WEBINAR, WEBINAR, "/qos/94444444444?kind=webinar&type=past"] {
            let answer = service.get(path);
            assert_refused(&answer);
            assert_eq!(answer.json()["zoom"]["code"].as_i64(), code);
            answer.assert_discreet(&sim);
        }
        assert_eq!(webinar_calls(&sim), 1, "the refusal applies to all webinars");
        assert_eq!(service.get(MEETING).status, 200);
        let ready = service.ops_get("/readyz");
        let reason = serde_json::json!({
            "code": "zoom_rejected_credentials", "detail": format!("webinars: {detail}"),
        });
        let expected = serde_json::json!({ "status": "degraded", "reasons": [reason] });
        assert_eq!((ready.status, ready.json()), (200, expected));
        let zoom = service.ops_get("/status").json()["zoom"].clone();
        assert_eq!(
            (&zoom["webinars_refused"], &zoom["credentials_refused"]),
            (&detail.into(), &false.into())
        );
        assert_eq!(service.metric("zoom_qos_proxy_credentials_ok"), 1.0);
        service.finish(&["Zoom refuses webinars"]);
    }
}

#[test]
fn webinars_are_tried_again_after_thirty_seconds_and_then_served() {
    let sim = both();
    sim.set_webinar_scope(false);
    let service = Service::start(&sim, &[]);
    assert_refused(&service.get(WEBINAR));
    assert_eq!(service.ops_get("/readyz").json()["reasons"][0]["detail"], MISSING);
    sim.set_webinar_scope(true);
    let refused = sim.qos_calls().last().unwrap().at;
    // A token that is older than the change may lack the scope, so the service requests a new one.
    wait_for(|| (sim.token_calls().len() == 2).then_some(()));
    wait_for(|| (service.get(WEBINAR).status == 200).then_some(()));
    let calls = sim.qos_calls();
    let pause = (calls.last().unwrap().at - refused).as_secs_f64();
    assert!((29.9..32.0).contains(&pause), "{pause}");
    assert_eq!(calls.len(), 3, "the meeting endpoint is not called again");
    assert_eq!(service.ops_get("/readyz").json()["status"], "ready");
    assert_eq!(service.ops_get("/status").json()["zoom"]["webinars_refused"], serde_json::Value::Null);
    service.finish(&["Zoom refuses webinars"]);
}

#[test]
fn a_stale_webinar_is_served_while_webinars_are_refused() {
    let sim = both();
    let service = Service::start(&sim, &[("cache.live_fresh", "200ms"), NO_REVALIDATION]);
    assert_eq!(service.get(WEBINAR).status, 200);
    wait_until_not_served(&service, WEBINAR);
    sim.set_webinar_scope(false);
    for _ in 0..2 {
        let stale = service.get(WEBINAR);
        assert!(
            stale.cache_status().ends_with("detail=zoom_rejected_credentials"),
            "{}",
            stale.cache_status()
        );
        assert_eq!(stale.json()["kind"], "webinar");
    }
    assert_eq!(webinar_calls(&sim), 2);
    service.finish(&["Zoom refuses webinars"]);
}

#[test]
fn a_missing_scope_for_meetings_is_named_in_readyz() {
    let scope = "the app lacks the scope dashboard:read:list_meeting_participants_qos:admin";
    for kind in [FaultKind::MissingScope, FaultKind::MissingScope104, FaultKind::MissingScopeMalformed] {
        println!("{kind:?}");
        let sim = both();
        sim.inject(Fault::new(kind).forever());
        let service = Service::start(&sim, &[]);
        assert_refused(&service.get(MEETING));
        assert_refused(&service.get(&format!("{WEBINAR}?kind=webinar")));
        assert_eq!(sim.qos_calls().len(), 1);
        let ready = service.ops_get("/readyz");
        let detail = ready.json()["reasons"][0]["detail"].as_str().unwrap().to_owned();
        assert!(ready.status == 503 && detail.ends_with(scope), "{detail}");
        service.finish(&["Zoom refuses the credentials"]);
    }
}
