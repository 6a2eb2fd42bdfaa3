//! The schemas of `/openapi.json`: a snapshot, what the cleaner makes of Zoom's texts, and a problem.
//!
//! What Zoom sends is passed on whatever its type, so nothing but what this service writes has a type here.

use serde_json::{Map, Value, json};

use super::{request_id, types};
use crate::clean::Field;
use crate::http::paging::PAGE_SIZES;
use crate::meeting_id::MeetingId;

pub(super) fn schemas() -> Value {
    json!({
        "Snapshot": snapshot(),
        "Participant": participant(),
        "Sample": sample(),
        "Measurements": measurements(),
        "Problem": problem(),
        "ZoomSaid": zoom_said(),
    })
}

fn snapshot() -> Value {
    json!({
        "type": "object",
        "description": "One whole meeting as fetched at one time, or a slice of it.",
        "required": ["meeting_id", "type", "fetched_at", "total_records", "participants"],
        "properties": {
            "meeting_id": { "type": "string", "pattern": MeetingId::pattern() },
            "type": { "enum": types() },
            "fetched_at": { "type": "string", "format": "date-time", "examples": ["2026-11-23T10:15:42Z"] },
            "total_records": {
                "type": "integer", "minimum": 0,
                "description": "Participants of the whole meeting, also in a slice; somebody who rejoins counts twice.",
            },
            "participants": {
                "type": "array", "items": { "$ref": "#/components/schemas/Participant" },
                "description": "In Zoom's order.",
            },
            "page_size": {
                "type": "integer", "minimum": PAGE_SIZES.start(), "maximum": PAGE_SIZES.end(),
                "description": "Only in a slice: the most participants that it can have.",
            },
            "next_page_token": {
                "type": ["string", "null"],
                "description": "Only in a slice: what to ask the next one with; null on the last.",
            },
        },
    })
}

fn participant() -> Value {
    json!({
        "type": "object",
        "description": "What Zoom tells of a participant, all of it: fields that Zoom adds are passed on. \"\" is null.",
        "additionalProperties": true,
        "properties": {
            "user_id": { "examples": ["1670000000"] },
            "user_name": { "examples": ["User"] },
            "device": { "examples": ["Android"] },
            "ip_address": { "examples": ["192.0.2.0"] },
            "location": { "examples": ["San Jose (US)"] },
            "join_time": { "examples": ["2021-06-24T20:00:00Z"] },
            "leave_time": { "examples": ["2021-06-24T20:00:00Z"], "description": "Absent or null while they are there." },
            "pc_name": { "examples": ["User's Phone"] },
            "domain": { "examples": ["user-android"] },
            "mac_addr": { "examples": [null] },
            "harddisk_id": { "examples": [null] },
            "version": { "examples": ["4.4.55383.0726"] },
            "user_qos": {
                "description": "One sample for each minute.",
                "items": { "$ref": "#/components/schemas/Sample" },
            },
        },
    })
}

fn sample() -> Value {
    json!({
        "description": "One minute: its time, and groups of measurements, such as those that are named here.",
        "additionalProperties": { "$ref": "#/components/schemas/Measurements" },
        "properties": {
            "date_time": { "examples": ["2021-06-24T20:00:00Z"] },
            "audio_input": { "$ref": "#/components/schemas/Measurements" },
            "audio_output": { "$ref": "#/components/schemas/Measurements" },
            "video_input": { "$ref": "#/components/schemas/Measurements" },
            "video_output": { "$ref": "#/components/schemas/Measurements" },
            "as_input": { "$ref": "#/components/schemas/Measurements" },
            "as_output": { "$ref": "#/components/schemas/Measurements" },
            "cpu_usage": { "$ref": "#/components/schemas/Measurements" },
        },
    })
}

/// The fields that the cleaner knows, under the names that it gives them.
fn measurements() -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for field in Field::ALL {
        let name = format!("{}{}", field.as_str(), field.suffix());
        match field {
            // The end of many keys.
            Field::CpuUsage => patterns.insert(format!("_{name}$"), of_field(field)),
            _ => properties.insert(name, of_field(field)),
        };
    }
    json!({
        "description":
            "Numbers, with the unit in the key; null where Zoom sent nothing. A text of Zoom's that is no number with \
             a unit keeps Zoom's own key (without unit), and what Zoom may add is passed on.",
        "additionalProperties": true,
        "properties": properties,
        "patternProperties": patterns,
    })
}

fn of_field(field: Field) -> Value {
    let number = |description: &str, example: Value| json!({ "type": ["number", "null"], "description": description, "examples": [example] });
    match field {
        Field::Bitrate => number("Kilobits per second.", json!(23)),
        Field::Latency => number("Milliseconds.", json!(126)),
        Field::Jitter => number("Milliseconds.", json!(6)),
        Field::AvgLoss => number("Percent of the packets, on average.", json!(0.3)),
        Field::MaxLoss => number("Percent of the packets, at most.", json!(1.9)),
        Field::FrameRate => number("Frames per second.", json!(12)),
        Field::CpuUsage => number("Percent of the CPU.", json!(12)),
        Field::Resolution => json!({
            "description": "In pixels. The one key that a text which does not parse keeps as well.",
            "properties": { "width": { "type": "integer" }, "height": { "type": "integer" } },
            "examples": [{ "width": 1280, "height": 720 }],
        }),
    }
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. `code` is what programs should look at; more codes may come.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string", "minLength": 1 },
            "status": { "type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status." },
            "detail": { "type": "string", "minLength": 1, "description": "One sentence, to act on." },
            "code": { "type": "string", "pattern": "^[a-z_]+$" },
            "request_id": request_id(),
            "zoom": { "$ref": "#/components/schemas/ZoomSaid" },
        },
    })
}

fn zoom_said() -> Value {
    json!({
        "type": "object",
        "description": "What Zoom answered, without secrets. Where its token endpoint answered, only the status is not null.",
        "required": ["status", "code", "message", "tracking_id"],
        "properties": {
            "status": { "type": "integer", "description": "Zoom's HTTP status." },
            "code": { "type": ["integer", "null"], "examples": [3001] },
            "message": { "type": ["string", "null"], "examples": ["Meeting does not exist: 85746065432."] },
            "tracking_id": { "type": ["string", "null"], "description": "What Zoom's support asks for." },
        },
    })
}
