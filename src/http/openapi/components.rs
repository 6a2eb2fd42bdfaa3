//! The parameters of requests and the headers of responses in `/openapi.json`.

use serde_json::{Value, json};

use super::{
    parts::query_parameter as query,
    responses::covered_by_stale,
    schemas::{meeting_types, request_id},
};
use crate::{
    cache::policy::FetchReason,
    http::{
        paging::SLICE_SIZES,
        rate_limit::{LIMIT_PATTERN, POLICY_PATTERN},
        route::Methods,
    },
    meeting_id::MeetingId,
    snapshot::{Coding, MeetingKind, MeetingType},
};

pub(super) fn parameters() -> Value {
    let header = |name: &str, schema: Value, example: &str, description: &str| json!({ "name": name, "in": "header", "schema": schema, "example": example, "description": description });
    let text = || json!({ "type": "string" });
    json!({
        "meetingId": meeting_id("meetingId"),
        "webinarId": meeting_id("webinarId"),
        "participantId": {
            "name": "participantId", "in": "path", "required": true, "schema": text(), "example": "16778240",
            "description":
                "A participant's `user_id`, `id` or `participant_uuid`; for a caller from whom identities are hidden, the \
                 pseudonym, and nothing else. If there are several rows, the newest is sent.",
        },
        "zoomPageSize": query(
            "page_size",
            json!({ "type": "integer", "minimum": 1, "default": 1 }),
            "Participants on a page. More than 300 count as 300.",
        ),
        "zoomPageToken": query(
            "next_page_token", text(), "The `next_page_token` of the previous page. It remembers `type` and `page_size`.",
        ),
        "type": query(
            "type",
            json!({ "type": "string", "enum": meeting_types(), "default": MeetingType::Live.as_str() }),
            "Whether the meeting is ongoing or over. Zoom shows an ongoing one about two minutes after it starts.",
        ),
        "kind": query(
            "kind",
            json!({ "type": "string", "enum": MeetingKind::ALL.map(MeetingKind::as_str) }),
            "Whether the id is a meeting's or a webinar's. Leave it out if you do not know: the service finds out, and \
             remembers it. If it is given, only Zoom's endpoint for this kind is asked.",
        ),
        "pageSize": query(
            "page_size",
            json!({ "type": "integer", "minimum": SLICE_SIZES.start(), "maximum": SLICE_SIZES.end() }),
            "Asks for a slice of this many participants. Slices are cut from the cached snapshot and cost no Zoom call.",
        ),
        "nextPageToken": query(
            "next_page_token",
            json!({ "type": "string", "minLength": 1 }),
            "The `next_page_token` of the previous slice. Opaque; it names one snapshot and is valid as long as that is cached.",
        ),
        "ifNoneMatch": header(
            "If-None-Match", text(), "\"0123456789abcdef\"", "Entity tags that the caller has: 304 if one is current.",
        ),
        "ifModifiedSince": header(
            "If-Modified-Since", text(), "Mon, 23 Nov 2026 10:15:42 GMT",
            "304 if nothing was fetched since. Ignored beside If-None-Match.",
        ),
        "cacheControl": header(
            "Cache-Control", text(), "max-age=10",
            "`no-cache`, `max-age` and `min-fresh` ask for a newer snapshot; the service limits how often callers can \
             have a meeting fetched. With `only-if-cached` nothing is fetched: 504 if nothing usable is cached. Other \
             directives are ignored.",
        ),
        "acceptEncoding": header("Accept-Encoding", text(), "zstd, gzip", "`gzip` and `zstd` are supported."),
        "requestId": header(
            "X-Request-Id", request_id(), "checkout-42", "The caller's id for this request. An invalid one is replaced.",
        ),
    })
}

fn meeting_id(name: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description":
            "A meeting number or a meeting UUID. The `/`, `+` and `=` of a UUID may be raw, percent-encoded once, or \
             percent-encoded twice as Zoom's own API requires: all three name the same meeting.",
        "schema": { "type": "string", "pattern": MeetingId::pattern() },
        "examples": {
            "number": { "value": "85746065432" },
            "uuid": { "value": "atsXxhSEQWit9t+U02HXNQ==" },
            "uuidWithSlash": {
                "summary": "/qos/%2FajXp112QmuoKj48548750%3D%3D",
                "value": "/ajXp112QmuoKj48548750==",
            },
        },
    })
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn headers() -> Value {
    // Describes a header that is present on every response that lists it.
    let always = |schema: Value, description: &str| json!({ "required": true, "schema": schema, "description": description });
    let text = || json!({ "type": "string" });
    json!({
        "Age": always(json!({ "type": "integer", "minimum": 0 }), "Seconds since the snapshot was fetched."),
        "Allow": always(json!({ "const": Methods::Read.as_str() }), "The methods that the path accepts."),
        "AllowPost": always(json!({ "const": Methods::Post.as_str() }), "The methods that the path accepts."),
        "CacheControl": always(
            json!({ "type": "string", "pattern": "^private, (max-age=[0-9]+|no-cache)$" }),
            "For how many more seconds the snapshot is fresh; 0 if it is stale. `no-cache` for requests that accept \
             text/html, so that browsers ask before they show a copy.",
        ),
        "CacheStatus": always(
            json!({ "type": "string", "pattern": cache_status_pattern() }),
            "RFC 9211: where the response came from. `ttl` is negative past the end of freshness; `detail` then says \
             that a refresh is in flight, or gives the code of the problem that prevents one.",
        ),
        "ContentEncoding": {
            "schema": { "enum": codings() },
            "description": "The accepted coding with the highest weight. Slices have none.",
        },
        "ContentSecurityPolicy": always(text(), "Permits the page's own style and scripts, and nothing else."),
        "ContentTypeOptions": always(json!({ "const": "nosniff" }), "The content is of the type that is named."),
        "Date": always(text(), "The time of the response, as an HTTP date."),
        "ETag": always(
            json!({ "type": "string", "pattern": "^\"[^\"]+\"$" }), "Strong; different for each content coding.",
        ),
        "LastModified": always(text(), "`fetched_at`, as an HTTP date."),
        "Link": { "schema": text(), "description": "On unknown paths and on `/`: where this document is (RFC 8631)." },
        "Location": always(text(), "The address of the page."),
        "NoStore": always(json!({ "const": "no-store" }), "A retry may succeed, so errors are not cached."),
        "PageChallenges": always(
            json!({ "type": "string", "pattern": "^Bearer( .*)?, Basic\\srealm=\"zoom-qos-proxy\", charset=\"UTF-8\"$" }),
            "Two fields: `Bearer`, and `Basic`, for which browsers ask for the caller's name and key.",
        ),
        "RateLimit": {
            "schema": { "type": "string", "pattern": LIMIT_PATTERN },
            "description":
                "draft-ietf-httpapi-ratelimit-headers-11: what is left of each limit (`r`), and in how many seconds \
                 more becomes available (`t`); the second only if it refused. On responses that cost a Zoom call or \
                 were refused one. Cached responses are free and have neither field.",
        },
        "RateLimitPolicy": {
            "schema": { "type": "string", "pattern": POLICY_PATTERN },
            "description":
                "Beside RateLimit: how many Zoom calls (`q`; calls, not requests) are permitted in a window of this \
                 many seconds (`w`): all callers' per second and per UTC day, and this caller's per minute, if it is \
                 limited.",
        },
        "RateLimitType": always(
            json!({ "enum": ["QPS", "Daily-limit"] }), "Which limit was reached, in Zoom's words.",
        ),
        "RequestId": always(request_id(), "The caller's id for this request, or a new one; also in the log."),
        "RetryAfter": {
            "schema": { "type": "integer", "minimum": 1 },
            "description": "The seconds after which a retry can succeed, if that is known.",
        },
        "RetryAfterDate": {
            "schema": text(),
            "description": "The HTTP date from which a retry can succeed, if that is known.",
        },
        "StaticCacheControl": always(text(), "For how many seconds the document is fresh."),
        "WWW-Authenticate": always(
            json!({ "type": "string", "pattern": "^Bearer( |,|$)" }),
            "How to present a caller key or signed token; with `error` and `error_description` if a token is refused. \
             Requests of browsers, which accept text/html or have `Sec-Fetch-Mode: navigate`, are offered `Basic` as well.",
        ),
        "Vary": always(
            json!({ "type": "string", "pattern": "^Accept-Encoding(, Accept)?(, Authorization, X-Api-Key)?$" }),
            "The request headers that select the response. Zoom's own paths ignore Accept; keys count if callers are \
             configured.",
        ),
    })
}

fn cache_status_pattern() -> String {
    format!(
        "^zoom-qos-proxy; (hit; ttl=-?[0-9]+(; detail=(revalidating|{}))?|fwd=({}); fwd-status=200(; stored)?(; collapsed)?)$",
        covered_by_stale().join("|"),
        FetchReason::ALL.map(FetchReason::as_str).join("|"),
    )
}

fn codings() -> Vec<&'static str> {
    Coding::ALL.into_iter().filter(|coding| *coding != Coding::Identity).map(Coding::as_str).collect()
}
