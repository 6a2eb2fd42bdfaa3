//! The schemas of `/openapi.json`: a snapshot, down to the known measurements, and a problem.

#[cfg(test)]
mod field_tables;
mod known_field;
mod participant;
mod sample;

use serde_json::{Value, json};

use super::{parts::schema, zoom_api};

use crate::{
    http::{context::LONGEST_REQUEST_ID, paging::SLICE_SIZES},
    meeting_id::MeetingId,
    snapshot::{MeetingKind, MeetingType},
};

pub(super) fn schemas() -> Value {
    let mut schemas = json!({
        "Snapshot": snapshot(),
        "Participant": participant::participant(),
        "Problem": problem(),
        "ZoomError": zoom_answer(),
    });
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.extend(sample::schemas().map(|(name, schema)| (name.to_owned(), schema)));
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
                "type": "array", "items": schema("Participant"),
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
            "zoom": schema("ZoomError"),
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
            "message": {
                "type": ["string", "null"], "examples": ["Meeting does not exist: 85746065432."],
                "description": "Null for callers from whom fields are hidden.",
            },
            "tracking_id": { "type": ["string", "null"], "description": "Zoom's support asks for this id." },
        },
    })
}

/// Returns the values of the parameter `type`.
pub(super) fn meeting_types() -> [&'static str; 2] {
    MeetingType::ALL.map(MeetingType::as_str)
}

pub(super) fn request_id() -> Value {
    json!({ "type": "string", "pattern": format!("^[A-Za-z0-9._-]{{1,{LONGEST_REQUEST_ID}}}$") })
}
