//! The endpoints for one participant.

use serde_json::Value;
use zoom_sim::{Fault, FaultKind, Meeting, QosEndpoint, SimConfig};

use crate::client::{Client, EXAMPLE, Response, encoded, sim};

const ID: &str = "91234567890";

fn one(client: &mut Client, id: &str, participant: &str) -> Response {
    client.get(&format!("/v2/metrics/meetings/{id}/participants/{participant}/qos?type=past"))
}

#[test]
fn a_participant_is_found_by_each_of_its_ids() {
    let sim = sim();
    sim.add_meeting(Meeting::generated(ID, 14, 3));
    let mut client = Client::authorized(&sim);
    let token = encoded(&client.qos(ID, "page_size=10").next_page_token());
    let page = client.qos(ID, &format!("page_size=10&next_page_token={token}")).json();
    let listed = &page["participants"][2];
    for key in ["user_id", "id", "participant_uuid"] {
        let mut found = one(&mut client, ID, listed[key].as_str().unwrap()).json();
        let number = found.as_object_mut().unwrap().remove("meeting_number");
        assert_eq!((number, &found), (Some(ID.into()), listed), "{key}");
    }
    let call = &sim.qos_calls()[2];
    assert_eq!((call.endpoint, call.page), (Some(QosEndpoint::MeetingParticipant), Some(0)));
    assert_eq!(
        (call.meeting.as_deref(), call.participant.as_deref()),
        (Some(ID), listed["user_id"].as_str())
    );
}

#[test]
fn the_text_of_a_participant_is_that_of_the_list() {
    let sim = sim();
    let start = zoom_sim::example_json().strip_suffix('}').unwrap();
    let id = serde_json::from_str::<Value>(zoom_sim::example_json()).unwrap()["user_id"].clone();
    let answer = one(&mut Client::authorized(&sim), EXAMPLE, id.as_str().unwrap());
    assert_eq!(answer.text(), format!("{start},\"meeting_number\":\"{EXAMPLE}\"}}"));
    assert_eq!(answer.header("x-ratelimit-category"), Some("Heavy"));
}

#[test]
fn the_row_that_joined_last_is_sent_if_there_are_several() {
    let sim = sim();
    let row = |hour| format!(r#"{{"user_id":"7","join_time":"2026-01-15T{hour}:00:00Z"}}"#);
    let pages = vec![format!("[{}, {}]", row("10"), row("12")), format!("[{}]", row("11"))];
    sim.add_meeting(Meeting::raw_pages("abc", pages));
    assert_eq!(one(&mut Client::authorized(&sim), "abc", "7").text(), row("12"));
}

#[test]
fn an_unknown_participant_or_meeting_is_404_with_different_codes() {
    let sim = sim();
    let mut client = Client::authorized(&sim);
    let unknown = (404, 1010, "Participant does not exist: 7.".to_owned());
    assert_eq!(one(&mut client, EXAMPLE, "7").error(), unknown);
    let unknown = (404, 3001, "Meeting does not exist: 123456789.".to_owned());
    assert_eq!(one(&mut client, "123456789", "7").error(), unknown);
}

#[test]
fn a_webinars_participant_has_the_webinars_number() {
    let sim = sim();
    sim.add_meeting(Meeting::generated(ID, 1, 1).webinar());
    let mut client = Client::authorized(&sim);
    let page = client.get(&format!("/v2/metrics/webinars/{ID}/participants/qos")).json();
    let id = page["participants"][0]["user_id"].as_str().unwrap();
    let found = client.get(&format!("/v2/metrics/webinars/{ID}/participants/{id}/qos")).json();
    assert_eq!((&found["user_id"], &found["webinar_number"]), (&id.into(), &ID.into()));
}

#[test]
fn one_participant_is_a_heavy_call_and_has_faults() {
    let sim = zoom_sim::Sim::start(SimConfig { per_day: 2, ..SimConfig::default() }).unwrap();
    sim.inject(Fault::new(FaultKind::ServerErrorHtml(502)).on_endpoint(QosEndpoint::MeetingParticipant));
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(one(&mut client, EXAMPLE, "7").status(), 502);
    assert_eq!(one(&mut client, EXAMPLE, "7").status(), 429);
}
