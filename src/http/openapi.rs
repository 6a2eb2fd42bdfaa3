//! `GET /openapi.json`: describes the callers' listener in OpenAPI 3.1, mostly generated from the code that serves it.
//!
//! The codes, statuses and texts of problems come from their table. Most ranges and names come from the code that
//! enforces them. This folder adds the other texts. The operators' listener is not described.

mod components;
mod page_responses;
mod pages;
mod parts;
mod responses;
mod schemas;
mod summary;
mod views;
mod zoom_api;

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderValue};
use serde_json::{Map, Value, json};

use self::parts::{OF_SNAPSHOTS, ReadPath};
use super::{constant::ConstantBody, media_type::MediaType};

/// The document changes only with the version. Its lifetime is short, so that clients get a new version soon.
const CACHE: HeaderValue = HeaderValue::from_static("max-age=300");

const CALLER_KEY: &str =
    "The caller key issued by the operators of this service. Not needed if no callers are configured.";
const BEARER: &str =
    "The caller key, or a signed token (JWT) of an issuer that the operators have configured.";

static DOCUMENT: LazyLock<ConstantBody> = LazyLock::new(|| ConstantBody::new(description().to_string()));

pub(super) fn get(request: &HttpRequest) -> HttpResponse {
    DOCUMENT.respond(request, HeaderValue::from_static(MediaType::Json.essence()), CACHE)
}

pub(super) fn description() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description":
                "A meeting's quality of service: latency, jitter, loss, bitrate and CPU, per participant and minute; \
                 the whole meeting, or a slice on request. Every refusal and failure is a problem (RFC 9457) with a \
                 stable `code`. A request that is not valid HTTP, or has an oversized head, gets 400, 408 or 431 \
                 from the parser itself, without a body and without X-Request-Id. `docs/FIELDS.md` in the \
                 repository says what is known of each field.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": paths(),
        "components": {
            "parameters": parameters(),
            "headers": merged(components::headers(), views::headers()),
            "schemas": merged(schemas::schemas(), summary::schemas()),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": BEARER },
                "basic": { "type": "http", "scheme": "basic", "description": "The caller's name and caller key." },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": CALLER_KEY },
            },
        },
    })
}

fn parameters() -> Value {
    let more = [views::parameters(), summary::parameters(), pages::parameters()];
    more.into_iter().fold(components::parameters(), merged)
}

fn merged(mut members: Value, more: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    members
}

fn paths() -> Map<String, Value> {
    let meeting = ["meetingId", "type", "kind", "pageSize", "nextPageToken"].into_iter();
    let selection = ["participant", "groups", "since", "until", "format", "rows"];
    let qos = ReadPath {
        operation: "MeetingQos",
        parameters: meeting.chain(selection).chain(OF_SNAPSHOTS).collect(),
        get: [
            "A meeting's QoS",
            "From the cache, or from Zoom if necessary. Other query parameters are ignored.",
        ],
        head: [
            "The headers of a meeting's QoS",
            "As GET, without the body. It may fetch the meeting from Zoom, too.",
        ],
        needs_key: true,
        responses: responses::of_qos(),
    };
    let document = ReadPath {
        operation: "Description",
        parameters: vec!["ifNoneMatch", "acceptEncoding", "requestId"],
        get: ["This document", ""],
        head: ["The headers of this document", ""],
        needs_key: false,
        responses: responses::of_document(),
    };
    let own = [("/qos/{meetingId}", qos), ("/openapi.json", document)];
    let own = own.into_iter().map(|(path, read)| (path.to_owned(), read.describe()));
    own.chain(summary::paths()).chain(pages::paths()).chain(zoom_api::paths()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        http::{params::QUERY, problem::Problem, summary::shared_parameters},
        view::summary::SummaryLimit,
    };
    use actix_web::test::TestRequest;

    /// Returns the names of the query parameters that the document describes for a path.
    fn described(document: &Value, path: &str) -> BTreeSet<String> {
        let references = document["paths"][path]["parameters"].as_array().unwrap();
        let parameters = references.iter().map(|reference| {
            let pointer = reference["$ref"].as_str().unwrap().trim_start_matches('#');
            document.pointer(pointer).unwrap()
        });
        let in_query = parameters.filter(|parameter| parameter["in"] == "query");
        in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn query_parameters_of_qos_are_those_that_the_parser_reads() {
        assert_eq!(described(&description(), "/qos/{meetingId}"), QUERY.map(str::to_owned).into());
    }

    #[test]
    fn query_parameters_of_a_summary_are_those_that_it_does_not_reject() {
        let is_rejected = |name: &&str| {
            let request = TestRequest::with_uri(&format!("/?{name}=x")).to_http_request();
            let rejected = format!("{name} is not a parameter of a summary");
            matches!(shared_parameters(&request), Err(Problem::InvalidQuery { detail, .. }) if detail.starts_with(&rejected))
        };
        let (rejected, accepted): (Vec<_>, Vec<_>) = QUERY.into_iter().partition(is_rejected);
        let limits = SummaryLimit::ALL.map(SummaryLimit::as_str);
        let (document, path) = (description(), "/qos/{meetingId}/summary");
        assert_eq!(
            described(&document, path),
            accepted.into_iter().chain(limits).map(str::to_owned).collect()
        );
        let text = document["paths"][path]["get"]["description"].as_str().unwrap();
        assert!(rejected.iter().all(|name| text.contains(&format!("`{name}`"))), "{rejected:?}: {text}");
    }
}
