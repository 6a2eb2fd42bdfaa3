//! Callers with `hide` see pseudonyms, and the values that are not hidden, in every format.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::{
    callers::{get_as, start},
    hidden_fields::{ID, PATH, V2, callers, combinations, mark, pseudonym_of, row},
    simulator::sim,
};
use zoom_sim::Meeting;

/// The fields whose common values a summary reports, and the group that hides each field.
const COMPARED: [(&str, Option<&str>); 7] = [
    ("network_type", None),
    ("connection_type", None),
    ("location", Some("address")),
    ("data_center", None),
    ("os", Some("device")),
    ("version", Some("device")),
    ("device", Some("device")),
];

/// A meeting with two stays of one person, both with bad quality, and three stays of another person with good quality.
fn meeting() -> Meeting {
    let rejoined = row("").replace("mark-user-id", "mark-user-id-2").replace("10:00:00Z", "10:30:00Z");
    let good = row("-of-another").replace("55 ms", "5 ms");
    Meeting::raw_pages(ID, vec![format!("[{},{rejoined},{good},{good},{good}]", row(""))])
}

#[test]
fn summaries_and_pages_compare_only_what_the_caller_sees() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting());
    let (running, _folder, _) = start(&sim, &callers(), &[]);
    let service = &running;
    for (caller, hide) in combinations() {
        let is_visible = |group: Option<&str>| group.is_none_or(|group| !hide.contains(&group));
        let visible = COMPARED.into_iter().filter(|(_, group)| is_visible(*group));
        let expected: Vec<_> = visible
            .map(|(field, _)| json!({ "field": field, "value": mark(field), "affected": 2, "of": 2 }))
            .collect();
        let summary = get_as(service, &caller, &format!("/qos/{ID}/summary?type=past")).json();
        assert_eq!(summary["common"], Value::Array(expected), "{hide:?}");

        let page = get_as(service, &caller, &format!("/meetings/{ID}?type=past"));
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let page = page.text();
        for (field, group) in COMPARED {
            let cell = format!("<td><bdi>{}</bdi></td>", mark(field));
            assert_eq!(page.contains(&cell), is_visible(group), "{field} for {hide:?}");
        }
        let pseudonym = pseudonym_of(service, &caller);
        let name = if hide.contains(&"identity") { &pseudonym } else { "mark-user-name" };
        assert!(page.contains(&format!("worst: <bdi>{name}</bdi>")), "{name} for {hide:?}");
    }
    running.finish(&[]);
}

#[test]
fn rows_have_pseudonyms_and_empty_cells_in_both_formats() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting());
    let (running, _folder, _) = start(&sim, &callers(), &[]);
    let service = &running;
    for (caller, hide) in combinations() {
        let pseudonym = pseudonym_of(service, &caller);
        let hides = |group: &str| hide.contains(&group);
        let unless = |is_hidden: bool, field: &str| (!is_hidden).then(|| mark(field));
        let name = if hides("identity") { pseudonym } else { mark("user_name") };
        let expected = [
            ("user_name", Some(name)),
            ("ip_address", unless(hides("address"), "ip_address")),
            ("os", unless(hides("device"), "os")),
            ("camera", unless(hides("identity") || hides("device"), "camera")),
            ("groupId", unless(!hide.is_empty(), "groupId")),
            ("network_type", Some(mark("network_type"))),
        ];
        for rows in ["sample", "group"] {
            let lines = |format: &str| {
                let answer = get_as(service, &caller, &format!("{PATH}&format={format}&rows={rows}"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                answer.text().lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let first: Value = serde_json::from_str(&lines("ndjson")[0]).unwrap();
            let table = lines("csv");
            let column = |field: &str| table[0].split(',').position(|name| name == field).unwrap();
            for (field, value) in &expected {
                let place = format!("{field} for {hide:?}, rows={rows}");
                assert_eq!(first[*field].as_str(), value.as_deref(), "{place}");
                let cell = table[1].split(',').nth(column(field)).unwrap();
                assert_eq!(cell, value.as_deref().unwrap_or_default(), "{place}");
            }
        }
    }
    running.finish(&[]);
}

#[test]
fn zooms_participant_path_accepts_and_repeats_only_ids_that_the_caller_sees() {
    let sim = sim(|_| ());
    sim.add_meeting(meeting());
    let (running, _folder, _) = start(&sim, &callers(), &[]);
    let service = &running;
    let (long, nobody) = (format!("mark-{}", "x".repeat(100)), "p-0123456789");
    let mut refused = BTreeSet::new();
    for (caller, hide) in combinations() {
        let ask = |id: &str| get_as(service, &caller, &format!("{V2}/{id}/qos?type=past"));
        let hides_identity = hide.contains(&"identity");
        let pseudonym = pseudonym_of(service, &caller);
        for id in [&pseudonym, &pseudonym.replace('-', "%2D")] {
            let found = ask(id);
            assert_eq!(found.status, 200, "{id} for {hide:?}: {}", found.text());
            assert_eq!(found.json()["user_id"], *pseudonym);
        }
        for id in ["mark-user-id", "mark-id", "mark-participant-uuid"] {
            assert_eq!(ask(id).status, if hides_identity { 404 } else { 200 }, "{id} for {hide:?}");
        }
        for id in ["mark-user-id", "mark-email", "mark-nobody", &long, nobody] {
            let answer = ask(id);
            if answer.status == 200 {
                continue;
            }
            let shown: String = id.chars().take(64).collect();
            let message = if hides_identity && id != nobody {
                "Participant does not exist.".to_owned()
            } else {
                format!("Participant does not exist: {shown}.")
            };
            assert_eq!((answer.status, answer.json()), (404, json!({ "code": 1010, "message": message })));
            refused.insert((hides_identity, id));
        }
    }
    assert_eq!(refused.len(), 5 + 4, "mark-user-id is found by callers who see it");
    running.finish(&[]);
}
