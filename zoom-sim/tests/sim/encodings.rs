//! Meeting ids on the wire.

use zoom_sim::Meeting;

use crate::client::{Client, EXAMPLE, sim};

#[test]
fn a_uuid_is_found_once_encoded_or_with_raw_plus_and_equals() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("atsXxhSEQWit9t+U02HXNQ==", 2, 1));
    let mut client = Client::authorized(&sim);
    for id in ["atsXxhSEQWit9t%2BU02HXNQ%3D%3D", "atsXxhSEQWit9t+U02HXNQ=="] {
        let found = client.qos(id, "");
        assert_eq!(found.json()["total_records"], 2, "{id}");
        assert_eq!(found.json().get("meeting_number"), None);
    }
    let calls = sim.qos_calls();
    assert_eq!(calls[0].path(), "/v2/metrics/meetings/atsXxhSEQWit9t%2BU02HXNQ%3D%3D/participants/qos");
    assert_eq!(calls[0].meeting.as_deref(), Some("atsXxhSEQWit9t+U02HXNQ=="));
    let twice = client.qos("atsXxhSEQWit9t%252BU02HXNQ%253D%253D", "");
    let message = "Meeting does not exist: atsXxhSEQWit9t%2BU02HXNQ%3D%3D.";
    assert_eq!(twice.error(), (404, 3001, message.to_owned()));
}

#[test]
fn a_uuid_that_begins_with_a_slash_is_found_only_twice_encoded() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("/ajXp112QmuoKj48548750==", 3, 1));
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos("%252FajXp112QmuoKj48548750%253D%253D", "").json()["total_records"], 3);
    let once = client.qos("%2FajXp112QmuoKj48548750%3D%3D", "");
    let message = "Meeting does not exist: ajXp112QmuoKj48548750==.";
    assert_eq!(once.error(), (404, 3001, message.to_owned()), "the slash is missing");
    let raw = client.qos("/ajXp112QmuoKj48548750==", "");
    assert_eq!(raw.error(), (404, 2300, "This API endpoint is not recognized.".to_owned()));
    assert_eq!(client.qos("%25252FajXp112QmuoKj48548750%25253D%25253D", "").error().1, 3001);
    assert_eq!(sim.qos_calls().len(), 4, "badly encoded calls are recorded, too");
}

#[test]
fn a_uuid_that_contains_two_slashes_is_found_only_twice_encoded() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("91234567890", 1, 1).with_uuid("abc//defghijklmnopqrst=="));
    let mut client = Client::authorized(&sim);
    let found = client.qos("abc%252F%252Fdefghijklmnopqrst%253D%253D", "");
    assert_eq!(found.json()["meeting_number"], "91234567890", "the number of the instance's meeting");
    let once = client.qos("abc%2F%2Fdefghijklmnopqrst%3D%3D", "");
    assert_eq!(once.error().2, "Meeting does not exist: abc/defghijklmnopqrst==.");
    assert_eq!(client.qos("91234567890", "").status(), 200);
    sim.remove_meeting("91234567890");
    assert_eq!(client.qos("abc%252F%252Fdefghijklmnopqrst%253D%253D", "").status(), 404);
}

#[test]
fn an_unknown_number_and_an_unknown_path_get_different_errors() {
    let sim = sim();
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos("123456789", "").error(), (404, 3001, "Meeting does not exist: 123456789.".into()));
    assert_eq!(client.get("/v2/metrics/meetings").error().1, 2300);
    assert_eq!(sim.qos_calls().len(), 1);
    assert_eq!(sim.calls().len(), 3);
}

#[test]
fn the_type_decides_which_meetings_are_found() {
    let sim = sim();
    sim.add_meeting(Meeting::generated("111111111", 1, 1).live_only());
    sim.add_meeting(Meeting::generated("222222222", 1, 1).past_only());
    let mut client = Client::authorized(&sim);
    assert_eq!(client.qos("111111111", "").status(), 200);
    assert_eq!(client.qos("111111111", "type=live").status(), 200);
    let not_yet = client.qos("111111111", "type=past").error();
    assert_eq!(not_yet, (404, 3001, "This meeting's detail info is not available.".to_owned()));
    assert_eq!(client.qos("222222222", "type=past").status(), 200);
    assert_eq!(client.qos("222222222", "type=live").error().1, 3001);
    let (status, code, _) = client.qos(EXAMPLE, "type=pastOne").error();
    assert_eq!((status, code), (400, 300));
}
