//! The responses in `/openapi.json`: each status with its headers and, from the table of problems, its codes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::views;

use crate::{
    cache::policy::is_covered_by_stale,
    failure::Reason,
    http::problem::{
        Problem, Row,
        render::{MEDIA_TYPE, ProblemDocument, type_of},
    },
};

/// The headers of the rate limits, by the names of their components.
const LIMITS: [&str; 2] = ["RateLimit", "RateLimitPolicy"];

/// Returns the responses of `/qos/{meetingId}`, with every problem.
pub(super) fn of_qos() -> Value {
    let description = "The meeting, a slice of it, or a selection; as JSON or as rows.";
    of_snapshot(problems(|_| true), description, &["ContentDisposition"], &views::content())
}

/// Returns the responses of `/qos/{meetingId}/summary`.
pub(super) fn of_summary() -> Value {
    let problems = problems(|problem| !matches!(problem, Problem::InvalidPageToken));
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Summary" } } });
    of_snapshot(problems, "The summary of the meeting, or of a selection.", &[], &content)
}

pub(super) fn of_snapshot(
    mut responses: Map<String, Value>,
    description: &str,
    more_headers: &[&'static str],
    content: &Value,
) -> Value {
    let not_modified = ["Age", "CacheControl", "CacheStatus", "ETag", "LastModified", "Vary"];
    let not_modified = [&not_modified[..], &LIMITS].concat();
    let ok = [&not_modified[..], &["ContentEncoding"], more_headers].concat();
    responses.insert(
        "200".to_owned(),
        json!({ "description": description, "headers": headers(&ok), "content": content }),
    );
    responses.insert(
        "304".to_owned(),
        json!({
            "description": "The caller's copy is current, by If-None-Match or If-Modified-Since.",
            "headers": headers(&not_modified),
        }),
    );
    Value::Object(responses)
}

/// Returns the responses of `/openapi.json`.
pub(super) fn of_document() -> Value {
    let mut responses = problems(|problem| matches!(problem, Problem::MethodNotAllowed { .. }));
    let validators = ["StaticCacheControl", "ETag", "Vary"];
    let ok = headers(&[&validators[..], &["ContentEncoding"]].concat());
    let validators = headers(&validators);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "This document.",
            "headers": ok,
            "content": { "application/json": { "schema": {
                "type": "object",
                "required": ["openapi", "info", "paths", "components"],
                "properties": { "openapi": { "type": "string", "pattern": "^3\\.1\\." } },
            } } },
        }),
    );
    responses.insert(
        "304".to_owned(),
        json!({
            "description": "The caller's copy is current, by If-None-Match.",
            "headers": validators,
        }),
    );
    Value::Object(responses)
}

/// Returns the same responses without their bodies, as a `HEAD` gets them.
pub(super) fn without_bodies(responses: &Value) -> Value {
    let mut responses = responses.clone();
    for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    responses
}

/// Returns the codes that `detail` can have in the `Cache-Status` of a stale response.
pub(super) fn covered_by_stale() -> Vec<&'static str> {
    let covered = Reason::ALL.into_iter().filter(|reason| is_covered_by_stale(*reason));
    covered.map(Reason::as_str).collect()
}

/// Returns one response for each status of the selected problems.
pub(super) fn problems(is_selected: impl Fn(&Problem) -> bool) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
    for row in Problem::each().filter(is_selected).map(|problem| problem.row()) {
        by_status.entry(row.status).or_default().push(row);
    }
    by_status
        .into_iter()
        .map(|(status, rows)| (status.to_string(), problem_response(status, &rows)))
        .collect()
}

fn problem_response(status: u16, rows: &[Row]) -> Value {
    let mut names = vec!["NoStore"];
    match status {
        401 => names.push("WWW-Authenticate"),
        404 => names.push("Link"),
        405 => names.push("Allow"),
        _ => {}
    }
    if rows.iter().any(|row| row.has_retry_after) {
        names.push("RetryAfter");
    }
    if rows.iter().any(|row| row.has_rate_limit) {
        names.extend(LIMITS);
    }
    let headers = headers(&names);
    let codes: Vec<_> = rows.iter().map(|row| row.code).collect();
    let types: Vec<_> = codes.iter().map(|code| type_of(code)).collect();
    let examples = rows.iter().map(|row| {
        let body = ProblemDocument::new(row, "checkout-42", None);
        (row.code.to_owned(), json!({ "summary": row.title, "value": body }))
    });
    json!({
        "description": rows.iter().map(summary).collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": { MEDIA_TYPE: {
            "schema": {
                // Generators ignore what stands beside a `$ref`.
                "allOf": [{ "$ref": "#/components/schemas/Problem" }],
                "properties": {
                    "type": { "enum": types },
                    "status": { "const": status },
                    "code": { "enum": codes },
                },
            },
            "examples": Value::Object(examples.collect()),
        } },
    })
}

/// Returns a line of Markdown about a problem.
fn summary(row: &Row) -> String {
    let when = if row.has_retry_after { " With Retry-After." } else { "" };
    format!("- `{}`: {}.{when}", row.code, row.title)
}

/// Returns references to the headers with these component names, and to those that every response has.
pub(super) fn headers(components: &[&str]) -> Map<String, Value> {
    let everywhere = ["ContentTypeOptions", "Date", "RequestId"];
    components.iter().chain(&everywhere).map(|name| (field(name).to_owned(), reference(name))).collect()
}

pub(super) fn headers_of(response: &mut Value) -> Option<&mut Map<String, Value>> {
    response.get_mut("headers")?.as_object_mut()
}

pub(super) fn add_header(headers: &mut Map<String, Value>, component: &str) {
    headers.insert(field(component).to_owned(), reference(component));
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{component}") })
}

/// Returns the name of a component's header on the wire.
fn field(component: &str) -> &str {
    match component {
        "AllowPost" => "Allow",
        "CacheControl" | "NoStore" | "StaticCacheControl" => "Cache-Control",
        "CacheStatus" => "Cache-Status",
        "ContentDisposition" => "Content-Disposition",
        "ContentEncoding" => "Content-Encoding",
        "ContentSecurityPolicy" => "Content-Security-Policy",
        "ContentTypeOptions" => "X-Content-Type-Options",
        "PageChallenges" => "WWW-Authenticate",
        "LastModified" => "Last-Modified",
        "RateLimitPolicy" => "RateLimit-Policy",
        "RequestId" => "X-Request-Id",
        "RateLimitType" => "X-RateLimit-Type",
        "RetryAfter" | "RetryAfterDate" => "Retry-After",
        same => same,
    }
}
