//! Hiding fields from a caller: compared with an independent implementation that works on a tree, for arbitrary participants.
#![expect(clippy::string_slice, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sha2::{Digest as _, Sha256};
use test_support::arbitrary_json::{Tree, participant, units};
use zoom_qos_proxy::clean;
use zoom_qos_proxy::hiding::{FieldGroup, HiddenFields, HidingKeys};
use zoom_qos_proxy::view::redact::{HiddenForm, ParticipantRedactor};
use zoom_qos_proxy::view::zoom_shape;
use zoom_sim::Meeting;

const SECRET: &str = "client-secret";
const MEETING: &str = "/ajXp112QmuoKj48548750==";

const PSEUDONYMS: [&str; 6] = ["user_name", "email", "id", "user_id", "participant_uuid", "pc_name"];
const WITH_NAMES: [&str; 4] = ["device_name", "camera", "microphone", "speaker"];
const ADDRESSES: [&str; 6] =
    ["ip_address", "internal_ip_addresses", "mac_addr", "location", "domain", "harddisk_id"];
const DEVICES: [&str; 7] =
    ["device", "client", "version", "os", "os_version", "browser_name", "browser_version"];
const SHOWN: [&str; 12] = [
    "join_time",
    "leave_time",
    "network_type",
    "connection_type",
    "video_connection_type",
    "as_connection_type",
    "data_center",
    "full_data_center",
    "health",
    "issue_list",
    "rc_reason",
    "optional_archiving",
];
const UNKNOWN: [&str; 4] = ["groupId", "recording", "total_jointime_cost", "new_field"];
const IN_SAMPLES: [&str; 8] = [
    "date_time",
    "cpu_pressure_level",
    "system_avg_cpu_pressure_level",
    "rssi_unit",
    "avg_rssi",
    "resolution",
    "height",
    "note",
];

// ---- laws ----

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redaction_agrees_with_the_reference_implementation(
        tree in with_known_fields(),
        hidden in hidden_fields(),
        form in form(),
    ) {
        let cleaned = clean(&print(&tree));
        let redacted = redact(&cleaned, hidden, form);
        let tree = Tree::parse(&cleaned);
        prop_assert_eq!(redacted.as_str(), print(&expected(&tree, hidden, form)));
        // Redacting again changes nothing unless identities are hidden: a pseudonym would be replaced by its own
        // pseudonym.
        if !hidden.contains(FieldGroup::Identity) {
            prop_assert_eq!(redact(&redacted, hidden, form), redacted);
        }
    }

    #[test]
    fn hidden_values_do_not_change_the_result(
        tree in with_known_fields(),
        hidden in hidden_fields(),
        form in form(),
        secrets in vec("[a-z]{1,20}", 40),
    ) {
        let Tree::Object(mut entries) = Tree::parse(&clean(&print(&tree))) else { return Ok(()) };
        // The person stays the same, or the pseudonym would change.
        entries.insert(0, ("id".to_owned(), Tree::Text("the person".to_owned())));
        let other = entries.iter().zip(secrets.iter().cycle()).map(|((key, value), secret)| {
            let is_secret = hides(key, value, hidden) && !is(key, "id") && matches!(value, Tree::Text(_));
            (key.clone(), if is_secret { Tree::Text(secret.clone()) } else { value.clone() })
        });
        let other = Tree::Object(other.collect());
        prop_assert_eq!(
            redact(&print(&Tree::Object(entries)), hidden, form),
            redact(&print(&other), hidden, form)
        );
    }

    #[test]
    fn any_bytes_are_redacted_or_rejected(
        tree in with_known_fields(),
        bytes in vec(any::<u8>(), 0..50),
        at in any::<Index>(),
        byte in select(&b"\"\\{}[],:0 -nx\xff\0"[..]),
        hidden in hidden_fields(),
    ) {
        let mut broken = clean(&print(&tree)).into_bytes();
        let at = at.index(broken.len());
        broken[at] = byte;
        for text in [&broken[..], &broken[..at], &bytes] {
            let mut out = b"kept".to_vec();
            if redactor(hidden, HiddenForm::Null).append(text, &mut out).is_err() {
                prop_assert_eq!(&out, b"kept");
            }
        }
    }

    #[test]
    fn a_redacted_participant_can_be_restored(tree in with_known_fields(), hidden in hidden_fields()) {
        let redacted = redact(&clean(&print(&tree)), hidden, HiddenForm::ZoomsShape);
        let mut out = Vec::new();
        zoom_shape::append_participant(redacted.as_bytes(), &mut out).unwrap();
        prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok());
    }
}

// ---- examples ----

#[test]
fn a_pseudonym_is_derived_from_secret_meeting_and_person() {
    let hidden = [FieldGroup::Identity].into_iter().collect();
    let participant = r#"{"user_id":"7","user_name":"Jane","email":"jane@example.com","id":null}"#;
    let pseudonym = reference_pseudonym("jane@example.com");
    let redacted = redact(participant, hidden, HiddenForm::Null);
    let expected =
        format!(r#"{{"user_id":"{pseudonym}","user_name":"{pseudonym}","email":"{pseudonym}","id":null}}"#);
    assert_eq!(redacted, expected);
    // Pins the derivation: if it changed, every person would get a different pseudonym after an update of the service.
    assert_eq!(pseudonym, "p-4681af9561");
}

#[test]
fn the_first_identifier_that_is_not_empty_is_the_person() {
    let hidden = [FieldGroup::Identity].into_iter().collect();
    for (fields, person) in [
        (r#""id":"i","email":"e","participant_uuid":"p","user_id":"u""#, "i"),
        (r#""user_id":"u","participant_uuid":"p","email":"e","id":"i""#, "i"),
        (r#""user_id":"u","participant_uuid":"p","email":"e""#, "e"),
        (r#""user_id":"u","participant_uuid":"p","email":null"#, "p"),
        (r#""user_id":16778240,"participant_uuid":null"#, "16778240"),
        (r#""user_id":null,"user_id":"u""#, "u"),
        (r#""id":{"a":1},"user_id":"u""#, "u"),
        (r#""i\u0064":"\u0069\ud83d""#, "i\\ud83d"),
    ] {
        let redacted = redact(&format!(r#"{{"user_name":"Jane",{fields}}}"#), hidden, HiddenForm::Null);
        let expected = format!(r#"{{"user_name":"{}","#, reference_pseudonym(person));
        assert!(redacted.starts_with(&expected), "{fields}: {redacted}");
    }
    for nobody in [r#"{"user_name":"Jane","pc_name":"PC","id":[],"user_qos":[]}"#, r#"{"pc_name":true}"#] {
        let nulls = redact(nobody, hidden, HiddenForm::Null);
        assert!(!nulls.contains("p-") && nulls.contains(r#""pc_name":null"#), "{nulls}");
    }
}

#[test]
fn samples_show_measurements_known_words_and_booleans() {
    let hidden = [FieldGroup::Device].into_iter().collect();
    let sample = |entries: &str| {
        let redacted = redact(&format!(r#"{{"user_qos":[{{{entries}}}]}}"#), hidden, HiddenForm::Null);
        redacted[r#"{"user_qos":[{"#.len()..redacted.len() - r"}]}".len()].to_owned()
    };
    for shown in [
        r#""date_time":"2021-06-24T20:00:00Z""#,
        r#""audio_input":{"latency_ms":126,"avg_loss_percent":0.30,"jitter":5,"muted":true,"max_loss_percent":null}"#,
        r#""new_group":{"bitrate_kbps":1,"inner":{"x_cpu_usage_percent":2}}"#,
        r#""video_input":{"resolution":{"width":1280,"height":720},"frame_rate_fps":12}"#,
        r#""cpu_pressure_level":"normal""#,
        r#""cpu_pressure_level":{"system_min_cpu_pressure_level":"serious"}"#,
        r#""wifi_rssi":{"max_rssi":-75,"rssi_unit":"dBm"}"#,
        r#""streams":[{"latency_ms":1}]"#,
    ] {
        assert_eq!(sample(shown), shown);
    }
    for (hidden, shown) in [
        (r#""note":"Jane""#, r#""note":null"#),
        (r#""phone":491701234567"#, r#""phone":null"#),
        (
            r#""audio_input":{"latency":"Jane","date_time":"t"}"#,
            r#""audio_input":{"latency":null,"date_time":null}"#,
        ),
        (r#""cpu_pressure_level":"Jane""#, r#""cpu_pressure_level":null"#),
        (r#""rssi_unit":"Jane""#, r#""rssi_unit":null"#),
        (r#""resolution":"Jane""#, r#""resolution":null"#),
        (r#""resolution":{"width":"Jane","depth":1}"#, r#""resolution":{"width":null,"depth":null}"#),
        (r#""latency_ms":[5,"Jane"]"#, r#""latency_ms":[null,null]"#),
        (r#""date_time":5"#, r#""date_time":null"#),
    ] {
        assert_eq!(sample(hidden), shown);
    }
}

#[test]
fn nothing_hidden_changes_nothing() {
    for page in Meeting::generated("91234567890", 3, 3).odd_values().pages() {
        let mut out = Vec::new();
        for row in clean::page(format!(r#"{{"participants":{page}}}"#).as_bytes(), &mut out).unwrap().rows {
            let cleaned = str::from_utf8(&out[row]).unwrap();
            assert_eq!(redact(cleaned, HiddenFields::default(), HiddenForm::Null), cleaned);
        }
    }
}

// ---- the reference implementation ----

fn expected(tree: &Tree, hidden: HiddenFields, form: HiddenForm) -> Tree {
    if hidden.is_empty() {
        return tree.clone();
    }
    let Tree::Object(entries) = tree else { return sample_value(tree) };
    let text_or_number = |wanted: &str| {
        entries.iter().filter(|(key, _)| is(key, wanted)).find_map(|(_, value)| match value {
            Tree::Text(raw) => Some(raw.clone()),
            Tree::Bare(bare) if is_number(bare) => Some(bare.clone()),
            _ => None,
        })
    };
    let person = ["id", "email", "participant_uuid", "user_id"].into_iter().find_map(text_or_number);
    let pseudonym = person.map(|person| Tree::Text(reference_pseudonym(&person)));
    let field = |(key, value): &(String, Tree)| {
        let shown = if is(key, "user_qos") {
            match value {
                Tree::List(samples) => Tree::List(samples.iter().map(sample).collect()),
                other => sample_value(other),
            }
        } else if !hides(key, value, hidden) {
            value.clone()
        } else if is_one_of(key, &PSEUDONYMS) && *value != null() {
            pseudonym.clone().unwrap_or_else(null)
        } else {
            let is_list = matches!(value, Tree::List(_)) || is(key, "internal_ip_addresses");
            let is_empty_list = is_list && form == HiddenForm::ZoomsShape;
            if is_empty_list { Tree::List(Vec::new()) } else { null() }
        };
        (key.clone(), shown)
    };
    Tree::Object(entries.iter().map(field).collect())
}

/// Whether this field of a participant is hidden or replaced.
fn hides(key: &str, value: &Tree, hidden: HiddenFields) -> bool {
    if hidden.is_empty() {
        return false;
    }
    let [identity, address, device] =
        [FieldGroup::Identity, FieldGroup::Address, FieldGroup::Device].map(|group| hidden.contains(group));
    if is_one_of(key, &PSEUDONYMS) {
        return identity;
    }
    if is_one_of(key, &WITH_NAMES) {
        return identity || device;
    }
    if is_one_of(key, &ADDRESSES) {
        return address;
    }
    if is_one_of(key, &DEVICES) {
        return device;
    }
    if is_one_of(key, &SHOWN) || is(key, "user_qos") {
        return false;
    }
    let Tree::Bare(bare) = value else { return true };
    is_number(bare) && !is(key, "total_jointime_cost")
}

fn sample(tree: &Tree) -> Tree {
    let Tree::Object(entries) = tree else { return sample_value(tree) };
    let entry = |(key, value): &(String, Tree)| {
        let is_time = is(key, "date_time") && matches!(value, Tree::Text(_));
        (key.clone(), if is_time { value.clone() } else { sample_entry(key, value) })
    };
    Tree::Object(entries.iter().map(entry).collect())
}

/// Redacts a value without a key, or one below `user_qos` whose key allows no more than `true`, `false` and `null`.
fn sample_value(tree: &Tree) -> Tree {
    match tree {
        Tree::Text(_) => null(),
        Tree::Bare(bare) if is_number(bare) => null(),
        Tree::Bare(_) => tree.clone(),
        Tree::List(elements) => Tree::List(elements.iter().map(sample_value).collect()),
        Tree::Object(entries) => {
            Tree::Object(entries.iter().map(|(key, value)| (key.clone(), sample_entry(key, value))).collect())
        }
    }
}

fn sample_entry(key: &str, value: &Tree) -> Tree {
    const MEASUREMENTS: [&str; 16] = [
        "bitrate",
        "latency",
        "jitter",
        "avg_loss",
        "max_loss",
        "frame_rate",
        "resolution",
        "bitrate_kbps",
        "latency_ms",
        "jitter_ms",
        "avg_loss_percent",
        "max_loss_percent",
        "frame_rate_fps",
        "max_rssi",
        "avg_rssi",
        "min_rssi",
    ];
    const WORDS: [&str; 5] = ["normal", "fair", "serious", "critical", "dbm"];
    let name = String::from_utf16_lossy(&units(key));
    let is_measurement = MEASUREMENTS.contains(&&*name)
        || name.ends_with("_cpu_usage")
        || name.ends_with("_cpu_usage_percent");
    match value {
        Tree::Bare(_) if is_measurement => value.clone(),
        Tree::Text(raw) if name.ends_with("cpu_pressure_level") || name == "rssi_unit" => {
            let is_documented = ["cpu_pressure_level", "rssi_unit"].contains(&&*name)
                || ["min", "avg", "max"]
                    .iter()
                    .any(|part| name == format!("system_{part}_cpu_pressure_level"));
            let text = String::from_utf16_lossy(&units(raw)).to_ascii_lowercase();
            if is_documented && WORDS.contains(&&*text) { value.clone() } else { null() }
        }
        Tree::Object(sides) if name == "resolution" => {
            let side = |(key, value): &(String, Tree)| match value {
                Tree::Bare(_) if is_one_of(key, &["width", "height"]) => (key.clone(), value.clone()),
                _ if is_one_of(key, &["width", "height"]) => (key.clone(), sample_value(value)),
                _ => (key.clone(), sample_entry(key, value)),
            };
            Tree::Object(sides.iter().map(side).collect())
        }
        other => sample_value(other),
    }
}

/// HMAC-SHA256 as RFC 2104 defines it.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |byte: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ byte).collect::<Vec<_>>();
    let inner = Sha256::digest([&pad(0x36)[..], message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}

/// The HMAC of meeting and person under a key that HKDF-SHA256 (RFC 5869) derives in one block.
fn reference_pseudonym(person: &str) -> String {
    let extracted = hmac(b"zoom-qos-proxy hiding", SECRET.as_bytes());
    let key = hmac(&extracted, b"pseudonyms\x01");
    let digest = hmac(&key, &[MEETING.as_bytes(), b"\0", &wtf_8(person)].concat());
    digest.iter().take(5).fold("p-".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The bytes of a raw JSON string: UTF-8, with three bytes for a lone surrogate.
fn wtf_8(raw: &str) -> Vec<u8> {
    let encoded = char::decode_utf16(units(raw)).map(|unit| match unit {
        Ok(character) => character.to_string().into_bytes(),
        Err(lone) => {
            let bits = lone.unpaired_surrogate();
            [0xe0 | bits >> 12, 0x80 | bits >> 6 & 0x3f, 0x80 | bits & 0x3f]
                .map(|byte| u8::try_from(byte).unwrap())
                .to_vec()
        }
    });
    encoded.flatten().collect()
}

// ---- helpers ----

fn with_known_fields() -> impl Strategy<Value = Tree> {
    let names = [&PSEUDONYMS[..], &WITH_NAMES, &ADDRESSES, &DEVICES, &SHOWN, &UNKNOWN].concat();
    let value = || {
        prop_oneof![
            3 => "[a-z]{1,8}".prop_map(Tree::Text),
            1 => select(&["normal", "dBm", "\\u006eormal", "", "\\ud83d"][..]).prop_map(|text| Tree::Text(text.to_owned())),
            1 => select(&["5", "-1.50", "true", "null"][..]).prop_map(|bare| Tree::Bare(bare.to_owned())),
            1 => vec("[a-z]{0,3}".prop_map(Tree::Text), 0..3).prop_map(Tree::List),
        ]
    };
    let fields = vec((select(names), value()), 0..9);
    let in_sample = vec((select(&IN_SAMPLES[..]), value()), 0..4);
    (participant(), fields, in_sample, any::<Index>()).prop_map(|(tree, fields, in_sample, at)| {
        let Tree::Object(mut entries) = tree else { return tree };
        for (key, value) in &mut entries {
            if let (true, Tree::List(samples)) = (is(key, "user_qos"), value)
                && let Some(Tree::Object(sample)) = samples.first_mut()
            {
                sample.extend(in_sample.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
            }
        }
        let at = at.index(entries.len() + 1);
        entries.splice(at..at, fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Tree::Object(entries)
    })
}

fn hidden_fields() -> impl Strategy<Value = HiddenFields> {
    const ALL: [FieldGroup; 3] = [FieldGroup::Identity, FieldGroup::Address, FieldGroup::Device];
    proptest::sample::subsequence(&ALL[..], 0..=3).prop_map(|groups| groups.into_iter().collect())
}

fn form() -> impl Strategy<Value = HiddenForm> {
    select(&[HiddenForm::Null, HiddenForm::ZoomsShape][..])
}

fn redactor(hidden: HiddenFields, form: HiddenForm) -> ParticipantRedactor {
    ParticipantRedactor::new(hidden, form, &HidingKeys::derive(SECRET).unwrap(), MEETING)
}

fn redact(cleaned: &str, hidden: HiddenFields, form: HiddenForm) -> String {
    let mut out = b"kept".to_vec();
    redactor(hidden, form).append(cleaned.as_bytes(), &mut out).unwrap();
    String::from_utf8(out.split_off(4)).unwrap()
}

fn clean(participant: &str) -> String {
    let mut out = Vec::new();
    clean::page(format!(r#"{{"participants":[{participant}]}}"#).as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn print(tree: &Tree) -> String {
    tree.print(&mut [""].into_iter().cycle())
}

fn is(key: &str, name: &str) -> bool {
    units(key) == units(name)
}

fn is_one_of(key: &str, names: &[&str]) -> bool {
    names.iter().any(|name| is(key, name))
}

fn is_number(bare: &str) -> bool {
    bare.starts_with(|character: char| character == '-' || character.is_ascii_digit())
}

fn null() -> Tree {
    Tree::Bare("null".to_owned())
}
