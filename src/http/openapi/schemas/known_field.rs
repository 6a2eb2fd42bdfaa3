//! The fields that Zoom documents, in JSON Schema.

use serde_json::{Map, Value, json};

use crate::{
    http::openapi::parts::{with, with_description},
    view::known_fields::{KnownField, ValueType},
};

fn type_schema(value: ValueType) -> Value {
    match value {
        ValueType::Text => json!({ "type": ["string", "null"] }),
        ValueType::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        ValueType::Texts => json!({ "type": ["array", "null"], "items": { "type": ["string", "null"] } }),
        ValueType::Boolean => json!({ "type": ["boolean", "null"] }),
        ValueType::Integer => json!({ "type": ["integer", "null"] }),
        ValueType::Number => json!({ "type": ["number", "null"], "format": "double" }),
    }
}

fn field_schema(field: &KnownField) -> Value {
    let schema = with_description(type_schema(field.value), field.meaning);
    match serde_json::from_str::<Value>(field.example) {
        Ok(example) => with(schema, "examples", json!([example])),
        Err(_) => schema,
    }
}

pub(super) fn properties(fields: &[KnownField]) -> Map<String, Value> {
    fields.iter().map(|field| (field.name.to_owned(), field_schema(field))).collect()
}

/// Returns the schema of an object with these properties. Zoom may add other properties, which are passed on.
pub(super) fn open_object(description: &str, properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": true, "properties": Value::Object(properties) })
}
