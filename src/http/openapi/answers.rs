//! The answers of `/openapi.json`: each status with its headers and, from the ONE table of problems, its codes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::failure::Reason;
use crate::http::problem::{Body, MEDIA_TYPE, Problem, Row, type_of};

/// What may be spent, by the names of the components.
const LIMITS: [&str; 2] = ["RateLimit", "RateLimitPolicy"];

/// Of `/qos/{meetingId}`: it can meet every problem there is.
pub(super) fn of_qos() -> Value {
    let validators = ["Age", "CacheControl", "CacheStatus", "ETag", "LastModified", "Vary"];
    let validators = [&validators[..], &LIMITS].concat();
    let whole = [&validators[..], &["ContentEncoding"]].concat();
    let mut answers = problems(|_| true);
    answers.insert(
        "200".to_owned(),
        json!({
            "description": "The meeting, or a slice of it.",
            "headers": headers(&whole),
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Snapshot" } } },
        }),
    );
    answers.insert(
        "304".to_owned(),
        json!({
            "description": "The caller has it: If-None-Match or If-Modified-Since says so.",
            "headers": headers(&validators),
        }),
    );
    Value::Object(answers)
}

/// Of `/openapi.json`.
pub(super) fn of_document() -> Value {
    let mut answers = problems(|problem| matches!(problem, Problem::MethodNotAllowed { .. }));
    let validators = headers(&["StaticCacheControl", "ETag"]);
    answers.insert(
        "200".to_owned(),
        json!({
            "description": "This document.",
            "headers": validators,
            "content": { "application/json": { "schema": {
                "type": "object",
                "required": ["openapi", "info", "paths", "components"],
                "properties": { "openapi": { "type": "string", "pattern": "^3\\.1\\." } },
            } } },
        }),
    );
    answers.insert(
        "304".to_owned(),
        json!({
            "description": "The caller has it: If-None-Match says so.",
            "headers": validators,
        }),
    );
    Value::Object(answers)
}

/// The same answers to `HEAD`.
pub(super) fn without_bodies(answers: &Value) -> Value {
    let mut answers = answers.clone();
    for answer in answers.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("content");
        }
    }
    answers
}

/// What `detail` of a stale answer's `Cache-Status` can say.
pub(super) fn covered_by_stale() -> Vec<&'static str> {
    let covered = Reason::ALL.into_iter().filter(|reason| Problem::is_covered_by_stale(*reason));
    covered.map(Problem::code_of).collect()
}

/// One answer for each status that some of the problems have.
fn problems(fits: impl Fn(&Problem) -> bool) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
    for row in Problem::each().filter(|problem| fits(problem)).map(|problem| problem.row()) {
        by_status.entry(row.status).or_default().push(row);
    }
    by_status.into_iter().map(|(status, rows)| (status.to_string(), answer(status, &rows))).collect()
}

fn answer(status: u16, rows: &[Row]) -> Value {
    let mut names = vec!["NoStore"];
    match status {
        401 => names.push("WWW-Authenticate"),
        405 => names.push("Allow"),
        _ => {}
    }
    if rows.iter().any(|row| row.tells_when) {
        names.push("RetryAfter");
    }
    if rows.iter().any(|row| row.tells_limits) {
        names.extend(LIMITS);
    }
    let headers = headers(&names);
    let codes: Vec<_> = rows.iter().map(|row| row.code).collect();
    let types: Vec<_> = codes.iter().map(|code| type_of(code)).collect();
    let examples = rows.iter().map(|row| {
        let body = Body::of(row, "checkout-42", None);
        (row.code.to_owned(), json!({ "summary": row.title, "value": body }))
    });
    json!({
        "description": rows.iter().map(told).collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": { MEDIA_TYPE: {
            "schema": {
                "$ref": "#/components/schemas/Problem",
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

/// A line of Markdown.
fn told(row: &Row) -> String {
    let when = if row.tells_when { " With Retry-After." } else { "" };
    format!("- `{}`: {}.{when}", row.code, row.title)
}

/// Headers by the names of their components; those that every answer has are added.
fn headers(components: &[&str]) -> Map<String, Value> {
    let everywhere = ["Date", "RequestId"];
    components.iter().chain(&everywhere).map(|name| (field(name).to_owned(), reference(name))).collect()
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{component}") })
}

/// How a header that is a component is called on the wire.
fn field(component: &str) -> &str {
    match component {
        "CacheControl" | "NoStore" | "StaticCacheControl" => "Cache-Control",
        "CacheStatus" => "Cache-Status",
        "ContentEncoding" => "Content-Encoding",
        "LastModified" => "Last-Modified",
        "RateLimitPolicy" => "RateLimit-Policy",
        "RequestId" => "X-Request-Id",
        "RetryAfter" => "Retry-After",
        same => same,
    }
}
