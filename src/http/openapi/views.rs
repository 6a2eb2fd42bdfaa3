//! The selections and rows of `/qos` in `/openapi.json`: their parameters, their media types, and the name of their file.

use serde_json::{Value, json};

use super::parts::{query_parameter as query, schema};
use crate::{
    http::media_type::MediaType,
    view::rows::{RowFormat, RowShape, known_columns},
};

/// The parameters, by the names of their components.
pub(super) fn parameters() -> Value {
    let time = || json!({ "type": "string", "format": "date-time", "examples": ["2026-11-23T10:15:00Z"] });
    json!({
        "participant": query(
            "participant",
            json!({ "type": "string", "minLength": 1 }),
            "Only the rows of this participant: a `user_id`, `id`, `participant_uuid` or `email`, exactly as Zoom has it; for \
             a caller from whom identities are hidden, the pseudonym, and nothing else. Prefer `user_id`: proxies log \
             addresses. Not together with `page_size` or `next_page_token`, and neither are the following parameters.",
        ),
        "groups": query(
            "groups",
            json!({ "type": "string", "pattern": "^[^,]+(,[^,]+)*$", "examples": ["audio,video_input,cpu"] }),
            "Only these groups of measurements, by their names or their first words. Samples without them are left out, \
             and so are participants left without samples.",
        ),
        "since": query("since", time(), "Only samples of this time or later."),
        "until": query("until", time(), "Only samples before this time."),
        "format": query(
            "format",
            json!({ "type": "string", "enum": MediaType::ALL.map(MediaType::format) }),
            "The media type of the response, whatever `Accept` says.",
        ),
        "rows": query(
            "rows",
            // There is no default, because generated clients would send it, and `rows` is an error with JSON.
            json!({ "type": "string", "enum": RowShape::ALL.map(RowShape::as_str) }),
            "Only for NDJSON and CSV: whether each sample is a row, which it is if this is left out, or each group of a sample.",
        ),
    })
}

/// The headers, by the names of their components.
pub(super) fn headers() -> Value {
    json!({
        "ContentDisposition": {
            "schema": { "type": "string", "pattern": "^attachment; filename=\"qos-[A-Za-z0-9_]+\\.(ndjson|csv)\"$" },
            "description": "The name of the file, for NDJSON and CSV.",
        },
    })
}

/// Returns the content of a `200`: each form of a meeting.
pub(super) fn content() -> Value {
    let columns = |shape| known_columns(shape).collect::<Vec<_>>().join(", ");
    let (samples, groups) = (columns(RowShape::Sample), columns(RowShape::Group));
    let form = |media: MediaType| match media {
        MediaType::Json => json!({ "schema": schema("Snapshot") }),
        MediaType::Rows(RowFormat::Ndjson) => json!({ "schema": { "type": "string", "description":
            "A JSON object on each line: the keys are those of the columns that the row has, in the order of text/csv." } }),
        MediaType::Rows(RowFormat::Csv) => json!({ "schema": { "type": "string", "description": format!(
            "RFC 4180 with a header. These columns are always there, in this order; other fields of participants follow \
             theirs, and everything else is at the end. For rows=sample: {samples}. For rows=group: {groups}. A sample's own \
             scalar is `sample.<name>`. A list of scalars is joined by `;`; deeper values are JSON, and so is `other`, a \
             list of all values without a column of their own. A text that looks like a formula begins with `'`.",
        ) } }),
    };
    Value::Object(MediaType::ALL.into_iter().map(|media| (media.essence().to_owned(), form(media))).collect())
}
