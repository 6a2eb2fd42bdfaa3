//! `GET /openapi.json`: the callers' listener described in OpenAPI 3.1, read off the code that serves it.
//!
//! Codes, statuses and sentences come from the table of problems, ranges and names from where they are enforced: what
//! is written down here is only what no code says. It does not describe the ops listener, and checks no request.

mod answers;
mod document;

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue},
};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    access_log::LONGEST_REQUEST_ID,
    decide::Why,
    paging::PAGE_SIZES,
    preconditions,
    problem::ALLOWED,
    rate_limit::{LIMIT_PATTERN, POLICY_PATTERN},
};
use crate::{
    meeting_id::MeetingId,
    snapshot::{Coding, MeetingType, Tag},
};
use answers::{covered_by_stale, of_document, of_qos, without_bodies};

/// It changes with the version only; who looks at it while that is rolled out sees the new one soon.
const CACHE: HeaderValue = HeaderValue::from_static("max-age=300");

const CALLER_KEY: &str =
    "The key that those who run this service gave the caller. Not needed where no callers are configured.";

/// The bytes, and their strong entity tag with its quotes.
static DOCUMENT: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let body = description().to_string();
    let tag = Tag::of(&Sha256::digest(&body));
    (body.into(), format!("\"{tag}\""))
});

pub(super) fn get(request: &HttpRequest) -> HttpResponse {
    let (body, etag) = &*DOCUMENT;
    // It has no date, so that there is nothing to hold If-Modified-Since against.
    let has_it = preconditions::names_it(request.headers(), etag.as_bytes()).unwrap_or(false);
    let mut response = if has_it { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((CACHE_CONTROL, CACHE)).insert_header((ETAG, etag.as_str()));
    if has_it {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    response.body(body.clone())
}

/// The whole document.
fn description() -> Value {
    let (qos, document) = (of_qos(), of_document());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description":
                "A meeting's quality of service: latency, jitter, loss, bitrate and CPU, per participant and minute; \
                 all of it or a slice, never part of it unasked. Every refusal and failure is a problem (RFC 9457) \
                 with a stable `code`. Only what is no HTTP at all, or has a head beyond all measure, is answered \
                 400, 408 or 431 by the parser itself: without a body and without X-Request-Id.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": {
            "/qos/{meetingId}": {
                "parameters": [
                    { "$ref": "#/components/parameters/meetingId" },
                    { "$ref": "#/components/parameters/type" },
                    { "$ref": "#/components/parameters/pageSize" },
                    { "$ref": "#/components/parameters/nextPageToken" },
                    { "$ref": "#/components/parameters/ifNoneMatch" },
                    { "$ref": "#/components/parameters/ifModifiedSince" },
                    { "$ref": "#/components/parameters/cacheControl" },
                    { "$ref": "#/components/parameters/acceptEncoding" },
                    { "$ref": "#/components/parameters/requestId" },
                ],
                "get": {
                    "operationId": "getMeetingQos",
                    "summary": "A meeting's QoS",
                    "description": "From the cache, or from Zoom if it has to be asked. Other query parameters are ignored.",
                    "security": [{}, { "bearer": [] }, { "apiKey": [] }],
                    "responses": qos,
                },
                "head": {
                    "operationId": "headMeetingQos",
                    "summary": "The headers of a meeting's QoS",
                    "description": "As GET, fetching included, without the body.",
                    "security": [{}, { "bearer": [] }, { "apiKey": [] }],
                    "responses": without_bodies(&qos),
                },
            },
            "/openapi.json": {
                "parameters": [
                    { "$ref": "#/components/parameters/ifNoneMatch" },
                    { "$ref": "#/components/parameters/requestId" },
                ],
                "get": {
                    "operationId": "getDescription",
                    "summary": "This document",
                    "responses": document,
                },
                "head": {
                    "operationId": "headDescription",
                    "summary": "The headers of this document",
                    "responses": without_bodies(&document),
                },
            },
        },
        "components": {
            "parameters": parameters(),
            "headers": headers(),
            "schemas": document::schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": CALLER_KEY },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": CALLER_KEY },
            },
        },
    })
}

fn parameters() -> Value {
    let header = |name: &str, schema: Value, example: &str, description: &str| json!({ "name": name, "in": "header", "schema": schema, "example": example, "description": description });
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let text = || json!({ "type": "string" });
    json!({
        "meetingId": {
            "name": "meetingId",
            "in": "path",
            "required": true,
            "description":
                "A meeting number, or a meeting UUID. The `/`, `+` and `=` of a UUID may come raw, percent-encoded \
                 once or percent-encoded twice, as Zoom's own API wants it: all three are the same meeting.",
            "schema": { "type": "string", "pattern": MeetingId::pattern() },
            "examples": {
                "number": { "value": "85746065432" },
                "uuid": { "value": "atsXxhSEQWit9t+U02HXNQ==" },
                "uuidWithSlash": {
                    "summary": "/qos/%2FajXp112QmuoKj48548750%3D%3D",
                    "value": "/ajXp112QmuoKj48548750==",
                },
            },
        },
        "type": query(
            "type",
            json!({ "type": "string", "enum": types(), "default": MeetingType::Live.as_str() }),
            "Whether the meeting goes on or is over. Zoom shows a live one about two minutes after its start.",
        ),
        "pageSize": query(
            "page_size",
            json!({ "type": "integer", "minimum": PAGE_SIZES.start(), "maximum": PAGE_SIZES.end() }),
            "Asks for a slice of so many participants. It is cut from the cached snapshot and costs no call to Zoom.",
        ),
        "nextPageToken": query(
            "next_page_token",
            json!({ "type": "string", "minLength": 1 }),
            "The `next_page_token` of the slice before. Opaque; it belongs to one snapshot and is good while that is kept.",
        ),
        "ifNoneMatch": header(
            "If-None-Match", text(), "\"0123456789abcdef\"", "Entity tags that the caller has: 304 if one still is right.",
        ),
        "ifModifiedSince": header(
            "If-Modified-Since", text(), "Mon, 23 Nov 2026 10:15:42 GMT",
            "304 if nothing was fetched since. Not looked at beside If-None-Match.",
        ),
        "cacheControl": header(
            "Cache-Control", text(), "max-age=10",
            "`no-cache`, `max-age` and `min-fresh` ask for a younger snapshot, though nobody can have a meeting fetched \
             more often than the service allows; `only-if-cached` has nothing fetched: 504 if nothing of use is kept. \
             Other directives change nothing.",
        ),
        "acceptEncoding": header("Accept-Encoding", text(), "zstd, gzip", "`gzip` and `zstd` are served."),
        "requestId": header(
            "X-Request-Id", request_id(), "checkout-42", "The caller's id of this request; of another form, it is replaced.",
        ),
    })
}

/// Of the answers.
fn headers() -> Value {
    let header = |schema: Value, description: &str| json!({ "required": true, "schema": schema, "description": description });
    let words = |words: &[&str]| words.join("|");
    let cache_status = format!(
        "^zoom-qos-proxy; (hit; ttl=-?[0-9]+(; detail=(revalidating|{}))?|fwd=({}); fwd-status=200(; stored)?(; collapsed)?)$",
        words(&covered_by_stale()),
        words(&[Why::UriMiss, Why::Stale, Why::Request].map(Why::as_str)),
    );
    json!({
        "Age": header(json!({ "type": "integer", "minimum": 0 }), "Seconds since the snapshot was fetched."),
        "Allow": header(json!({ "const": ALLOWED }), "The methods that the path takes."),
        "CacheControl": header(
            json!({ "type": "string", "pattern": "^private, max-age=[0-9]+$" }),
            "For how many seconds the snapshot stays fresh; 0 when it is stale.",
        ),
        "CacheStatus": header(
            json!({ "type": "string", "pattern": cache_status }),
            "RFC 9211: where the answer came from. `ttl` is negative past the end of freshness, and `detail` then says \
             that a refresh is under way, or with the code of a problem why there is none.",
        ),
        "ContentEncoding": {
            "schema": { "enum": codings() },
            "description": "The coding, of those that the caller accepts the one it likes best. A slice has none.",
        },
        "Date": header(json!({ "type": "string" }), "When it was answered, as an HTTP date."),
        "ETag": header(
            json!({ "type": "string", "pattern": "^\"[^\"]+\"$" }), "Strong; another one for each content coding.",
        ),
        "LastModified": header(json!({ "type": "string" }), "`fetched_at`, as an HTTP date."),
        "NoStore": header(json!({ "const": "no-store" }), "What went wrong now may go right next time."),
        "RateLimit": {
            "schema": { "type": "string", "pattern": LIMIT_PATTERN },
            "description":
                "draft-ietf-httpapi-ratelimit-headers-11: of each policy what is left (`r`) and in how many seconds there \
                 is more (`t`); of the second only when it refused. Where Zoom was asked or would have been; what is \
                 cached is answered without, because it costs nothing.",
        },
        "RateLimitPolicy": {
            "schema": { "type": "string", "pattern": POLICY_PATTERN },
            "description":
                "Beside RateLimit: how many calls to Zoom (`q`; calls, not requests) are permitted in so many seconds \
                 (`w`): to all callers in a second and in a UTC day, and to this caller in a minute, if it has a ceiling.",
        },
        "RequestId": header(request_id(), "The caller's id of this request, or a new one; also in the log."),
        "RetryAfter": {
            "schema": { "type": "integer", "minimum": 1 },
            "description": "Seconds after which asking again can help, where that is known.",
        },
        "StaticCacheControl": header(json!({ "type": "string" }), "For how many seconds the document stays fresh."),
        "WWW-Authenticate": header(json!({ "const": "Bearer" }), "How to say who asks."),
        "Vary": header(json!({ "const": "Accept-Encoding" }), "What the answer depends on besides the URL."),
    })
}

fn codings() -> Vec<&'static str> {
    Coding::ALL.into_iter().filter(|coding| *coding != Coding::Identity).map(Coding::as_str).collect()
}

fn types() -> [&'static str; 2] {
    [MeetingType::Live, MeetingType::Past].map(MeetingType::as_str)
}

fn request_id() -> Value {
    json!({ "type": "string", "pattern": format!("^[A-Za-z0-9._-]{{1,{LONGEST_REQUEST_ID}}}$") })
}
