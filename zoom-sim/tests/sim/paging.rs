//! Pages and their tokens.

use std::io::Read as _;
use std::time::Duration;

use zoom_sim::{Meeting, Sim, SimConfig};

use crate::client::{Client, EXAMPLE, encoded, sim};

const ID: &str = "91234567890";
const REFUSED: &str = "The next page token is invalid or expired.";

fn with_meeting(config: SimConfig) -> (Sim, Client) {
    let sim = Sim::start(config).unwrap();
    sim.add_meeting(Meeting::generated(ID, 23, 1));
    let client = Client::authorized(&sim);
    (sim, client)
}

#[test]
fn pages_follow_each_other_to_the_end() {
    let (sim, mut client) = with_meeting(SimConfig::default());
    let mut names = Vec::new();
    let mut query = "type=past&page_size=10".to_owned();
    loop {
        let page = client.qos(ID, &query).json();
        assert_eq!((&page["page_count"], &page["page_size"]), (&3.into(), &10.into()));
        assert_eq!((&page["total_records"], &page["meeting_number"]), (&23.into(), &ID.into()));
        names.extend(page["participants"].as_array().unwrap().iter().map(|p| p["user_name"].clone()));
        let token = page["next_page_token"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        assert!(token.contains('+') && token.contains('/') && token.contains('='), "{token}");
        query = format!("type=past&page_size=10&next_page_token={}", encoded(token));
    }
    let expected: Vec<_> = (1..=23).map(|n| format!("Participant {n}")).collect();
    assert_eq!(names, expected);
    let pages: Vec<_> = sim.qos_calls().iter().map(|call| call.page).collect();
    assert_eq!(pages, [Some(0), Some(1), Some(2)]);
}

#[test]
fn the_page_size_is_one_by_default_and_ten_at_most() {
    let (_sim, mut client) = with_meeting(SimConfig::default());
    for (query, size) in [("", 1), ("page_size=7", 7), ("page_size=300", 10), ("page_size=0", 1)] {
        let page = client.qos(ID, query).json();
        assert_eq!(page["page_size"], size, "{query}");
        assert_eq!(page["participants"].as_array().unwrap().len(), size);
    }
    assert_eq!(client.qos(ID, "page_size=ten").status(), 400);
}

#[test]
fn a_page_token_is_bound_to_its_parameters() {
    let (sim, mut client) = with_meeting(SimConfig::default());
    sim.add_meeting(Meeting::generated("98765432101", 23, 1));
    let token = client.qos(ID, "type=past&page_size=10").next_page_token();
    let token = format!("next_page_token={}", encoded(&token));
    for (id, query) in [
        (ID, format!("type=live&page_size=10&{token}")),
        (ID, format!("type=past&page_size=9&{token}")),
        ("98765432101", format!("type=past&page_size=10&{token}")),
    ] {
        assert_eq!(client.qos(id, &query).error(), (400, 300, REFUSED.to_owned()), "{id} {query}");
    }
    let good = format!("type=past&page_size=10&{token}");
    assert_eq!(client.qos(ID, &good).status(), 200);
    assert_eq!(client.qos(ID, &good).status(), 200, "and may be used again");
}

#[test]
fn a_page_token_that_is_not_encoded_is_refused() {
    let (sim, mut client) = with_meeting(SimConfig::default());
    let token = client.qos(ID, "page_size=10").next_page_token();
    let raw = client.qos(ID, &format!("page_size=10&next_page_token={token}"));
    assert_eq!(raw.error(), (400, 300, REFUSED.to_owned()), "its plus became a space");
    let call = &sim.qos_calls()[1];
    assert_eq!(call.page, None);
    assert_eq!(call.query("next_page_token").unwrap(), token.replace('+', " "));
}

#[test]
fn page_tokens_expire_after_their_lifetime_and_on_request() {
    let (sim, mut client) = with_meeting(SimConfig::default());
    let token = encoded(&client.qos(ID, "page_size=10").next_page_token());
    let query = format!("page_size=10&next_page_token={token}");
    assert_eq!(client.qos(ID, &query).status(), 200);
    sim.expire_page_tokens();
    assert_eq!(client.qos(ID, &query).error(), (400, 300, REFUSED.to_owned()));
    assert_eq!(sim.qos_calls()[2].page, Some(1));

    let (_sim, mut client) =
        with_meeting(SimConfig { page_token_life: Duration::ZERO, ..SimConfig::default() });
    let token = encoded(&client.qos(ID, "page_size=10").next_page_token());
    let refused = client.qos(ID, &format!("page_size=10&next_page_token={token}"));
    assert_eq!(refused.error(), (400, 300, REFUSED.to_owned()));
}

#[test]
fn the_envelope_and_headers_are_zooms() {
    let sim = sim();
    let answer = Client::authorized(&sim).qos(EXAMPLE, "page_size=10");
    let start = r#"{"next_page_token":"","page_count":1,"page_size":10,"total_records":1,"meeting_number":"85746065432","participants":["#;
    assert_eq!(answer.text(), format!("{start}{}]}}", zoom_sim::example_json()));
    assert_eq!(answer.header("content-type"), Some("application/json;charset=UTF-8"));
    assert_eq!(answer.header("x-ratelimit-category"), Some("Heavy"));
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert!(answer.header("set-cookie").is_some() && answer.header("date").unwrap().ends_with(" GMT"));
    let tracking_id = answer.header("x-zm-trackingid").unwrap();
    assert!(tracking_id.starts_with("v=2.0;clid=us06;rid=WEB_"));
    assert_eq!(sim.qos_calls()[0].tracking_id, tracking_id);
}

#[test]
fn gzip_is_sent_if_enabled_and_accepted() {
    let (_sim, mut client) = with_meeting(SimConfig { gzip: true, ..SimConfig::default() });
    let target = format!("/v2/metrics/meetings/{ID}/participants/qos?page_size=10");
    let packed = client.get_with(&target, "accept-encoding: gzip, deflate\r\n");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut body = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut body).unwrap();
    let plain = client.get(&target);
    assert_eq!(plain.header("content-encoding"), None);
    let participants = |text: &str| text.split_once("participants").unwrap().1.to_owned();
    assert_eq!(participants(&body), participants(plain.text()));
}
