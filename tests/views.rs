//! Properties of selections and rows, for arbitrary participants and generated meetings.
#![expect(clippy::panic, clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{self, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::IgnoredAny;
use test_support::arbitrary_json::{Tree, participant, units};
use zoom_qos_proxy::clean;
use zoom_qos_proxy::view::rows::{RowMaker, RowShape, known_columns};
use zoom_qos_proxy::view::select::Selection;
use zoom_sim::Meeting;

const MEETING: &str = "/ajXp112QmuoKj48548750==";

// ---- laws ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_selection_is_the_part_of_the_whole_that_was_chosen(
        tree in participant(),
        groups in vec(select(&["a", "bitrate", "latency_ms", "cpu", "user", "cpu_usage", "width"][..]), 0..3),
    ) {
        let cleaned = clean(&print(&tree));
        let selection = Selection { groups: owned(&groups), ..Selection::default() };
        let mut out = b"kept".to_vec();
        let is_left = selection.append(cleaned.as_bytes(), &mut out).unwrap();
        let expected = expected_selection(&Tree::parse(&cleaned), &groups).map(|tree| print(&tree));
        let selected = is_left.then(|| String::from_utf8(out.split_off(4)).unwrap());
        prop_assert_eq!(out, b"kept");
        prop_assert_eq!(selected, expected);
    }

    #[test]
    fn rows_lose_nothing_and_csv_reads_back_as_ndjson(
        trees in vec(participant(), 1..4),
        shape in select(&RowShape::ALL[..]),
    ) {
        let participants: Vec<_> = trees.iter().map(|tree| clean(&print(tree))).collect();
        let rows = ndjson(&participants, shape);
        let trees: Vec<_> = participants.iter().map(|participant| Tree::parse(participant)).collect();
        prop_assert_eq!(rows.len(), trees.iter().map(|tree| count_of_rows(tree, shape)).sum::<usize>());
        let mut in_rows = BTreeMap::new();
        for row in &rows {
            assert_no_key_twice(row);
            count_scalars(row, &mut in_rows);
        }
        let mut sent = BTreeMap::new();
        for tree in &trees {
            count_scalars(tree, &mut sent);
        }
        for (scalar, count) in sent {
            prop_assert!(in_rows.get(&scalar).is_some_and(|found| *found >= count), "{scalar} is lost");
        }
        assert_csv_equals(&rows, &csv(&participants, shape), shape);
    }

    #[test]
    fn any_bytes_become_rows_or_are_rejected(
        tree in participant(),
        bytes in vec(any::<u8>(), 0..50),
        at in any::<Index>(),
        byte in select(&b"\"\\{}[],:0 -nx\xff\0"[..]),
        shape in select(&RowShape::ALL[..]),
    ) {
        let mut broken = clean(&print(&tree)).into_bytes();
        let at = at.index(broken.len());
        broken[at] = byte;
        let selection = Selection { groups: owned(&["bitrate"]), ..Selection::default() };
        for text in [&broken[..], &broken[..at], &bytes] {
            let mut maker = RowMaker::new(MEETING, shape);
            let is_read = maker.add_columns(text).is_ok();
            prop_assert_eq!(maker.write_ndjson(text, &mut io::sink()).is_ok(), is_read);
            prop_assert!(maker.write_csv(text, &mut io::sink()).is_err() || is_read);
            let mut selected = b"kept".to_vec();
            if !selection.append(text, &mut selected).is_ok_and(|is_left| is_left) {
                prop_assert_eq!(&selected, b"kept");
            }
        }
    }
}

#[test]
fn generated_meetings_read_back_from_csv() {
    for meeting in [
        Meeting::generated("91234567890", 7, 3),
        Meeting::generated("91234567891", 3, 0),
        Meeting::generated("91234567892", 12, 4).odd_values(),
        Meeting::documented_example(),
    ] {
        let participants: Vec<_> = meeting.pages().iter().flat_map(|page| cleaned_rows(page)).collect();
        for shape in RowShape::ALL {
            assert_csv_equals(&ndjson(&participants, shape), &csv(&participants, shape), shape);
        }
    }
}

#[test]
fn rows_of_a_thousand_participants_are_written_one_by_one() {
    let participants = cleaned_rows(&Meeting::generated("91234567890", 10, 60).pages()[0]);
    let thousand = || participants.iter().cycle().take(1_000);
    let mut maker = RowMaker::new(MEETING, RowShape::Sample);
    for participant in thousand() {
        maker.add_columns(participant.as_bytes()).unwrap();
    }
    let mut rows = CountedRows::default();
    for participant in thousand() {
        maker.write_csv(participant.as_bytes(), &mut rows).unwrap();
    }
    assert_eq!(rows.count, 60_000);
    let largest = participants.iter().map(String::len).max().unwrap();
    assert!(rows.largest < largest / 20, "{} bytes at once, of a participant of {largest}", rows.largest);
}

/// Counts rows, and keeps only the size of the largest.
#[derive(Default)]
struct CountedRows {
    count: usize,
    largest: usize,
}

impl Write for CountedRows {
    fn write(&mut self, row: &[u8]) -> io::Result<usize> {
        assert!(row.ends_with(b"\r\n"));
        self.count += 1;
        self.largest = self.largest.max(row.len());
        Ok(row.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn new_keys_beyond_the_first_thousand_share_one_column() {
    let groups: Vec<_> = (0..3_000).map(|number| format!(r#""g{number}":{{"m":{number}}}"#)).collect();
    let participant = format!(r#"{{"user_qos":[{{{}}}]}}"#, groups.join(","));
    let table = csv(&[participant], RowShape::Sample);
    let (header, rows) = read(&table);
    assert_eq!(header.len(), known_columns(RowShape::Sample).count() + 1_000 + 1);
    assert_eq!(header.last().unwrap(), "other");
    let other: Vec<BTreeMap<String, u64>> = serde_json::from_str(rows[0].last().unwrap()).unwrap();
    assert_eq!(other.len(), 2_000);
    assert_eq!(other[0]["g1000.m"], 1_000);
}

// ---- columns and cells ----

#[test]
fn a_sample_is_a_row_with_a_column_for_each_measurement() {
    let participant = concat!(
        r#"{"user_name":"Jane","id":null,"new":true,"user_qos":[{"#,
        r#""audio_input":{"latency_ms":126,"mos":4.10},"level":"normal","date_time":"2021-06-24T20:00:00Z","#,
        r#""video_input":{"resolution":{"width":1280,"height":720},"frame_rate_fps":null},"as_input":{"resolution":null}},"#,
        r#"{"date_time":"2021-06-24T20:01:00Z"}]}"#
    );
    assert_eq!(
        lines(&[participant], RowShape::Sample),
        [
            concat!(
                r#"{"meeting_id":"/ajXp112QmuoKj48548750==","id":null,"user_name":"Jane","new":true,"#,
                r#""date_time":"2021-06-24T20:00:00Z","audio_input.latency_ms":126,"#,
                r#""video_input.resolution.width":1280,"video_input.resolution.height":720,"video_input.frame_rate_fps":null,"#,
                r#""as_input.resolution.width":null,"as_input.resolution.height":null,"#,
                r#""sample.level":"normal","audio_input.mos":4.10}"#
            ),
            concat!(
                r#"{"meeting_id":"/ajXp112QmuoKj48548750==","id":null,"user_name":"Jane","new":true,"#,
                r#""date_time":"2021-06-24T20:01:00Z"}"#
            ),
        ]
    );
    let table = csv(&[participant.to_owned()], RowShape::Sample);
    let (header, rows) = read(&table);
    let known: Vec<_> = known_columns(RowShape::Sample).collect();
    let at = known.iter().position(|name| name == "date_time").unwrap();
    let expected =
        [&known[..at], &owned(&["new"]), &known[at..], &owned(&["sample.level", "audio_input.mos"])];
    assert_eq!(header, expected.concat());
    let cell = |name: &str| rows[0][header.iter().position(|column| column == name).unwrap()].as_str();
    assert_eq!(cell("video_input.resolution.width"), "1280");
    assert_eq!((cell("audio_input.mos"), cell("id"), cell("new")), ("4.10", "", "true"));
}

#[test]
fn a_group_is_a_row_with_the_samples_own_values() {
    let participant = concat!(
        r#"{"user_qos":[{"audio_input":{"latency_ms":1},"date_time":"t","level":"normal","#,
        r#""as_input":{"resolution":{"width":1,"height":2},"x":[3]}},{"date_time":"u","level":4},7],"version":"5"}"#
    );
    let begin = r#"{"meeting_id":"/ajXp112QmuoKj48548750==","version":"5""#;
    assert_eq!(
        lines(&[participant], RowShape::Group),
        [
            format!(
                r#"{begin},"date_time":"t","group":"audio_input","latency_ms":1,"sample.level":"normal"}}"#
            ),
            format!(
                r#"{begin},"date_time":"t","group":"as_input","resolution.width":1,"resolution.height":2,"sample.level":"normal","x":[3]}}"#
            ),
            format!(r#"{begin},"date_time":"u","sample.level":4}}"#),
            format!(r#"{begin},"sample":7}}"#),
        ]
    );
}

#[test]
fn a_participant_without_samples_is_one_row() {
    for (participant, row) in [
        (r#"{"id":"1"}"#, r#","id":"1""#),
        (r#"{"id":"1","user_qos":[]}"#, r#","id":"1""#),
        (r#"{"user_qos":null}"#, r#","user_qos":null"#),
        (r#"{"user_qos":{"a":[1]}}"#, r#","user_qos":{"a":[1]}"#),
        ("[1]", r#","participant":[1]"#),
    ] {
        for shape in RowShape::ALL {
            assert_eq!(
                lines(&[participant], shape),
                [format!(r#"{{"meeting_id":"/ajXp112QmuoKj48548750=="{row}}}"#)]
            );
        }
    }
}

#[test]
fn values_without_a_column_of_their_own_are_in_other() {
    for (participant, row) in [
        (
            r#"{"id":1,"\u0069d":2,"meeting_id":3,"group":4,"date_time":5,"other":6}"#,
            r#","id":1,"group":4,"other":[{"date_time":5},{"other":6},{"meeting_id":3},{"id":2}]"#,
        ),
        (
            r#"{"user_qos":[{"a":{"m":1,"m":2},"date_time":"t","date_time":"u"}]}"#,
            r#","date_time":"t","a.m":1,"other":[{"date_time":"u"},{"a.m":2}]"#,
        ),
        (
            r#"{"user_qos":[{"x":1,"sample":{"x":2},"a":{"b.c":3},"a.b":{"c":4}}]}"#,
            r#","sample.x":1,"a.b.c":3,"other":[{"sample.x":2},{"a.b.c":4}]"#,
        ),
    ] {
        let line = format!(r#"{{"meeting_id":"/ajXp112QmuoKj48548750=="{row}}}"#);
        assert_eq!(lines(&[participant], RowShape::Sample), [line]);
    }
}

#[test]
fn a_text_cell_that_looks_like_a_formula_gets_an_apostrophe() {
    for (value, cell) in [
        (r#""=1+1""#, "'=1+1"),
        (r#""+49""#, "'+49"),
        (r#""-5""#, "'-5"),
        (r#""@x""#, "'@x"),
        (r#""\tx""#, "'\tx"),
        (r#""\rx""#, "\"'\rx\""),
        (r#""\nx""#, "\"'\nx\""),
        (r#""\u003d\"x\",y""#, "\"'=\"\"x\"\",y\""),
        (r#"["=1","b"]"#, "'=1;b"),
        (r#"["-","=1"]"#, "'-;=1"),
        ("[-5,3]", "'-5;3"),
        ("-5", "-5"),
        ("-1E+2", "-1E+2"),
        (r#"" =1""#, " =1"),
        (r#""'=1""#, "'=1"),
    ] {
        let table = csv(&[format!(r#"{{"user_id":{value}}}"#)], RowShape::Sample);
        let record = table.split_once("\r\n").unwrap().1;
        assert!(record.starts_with(&format!("/ajXp112QmuoKj48548750==,{cell},,")), "{value}: {record}");
    }
    let mut maker = RowMaker::new("+ajXp112QmuoKj48548750==", RowShape::Group);
    let mut out = Vec::new();
    maker.write_csv(b"{}", &mut out).unwrap();
    assert!(out.starts_with(b"'+ajXp"));
    let of_key = csv(&[r#"{"=new":1}"#.to_owned()], RowShape::Group);
    assert!(of_key.contains(",'=new,"));
}

#[test]
fn lists_are_joined_and_deeper_values_stay_json_in_csv() {
    for (value, cell) in [
        (r#"["a","b\"c",null,-1.50,true]"#, "a;b\"c;;-1.50;true"),
        ("[]", ""),
        ("[null]", ""),
        (r#"["a",["b"]]"#, r#"["a",["b"]]"#),
        (r#"{"a":"\u00fc","b":null}"#, r#"{"a":"\u00fc","b":null}"#),
        (r#""a\u00fc,\r\n""#, "aü,\r\n"),
        (r#""\ud83d!""#, "\u{fffd}!"),
        (r#""\udc00\ud83d,ü""#, "\u{fffd}\u{fffd},ü"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("null", ""),
    ] {
        let (_, rows) = read(&csv(&[format!(r#"{{"user_id":{value}}}"#)], RowShape::Sample));
        assert_eq!(rows[0][1], cell);
        let kept = format!(r#"{{"meeting_id":"/ajXp112QmuoKj48548750==","user_id":{value}}}"#);
        assert_eq!(lines(&[&format!(r#"{{"user_id":{value}}}"#)], RowShape::Sample), [kept]);
    }
}

#[test]
fn a_row_of_ndjson_contains_no_line_separator() {
    let participant = "{\"a\u{2028}\u{85}\\ud83d\\u0007\":\"\u{85}\u{2029}ü\u{2020}…\u{2028}\"}";
    let expected = concat!(
        r#"{"meeting_id":"/ajXp112QmuoKj48548750==","a\u2028\u0085\ud83d\u0007":"\u0085\u2029ü"#,
        "\u{2020}…",
        r#"\u2028"}"#
    );
    assert_eq!(lines(&[participant], RowShape::Sample), [expected]);
}

#[test]
fn a_table_without_participants_is_its_header() {
    for shape in RowShape::ALL {
        let table = csv(&[], shape);
        assert_eq!(table, format!("{}\r\n", known_columns(shape).collect::<Vec<_>>().join(",")));
    }
    assert!(known_columns(RowShape::Group).any(|name| name == "group"));
}

#[test]
fn a_cut_participant_is_rejected() {
    let whole = r#"{"id":"1","user_qos":[{"a":{"resolution":{"width":1}}},7],"x":[1]}"#;
    for shape in RowShape::ALL {
        for end in 0..whole.len() {
            let cut = &whole.as_bytes()[..end];
            assert!(RowMaker::new(MEETING, shape).write_ndjson(cut, &mut io::sink()).is_err(), "{end}");
        }
    }
}

#[test]
fn a_hundred_thousand_levels_neither_overflow_nor_take_for_ever() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for participant in [
        format!(r#"{{"user_qos":[{{"g":{{"m":{deep}}}}}]}}"#),
        format!(r#"{{"user_qos":[{deep}],"x":{deep}}}"#),
        format!(r#"{{"user_qos":{{"x":{deep}}}}}"#),
    ] {
        for shape in RowShape::ALL {
            assert!(csv(std::slice::from_ref(&participant), shape).contains(&deep));
            assert!(lines(&[&participant], shape)[0].contains(&deep));
        }
    }
}

// ---- rows as text, and read back ----

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn print(tree: &Tree) -> String {
    tree.print(&mut [""].into_iter().cycle())
}

fn clean(participant: &str) -> String {
    cleaned_rows(&format!("[{participant}]")).concat()
}

fn cleaned_rows(list: &str) -> Vec<String> {
    let mut out = Vec::new();
    let page = clean::page(format!(r#"{{"participants":{list}}}"#).as_bytes(), &mut out).unwrap();
    let out = str::from_utf8(&out).unwrap();
    page.rows.into_iter().map(|row| out[row].to_owned()).collect()
}

fn lines(participants: &[&str], shape: RowShape) -> Vec<String> {
    let mut maker = RowMaker::new(MEETING, shape);
    let mut out = Vec::new();
    for participant in participants {
        maker.write_ndjson(participant.as_bytes(), &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn ndjson(participants: &[String], shape: RowShape) -> Vec<Tree> {
    let participants: Vec<_> = participants.iter().map(String::as_str).collect();
    let rows = lines(&participants, shape);
    for row in &rows {
        serde_json::from_str::<IgnoredAny>(row).unwrap();
        assert!(!row.contains(['\u{85}', '\u{2028}', '\u{2029}']));
    }
    rows.iter().map(|row| Tree::parse(row)).collect()
}

fn csv(participants: &[String], shape: RowShape) -> String {
    let mut maker = RowMaker::new(MEETING, shape);
    let mut out = Vec::new();
    for participant in participants {
        maker.add_columns(participant.as_bytes()).unwrap();
    }
    maker.write_csv_header(&mut out).unwrap();
    for participant in participants {
        maker.write_csv(participant.as_bytes(), &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

/// Reads the header and the records of a table. The crate `csv` requires all of them to have the same length.
fn read(table: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_bytes());
    let mut records =
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
    (records.next().unwrap(), records.collect())
}

// ---- a second, slow and simple implementation ----

fn entries(tree: &Tree) -> &[(String, Tree)] {
    match tree {
        Tree::Object(entries) => entries,
        _ => &[],
    }
}

/// The samples in all lists called `user_qos`.
fn samples(tree: &Tree) -> impl Iterator<Item = &Tree> {
    let qos = entries(tree).iter().filter(|(key, _)| units(key) == units("user_qos"));
    qos.flat_map(|(_, value)| match value {
        Tree::List(samples) => &samples[..],
        _ => &[],
    })
}

fn groups(sample: &Tree) -> impl Iterator<Item = &(String, Tree)> {
    let is_time = |key: &str| units(key) == units("date_time");
    entries(sample).iter().filter(move |(key, value)| matches!(value, Tree::Object(_)) && !is_time(key))
}

fn count_of_rows(tree: &Tree, shape: RowShape) -> usize {
    let rows = |sample| match shape {
        RowShape::Sample => 1,
        RowShape::Group => groups(sample).count().max(1),
    };
    samples(tree).map(rows).sum::<usize>().max(1)
}

fn expected_selection(tree: &Tree, chosen: &[&str]) -> Option<Tree> {
    if chosen.is_empty() {
        return Some(tree.clone());
    }
    let is_chosen = |key: &str| {
        let name = text(key);
        chosen.iter().any(|chosen| *chosen == name || Some(*chosen) == name.split('_').next())
    };
    let restricted = |sample: &Tree| {
        groups(sample).find(|(key, _)| is_chosen(key))?;
        let is_group = |value: &Tree| matches!(value, Tree::Object(_));
        let stays =
            |(key, value): &&(String, Tree)| text(key) == "date_time" || (is_group(value) && is_chosen(key));
        Some(Tree::Object(entries(sample).iter().filter(stays).cloned().collect()))
    };
    let field = |(key, value): &(String, Tree)| match value {
        Tree::List(samples) if units(key) == units("user_qos") => {
            (key.clone(), Tree::List(samples.iter().filter_map(restricted).collect()))
        }
        _ => (key.clone(), value.clone()),
    };
    let selected = Tree::Object(entries(tree).iter().map(field).collect());
    let has_samples = samples(&selected).next().is_some();
    has_samples.then_some(selected)
}

fn text(raw: &str) -> String {
    String::from_utf16_lossy(&units(raw))
}

/// Counts all scalars except `null` by their text.
fn count_scalars(tree: &Tree, counts: &mut BTreeMap<String, usize>) {
    match tree {
        Tree::Bare(bare) if bare == "null" => {}
        Tree::Bare(bare) => *counts.entry(bare.clone()).or_default() += 1,
        Tree::Text(raw) => *counts.entry(format!("{:?}", units(raw))).or_default() += 1,
        Tree::List(values) => values.iter().for_each(|value| count_scalars(value, counts)),
        Tree::Object(entries) => entries.iter().for_each(|(_, value)| count_scalars(value, counts)),
    }
}

fn assert_no_key_twice(row: &Tree) {
    let mut keys: Vec<_> = entries(row).iter().map(|(key, _)| units(key)).collect();
    keys.sort();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "{}", print(row));
}

/// Asserts that each value of a row is in the CSV cell of its column, and that all other cells are empty.
fn assert_csv_equals(rows: &[Tree], table: &str, shape: RowShape) {
    let (header, records) = read(table);
    let known = known_columns(shape).collect::<Vec<_>>();
    let known_in_header: Vec<_> = header.iter().filter(|name| known.contains(name)).cloned().collect();
    assert_eq!(known_in_header, known);
    assert_eq!(records.len(), rows.len());
    for (row, record) in rows.iter().zip(&records) {
        let mut cells: Vec<_> = header.iter().cloned().zip(record.iter().cloned()).collect();
        for (key, value) in entries(row) {
            let expected = (guarded(&text(key)), cell(value));
            let at = cells.iter().position(|cell| *cell == expected);
            let at = at.unwrap_or_else(|| panic!("no cell is {expected:?} in {record:?}"));
            cells.remove(at);
        }
        assert!(cells.iter().all(|(_, cell)| cell.is_empty()), "{cells:?}");
    }
}

fn guarded(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    format!("{guard}{text}")
}

fn cell(value: &Tree) -> String {
    let scalar = |value: &Tree| match value {
        Tree::Bare(bare) if bare == "null" => Some(String::new()),
        Tree::Bare(bare) => Some(bare.clone()),
        Tree::Text(raw) => Some(text(raw)),
        Tree::List(_) | Tree::Object(_) => None,
    };
    match value {
        Tree::Bare(_) => scalar(value).unwrap(),
        Tree::Text(raw) => guarded(&text(raw)),
        Tree::List(values) => {
            let joined = values.iter().map(scalar).collect::<Option<Vec<_>>>();
            joined.map_or_else(|| json(value), |joined| guarded(&joined.join(";")))
        }
        Tree::Object(_) => json(value),
    }
}

/// The JSON of a nested value. CSV quotes line ends, so it keeps the characters that NDJSON escapes.
fn json(value: &Tree) -> String {
    let json = print(value);
    json.replace("\\u0085", "\u{85}").replace("\\u2028", "\u{2028}").replace("\\u2029", "\u{2029}")
}
