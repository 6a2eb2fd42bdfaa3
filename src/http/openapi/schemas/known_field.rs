//! A field that Zoom documents: its type, an example and, where Zoom gives one, its meaning.

use serde_json::{Map, Value, json};

/// The JSON types of a field. Each of them can be null: cleaning turns `""` into null, and so does hiding.
#[derive(Debug, Clone, Copy)]
pub(super) enum ValueType {
    Text,
    /// RFC 3339.
    Time,
    Texts,
    Boolean,
    Integer,
    Number,
}

impl ValueType {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": ["string", "null"] }),
            Self::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
            Self::Texts => json!({ "type": ["array", "null"], "items": { "type": ["string", "null"] } }),
            Self::Boolean => json!({ "type": ["boolean", "null"] }),
            Self::Integer => json!({ "type": ["integer", "null"] }),
            Self::Number => json!({ "type": ["number", "null"], "format": "double" }),
        }
    }

    /// Returns the name of the type in `docs/FIELDS.md`.
    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "list of texts",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
        }
    }
}

pub(super) struct KnownField {
    pub(super) name: &'static str,
    pub(super) value: ValueType,
    /// As JSON; empty if there is none.
    example: &'static str,
    /// In our words; empty if Zoom documents none.
    pub(super) meaning: &'static str,
}

impl KnownField {
    pub(super) const fn new(
        name: &'static str,
        value: ValueType,
        example: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, value, example, meaning }
    }

    fn schema(&self) -> Value {
        let schema = described(self.value.schema(), self.meaning);
        match serde_json::from_str::<Value>(self.example) {
            Ok(example) => with(schema, "examples", json!([example])),
            Err(_) => schema,
        }
    }
}

/// Adds what is known of the meaning, if anything is.
pub(super) fn described(schema: Value, meaning: &str) -> Value {
    if meaning.is_empty() { schema } else { with(schema, "description", json!(meaning)) }
}

fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.insert(keyword.to_owned(), value);
    }
    schema
}

pub(super) fn properties(fields: &[KnownField]) -> Map<String, Value> {
    fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect()
}

/// Returns an object with these properties. Zoom may add others, and they are passed on.
pub(super) fn open_object(description: &str, properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": true, "properties": Value::Object(properties) })
}
