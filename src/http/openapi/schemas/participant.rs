//! A participant in `/openapi.json`.

use serde_json::{Value, json};

use super::known_field::{open_object, properties};
use crate::{http::openapi::parts::schema, view::known_fields::PARTICIPANT};

pub(super) fn participant() -> Value {
    let mut properties = properties(&PARTICIPANT);
    let samples = json!({
        "type": ["array", "null"],
        "description": "One sample per minute.",
        "items": schema("Sample"),
    });
    properties.insert("user_qos".to_owned(), samples);
    open_object(
        "One stay of a participant: somebody who rejoins has two. The types are those that Zoom documents; \"\" becomes \
         null. If Zoom sends another type or another field, it is passed on. Fields that the operators hide from the caller \
         are null, and then so are all that are not described here, unless they are booleans. If identities are hidden, \
         `user_name`, `email`, `id`, `user_id`, `participant_uuid` and `pc_name` are the person's pseudonym, such as \
         `p-4681af9561`.",
        properties,
    )
}
