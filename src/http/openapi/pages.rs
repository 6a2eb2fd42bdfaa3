//! Describes the pages for people in `/openapi.json`.

use serde_json::{Map, Value, json};

use super::{
    page_responses::{of_constant_page, of_front_page, of_page, of_redirect},
    parts::{OF_SNAPSHOTS, ReadPath},
    summary::LIMITS,
};

/// Returns the descriptions of the pages, by path.
pub(super) fn paths() -> Map<String, Value> {
    let of_meeting = ["meetingId", "type", "kind"].into_iter().chain(LIMITS).chain(OF_SNAPSHOTS);
    let of_form = ["shownId", "type", "kind"].into_iter().chain(LIMITS).chain(["requestId"]);
    let of_constant = || vec!["ifNoneMatch", "acceptEncoding", "requestId"];
    let pages = [
        ("/", "FrontPage", "The page with a form for a meeting's id", of_constant(), of_front_page()),
        ("/guide", "Guide", "The caller's guide, as a page", of_constant(), of_constant_page()),
        (
            "/meetings",
            "MeetingPageAddress",
            "Redirects from the form to a meeting's page",
            of_form.collect(),
            of_redirect(),
        ),
        (
            "/meetings/{meetingId}",
            "MeetingPage",
            "The page of a meeting: bad minutes, and their causes",
            of_meeting.collect(),
            of_page(),
        ),
    ];
    let describe = |(path, operation, summary, parameters, responses): (&str, _, &str, _, _)| {
        let (get, head_summary) = ([summary, ""], format!("The headers of: {summary}"));
        let (head, needs_key) = ([&*head_summary, ""], path.starts_with("/meetings"));
        let page = ReadPath { operation, parameters, get, head, needs_key, responses };
        (path.to_owned(), page.describe())
    };
    pages.map(describe).into_iter().collect()
}

/// Returns the parameters that no other path has.
pub(super) fn parameters() -> Value {
    json!({
        "shownId": {
            "name": "id", "in": "query", "required": true, "schema": { "type": "string", "minLength": 1 },
            "example": "857 4606 5432",
            "description": "A meeting number, with or without spaces and dashes, or a UUID.",
        },
    })
}
