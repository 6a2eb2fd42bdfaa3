//! Cleaning Zoom's pages: Zoom's documented example, each field that is converted, and properties over arbitrary pages.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::IgnoredAny;
use test_support::arbitrary_json::{Tree, participant, units};
use zoom_qos_proxy::clean::{self, Field, NotAPage, Page};

// ---- golden ----

const DOCUMENTED: &str = include_str!("golden/documented_example.zoom.json");

#[test]
fn zooms_documented_example_is_cleaned_as_documented() {
    let (page, out) = page(DOCUMENTED);
    assert_eq!(out, include_str!("golden/documented_example.participants.json").trim_end());
    assert_eq!(page.next_page_token, None);
    assert_eq!(page.total_records, Some(1));
    assert_eq!(page.newest_leave_time, Some("2021-06-24T20:00:00Z".parse().unwrap()));
    assert!(page.unparsed.iter().all(|(_, count)| count == 0));
}

#[test]
fn a_page_cut_anywhere_is_no_page_and_leaves_the_output_alone() {
    let whole = DOCUMENTED.trim_end();
    for end in 0..whole.len() {
        let mut out = b"kept".to_vec();
        let error = clean::page(&whole.as_bytes()[..end], &mut out).unwrap_err();
        assert!(matches!(error, NotAPage::NotJson { .. }), "{end}: {error}");
        assert_eq!(out, b"kept");
    }
}

// ---- the table ----

#[test]
fn a_text_with_a_unit_becomes_a_number_under_the_new_key() {
    for (key, text, entry) in [
        ("bitrate", "27.15 kbps", r#""bitrate_kbps":27.15"#),
        ("bitrate", "27.15kbps", r#""bitrate_kbps":27.15"#),
        ("bitrate", "23 kbps", r#""bitrate_kbps":23"#),
        ("bitrate", "  23   KBPS  ", r#""bitrate_kbps":23"#),
        ("bitrate", "1500 bps", r#""bitrate_kbps":1.5"#),
        ("bitrate", "1 bps", r#""bitrate_kbps":0.001"#),
        ("bitrate", "12 BPS", r#""bitrate_kbps":0.012"#),
        ("bitrate", "2000 bps", r#""bitrate_kbps":2"#),
        ("bitrate", "0 bps", r#""bitrate_kbps":0"#),
        ("bitrate", "-1.50 bps", r#""bitrate_kbps":-0.0015"#),
        ("bitrate", "1.2 Mbps", r#""bitrate_kbps":1200"#),
        ("bitrate", "1.0 Mbps", r#""bitrate_kbps":1000"#),
        ("bitrate", "1.23456mbps", r#""bitrate_kbps":1234.56"#),
        ("bitrate", "0.0004 MBPS", r#""bitrate_kbps":0.4"#),
        ("latency", "126 ms", r#""latency_ms":126"#),
        ("latency", "126ms", r#""latency_ms":126"#),
        ("latency", "0.5 s", r#""latency_ms":500"#),
        ("latency", "-0.0 s", r#""latency_ms":0"#),
        ("latency", "-2 S", r#""latency_ms":-2000"#),
        ("jitter", "6 Ms", r#""jitter_ms":6"#),
        ("jitter", "1s", r#""jitter_ms":1000"#),
        ("avg_loss", "0.3%", r#""avg_loss_percent":0.3"#),
        ("avg_loss", "0.3 %", r#""avg_loss_percent":0.3"#),
        ("avg_loss", "0.30%", r#""avg_loss_percent":0.30"#),
        ("avg_loss", "-0%", r#""avg_loss_percent":-0"#),
        ("max_loss", "100%", r#""max_loss_percent":100"#),
        ("frame_rate", "12 fps", r#""frame_rate_fps":12"#),
        ("frame_rate", "29.97FPS", r#""frame_rate_fps":29.97"#),
        ("resolution", "1280*720", r#""resolution":{"width":1280,"height":720}"#),
        ("resolution", "1280x720", r#""resolution":{"width":1280,"height":720}"#),
        ("resolution", " 1280 X  720 ", r#""resolution":{"width":1280,"height":720}"#),
        ("resolution", "0*0", r#""resolution":{"width":0,"height":0}"#),
        ("zoom_min_cpu_usage", "8%", r#""zoom_min_cpu_usage_percent":8"#),
        ("whatever_they_add_cpu_usage", "1.5 %", r#""whatever_they_add_cpu_usage_percent":1.5"#),
        ("_cpu_usage", "1%", r#""_cpu_usage_percent":1"#),
    ] {
        let (page, group) = group(&format!(r#""{key}":"{text}""#));
        assert_eq!(group, entry, "{key}: {text:?}");
        assert!(page.unparsed.iter().all(|(_, count)| count == 0), "{key}: {text:?}");
    }
}

#[test]
fn an_unparsable_text_keeps_its_key_and_bytes_and_is_counted() {
    for (key, field, texts) in [
        (
            "bitrate",
            Field::Bitrate,
            &[
                "23",
                "kbps",
                "007 kbps",
                "-01 kbps",
                "00 kbps",
                "+5 kbps",
                ".5 kbps",
                "5. kbps",
                "- 5 kbps",
                "--5 kbps",
                "1,5 kbps",
                "1e3 kbps",
                "1 2 kbps",
                "23 k bps",
                "23 kbps up",
                "23 Gbps",
                "23 \u{212a}bps",
                "23\u{a0}kbps",
                "23\\tkbps",
                "٣ kbps",
                " ",
                "N/A",
                "\\ud83d kbps",
                "\\\"",
            ][..],
        ),
        ("latency", Field::Latency, &["126", "126 m", "126 us", "126 m s", "126 \u{17f}"]),
        ("jitter", Field::Jitter, &["6 kbps", "NaN ms"]),
        ("avg_loss", Field::AvgLoss, &["0.3", "0.3%%", "%", "0.3 percent"]),
        ("max_loss", Field::MaxLoss, &["1.9 % loss"]),
        ("frame_rate", Field::FrameRate, &["12", "12 f ps"]),
        (
            "resolution",
            Field::Resolution,
            &["1280", "1280*", "*720", "01280*720", "-1*1", "1.5*2", "1280×720", "1*2*3", "1**2", "1280 720"],
        ),
        ("x_cpu_usage", Field::CpuUsage, &["8", "8 fps"]),
    ] {
        for text in texts {
            let entry = format!(r#""{key}":"{text}""#);
            let (page, group) = group(&entry);
            assert_eq!(group, entry);
            for (each, count) in page.unparsed.iter() {
                assert_eq!(count, u64::from(each == field), "{}: {entry}", each.as_str());
            }
            assert_eq!(page.unparsed.of(field), 1);
        }
    }
}

#[test]
fn an_empty_text_and_null_take_the_new_key_with_null() {
    for (key, new) in [
        ("bitrate", "bitrate_kbps"),
        ("latency", "latency_ms"),
        ("jitter", "jitter_ms"),
        ("avg_loss", "avg_loss_percent"),
        ("max_loss", "max_loss_percent"),
        ("frame_rate", "frame_rate_fps"),
        ("resolution", "resolution"),
        ("a_cpu_usage", "a_cpu_usage_percent"),
    ] {
        for value in [r#""""#, "null"] {
            let (page, group) = group(&format!(r#""{key}" : {value}"#));
            assert_eq!(group, format!(r#""{new}":null"#));
            assert!(page.unparsed.iter().all(|(_, count)| count == 0));
        }
    }
}

#[test]
fn a_known_key_with_an_unexpected_type_is_kept_and_cleaned_inside() {
    for (entry, cleaned) in [
        (r#""bitrate":23"#, r#""bitrate":23"#),
        (r#""latency":true"#, r#""latency":true"#),
        (r#""jitter":false"#, r#""jitter":false"#),
        (r#""avg_loss":["","1%"]"#, r#""avg_loss":[null,"1%"]"#),
        (r#""resolution":{"jitter":"1 ms","w":""}"#, r#""resolution":{"jitter_ms":1,"w":null}"#),
        (r#""a_cpu_usage":[{"bitrate":"1 kbps"}]"#, r#""a_cpu_usage":[{"bitrate_kbps":1}]"#),
    ] {
        assert_eq!(group(entry).1, cleaned);
    }
}

#[test]
fn hundreds_of_digits_are_scaled_exactly() {
    let digits = "123456789".repeat(60);
    let (head, tail) = digits.split_at(digits.len() - 3);
    assert_eq!(group(&format!(r#""bitrate":"{digits} bps""#)).1, format!(r#""bitrate_kbps":{head}.{tail}"#));
    assert_eq!(group(&format!(r#""bitrate":"{digits} kbps""#)).1, format!(r#""bitrate_kbps":{digits}"#));
    assert_eq!(group(&format!(r#""bitrate":"{digits} Mbps""#)).1, format!(r#""bitrate_kbps":{digits}000"#));
    assert_eq!(
        group(&format!(r#""jitter":"0.{digits} s""#)).1,
        format!(r#""jitter_ms":123.{}"#, &digits[3..])
    );
}

#[test]
fn keys_that_only_look_known_are_passed_on() {
    for entry in [
        r#""cpu_usage":"8%""#,
        r#""Bitrate":"8 kbps""#,
        r#""bitrate ":"8 kbps""#,
        r#""my_bitrate":"8 kbps""#,
        r#""x_cpu_usage_percent":"8%""#,
        r#""loss":"8%""#,
        r#""date_time":"2021-06-24T20:00:00Z""#,
        r#""cpu_pressure_level":"normal""#,
        r#""wifi_rssi":{"max_rssi":-40,"rssi_unit":"dBm"}"#,
    ] {
        assert_eq!(group(entry).1, entry);
    }
}

// ---- where the rules hold ----

#[test]
fn only_what_is_below_the_participants_own_user_qos_is_renamed() {
    for (participant, cleaned) in [
        (r#"{"bitrate":"1 kbps"}"#, r#"{"bitrate":"1 kbps"}"#),
        (r#"{"x":{"user_qos":[{"bitrate":"1 kbps"}]}}"#, r#"{"x":{"user_qos":[{"bitrate":"1 kbps"}]}}"#),
        (r#"[{"user_qos":{"bitrate":"1 kbps"}}]"#, r#"[{"user_qos":{"bitrate":"1 kbps"}}]"#),
        (r#"{"user_qos":{"bitrate":"1 kbps"}}"#, r#"{"user_qos":{"bitrate_kbps":1}}"#),
        (r#"{"user_qos":[{"bitrate":"1 kbps"}]}"#, r#"{"user_qos":[{"bitrate_kbps":1}]}"#),
        (r#"{"user_qos":[[{"a":[{"jitter":"1 s"}]}]]}"#, r#"{"user_qos":[[{"a":[{"jitter_ms":1000}]}]]}"#),
        (r#"{"user_qos":[],"z":{"jitter":"1 s"}}"#, r#"{"user_qos":[],"z":{"jitter":"1 s"}}"#),
        (r#"{"user_qos":"1 kbps"}"#, r#"{"user_qos":"1 kbps"}"#),
        (r#"{"user_qos":""}"#, r#"{"user_qos":null}"#),
    ] {
        assert_eq!(participants(participant).1, cleaned);
    }
}

#[test]
fn an_empty_text_becomes_null_anywhere_in_a_participant() {
    assert_eq!(
        participants(r#"{"a":"","b":["",{"c":"","":""}],"d":" "},"",["",[""]],null,7,"x",true"#).1,
        r#"{"a":null,"b":[null,{"c":null,"":null}],"d":" "},null,[null,[null]],null,7,"x",true"#
    );
}

#[test]
fn everything_else_keeps_its_bytes() {
    let bytes = concat!(
        r#"{"n":[0,-0,1e999,-1.50E+7,123456789012345678901234567890,0.10,18446744073709551616],"#,
        r#""s":["\u0041\/\b\"\\","\ud83d","\udc00\ud800","\ud83d\ude00","😀","\u0000"," a  b "],"k\u0065y":1,"#,
        r#""dup":1,"dup":2,"e":{},"l":[],"issue_list":[[],{}]}"#
    );
    assert_eq!(participants(bytes).1, bytes);
}

#[test]
fn white_space_goes_between_tokens_and_stays_inside_texts() {
    let spread = " { \"a b\" :\t\" c \" ,\r\n \"user_qos\" : [ { \"g\" : { \"bitrate\" : \" 1 kbps \" , \"x\" : [ 1 , 2 ] , \
                  \"jitter\" : \"no\" , \"resolution\" : \"1 * 2\" } } , { } ] } \n, [ ] ";
    assert_eq!(
        participants(spread).1,
        concat!(
            r#"{"a b":" c ","user_qos":[{"g":{"bitrate_kbps":1,"x":[1,2],"jitter":"no","#,
            r#""resolution":{"width":1,"height":2}}},{}]},[]"#
        )
    );
}

#[test]
fn escapes_in_keys_and_values_count_as_what_they_stand_for() {
    assert_eq!(group(r#""bit\u0072ate":"23\u0020\u006Bbps""#).1, r#""bit\u0072ate_kbps":23"#);
    assert_eq!(group(r#""\u00fc\ud83d_cpu_usage":"8\u0025""#).1, r#""\u00fc\ud83d_cpu_usage_percent":8"#);
    assert_eq!(group(r#""re\u0073olution":"1\u002a2""#).1, r#""re\u0073olution":{"width":1,"height":2}"#);
    assert_eq!(
        participants(r#"{"user\u005fqos":{"jitter":"1 ms"}}"#).1,
        r#"{"user\u005fqos":{"jitter_ms":1}}"#
    );
    let (page, out) = page(
        r#"{"next\u005fpage_token":"a\u0062\/","total\u005frecords":3,"participant\u0073":[{"leave\u005ftime":"2021\u002d06-24T20:00:00Z"}]}"#,
    );
    assert_eq!(page.next_page_token.as_deref(), Some("ab/"));
    assert_eq!(page.total_records, Some(3));
    assert!(page.newest_leave_time.is_some());
    assert_eq!(out, r#"{"leave\u005ftime":"2021\u002d06-24T20:00:00Z"}"#);
}

#[test]
fn no_rename_makes_two_keys_equal() {
    for (object, cleaned) in [
        (r#""bitrate":"1 kbps","bitrate_kbps":2"#, r#""bitrate":"1 kbps","bitrate_kbps":2"#),
        (r#""bitrate_kbps":2,"bitrate":"1 kbps""#, r#""bitrate_kbps":2,"bitrate":"1 kbps""#),
        (r#""bitrate":"1 kbps","bitrate":"2 kbps""#, r#""bitrate_kbps":1,"bitrate":"2 kbps""#),
        (
            r#""bitrate":"1 kbps","bitrate":"2 kbps","bitrate_kbps":3"#,
            r#""bitrate":"1 kbps","bitrate":"2 kbps","bitrate_kbps":3"#,
        ),
        (r#""bitrate":"?","bitrate":"2 kbps""#, r#""bitrate":"?","bitrate_kbps":2"#),
        (r#""bitrate":"","bitrate_kbps":"""#, r#""bitrate":null,"bitrate_kbps":null"#),
        (
            r#""b\u0069trate":"1\u0020kbps","bitrate\u005fkbps":2,"jitter":"3 ms""#,
            r#""b\u0069trate":"1\u0020kbps","bitrate\u005fkbps":2,"jitter_ms":3"#,
        ),
        (
            r#""a_cpu_usage":"1%","b_cpu_usage":"2%","a_cpu_usage_percent":3"#,
            r#""a_cpu_usage":"1%","b_cpu_usage_percent":2,"a_cpu_usage_percent":3"#,
        ),
        (
            r#""resolution":"1*2","resolution":"3*4""#,
            r#""resolution":{"width":1,"height":2},"resolution":{"width":3,"height":4}"#,
        ),
        (
            r#""jitter":"1 ms","in":{"jitter_ms":2,"latency":"3 ms"},"latency_ms":{"latency":"4 ms"}"#,
            r#""jitter_ms":1,"in":{"jitter_ms":2,"latency_ms":3},"latency_ms":{"latency_ms":4}"#,
        ),
    ] {
        let (page, group) = group(object);
        assert_eq!(group, cleaned);
        assert_eq!(page.unparsed.of(Field::Jitter), 0);
        assert_eq!(page.unparsed.of(Field::CpuUsage), 0);
    }
}

#[test]
fn rows_are_split_correctly_when_some_renames_are_undone() {
    let collision = r#"{"user_qos":[{"latency":"1 s","jitter":"","latency_ms":1,"jitter_ms":0}]}"#;
    let taken_back = r#"{"user_qos":[{"latency":"1 s","jitter":null,"latency_ms":1,"jitter_ms":0}]}"#;
    let plain = r#"{"user_qos":[{"latency":"1 s"}]}"#;
    let renamed = r#"{"user_qos":[{"latency_ms":1000}]}"#;
    let zoom = format!(r#"{{"participants":[{plain}, {collision},{plain},{collision} ,{plain}]}}"#);
    let mut out = b"from the page before,".to_vec();
    let before = out.len();
    let page = clean::page(zoom.as_bytes(), &mut out).unwrap();
    let out = str::from_utf8(&out[before..]).unwrap();
    assert_eq!(rows(&page, out), [renamed, taken_back, renamed, taken_back, renamed]);
    assert_eq!(out, rows(&page, out).join(","));
}

#[test]
fn a_hundred_thousand_levels_neither_overflow_nor_take_for_ever() {
    const LEVELS: usize = 100_000;
    let lists = format!(r#"{{"x":{}{}}}"#, "[".repeat(LEVELS), "]".repeat(LEVELS));
    assert_eq!(participants(&lists).1, lists);

    // At each level, the last key undoes a rename, after everything below the level was written.
    let collisions = format!(
        r#"{{"user_qos":{}0{}}}"#,
        r#"{"jitter":"1 ms","in":"#.repeat(LEVELS),
        r#","jitter_ms":""}"#.repeat(LEVELS)
    );
    assert_eq!(participants(&collisions).1, collisions.replace(r#""""#, "null"));

    let beside = format!(r#"{{"participants":[],"x":{}{}}}"#, "[".repeat(LEVELS), "]".repeat(LEVELS));
    assert_eq!(page(&beside).1, "");
}

#[test]
fn a_hundred_thousand_keys_in_one_object_are_compared_in_good_time() {
    let mut keys: Vec<String> = (0..100_000).map(|n| format!(r#""{n}_cpu_usage":"1%""#)).collect();
    keys.push(r#""7_cpu_usage_percent":2"#.to_owned());
    let cleaned = group(&keys.join(",")).1;
    assert!(cleaned.contains(r#","7_cpu_usage":"1%","8_cpu_usage_percent":1,"#));
    assert!(cleaned.ends_with(r#""99999_cpu_usage_percent":1,"7_cpu_usage_percent":2"#));
}

// ---- the envelope ----

#[test]
fn the_keys_of_the_envelope_may_come_in_any_order() {
    let (page, out) = page(
        r#" {"total_records":25,"x":{"participants":[1],"y":["]","}"]},"participants":[{"leave_time":"2021-06-24T20:00:00Z"},
        {"leave_time":"2021-06-24T23:00:00+02:00"},{"leave_time":"soon"},{"leave_time":7},{},
        {"x":{"leave_time":"2030-01-01T00:00:00Z"}}],"next_page_token":"tok","meeting_number":1e400} "#,
    );
    assert_eq!(page.next_page_token.as_deref(), Some("tok"));
    assert_eq!(page.total_records, Some(25));
    assert_eq!(page.newest_leave_time, Some("2021-06-24T21:00:00Z".parse::<Timestamp>().unwrap()));
    assert_eq!(page.rows.len(), 6);
    assert!(out.starts_with(r#"{"leave_time":"#));
}

#[test]
fn the_meetings_number_is_read_as_a_number_and_as_text() {
    for written in ["93201235621", "\"93201235621\""] {
        let (page, _) = page(&format!(r#"{{"meeting_number": {written} ,"participants":[]}}"#));
        assert_eq!(page.meeting_number, Some(93_201_235_621), "{written}");
    }
    for written in ["\"932 0123 5621\"", "\"\"", "-1", "null", "[1]"] {
        let (page, _) = page(&format!(r#"{{"meeting_number":{written},"participants":[]}}"#));
        assert_eq!(page.meeting_number, None, "{written}");
    }
}

#[test]
fn a_page_without_participants_is_valid() {
    let (page, out) = page(r#"{"participants": [ ], "next_page_token": null}"#);
    assert_eq!((page, out.as_str()), (Page::default(), ""));
}

#[test]
fn a_total_that_is_no_whole_number_is_ignored() {
    for claim in ["-1", "1.0", "1e2", "\"7\"", "null", "[7]", "18446744073709551616"] {
        assert_eq!(page(&format!(r#"{{"total_records":{claim},"participants":[]}}"#)).0.total_records, None);
    }
}

#[test]
fn errors_of_a_page_do_not_contain_zooms_text() {
    use NotAPage::{Ambiguous, NoParticipants, NotJson, NotUtf8};
    const TOKEN: NotAPage = Ambiguous { key: "next_page_token" };
    const PARTICIPANTS: NotAPage = Ambiguous { key: "participants" };
    for (zoom, expected) in [
        (&b"{\"participants\":[\"secret\xff\"]}"[..], NotUtf8),
        (b"", NotJson { line: 1, column: 0 }),
        (b"<html>secret</html>", NotJson { line: 1, column: 1 }),
        (b"{\"participants\":[]}\nsecret", NotJson { line: 2, column: 1 }),
        (b"{\"participants\":[]}{}", NotJson { line: 1, column: 20 }),
        (b"{\"participants\":[01]}", NotJson { line: 1, column: 19 }),
        (b"{\"participants\":[\"a\tb\"]}", NotJson { line: 1, column: 19 }),
        (b"{\"participants\":[1,]}", NotJson { line: 1, column: 20 }),
        (b"[]", NoParticipants),
        (b"null", NoParticipants),
        (b"\"participants\"", NoParticipants),
        (b"{}", NoParticipants),
        (b"{\"code\":124,\"message\":\"secret\"}", NoParticipants),
        (b"{\"participants\":null}", NoParticipants),
        (b"{\"participants\":{}}", NoParticipants),
        (b"{\"x\":{\"participants\":[]}}", NoParticipants),
        (b"{\"participants\":[1],\"participants\":[2]}", PARTICIPANTS),
        (b"{\"participants\":[1],\"participant\\u0073\":null}", PARTICIPANTS),
        (b"{\"participants\":[1],\"next_page_token\":5}", TOKEN),
        (b"{\"participants\":[1],\"next_page_token\":[\"secret\"]}", TOKEN),
        (b"{\"participants\":[1],\"next_page_token\":\"a\",\"next_page_token\":\"b\"}", TOKEN),
        (b"{\"participants\":[1],\"next_page_token\":\"\\ud800\"}", TOKEN),
    ] {
        let mut out = b"kept".to_vec();
        let error = clean::page(zoom, &mut out).unwrap_err();
        assert_eq!(error, expected, "{}", String::from_utf8_lossy(zoom));
        assert!(!error.to_string().contains("secret"));
        assert_eq!(out, b"kept");
    }
}

#[test]
fn unparsed_values_are_counted_by_field() {
    let counts = group(r#""bitrate":"?","jitter":"?""#).0.unparsed;
    assert_eq!((counts.of(Field::Bitrate), counts.of(Field::Jitter), counts.of(Field::Latency)), (1, 1, 0));
    let labels: Vec<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
    assert_eq!(
        labels,
        ["bitrate", "latency", "jitter", "avg_loss", "max_loss", "frame_rate", "resolution", "cpu_usage"]
    );
}

// ---- laws ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_page_is_cleaned_without_loss_and_cleaning_again_changes_nothing(
        trees in vec(participant(), 0..5),
        spaces in vec(select(&["", "", "", " ", "\n\t ", "\r\n"][..]), 1..7),
    ) {
        let mut spaces = spaces.into_iter().cycle();
        let zoom = format!(r#"{{"participants":{}}}"#, Tree::List(trees.clone()).print(&mut spaces));
        let (page, out) = page(&zoom);
        let rows = rows(&page, &out);

        prop_assert!(serde_json::from_str::<IgnoredAny>(&format!("[{out}]")).is_ok(), "{}", out);
        prop_assert_eq!(rows.join(","), out.as_str());
        prop_assert_eq!(rows.len(), trees.len());
        for (zooms, row) in trees.iter().zip(rows) {
            Tree::parse(row).assert_cleaned_from(zooms, Scope::Participant);
        }
        prop_assert_eq!(participants(&out).1, out);
    }

    #[test]
    fn any_bytes_are_a_page_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        assert_page_or_untouched(&bytes);
    }

    #[test]
    fn any_broken_page_is_a_page_or_an_error(
        trees in vec(participant(), 1..3),
        at in any::<prop::sample::Index>(),
        byte in select(&b"\"\\{}[],:0 -x\xff\0"[..]),
        change in 0..3,
    ) {
        let zoom = format!(r#"{{"participants":{}}}"#, Tree::List(trees).print(&mut [""].into_iter().cycle()));
        let mut zoom = zoom.into_bytes();
        let at = at.index(zoom.len());
        match change {
            0 => zoom[at] = byte,
            1 => zoom.insert(at, byte),
            _ => drop(zoom.remove(at)),
        }
        assert_page_or_untouched(&zoom);
    }
}

fn assert_page_or_untouched(zoom: &[u8]) {
    let mut out = b"kept".to_vec();
    match clean::page(zoom, &mut out) {
        Ok(page) => {
            let out = str::from_utf8(&out[4..]).unwrap();
            assert_eq!(rows(&page, out).join(","), out);
            assert!(serde_json::from_str::<IgnoredAny>(&format!("[{out}]")).is_ok());
        }
        Err(error) => {
            assert_ne!(error, NotAPage::Inconsistent);
            assert_eq!(out, b"kept");
        }
    }
}

// ---- the oracle: a second, slow and simple implementation of the rules ----

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Participant,
    Outside,
    Qos,
}

/// The expected result for an entry.
enum Fate {
    Stays,
    Null,
    /// A number that is written exactly like this.
    Number(String),
    /// This number with its decimal point moved right by this many places.
    Shifted(String, i64),
    Resolution(String, String),
}

trait Oracle {
    fn assert_cleaned_from(&self, zooms: &Tree, scope: Scope);
    fn assert_fate(&self, fate: &Fate, zooms: &Tree);
}

impl Oracle for Tree {
    fn assert_cleaned_from(&self, zooms: &Tree, scope: Scope) {
        match (zooms, self) {
            (Tree::Text(empty), cleaned) if empty.is_empty() => {
                assert_eq!(*cleaned, Tree::Bare("null".to_owned()));
            }
            (Tree::List(zooms), Tree::List(cleaned)) => {
                assert_eq!(zooms.len(), cleaned.len());
                let scope = if scope == Scope::Qos { Scope::Qos } else { Scope::Outside };
                for (zooms, cleaned) in zooms.iter().zip(cleaned) {
                    cleaned.assert_cleaned_from(zooms, scope);
                }
            }
            (Tree::Object(zooms), Tree::Object(cleaned)) => {
                assert_eq!(zooms.len(), cleaned.len());
                let expected = expected_keys(zooms, scope == Scope::Qos);
                for (((key, value), (cleaned_key, cleaned)), (expected_key, fate)) in
                    zooms.iter().zip(cleaned).zip(expected)
                {
                    assert_eq!(*cleaned_key, expected_key);
                    match scope {
                        Scope::Qos => cleaned.assert_fate(&fate, value),
                        Scope::Participant if units(key) == units("user_qos") => {
                            cleaned.assert_cleaned_from(value, Scope::Qos);
                        }
                        _ => cleaned.assert_cleaned_from(value, Scope::Outside),
                    }
                }
            }
            (zooms, cleaned) => assert_eq!(zooms, cleaned),
        }
    }

    fn assert_fate(&self, fate: &Fate, zooms: &Tree) {
        match fate {
            Fate::Stays => self.assert_cleaned_from(zooms, Scope::Qos),
            Fate::Null => assert_eq!(*self, Tree::Bare("null".to_owned())),
            Fate::Number(digits) => assert_eq!(*self, Tree::Bare(digits.clone())),
            Fate::Resolution(width, height) => {
                let sides = [("width", width), ("height", height)];
                let sides = sides.map(|(key, side)| (key.to_owned(), Tree::Bare(side.clone())));
                assert_eq!(*self, Tree::Object(sides.into()));
            }
            Fate::Shifted(number, places) => {
                let Tree::Bare(scaled) = self else { panic!("{self:?} is not a number") };
                assert_eq!(exact(scaled, 0), exact(number, *places), "{number} by {places}: {scaled}");
                let shortest = !scaled.contains('.') || !scaled.ends_with(['0', '.']);
                assert!(shortest && scaled != "-0" && !scaled.contains('e'), "{scaled}");
            }
        }
    }
}

fn expected_keys(zooms: &[(String, Tree)], in_qos: bool) -> Vec<(String, Fate)> {
    let names: Vec<Vec<u16>> = zooms.iter().map(|(key, _)| units(key)).collect();
    let mut new_names: Vec<Vec<u16>> = Vec::new();
    let mut all = Vec::new();
    for (key, value) in zooms {
        let (suffix, fate) = if in_qos { fate(key, value) } else { ("", Fate::Stays) };
        let mut new_name = units(key);
        new_name.extend(suffix.encode_utf16());
        if !suffix.is_empty() && (names.contains(&new_name) || new_names.contains(&new_name)) {
            all.push((key.clone(), Fate::Stays));
        } else {
            if !suffix.is_empty() {
                new_names.push(new_name);
            }
            all.push((format!("{key}{suffix}"), fate));
        }
    }
    all
}

fn fate(key: &str, value: &Tree) -> (&'static str, Fate) {
    let Ok(name) = String::from_utf16(&units(key)) else {
        // A key with a lone surrogate equals none of the fixed names. Only its suffix matters, so any name with this suffix
        // stands in for it.
        return fate(if units(key).ends_with(&units("_cpu_usage")) { "a_cpu_usage" } else { "" }, value);
    };
    let (suffix, known_units): (_, &[(&str, i64)]) = match name.as_str() {
        "bitrate" => ("_kbps", &[("kbps", 0), ("bps", -3), ("mbps", 3)]),
        "latency" | "jitter" => ("_ms", &[("ms", 0), ("s", 3)]),
        "avg_loss" | "max_loss" => ("_percent", &[("%", 0)]),
        "frame_rate" => ("_fps", &[("fps", 0)]),
        "resolution" => ("", &[]),
        name if name.ends_with("_cpu_usage") => ("_percent", &[("%", 0)]),
        _ => return ("", Fate::Stays),
    };
    let text = match value {
        Tree::Bare(bare) if bare == "null" => return (suffix, Fate::Null),
        Tree::Text(text) if text.is_empty() => return (suffix, Fate::Null),
        Tree::Text(text) => String::from_utf16(&units(text)).unwrap_or_default(),
        _ => return ("", Fate::Stays),
    };
    let is_number = |text: &str| {
        text.chars().all(|char| matches!(char, '0'..='9' | '-' | '.'))
            && serde_json::from_str::<IgnoredAny>(text).is_ok()
    };
    let lower = text.trim_matches(' ').to_ascii_lowercase();
    if name == "resolution" {
        let is_side = |side: &str| is_number(side) && !side.contains(['-', '.']);
        let sides =
            lower.split_once(['*', 'x']).map(|(w, h)| (w.trim_end_matches(' '), h.trim_start_matches(' ')));
        return match sides.filter(|(width, height)| is_side(width) && is_side(height)) {
            Some((width, height)) => (suffix, Fate::Resolution(width.to_owned(), height.to_owned())),
            None => ("", Fate::Stays),
        };
    }
    for (unit, places) in known_units {
        if let Some(number) = lower.strip_suffix(unit) {
            let number = number.trim_end_matches(' ');
            if is_number(number) {
                let number = number.to_owned();
                let fate = if *places == 0 { Fate::Number(number) } else { Fate::Shifted(number, *places) };
                return (suffix, fate);
            }
        }
    }
    ("", Fate::Stays)
}

/// A decimal number times 10 to the power of `places`, as sign, digits without leading and trailing zeros, and exponent.
fn exact(number: &str, places: i64) -> (bool, String, i64) {
    let unsigned = number.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let exponent =
        places - i64::try_from(fraction.len()).unwrap() + i64::try_from(all.len() - digits.len()).unwrap();
    match digits.trim_start_matches('0') {
        "" => (false, String::new(), 0),
        digits => (number.starts_with('-'), digits.to_owned(), exponent),
    }
}

// ---- shortcuts to a page ----

fn page(zoom: &str) -> (Page, String) {
    let mut out = Vec::new();
    let page = clean::page(zoom.as_bytes(), &mut out).expect("a page");
    (page, String::from_utf8(out).unwrap())
}

/// Cleans participants, given without the list's brackets.
fn participants(participants: &str) -> (Page, String) {
    page(&format!(r#"{{"participants":[{participants}]}}"#))
}

/// Cleans the entries of a group of a sample, given without the object's braces.
fn group(entries: &str) -> (Page, String) {
    let (page, out) = participants(&format!(r#"{{"user_qos":[{{"audio_input":{{{entries}}}}}]}}"#));
    let group = out.strip_prefix(r#"{"user_qos":[{"audio_input":{"#).unwrap().strip_suffix("}}]}").unwrap();
    (page, group.to_owned())
}

fn rows<'o>(page: &Page, out: &'o str) -> Vec<&'o str> {
    page.rows.iter().map(|row| &out[row.clone()]).collect()
}
