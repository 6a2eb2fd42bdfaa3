//! A participant with every field, each with a different value, and a caller for every combination of `hide`.

use std::collections::BTreeSet;

use serde_json::Value;
use zoom_sim::Meeting;

use crate::{
    callers::{entry, get_as},
    client::Answer,
    service::Service,
};

pub const ID: &str = "98765432101";
pub const PATH: &str = "/qos/98765432101?type=past";
pub const V2: &str = "/v2/metrics/meetings/98765432101/participants";

pub const IDENTITY: [&str; 10] = [
    "user_name",
    "email",
    "id",
    "user_id",
    "participant_uuid",
    "pc_name",
    "device_name",
    "camera",
    "microphone",
    "speaker",
];
pub const ADDRESS: [&str; 6] =
    ["ip_address", "internal_ip_addresses", "mac_addr", "location", "domain", "harddisk_id"];
pub const DEVICE: [&str; 11] = [
    "device",
    "device_name",
    "client",
    "version",
    "os",
    "os_version",
    "browser_name",
    "browser_version",
    "camera",
    "microphone",
    "speaker",
];
pub const SHOWN: [&str; 9] = [
    "network_type",
    "connection_type",
    "video_connection_type",
    "as_connection_type",
    "data_center",
    "full_data_center",
    "health",
    "rc_reason",
    "optional_archiving",
];
/// Fields that Zoom does not document, but may add or send in place of documented ones.
pub const UNKNOWN: [&str; 4] = ["groupId", "zoom_thin_client_plugin_version", "sip_uri", "share_desktop"];
/// Values in samples, and values of unknown fields that are lists, objects or numbers. They are hidden from every caller
/// whose `hide` is not empty.
pub const ALSO_HIDDEN: [&str; 7] = [
    "491701234567",
    "491707654321",
    "mark-in-list",
    "mark-in-object",
    "mark-note",
    "mark-odour",
    "mark-latency",
];

pub fn mark(field: &str) -> String {
    format!("mark-{}", field.replace('_', "-"))
}

/// A row with every field that Zoom documents and some that it does not. Each field has a different value. The values
/// of the string fields in the lists above end with `suffix`.
pub fn row(suffix: &str) -> String {
    let texts = [&IDENTITY[..], &ADDRESS, &DEVICE, &SHOWN, &UNKNOWN].concat();
    let texts: BTreeSet<_> = texts.into_iter().filter(|field| *field != "internal_ip_addresses").collect();
    let texts: String =
        texts.iter().map(|field| format!("\"{field}\":\"{}{suffix}\",", mark(field))).collect();
    format!(
        "{{{texts}\"internal_ip_addresses\":[\"{}\"],\"issue_list\":[\"audio\"],\"phone\":491701234567,\
         \"tags\":[\"mark-in-list\"],\"extra\":{{\"name\":\"mark-in-object\"}},\"recording\":true,\
         \"total_jointime_cost\":4.89,\"join_time\":\"2026-01-15T10:00:00Z\",\"leave_time\":\"2026-01-15T11:00:00Z\",\
         \"user_qos\":[{{\"date_time\":\"2026-01-15T10:01:00Z\",\"note\":\"mark-note\",\"dial_in\":491707654321,\
         \"audio_input\":{{\"latency\":\"mark-latency\",\"jitter\":\"55 ms\",\"bitrate\":\"27.15 kbps\"}},\
         \"cpu_pressure_level\":\"normal\",\"smell_input\":{{\"odour\":\"mark-odour\",\"latency\":\"7 ms\"}}}}]}}",
        mark("internal_ip_addresses"),
    )
}

/// Three rows: a person, the same person after rejoining, and another person.
pub fn meeting(id: &str) -> Meeting {
    let rejoined = row("").replace("mark-user-id", "mark-user-id-2").replace("10:00:00Z", "10:30:00Z");
    Meeting::raw_pages(id, vec![format!("[{},{rejoined},{}]", row(""), row("-of-another"))])
}

/// The name of a caller for every combination of groups, with the groups hidden from it. The name is also its key.
pub fn combinations() -> Vec<(String, Vec<&'static str>)> {
    let groups = ["identity", "address", "device"];
    let chosen = |bits: usize| {
        groups.iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0).map(|(_, group)| *group)
    };
    (0..8).map(|bits| (format!("caller-{bits}"), chosen(bits).collect())).collect()
}

pub fn callers() -> String {
    combinations().iter().map(|(name, hide)| entry(name, name, &format!("hide = {hide:?}"))).collect()
}

pub fn everything(answer: &Answer) -> String {
    format!("{} {:?}\n{}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body))
}

pub fn participants(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["participants"].as_array().unwrap().clone()
}

pub fn pseudonym_of(service: &Service, caller: &str) -> String {
    participants(&get_as(service, caller, PATH))[0]["user_id"].as_str().unwrap().to_owned()
}
