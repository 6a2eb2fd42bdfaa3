//! Describes Zoom's own paths in `/openapi.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::responses::{headers, without_bodies};
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
        let page = ["type", "zoomPageSize", "zoomPageToken"];
        let operation = Operation { id: format!("Zoom{kind}Qos"), meeting: id, schema: "ZoomPage" };
        paths.insert(format!("{folder}/qos"), operation.describe(&page));
        let operation =
            Operation { id: format!("Zoom{kind}ParticipantQos"), meeting: id, schema: "ZoomParticipant" };
        paths.insert(
            format!("{folder}/{{participantId}}/qos"),
            operation.describe(&["participantId", "type"]),
        );
    }
    paths.insert("/oauth/token".to_owned(), token());
    paths
}

struct Operation {
    id: String,
    /// The name of the path parameter that contains the meeting's or webinar's id.
    meeting: &'static str,
    schema: &'static str,
}

impl Operation {
    fn describe(&self, parameters: &[&str]) -> Value {
        let common = ["ifNoneMatch", "ifModifiedSince", "cacheControl", "acceptEncoding", "requestId"];
        let names = [self.meeting].into_iter().chain(parameters.iter().copied()).chain(common);
        let parameters: Vec<_> =
            names.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).collect();
        let responses = responses(self.schema);
        let security = json!([{}, { "bearer": [] }, { "basic": [] }, { "apiKey": [] }]);
        json!({
            "parameters": parameters,
            "get": {
                "operationId": format!("get{}", self.id),
                "summary": "QoS as Zoom's own API sends it",
                "description":
                    "For clients made for Zoom. From the same snapshots as /qos. Errors have Zoom's form and codes. Other \
                     query parameters are ignored.",
                "security": security,
                "responses": responses,
            },
            "head": {
                "operationId": format!("head{}", self.id),
                "summary": "The headers of QoS as Zoom's own API sends it",
                "security": security,
                "responses": without_bodies(&responses),
            },
        })
    }
}

fn responses(schema: &str) -> Value {
    let not_modified = ["Age", "CacheControl", "CacheStatus", "ETag", "LastModified", "Vary"];
    let ok = [&not_modified[..], &["ContentEncoding"]].concat();
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "In Zoom's shape.",
            "headers": headers(&ok),
            "content": json_of(schema),
        }),
    );
    responses.insert(
        "304".to_owned(),
        json!({
            "description": "The caller's copy is current, by If-None-Match or If-Modified-Since.",
            "headers": headers(&not_modified),
        }),
    );
    let is_sent = |problem: &Problem| match problem {
        // These paths ignore Accept.
        Problem::NotFound | Problem::NotAcceptable => false,
        Problem::ParticipantNotFound => schema == "ZoomParticipant",
        _ => true,
    };
    let of_problems = Problem::each().filter(is_sent).map(|problem| status_and_code(&problem));
    // Zoom's own status is sent for its own errors, and that is 400 for these.
    let of_zoom = [(400, 300), (400, 12702)];
    let mut by_status: BTreeMap<u16, BTreeSet<i64>> = BTreeMap::new();
    for (status, code) in of_problems.chain(of_zoom) {
        by_status.entry(status).or_default().insert(code);
    }
    for (status, codes) in by_status {
        responses.insert(status.to_string(), error(status, &codes));
    }
    Value::Object(responses)
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
        "parameters": [{ "$ref": "#/components/parameters/requestId" }],
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
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn json_of(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
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
            "participants": { "type": "array", "items": { "$ref": "#/components/schemas/ZoomParticipant" } },
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
