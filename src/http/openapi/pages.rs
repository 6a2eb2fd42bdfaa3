//! Describes the pages for people in `/openapi.json`.

use serde_json::{Map, Value, json};

use super::{
    page_responses::{of_constant_page, of_front_page, of_page, of_redirect},
    responses::without_bodies,
    summary::limit_component,
};
use crate::view::summary::SummaryLimit;

/// Returns the descriptions of the pages, by path.
pub(super) fn paths() -> Map<String, Value> {
    let limits = SummaryLimit::ALL.map(limit_component);
    let of_meeting = ["meetingId", "type", "kind"].into_iter().chain(limits);
    let of_meeting =
        of_meeting.chain(["ifNoneMatch", "ifModifiedSince", "cacheControl", "acceptEncoding", "requestId"]);
    let of_form = ["shownId", "type", "kind"].into_iter().chain(limits).chain(["requestId"]);
    let of_constant = ["ifNoneMatch", "acceptEncoding", "requestId"];
    let keys = json!([{}, { "bearer": [] }, { "basic": [] }, { "apiKey": [] }]);
    [
        (
            "/",
            page("FrontPage", "The page with a form for a meeting's id", None, of_constant, &of_front_page()),
        ),
        ("/guide", page("Guide", "The caller's guide, as a page", None, of_constant, &of_constant_page())),
        (
            "/meetings",
            page(
                "MeetingPageAddress",
                "Redirects from the form to a meeting's page",
                Some(&keys),
                of_form,
                &of_redirect(),
            ),
        ),
        (
            "/meetings/{meetingId}",
            page(
                "MeetingPage",
                "The page of a meeting: bad minutes, and their causes",
                Some(&keys),
                of_meeting,
                &of_page(),
            ),
        ),
    ]
    .map(|(path, description)| (path.to_owned(), description))
    .into_iter()
    .collect()
}

/// Returns the parameters of these pages alone.
pub(super) fn parameters() -> Value {
    json!({
        "shownId": {
            "name": "id", "in": "query", "required": true, "schema": { "type": "string", "minLength": 1 },
            "example": "857 4606 5432",
            "description": "A meeting number, with or without spaces and dashes, or a UUID.",
        },
    })
}

fn page(
    operation: &str,
    summary: &str,
    security: Option<&Value>,
    parameters: impl IntoIterator<Item = &'static str>,
    responses: &Value,
) -> Value {
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    let mut get =
        json!({ "operationId": format!("get{operation}"), "summary": summary, "responses": responses });
    let mut head = json!({
        "operationId": format!("head{operation}"),
        "summary": format!("The headers of: {summary}"),
        "responses": without_bodies(responses),
    });
    for operation in [&mut get, &mut head].into_iter().filter_map(Value::as_object_mut) {
        if let Some(security) = security {
            operation.insert("security".to_owned(), security.clone());
        }
    }
    json!({ "parameters": parameters, "get": get, "head": head })
}
