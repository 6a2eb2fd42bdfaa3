//! Webinars. The endpoints of each kind refuse ids of the other kind.

use zoom_sim::{CallKind, Fault, FaultKind, Meeting, QosEndpoint, Sim, SimConfig};

use crate::client::{Client, EXAMPLE, Response, encoded};

const ID: &str = "91234567890";
const UUID: &str = "/ajXp112QmuoKj48548750==";

fn with_webinar(config: SimConfig) -> (Sim, Client) {
    let sim = Sim::start(config).unwrap();
    sim.add_meeting(Meeting::generated(ID, 23, 2).with_uuid(UUID).webinar());
    let client = Client::authorized(&sim);
    (sim, client)
}

fn webinar(client: &mut Client, id: &str, query: &str) -> Response {
    client.get(&format!("/v2/metrics/webinars/{id}/participants/qos?{query}"))
}

#[test]
fn a_webinar_is_paged_as_a_meeting_is() {
    let (sim, mut client) = with_webinar(SimConfig::default());
    let mut rows = 0;
    let mut query = "type=past&page_size=10".to_owned();
    loop {
        let page = webinar(&mut client, ID, &query).json();
        assert_eq!((&page["page_count"], &page["total_records"]), (&3.into(), &23.into()));
        assert_eq!((&page["webinar_number"], page.get("meeting_number")), (&ID.into(), None));
        rows += page["participants"].as_array().unwrap().len();
        let token = page["next_page_token"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        query = format!("type=past&page_size=10&next_page_token={}", encoded(token));
    }
    assert_eq!(rows, 23);
    let by_uuid = webinar(&mut client, "%252FajXp112QmuoKj48548750%253D%253D", "page_size=10").json();
    assert_eq!(by_uuid["total_records"], 23);
    for (page, call) in sim.qos_calls().iter().take(3).enumerate() {
        assert_eq!((call.endpoint, call.page), (Some(QosEndpoint::WebinarList), Some(page)));
        assert_eq!(call.meeting.as_deref(), Some(ID));
    }
}

#[test]
fn each_kind_of_endpoint_refuses_the_other_kind_of_id() {
    let (sim, mut client) = with_webinar(SimConfig::default());
    let refused = (400, 300, format!("Can not access webinar info, {ID}."));
    assert_eq!(client.qos(ID, "").error(), refused);
    assert_eq!(client.get(&format!("/v2/metrics/meetings/{ID}/participants/1/qos")).error(), refused);
    let refused = (400, 300, format!("Can not access meeting info, {EXAMPLE}."));
    assert_eq!(webinar(&mut client, EXAMPLE, "").error(), refused);
    let unknown = (404, 3001, "Webinar does not exist: 123456789.".to_owned());
    assert_eq!(webinar(&mut client, "123456789", "").error(), unknown);
    let endpoints: Vec<_> = sim.qos_calls().iter().filter_map(|call| call.endpoint).collect();
    let (meetings, webinars) = (QosEndpoint::MeetingList, QosEndpoint::WebinarList);
    assert_eq!(endpoints, [meetings, QosEndpoint::MeetingParticipant, webinars, webinars]);
}

#[test]
fn webinars_count_in_the_same_limits_as_meetings() {
    let (_sim, mut client) = with_webinar(SimConfig { per_second: 2, ..SimConfig::default() });
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(webinar(&mut client, ID, "").status(), 200);
    assert_eq!(webinar(&mut client, ID, "").status(), 429);
    assert_eq!(client.qos(EXAMPLE, "").status(), 429);
}

#[test]
fn a_missing_webinar_scope_stops_webinars_only() {
    let (sim, mut client) = with_webinar(SimConfig::default());
    sim.set_webinar_scope(false);
    let lacks = |scope: &str| {
        (400, 4711, format!("Invalid access token, does not contain scopes:[dashboard:read:{scope}:admin]."))
    };
    assert_eq!(webinar(&mut client, ID, "").error(), lacks("list_webinar_participants_qos"));
    let one = client.get(&format!("/v2/metrics/webinars/{ID}/participants/1/qos"));
    assert_eq!(one.error(), lacks("webinar_participant_qos"));
    assert_eq!(client.qos(EXAMPLE, "").status(), 200);
    assert_eq!(client.qos(ID, "").error().1, 300);
    sim.set_webinar_scope(true);
    assert_eq!(webinar(&mut client, ID, "").status(), 200);
}

#[test]
fn a_fault_may_hit_one_endpoint_only() {
    let (sim, mut client) = with_webinar(SimConfig::default());
    sim.inject(Fault::new(FaultKind::MissingScope).on_endpoint(QosEndpoint::WebinarList).for_meeting(UUID));
    assert_eq!(client.qos(ID, "").error().1, 300);
    assert_eq!(webinar(&mut client, EXAMPLE, "").error().1, 300);
    let (status, code, message) = webinar(&mut client, ID, "").error();
    assert_eq!((status, code), (400, 4711));
    assert!(message.contains(QosEndpoint::WebinarList.scope()), "{message}");
    assert_eq!(webinar(&mut client, ID, "").status(), 200);
}

#[test]
fn a_misspelled_webinar_path_is_recorded_but_not_recognized() {
    let (sim, mut client) = with_webinar(SimConfig::default());
    let raw = client.get("/v2/metrics/webinars//ajXp112QmuoKj48548750==/participants/qos");
    assert_eq!(raw.error(), (404, 2300, "This API endpoint is not recognized.".to_owned()));
    let call = &sim.qos_calls()[0];
    assert_eq!((call.kind, call.meeting.as_deref()), (CallKind::Qos, None));
}
