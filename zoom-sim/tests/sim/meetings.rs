//! The contents of meetings.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zoom_sim::{Meeting, Sim, demo_meetings};

use crate::client::{Client, End, sim};

const ID: &str = "91234567890";
const FIELDS: &str = "id user_id participant_uuid user_name email device client version os os_version browser_name \
    device_name domain harddisk_id mac_addr pc_name ip_address internal_ip_addresses location join_time leave_time \
    network_type data_center full_data_center connection_type video_connection_type as_connection_type \
    share_application share_desktop share_whiteboard recording has_archiving optional_archiving groupId health \
    issue_list total_jointime_cost rc_reason user_qos";

fn participants(sim: &Sim, id: &str) -> Value {
    Client::authorized(sim).qos(id, "page_size=10").json()["participants"].take()
}

#[test]
fn generated_meetings_are_the_same_in_every_run() {
    let (one, other) = (sim(), sim());
    one.add_meeting(Meeting::generated(ID, 3, 4));
    other.add_meeting(Meeting::generated(ID, 3, 4));
    other.add_meeting(Meeting::generated("98765432101", 3, 4));
    assert_eq!(participants(&one, ID), participants(&other, ID));
    assert_ne!(participants(&other, ID), participants(&other, "98765432101"));
}

#[test]
fn generated_participants_have_all_fields_and_samples_about_zooms_size() {
    let sim = sim();
    let meeting = Meeting::generated(ID, 10, 60);
    assert_eq!(meeting.rows(), 10);
    sim.add_meeting(meeting);
    let page = Client::authorized(&sim).qos(ID, "page_size=10");
    assert!((700_000..900_000).contains(&page.body.len()), "{}", page.body.len());
    let page = page.json();
    let first = &page["participants"][0];
    for field in FIELDS.split_whitespace() {
        assert!(first.get(field).is_some(), "{field}");
    }
    assert_eq!(first.as_object().unwrap().len(), FIELDS.split_whitespace().count());
    assert_eq!(first["leave_time"], "2026-01-15T11:00:00Z");
    let samples = first["user_qos"].as_array().unwrap();
    assert_eq!(samples.len(), 60);
    assert_eq!(samples[0]["date_time"], first["join_time"]);
    assert_eq!(samples[1]["date_time"], "2026-01-15T10:01:00Z");
    for group in ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output"] {
        assert!(samples.iter().all(|sample| sample[group]["bitrate"].is_string()), "{group}");
    }
    for kind in ["audio", "video", "as"] {
        for end in ["from_crc", "to_crc", "from_rwg", "to_rwg"] {
            let name = format!("{kind}_device_{end}");
            assert!(samples.iter().any(|sample| sample.get(&name).is_some()), "{name}");
        }
    }
    assert!(samples[0]["wifi_rssi"]["avg_rssi"].is_number());
}

#[test]
fn a_growing_meeting_gains_samples() {
    let sim = sim();
    sim.add_meeting(Meeting::generated(ID, 2, 3).growing_every(Duration::from_millis(20)));
    let mut client = Client::authorized(&sim);
    let mut seen = 3;
    let begin = Instant::now();
    while seen < 6 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not grow");
        let page = client.qos(ID, "page_size=10");
        if page.status() == 429 {
            continue;
        }
        let page = page.json();
        let samples = page["participants"][1]["user_qos"].as_array().unwrap();
        assert!(samples.len() >= seen);
        assert_eq!(page["participants"][1]["leave_time"], "", "nobody has left");
        seen = samples.len();
    }
}

#[test]
fn a_meeting_may_have_ended_recently() {
    let sim = sim();
    sim.add_meeting(Meeting::generated(ID, 7, 3).ended_ago(Duration::from_secs(600)));
    let rows = participants(&sim, ID);
    let left = rows.as_array().unwrap().iter().map(|row| row["leave_time"].as_str().unwrap());
    let newest: Timestamp = left.max().unwrap().parse().unwrap();
    let ago = Timestamp::now().duration_since(newest);
    assert!((SignedDuration::from_secs(600)..SignedDuration::from_secs(660)).contains(&ago), "{ago:?}");
}

#[test]
fn raw_pages_are_served_verbatim() {
    let sim = sim();
    let pages = vec![r#"[{"a": 1e999},{} ]"#.to_owned(), "[not json".to_owned(), "[{}]".to_owned()];
    let meeting = Meeting::raw_pages(ID, pages);
    assert_eq!(meeting.rows(), 3);
    sim.add_meeting(meeting);
    let first = Client::authorized(&sim).qos(ID, "");
    let text = first.text();
    assert!(text.ends_with(r#""participants":[{"a": 1e999},{} ]}"#), "{text}");
    assert!(text.contains(r#""page_count":3,"page_size":1,"total_records":3,"#), "{text}");
}

#[test]
fn a_meeting_of_the_same_id_is_replaced() {
    let sim = sim();
    sim.add_meeting(Meeting::generated(ID, 2, 1).with_uuid("old-uuid"));
    sim.add_meeting(Meeting::generated(ID, 5, 1));
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos(ID, "").json()["total_records"], 5);
    assert_eq!(client.qos("old-uuid", "").status(), 404);
}

#[test]
fn all_demo_meetings_are_served() {
    let sim = sim();
    for meeting in demo_meetings() {
        let kind = if meeting.id() == "91234567890" { "live" } else { "past" };
        let id = meeting.id().replace('/', "%252F");
        let rows = meeting.rows();
        sim.add_meeting(meeting);
        let page = Client::authorized(&sim).qos(&id, &format!("type={kind}&page_size=10"));
        assert_eq!((page.status(), page.end), (200, End::Complete), "{id}");
        assert!(page.text().contains(&format!("\"total_records\":{rows},")), "{id}");
    }
}
