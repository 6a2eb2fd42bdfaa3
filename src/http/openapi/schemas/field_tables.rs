//! The tables of `docs/FIELDS.md`, rendered from the same lists as `/openapi.json`.

use super::sample::{CPU_PRESSURE_LEVEL, GROUPS, WIFI_RSSI, meaning, measured};

use crate::view::{
    known_fields::{CPU_USAGE, KnownField, PARTICIPANT, ValueType},
    redact::FieldClass,
};

const DOCUMENT: &str = include_str!("../../../../docs/FIELDS.md");

fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let line = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(COLUMNS));
    line(head.map(str::to_owned)) + &rule + &rows.into_iter().map(line).collect::<String>()
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

fn known(meaning: &str) -> String {
    if meaning.is_empty() { "–".to_owned() } else { meaning.to_owned() }
}

fn type_name(value: ValueType) -> String {
    let name = match value {
        ValueType::Text => "text",
        ValueType::Time => "time",
        ValueType::Texts => "list of texts",
        ValueType::Boolean => "boolean",
        ValueType::Integer => "integer",
        ValueType::Number => "number",
    };
    name.to_owned()
}

fn fields(fields: &[KnownField]) -> String {
    let row = |field: &KnownField| [code(field.name), type_name(field.value), known(field.meaning)];
    table(["field", "type", "meaning"], fields.iter().map(row))
}

/// Returns the fields of a participant, with the groups of `hide` that hide them.
fn participant() -> String {
    let hidden_by = |field: &KnownField| match (FieldClass::of(field.name.as_bytes()), field.value) {
        (FieldClass::Pseudonym, _) => "identity: the pseudonym",
        (FieldClass::IdentityOrDevice, _) => "identity, device",
        (FieldClass::Address, _) => "address",
        (FieldClass::Device, _) => "device",
        (FieldClass::Unknown, ValueType::Boolean)
        | (FieldClass::Shown | FieldClass::Number | FieldClass::Samples, _) => "–",
        (FieldClass::Unknown, _) => "any",
    };
    let row = |field: &KnownField| {
        let (name, kind) = (code(field.name), type_name(field.value));
        [name, kind, hidden_by(field).to_owned(), known(field.meaning)]
    };
    table(["field", "type", "hidden by", "meaning"], PARTICIPANT.iter().map(row))
}

#[test]
fn the_document_has_the_fields_of_the_schemas() {
    let measurements =
        measured().map(|(field, key)| [code(&key), code(field.as_str()), known(meaning(field))]);
    for table in [
        participant(),
        table(["group", "meaning"], GROUPS.map(|(name, meaning)| [code(name), known(meaning)])),
        table(["key", "Zoom's key", "meaning"], measurements),
        fields(&CPU_USAGE),
        fields(&CPU_PRESSURE_LEVEL),
        fields(&WIFI_RSSI),
    ] {
        assert!(DOCUMENT.contains(&table), "docs/FIELDS.md has another table than this one:\n{table}");
    }
}
