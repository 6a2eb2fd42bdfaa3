//! Building blocks of `/openapi.json`: references, query parameters, and paths that answer `GET`.

use serde_json::{Map, Value, json};

/// The parameters that all paths with snapshots have in common.
pub(super) const OF_SNAPSHOTS: [&str; 5] =
    ["ifNoneMatch", "ifModifiedSince", "cacheControl", "acceptEncoding", "requestId"];

/// A path that answers `GET` and `HEAD`.
pub(super) struct ReadPath<'p> {
    /// The part of both operations' ids that follows `get` or `head`.
    pub(super) operation: &'p str,
    pub(super) parameters: Vec<&'p str>,
    /// The summary and the description of each method. A description can be empty.
    pub(super) get: [&'p str; 2],
    pub(super) head: [&'p str; 2],
    /// Whether the path requires a credential, if callers are configured.
    pub(super) needs_key: bool,
    pub(super) responses: Value,
}

impl ReadPath<'_> {
    pub(super) fn describe(self) -> Value {
        let Self { operation, parameters, get, head, needs_key, responses } = self;
        let operation = |method: &str, [summary, description]: [&str; 2], responses: Value| {
            let described = json!({
                "operationId": format!("{method}{operation}"),
                "summary": summary,
                "responses": responses,
            });
            let keys = json!([{}, { "bearer": [] }, { "basic": [] }, { "apiKey": [] }]);
            let described = if needs_key { with(described, "security", keys) } else { described };
            with_description(described, description)
        };
        let head = operation("head", head, without_bodies(&responses));
        let parameters: Vec<_> = parameters.into_iter().map(|name| reference("parameters", name)).collect();
        json!({ "parameters": parameters, "get": operation("get", get, responses), "head": head })
    }
}

/// Returns the same responses without their bodies, as a `HEAD` gets them.
fn without_bodies(responses: &Value) -> Value {
    let mut responses = responses.clone();
    for response in responses.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    responses
}

pub(super) fn query_parameter(name: &str, schema: Value, description: &str) -> Value {
    let parameter = json!({ "name": name, "in": "query", "description": description });
    with(parameter, "schema", schema)
}

/// Returns a reference to a component of this kind: `schemas`, `headers` or `parameters`.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

pub(super) fn schema(name: &str) -> Value {
    reference("schemas", name)
}

/// Returns the content of a JSON response with this schema.
pub(super) fn json_of(name: &str) -> Value {
    json!({ "application/json": { "schema": schema(name) } })
}

/// Adds a description, unless it is empty.
pub(super) fn with_description(value: Value, description: &str) -> Value {
    if description.is_empty() { value } else { with(value, "description", json!(description)) }
}

pub(super) fn with(mut object: Value, keyword: &str, value: Value) -> Value {
    if let Some(keywords) = object.as_object_mut() {
        keywords.insert(keyword.to_owned(), value);
    }
    object
}
