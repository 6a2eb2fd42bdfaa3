//! The responses in `/openapi.json`: each status with its headers and, from the table of problems, its codes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    parts::{json_of, reference, schema},
    views,
};
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

/// The headers that every response with a snapshot has, in addition to those of all responses.
pub(super) const SNAPSHOT_HEADERS: [&str; 6] =
    ["Age", "CacheControl", "CacheStatus", "ETag", "LastModified", "Vary"];

/// Returns the responses of `/qos/{meetingId}`, with every problem.
pub(super) fn of_qos() -> Value {
    let description = "The meeting, a slice of it, or a selection; as JSON or as rows.";
    of_snapshot(problems(|_| true), (description, views::content()), &["ContentDisposition"])
}

pub(super) fn of_summary() -> Value {
    let problems = problems(|problem| !matches!(problem, Problem::InvalidPageToken));
    of_snapshot(problems, ("The summary of the meeting, or of a selection.", json_of("Summary")), &[])
}

pub(super) fn of_snapshot(
    problems: Map<String, Value>,
    found: (&str, Value),
    more_headers: &[&'static str],
) -> Value {
    with_content(problems, found, &[&SNAPSHOT_HEADERS[..], &LIMITS].concat(), more_headers)
}

pub(super) fn of_document() -> Value {
    let problems = problems(|problem| matches!(problem, Problem::MethodNotAllowed { .. }));
    let content = json!({ "application/json": { "schema": {
        "type": "object",
        "required": ["openapi", "info", "paths", "components"],
        "properties": { "openapi": { "type": "string", "pattern": "^3\\.1\\." } },
    } } });
    with_content(problems, ("This document.", content), &["StaticCacheControl", "ETag", "Vary"], &[])
}

/// Adds the `200` with this description and content, and the `304`, to the responses with problems. Both have the
/// shared headers, and only the `200` has the others.
pub(super) fn with_content(
    mut responses: Map<String, Value>,
    (description, content): (&str, Value),
    shared_headers: &[&'static str],
    more_headers: &[&'static str],
) -> Value {
    let ok = headers(&[shared_headers, &["ContentEncoding"], more_headers].concat());
    let ok = json!({ "description": description, "headers": ok, "content": content });
    let by = if shared_headers.contains(&"LastModified") { " or If-Modified-Since" } else { "" };
    let description = format!("The caller's copy is still current, according to If-None-Match{by}.");
    let not_modified = json!({ "description": description, "headers": headers(shared_headers) });
    responses.extend([("200".to_owned(), ok), ("304".to_owned(), not_modified)]);
    Value::Object(responses)
}

/// Returns the problem codes that `detail` can have in the `Cache-Status` of a stale response.
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
                // Client generators ignore keywords beside a `$ref`.
                "allOf": [schema("Problem")],
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

/// Returns references to the headers with these component names, and to the headers that every response has.
pub(super) fn headers(components: &[&str]) -> Map<String, Value> {
    let everywhere = ["ContentTypeOptions", "Date", "RequestId"];
    let names = components.iter().chain(&everywhere);
    names.map(|name| (field(name).to_owned(), reference("headers", name))).collect()
}

pub(super) fn headers_of(response: &mut Value) -> Option<&mut Map<String, Value>> {
    response.get_mut("headers")?.as_object_mut()
}

pub(super) fn add_header(headers: &mut Map<String, Value>, component: &str) {
    headers.insert(field(component).to_owned(), reference("headers", component));
}

/// Returns the name on the wire of the header that this component describes.
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
