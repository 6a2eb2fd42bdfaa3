//! The schemas of `/openapi.json`: a snapshot, the cleaned measurements, and a problem.
//!
//! Zoom's values are passed on whatever their type, so only values that this service writes have a type here.

use serde_json::{Map, Value, json};

use super::zoom_api;

use crate::{
    clean::Field,
    http::{context::LONGEST_REQUEST_ID, paging::SLICE_SIZES},
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType},
};

pub(super) fn schemas() -> Value {
    let mut schemas = json!({
        "Snapshot": snapshot(),
        "Participant": participant(),
        "Sample": sample(),
        "Measurements": measurements(),
        "Problem": problem(),
        "ZoomError": zoom_answer(),
    });
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.extend(zoom_api::schemas());
    }
    schemas
}

fn snapshot() -> Value {
    json!({
        "type": "object",
        "description": "One whole meeting as fetched at one time, or a slice or selection of it.",
        "required": ["meeting_id", "type", "fetched_at", "total_records", "participants"],
        "properties": {
            "meeting_id": { "type": "string", "pattern": MeetingId::pattern() },
            "type": { "enum": meeting_types() },
            "kind": { "const": MeetingKind::Webinar.as_str(), "description": "Only in a webinar." },
            "fetched_at": { "type": "string", "format": "date-time", "examples": ["2026-11-23T10:15:42Z"] },
            "total_records": {
                "type": "integer", "minimum": 0,
                "description": "Participants of the whole meeting, also in a slice or selection. A person who rejoins counts twice.",
            },
            "selected_records": {
                "type": "integer", "minimum": 0, "description": "Only in a selection: its participants.",
            },
            "participants": {
                "type": "array", "items": { "$ref": "#/components/schemas/Participant" },
                "description": "In Zoom's order.",
            },
            "page_size": {
                "type": "integer", "minimum": SLICE_SIZES.start(), "maximum": SLICE_SIZES.end(),
                "description": "Only in a slice: the maximum number of its participants.",
            },
            "next_page_token": {
                "type": ["string", "null"],
                "description": "Only in a slice: the token for the next one; null in the last.",
            },
        },
    })
}

fn participant() -> Value {
    json!({
        "type": "object",
        "description": "Everything that Zoom reports about a participant; fields that Zoom adds are passed on. \"\" becomes null.",
        "additionalProperties": true,
        "properties": {
            "user_id": { "examples": ["1670000000"] },
            "user_name": { "examples": ["User"] },
            "device": { "examples": ["Android"] },
            "ip_address": { "examples": ["192.0.2.0"] },
            "location": { "examples": ["San Jose (US)"] },
            "join_time": { "examples": ["2021-06-24T20:00:00Z"] },
            "leave_time": { "examples": ["2021-06-24T20:00:00Z"], "description": "Absent or null until the participant leaves." },
            "pc_name": { "examples": ["User's Phone"] },
            "domain": { "examples": ["user-android"] },
            "mac_addr": { "examples": [null] },
            "harddisk_id": { "examples": [null] },
            "version": { "examples": ["4.4.55383.0726"] },
            "user_qos": {
                "description": "One sample per minute.",
                "items": { "$ref": "#/components/schemas/Sample" },
            },
        },
    })
}

fn sample() -> Value {
    json!({
        "description": "One minute: its time and groups of measurements. The groups listed here are the known ones.",
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

/// Returns the fields that the cleaner parses, under their new names.
fn measurements() -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for field in Field::ALL {
        let name = format!("{}{}", field.as_str(), field.suffix());
        match field {
            // Zoom has several such fields, whose names all end like this.
            Field::CpuUsage => patterns.insert(format!("_{name}$"), measurement(field)),
            _ => properties.insert(name, measurement(field)),
        };
    }
    json!({
        "description":
            "Numbers, with the unit in the key; null if Zoom sent nothing. A text that is not a number with a unit \
             keeps Zoom's key, without the unit. Fields that Zoom adds are passed on.",
        "additionalProperties": true,
        "properties": properties,
        "patternProperties": patterns,
    })
}

fn measurement(field: Field) -> Value {
    let number = |description: &str, example: Value| json!({ "type": ["number", "null"], "description": description, "examples": [example] });
    match field {
        Field::Bitrate => number("Kilobits per second.", json!(23)),
        Field::Latency => number("Milliseconds.", json!(126)),
        Field::Jitter => number("Milliseconds.", json!(6)),
        Field::AvgLoss => number("Average percentage of packets lost.", json!(0.3)),
        Field::MaxLoss => number("Maximum percentage of packets lost.", json!(1.9)),
        Field::FrameRate => number("Frames per second.", json!(12)),
        Field::CpuUsage => number("CPU usage in percent.", json!(12)),
        Field::Resolution => json!({
            "description": "In pixels. A text that does not parse stays under the same key.",
            "properties": { "width": { "type": "integer" }, "height": { "type": "integer" } },
            "examples": [{ "width": 1280, "height": 720 }],
        }),
    }
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. Programs should look at `code`; later versions may add codes.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string", "minLength": 1 },
            "status": { "type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status." },
            "detail": { "type": "string", "minLength": 1, "description": "One sentence that says what the caller can do." },
            "code": { "type": "string", "pattern": "^[a-z_]+$" },
            "request_id": request_id(),
            "zoom": { "$ref": "#/components/schemas/ZoomError" },
        },
    })
}

fn zoom_answer() -> Value {
    json!({
        "type": "object",
        "description": "Zoom's response, without secrets. If it came from the token endpoint, all but the status is null.",
        "required": ["status", "code", "message", "tracking_id"],
        "properties": {
            "status": { "type": "integer", "description": "Zoom's HTTP status." },
            "code": { "type": ["integer", "null"], "examples": [3001] },
            "message": { "type": ["string", "null"], "examples": ["Meeting does not exist: 85746065432."] },
            "tracking_id": { "type": ["string", "null"], "description": "Zoom's support asks for this id." },
        },
    })
}

/// Returns the values of `type`.
pub(super) fn meeting_types() -> [&'static str; 2] {
    MeetingType::ALL.map(MeetingType::as_str)
}

pub(super) fn request_id() -> Value {
    json!({ "type": "string", "pattern": format!("^[A-Za-z0-9._-]{{1,{LONGEST_REQUEST_ID}}}$") })
}
