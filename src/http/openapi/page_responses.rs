//! The responses of the pages for people in `/openapi.json`.

use serde_json::{Map, Value, json};

use super::responses::{add_header, headers, headers_of, of_snapshot, problems, with_content};
use crate::http::problem::Problem;

/// Returns the responses of a meeting's page. Its problems are also pages.
pub(super) fn of_page() -> Value {
    let problems = problems(|problem| {
        !matches!(
            problem,
            Problem::InvalidPageToken
                | Problem::ParticipantNotFound
                | Problem::NotAcceptable
                | Problem::NotFound
        )
    });
    of_snapshot(as_pages(problems), ("The page of the meeting.", html()), &["ContentSecurityPolicy"])
}

/// Returns the responses of the redirect to a meeting's page.
pub(super) fn of_redirect() -> Value {
    let problems = problems(|problem| {
        matches!(
            problem,
            Problem::UnknownCaller(_)
                | Problem::IssuerUnavailable { .. }
                | Problem::InvalidMeetingId(_)
                | Problem::InvalidQuery { .. }
                | Problem::MethodNotAllowed { .. }
        )
    });
    let mut responses = as_pages(problems);
    let redirect =
        json!({ "description": "To the meeting's page.", "headers": headers(&["Location", "NoStore"]) });
    responses.insert("303".to_owned(), redirect);
    Value::Object(responses)
}

/// Returns the responses of the front page, all of which link to `/openapi.json`.
pub(super) fn of_front_page() -> Value {
    let mut responses = of_constant_page();
    let each = responses.as_object_mut().into_iter().flat_map(Map::values_mut);
    each.filter_map(headers_of).for_each(|headers| add_header(headers, "Link"));
    responses
}

/// Returns the responses of a page that is the same for everybody.
pub(super) fn of_constant_page() -> Value {
    let problems = problems(|problem| matches!(problem, Problem::MethodNotAllowed { .. }));
    let shared = ["CacheControl", "ContentSecurityPolicy", "ETag", "Vary"];
    with_content(problems, ("The page.", html()), &shared, &[])
}

fn html() -> Value {
    json!({ "text/html": { "schema": { "type": "string" } } })
}

fn as_pages(mut problems: Map<String, Value>) -> Map<String, Value> {
    for (status, problem) in &mut problems {
        if let Some(content) = problem.get_mut("content") {
            *content = html();
        }
        let Some(headers) = headers_of(problem) else { continue };
        add_header(headers, "ContentSecurityPolicy");
        // `Link` belongs to the 404 of an unknown path, and below `/meetings` every path is known.
        headers.remove("Link");
        if status == "401" {
            add_header(headers, "PageChallenges");
        }
    }
    problems
}
