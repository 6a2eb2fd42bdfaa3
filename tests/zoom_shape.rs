//! Tests the restoration of Zoom's form from the cleaned form: its properties, and the values that must not change.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::IgnoredAny;
use test_support::arbitrary_json::{Tree, participant, units};
use zoom_qos_proxy::clean;
use zoom_qos_proxy::view::NotAParticipant;
use zoom_qos_proxy::view::zoom_shape::{LIST_TAIL, append_participant, list_head};
use zoom_sim::Meeting;

// ---- law 1: Zoom's documented forms come back byte for byte ----

#[test]
fn zooms_documented_example_comes_back() {
    let cleaned = include_str!("golden/documented_example.participants.json").trim_end();
    let page: serde_json::Value =
        serde_json::from_str(include_str!("golden/documented_example.zoom.json")).unwrap();
    let restored: serde_json::Value = serde_json::from_str(&restore(cleaned)).unwrap();
    assert_eq!(restored, page["participants"][0]);
    assert_comes_back(&format!("[{}]", zoom_sim::example_json()));
}

/// The file has a participant for each schema in Zoom's OpenAPI documents, with the example of every field.
#[test]
fn every_example_of_zooms_openapi_documents_comes_back() {
    let examples = include_str!("golden/openapi_examples.zoom.json");
    assert_comes_back(examples);
    // The same participants with every string value empty.
    let mut empty = String::new();
    for (at, part) in examples.split("\":\"").enumerate() {
        if at > 0 {
            empty.push_str("\":\"");
        }
        empty.push_str(if at > 0 { &part[part.find('"').unwrap()..] } else { part });
    }
    assert!(empty.contains(r#""latency":"""#));
    assert_comes_back(&empty);
}

#[test]
fn the_simulators_meetings_come_back() {
    let demo = zoom_sim::demo_meetings().into_iter().filter(|meeting| meeting.id() != "95550001111");
    let others = [("1", 1, 0), ("2", 11, 1), ("3", 23, 8), ("4", 2, 600)]
        .map(|(id, participants, samples)| Meeting::generated(id, participants, samples));
    for meeting in demo.chain(others).chain([Meeting::documented_example()]) {
        for page in meeting.pages() {
            assert_comes_back(&page);
        }
    }
}

// ---- law 2: cleaning the result gives the cleaned text again ----

#[test]
fn odd_values_are_cleaned_to_the_same_text_again() {
    for page in Meeting::generated("5", 30, 12).odd_values().pages() {
        let cleaned = cleaned_rows(&page);
        assert_eq!(cleaned_rows(&restored_list(&cleaned)), cleaned);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_participant_is_cleaned_to_the_same_text_again(tree in participant()) {
        let cleaned = clean(&tree.print(&mut [""].into_iter().cycle()));
        let restored = restore(&cleaned);
        prop_assert!(serde_json::from_str::<IgnoredAny>(&restored).is_ok(), "{}", restored);
        prop_assert_eq!(clean(&restored), cleaned.as_str());
        let expected = expected(&Tree::parse(&cleaned), Place::Participant);
        prop_assert_eq!(restored, expected.print(&mut [""].into_iter().cycle()));
    }

    #[test]
    fn any_generated_meeting_comes_back(id in "[0-9]{9,11}", participants in 1_usize..12, samples in 0_usize..9) {
        for page in Meeting::generated(id, participants, samples).pages() {
            assert_comes_back(&page);
        }
    }

    #[test]
    fn any_bytes_are_restored_or_rejected(
        tree in participant(),
        bytes in vec(any::<u8>(), 0..50),
        at in any::<prop::sample::Index>(),
        byte in select(&b"\"\\{}[],:0 -nx\xff\0"[..]),
    ) {
        let mut broken = clean(&tree.print(&mut [""].into_iter().cycle())).into_bytes();
        let at = at.index(broken.len());
        broken[at] = byte;
        let cut = &broken[..at];
        for text in [&broken[..], cut, &bytes] {
            let mut out = b"kept".to_vec();
            if append_participant(text, &mut out).is_err() {
                prop_assert_eq!(&out, b"kept");
            }
        }
    }
}

// ---- the table ----

#[test]
fn a_number_gets_zooms_key_and_unit() {
    for (cleaned, restored) in [
        (r#""bitrate_kbps":27.15"#, r#""bitrate":"27.15 kbps""#),
        (r#""latency_ms":126"#, r#""latency":"126 ms""#),
        (r#""jitter_ms":0"#, r#""jitter":"0 ms""#),
        (r#""avg_loss_percent":0.30"#, r#""avg_loss":"0.30%""#),
        (r#""max_loss_percent":-0"#, r#""max_loss":"-0%""#),
        (r#""frame_rate_fps":12"#, r#""frame_rate":"12 fps""#),
        (r#""zoom_min_cpu_usage_percent":8"#, r#""zoom_min_cpu_usage":"8%""#),
        (r#""_cpu_usage_percent":8"#, r#""_cpu_usage":"8%""#),
        (r#""bit\u0072ate_kbps":23"#, r#""bit\u0072ate":"23 kbps""#),
        (r#""\ud83d_cpu_usage_percent":1"#, r#""\ud83d_cpu_usage":"1%""#),
        (r#""resolution":{"width":1280,"height":720}"#, r#""resolution":"1280*720""#),
        (r#""resolution":{"width":0,"height":0}"#, r#""resolution":"0*0""#),
    ] {
        assert_eq!(group(cleaned), restored);
    }
    let beyond_f64 = "9".repeat(400);
    assert_eq!(group(&format!(r#""latency_ms":{beyond_f64}"#)), format!(r#""latency":"{beyond_f64} ms""#));
}

#[test]
fn null_is_an_empty_text_under_zooms_key() {
    for (cleaned, restored) in [
        ("bitrate_kbps", "bitrate"),
        ("latency_ms", "latency"),
        ("jitter_ms", "jitter"),
        ("avg_loss_percent", "avg_loss"),
        ("max_loss_percent", "max_loss"),
        ("frame_rate_fps", "frame_rate"),
        ("resolution", "resolution"),
        ("a_cpu_usage_percent", "a_cpu_usage"),
        ("anything", "anything"),
    ] {
        assert_eq!(group(&format!(r#""{cleaned}":null"#)), format!(r#""{restored}":"""#));
    }
}

#[test]
fn values_that_cleaning_would_not_restore_stay_as_they_are() {
    for entry in [
        r#""bitrate_kbps":1e5"#,
        r#""bitrate_kbps":1.5E-3"#,
        r#""bitrate_kbps":"23 kbps""#,
        r#""latency_ms":true"#,
        r#""latency_ms":[1]"#,
        r#""latency\u005fms":1"#,
        r#""latency":126"#,
        r#""latency":"126""#,
        r#""cpu_usage_percent":8"#,
        r#""resolution":{"height":720,"width":1280}"#,
        r#""resolution":{"width":1280,"height":720,"depth":8}"#,
        r#""resolution":{"width":1280}"#,
        r#""resolution":{"width":1280.5,"height":720}"#,
        r#""resolution":{"width":-1,"height":720}"#,
        r#""resolution":{"width":1280,"height":7e2}"#,
        r#""resolution":{"width":1280,"height":true}"#,
        r#""resolution":{"w\u0069dth":1280,"height":720}"#,
        r#""resolution":{}"#,
        r#""other":{"width":1280,"height":720}"#,
    ] {
        assert_eq!(group(entry), entry);
    }
}

#[test]
fn both_keys_of_a_field_in_one_object_stay() {
    for entries in [
        r#""latency":"1 ms","latency_ms":2"#,
        r#""latency_ms":2,"latency":"1 ms""#,
        r#""latency_ms":1,"latency":5"#,
        r#""latency_ms":1,"latency_ms":2"#,
        r#""latency_ms":1,"latency\u005fms":2"#,
        r#""latency_ms":1,"latency_ms":"soon""#,
        r#""a_cpu_usage_percent":1,"\u0061_cpu_usage":[]"#,
    ] {
        assert_eq!(group(entries), entries);
    }
    assert_eq!(
        group(r#""jitter_ms":3,"latency_ms":null,"latency":null,"x":{"latency_ms":4}"#),
        r#""jitter":"3 ms","latency_ms":"","latency":"","x":{"latency":"4 ms"}"#
    );
}

#[test]
fn null_stays_where_zoom_documents_no_text() {
    for key in [
        "has_archiving",
        "internal_ip_addresses",
        "issue_list",
        "recording",
        "share_application",
        "share_desktop",
        "share_whiteboard",
        "total_jointime_cost",
        "user_qos",
    ] {
        let participant = format!(r#"{{"{key}":null}}"#);
        assert_eq!(restore(&participant), participant);
        // Elsewhere, the key is not the documented field.
        assert_eq!(restore(&format!(r#"{{"x":{participant}}}"#)), format!(r#"{{"x":{{"{key}":""}}}}"#));
    }
    let rssi = r#""wifi_rssi":{"max_rssi":null,"avg_rssi":null,"min_rssi":null,"rssi_unit":"dBm"}"#;
    assert_eq!(group(rssi), rssi);
    assert_eq!(restore(r#"{"issue_list":[null],"max_rssi":null}"#), r#"{"issue_list":[""],"max_rssi":""}"#);
}

#[test]
fn only_what_is_below_user_qos_is_renamed() {
    for (cleaned, restored) in [
        (r#"{"latency_ms":1}"#, r#"{"latency_ms":1}"#),
        (r#"{"x":{"user_qos":[{"latency_ms":1}]}}"#, r#"{"x":{"user_qos":[{"latency_ms":1}]}}"#),
        (r#"[{"user_qos":[{"latency_ms":null}]}]"#, r#"[{"user_qos":[{"latency_ms":""}]}]"#),
        (r#"{"user_qos":{"latency_ms":1}}"#, r#"{"user_qos":{"latency":"1 ms"}}"#),
        (r#"{"user\u005fqos":[[{"latency_ms":1}]]}"#, r#"{"user\u005fqos":[[{"latency":"1 ms"}]]}"#),
        ("null", r#""""#),
        ("17", "17"),
    ] {
        assert_eq!(restore(cleaned), restored);
    }
}

#[test]
fn a_hundred_thousand_levels_neither_overflow_nor_take_for_ever() {
    const LEVELS: usize = 100_000;
    for (open, inner, close, restored_open, restored_close) in [
        ("[", "0", "]", "[", "]"),
        (r#"{"latency_ms":"#, "1e1", "}", r#"{"latency_ms":"#, "}"),
        (r#"{"resolution":"#, "1", "}", r#"{"resolution":"#, "}"),
        (r#"{"latency_ms":1,"x":"#, "1", "}", r#"{"latency":"1 ms","x":"#, "}"),
        // The colliding key comes after all deeper levels.
        (r#"{"latency_ms":1,"x":"#, "1", r#","latency":2}"#, r#"{"latency_ms":1,"x":"#, r#","latency":2}"#),
    ] {
        let nested = |open: &str, close: &str| {
            format!(r#"{{"user_qos":{}{inner}{}}}"#, open.repeat(LEVELS), close.repeat(LEVELS))
        };
        assert!(restore(&nested(open, close)) == nested(restored_open, restored_close), "{open}");
    }
}

#[test]
fn a_text_that_is_no_participant_is_rejected() {
    for text in ["", " ", "{", "{}{}", "{},", r#"{"a"}"#, r#"{"user_qos":[{"latency_ms":}]}"#, "[1}}"] {
        let mut out = b"kept".to_vec();
        assert_eq!(append_participant(text.as_bytes(), &mut out), Err(NotAParticipant), "{text}");
        assert_eq!(out, b"kept");
    }
}

// ---- the list around participants ----

#[test]
fn a_list_has_zooms_keys_and_counts_its_pages() {
    for (total, size, pages) in [(0, 1, 0), (1, 1, 1), (10, 10, 1), (11, 10, 2), (1_000, 300, 4), (7, 0, 7)] {
        let participants = if total == 0 { "" } else { r#"{"id":""}"# };
        let list = format!("{}{participants}{LIST_TAIL}", list_head(total, size, Some("a-Z_9")));
        let expected = serde_json::json!({
            "page_count": pages,
            "page_size": size,
            "total_records": total,
            "next_page_token": "a-Z_9",
            "participants": if total == 0 { serde_json::json!([]) } else { serde_json::json!([{"id": ""}]) },
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&list).unwrap(), expected);
    }
    assert!(list_head(1, 1, None).contains(r#","next_page_token":"","#));
}

// ---- the oracle: a second, slow and simple implementation ----

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Participant,
    Outside,
    Qos,
}

fn expected(cleaned: &Tree, place: Place) -> Tree {
    match cleaned {
        Tree::Bare(bare) if bare == "null" => Tree::Text(String::new()),
        Tree::List(values) => {
            let place = if place == Place::Participant { Place::Outside } else { place };
            Tree::List(values.iter().map(|value| expected(value, place)).collect())
        }
        Tree::Object(entries) => {
            let names: Vec<_> = entries.iter().map(|(key, _)| cleaned_name(key)).collect();
            let is_alone = |key: &str| names.iter().filter(|name| **name == cleaned_name(key)).count() == 1;
            let entry = |(key, value): &(String, Tree)| {
                if place == Place::Qos
                    && let Some((stem, text)) = restored(key, value)
                    && (is_alone(key) || stem == *key)
                {
                    return (stem, Tree::Text(text));
                }
                let no_texts = match place {
                    Place::Participant => &["user_qos", "recording"][..],
                    Place::Outside => &[],
                    Place::Qos => &["max_rssi"],
                };
                let stays_null = no_texts.iter().any(|known| units(key) == units(known));
                if stays_null && *value == Tree::Bare("null".to_owned()) {
                    return (key.clone(), value.clone());
                }
                let inner = match place {
                    Place::Participant if units(key) == units("user_qos") => Place::Qos,
                    Place::Participant => Place::Outside,
                    inner => inner,
                };
                (key.clone(), expected(value, inner))
            };
            Tree::Object(entries.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

const FIELDS: [(&str, &str, &str); 7] = [
    ("bitrate", "_kbps", " kbps"),
    ("latency", "_ms", " ms"),
    ("jitter", "_ms", " ms"),
    ("avg_loss", "_percent", "%"),
    ("max_loss", "_percent", "%"),
    ("frame_rate", "_fps", " fps"),
    ("_cpu_usage", "_percent", "%"),
];

/// The key that cleaning would write for this key; the same key if cleaning does not rename it.
fn cleaned_name(key: &str) -> Vec<u16> {
    let mut name = units(key);
    if let Some((_, suffix, _)) = FIELDS.iter().find(|(zooms, ..)| is_called(&name, zooms)) {
        name.extend(suffix.encode_utf16());
    }
    name
}

fn is_called(name: &[u16], field: &str) -> bool {
    let field_name = units(field);
    if field == "_cpu_usage" { name.ends_with(&field_name) } else { name == field_name }
}

/// Zoom's key and string for an entry; `None` if the entry does not have the form that cleaning writes.
fn restored(key: &str, value: &Tree) -> Option<(String, String)> {
    if let Tree::Object(sides) = value
        && let [(width_key, Tree::Bare(width)), (height_key, Tree::Bare(height))] = &sides[..]
        && units(key) == units("resolution")
        && (width_key.as_str(), height_key.as_str()) == ("width", "height")
        && width.chars().chain(height.chars()).all(|char| char.is_ascii_digit())
    {
        return Some((key.to_owned(), format!("{width}*{height}")));
    }
    let Tree::Bare(bare) = value else { return None };
    let (stem, unit) = FIELDS.iter().find_map(|(zooms, suffix, unit)| {
        let stem = key.strip_suffix(suffix)?;
        is_called(&units(stem), zooms).then_some((stem, unit))
    })?;
    match bare.as_str() {
        "null" => Some((stem.to_owned(), String::new())),
        "true" | "false" => None,
        number if number.contains(['e', 'E']) => None,
        number => Some((stem.to_owned(), format!("{number}{unit}"))),
    }
}

// ---- shortcuts ----

fn clean(participant: &str) -> String {
    cleaned_rows(&format!("[{participant}]")).concat()
}

fn restore(cleaned: &str) -> String {
    let mut out = b"before".to_vec();
    append_participant(cleaned.as_bytes(), &mut out).expect("a cleaned participant");
    assert!(out.starts_with(b"before"));
    String::from_utf8(out.split_off("before".len())).unwrap()
}

/// Restores the entries of a group of a sample, given without the object's braces.
fn group(entries: &str) -> String {
    const BEFORE: &str = r#"{"user_qos":[{"audio_input":{"#;
    let restored = restore(&format!("{BEFORE}{entries}}}}}]}}"));
    restored.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix("}}]}")).unwrap().to_owned()
}

/// Cleans a list of participants, and returns each.
fn cleaned_rows(list: &str) -> Vec<String> {
    let mut out = Vec::new();
    let page = clean::page(format!(r#"{{"participants":{list}}}"#).as_bytes(), &mut out).expect("a page");
    let out = str::from_utf8(&out).unwrap();
    page.rows.into_iter().map(|row| out[row].to_owned()).collect()
}

fn restored_list(rows: &[String]) -> String {
    format!("[{}]", rows.iter().map(|row| restore(row)).collect::<Vec<_>>().join(","))
}

/// Asserts that cleaning and restoring a list of participants gives the same text.
fn assert_comes_back(list: &str) {
    assert_eq!(restored_list(&cleaned_rows(list)), list.trim_end());
}
