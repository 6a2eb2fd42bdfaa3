//! Describes Zoom's own paths in `/openapi.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    parts::{OF_SNAPSHOTS, ReadPath, json_of, reference, schema},
    responses::{SNAPSHOT_HEADERS, headers, with_content},
};
use crate::http::{
    paging::SLICE_SIZES,
    problem::Problem,
    zoom_api::{TOKEN_EXPIRES_IN, status_and_code},
};

/// Returns the descriptions of Zoom's paths, by path.
pub(super) fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for (kind, id) in [("Meeting", "meetingId"), ("Webinar", "webinarId")] {
        let folder = format!("/v2/metrics/{}s/{{{id}}}/participants", kind.to_lowercase());
        let page = [id, "type", "zoomPageSize", "zoomPageToken"];
        paths.insert(format!("{folder}/qos"), path(&format!("Zoom{kind}Qos"), &page, "ZoomPage"));
        let operation = format!("Zoom{kind}ParticipantQos");
        let participant = path(&operation, &[id, "participantId", "type"], "ZoomParticipant");
        paths.insert(format!("{folder}/{{participantId}}/qos"), participant);
    }
    paths.insert("/oauth/token".to_owned(), token());
    paths
}

fn path(operation: &str, parameters: &[&str], schema: &str) -> Value {
    let path = ReadPath {
        operation,
        parameters: [parameters, &OF_SNAPSHOTS].concat(),
        get: [
            "QoS as Zoom's own API sends it",
            "For clients made for Zoom. From the same snapshots as /qos. Errors have Zoom's form and codes. Other \
             query parameters are ignored.",
        ],
        head: ["The headers of QoS as Zoom's own API sends it", ""],
        needs_key: true,
        responses: responses(schema),
    };
    path.describe()
}

fn responses(schema: &str) -> Value {
    let is_sent = |problem: &Problem| match problem {
        // These paths ignore Accept.
        Problem::NotFound | Problem::NotAcceptable => false,
        Problem::ParticipantNotFound => schema == "ZoomParticipant",
        _ => true,
    };
    let of_problems = Problem::each().filter(is_sent).map(|problem| status_and_code(&problem));
    // Zoom's errors keep Zoom's own status, which is 400 for these two.
    let of_zoom = [(400, 300), (400, 12702)];
    let mut by_status: BTreeMap<u16, BTreeSet<i64>> = BTreeMap::new();
    for (status, code) in of_problems.chain(of_zoom) {
        by_status.entry(status).or_default().insert(code);
    }
    let errors = by_status.iter().map(|(status, codes)| (status.to_string(), error(*status, codes)));
    with_content(errors.collect(), ("In Zoom's shape.", json_of(schema)), &SNAPSHOT_HEADERS, &[])
}

fn error(status: u16, codes: &BTreeSet<i64>) -> Value {
    let mut names = vec!["NoStore"];
    match status {
        401 => names.push("WWW-Authenticate"),
        405 => names.push("Allow"),
        429 => names.extend(["RateLimitType", "RetryAfterDate"]),
        502.. => names.push("RetryAfterDate"),
        _ => {}
    }
    let codes: Vec<_> = codes.iter().map(i64::to_string).collect();
    json!({
        "description": format!("Zoom's error, with code {}.", codes.join(" or ")),
        "headers": headers(&names),
        "content": json_of("ZoomApiError"),
    })
}

fn token() -> Value {
    let form = json!({
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": { "const": "account_credentials" },
            "account_id": { "type": "string", "description": "Ignored." },
        },
    });
    json!({
        "parameters": [reference("parameters", "requestId")],
        "post": {
            "operationId": "postToken",
            "summary": "The caller key as an access token",
            "description":
                "For clients made for Zoom. The credentials are the caller's name and caller key. The parameters may also \
                 stand in the query.",
            "security": [{}, { "basic": [] }],
            "requestBody": { "content": { "application/x-www-form-urlencoded": { "schema": form } } },
            "responses": {
                "200": {
                    "description": "The access token.",
                    "headers": headers(&["NoStore"]),
                    "content": json_of("AccessToken"),
                },
                "400": {
                    "description": "Wrong credentials, or another grant.",
                    "headers": headers(&["NoStore"]),
                    "content": json_of("TokenError"),
                },
                "405": {
                    "description": "Another method than POST.",
                    "headers": headers(&["NoStore", "AllowPost"]),
                    "content": { "application/problem+json": { "schema": schema("Problem") } },
                },
            },
        },
    })
}

pub(super) fn schemas() -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    let page = json!({
        "type": "object",
        "required": ["page_count", "page_size", "total_records", "next_page_token", "participants"],
        "properties": {
            "page_count": { "type": "integer", "minimum": 0 },
            "page_size": { "type": "integer", "minimum": SLICE_SIZES.start(), "maximum": SLICE_SIZES.end() },
            "total_records": { "type": "integer", "minimum": 0 },
            "next_page_token": { "type": "string", "description": "Empty on the last page." },
            "participants": { "type": "array", "items": schema("ZoomParticipant") },
        },
    });
    let participant = json!({
        "description":
            "A participant as Zoom's documentation describes it: texts with units, empty texts for nothing. Fields that the \
             operators hide from the caller are \"\", or [] if they are lists; if identities are hidden, names, ids and e-mail \
             addresses are the person's pseudonym.",
    });
    let error = json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "integer" },
            "message": { "type": "string", "minLength": 1 },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": { "field": text(), "message": text() },
                },
            },
        },
    });
    let access_token = json!({
        "type": "object",
        "required": ["access_token", "token_type", "expires_in", "scope"],
        "properties": {
            "access_token": text(),
            "token_type": { "const": "bearer" },
            "expires_in": { "const": TOKEN_EXPIRES_IN, "description": "In seconds. It does not end a caller key." },
            "scope": text(),
        },
    });
    let token_error = json!({
        "type": "object",
        "required": ["reason", "error"],
        "properties": { "reason": text(), "error": { "enum": ["invalid_client", "unsupported_grant_type"] } },
    });
    [
        ("ZoomPage", page),
        ("ZoomParticipant", participant),
        ("ZoomApiError", error),
        ("AccessToken", access_token),
        ("TokenError", token_error),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
    .into_iter()
    .collect()
}
