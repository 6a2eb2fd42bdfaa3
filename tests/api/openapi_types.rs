//! The types in `/openapi.json`: the responses of the service conform to them, and client generators understand them.

use serde_json::{Map, Value};
use test_support::{arbitrary_json::Tree, service::Service, simulator::sim};
use zoom_sim::{Fault, FaultKind, Meeting};

/// Keywords without a rule for the value at hand: they apply to another type, only annotate, or are checked by `make
/// clients`.
const NO_RULE_HERE: [&str; 11] = [
    "enum",
    "items",
    "properties",
    "required",
    "description",
    "examples",
    "const",
    "format",
    "pattern",
    "minimum",
    "maximum",
];

/// Checks values against the schemas of the document. Reads numbers and strings as they are written, because some fit
/// no Rust type.
struct Checker<'a> {
    document: &'a Value,
    /// Whether a key that the schema does not describe is a mismatch.
    closed: bool,
}

impl Checker<'_> {
    /// Returns the places where `value` does not match `schema`.
    fn mismatches(&self, schema: &Value, value: &Tree) -> Vec<String> {
        let mut found = Vec::new();
        for (keyword, rule) in schema.as_object().expect("a schema") {
            match (keyword.as_str(), value) {
                ("$ref", _) => {
                    let target =
                        rule.as_str().and_then(|target| self.document.pointer(target.strip_prefix('#')?));
                    found.extend(self.mismatches(target.expect("a schema"), value));
                }
                ("anyOf", _) => {
                    let all: Vec<_> =
                        rule.as_array().unwrap().iter().map(|one| self.mismatches(one, value)).collect();
                    if all.iter().all(|mismatches| !mismatches.is_empty()) {
                        found.extend(all.concat());
                    }
                }
                ("type", _) => {
                    let types = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
                    if !types.iter().any(|one| is_of(one.as_str().unwrap(), value)) {
                        found.push(format!(": {value:?} is not {rule}"));
                    }
                }
                ("enum", Tree::Text(text)) if !rule.as_array().unwrap().contains(&text.as_str().into()) => {
                    found.push(format!(": {text} is not in {rule}"));
                }
                ("items", Tree::List(values)) => {
                    for (index, value) in values.iter().enumerate() {
                        found.extend(below(&index.to_string(), self.mismatches(rule, value)));
                    }
                }
                ("properties", Tree::Object(entries)) => found.extend(self.entries(rule, entries)),
                ("required", Tree::Object(entries)) => {
                    let lacks =
                        |key: &&Value| !entries.iter().any(|(name, _)| Some(name.as_str()) == key.as_str());
                    found.extend(
                        rule.as_array().unwrap().iter().filter(lacks).map(|key| format!(": no {key}")),
                    );
                }
                ("additionalProperties", _) => assert_eq!(rule, true),
                _ => assert!(NO_RULE_HERE.contains(&keyword.as_str()), "{keyword} is not checked"),
            }
        }
        found
    }

    fn entries(&self, properties: &Value, entries: &[(String, Tree)]) -> Vec<String> {
        let mut found = Vec::new();
        for (key, value) in entries {
            match properties.get(key) {
                Some(schema) => found.extend(below(key, self.mismatches(schema, value))),
                None if self.closed => found.push(format!("/{key}: not described")),
                None => {}
            }
        }
        found
    }

    fn snapshot(&self, body: &str) -> Vec<String> {
        self.mismatches(&self.document["components"]["schemas"]["Snapshot"], &Tree::parse(body))
    }
}

fn below(key: &str, mismatches: Vec<String>) -> impl Iterator<Item = String> {
    mismatches.into_iter().map(move |mismatch| format!("/{key}{mismatch}"))
}

fn is_of(name: &str, value: &Tree) -> bool {
    match value {
        Tree::Object(_) => name == "object",
        Tree::List(_) => name == "array",
        Tree::Text(_) => name == "string",
        Tree::Bare(bare) => match name {
            "null" => bare == "null",
            "boolean" => bare == "true" || bare == "false",
            "integer" => bare.trim_start_matches('-').chars().all(|digit| digit.is_ascii_digit()),
            "number" => bare.starts_with(|first: char| first == '-' || first.is_ascii_digit()),
            _ => false,
        },
    }
}

#[test]
fn every_value_of_a_meeting_is_as_described() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::documented_example());
    sim.add_meeting(Meeting::generated("91111111111", 11, 5));
    sim.add_meeting(Meeting::generated("92222222222", 30, 12).odd_values());
    let service = Service::start(&sim, &[]);
    let document = service.get("/openapi.json").json();
    let body = |id: &str| service.get(&format!("/qos/{id}?type=past")).text();
    for id in ["85746065432", "91111111111"] {
        let checker = Checker { document: &document, closed: true };
        assert_eq!(checker.snapshot(&body(id)), [""; 0], "{id}");
    }
    let checker = Checker { document: &document, closed: false };
    let slice = service.get("/qos/91111111111?type=past&page_size=3").text();
    assert_eq!(checker.snapshot(&slice), [""; 0]);

    // Zoom documents names as strings. In this meeting, every tenth name is the number 42, which the service passes on.
    let odd = body("92222222222");
    let names: Vec<_> = [9, 19, 29]
        .map(|row| format!("/participants/{row}/user_name: Bare(\"42\") is not [\"string\",\"null\"]"))
        .into();
    assert_eq!(checker.snapshot(&odd), names);

    for (right, wrong, place) in [
        ("\"latency_ms\":126", "\"latency_ms\":\"126 ms\"", "latency_ms"),
        ("\"width\":1280", "\"width\":1280.5", "width"),
        ("\"user_name\":\"User\"", "\"user_name\":true", "user_name"),
        ("\"type\":\"past\"", "\"type\":\"passed\"", "type"),
        ("\"participants\":", "\"people\":", "participants"),
    ] {
        let example = body("85746065432");
        assert!(example.contains(right), "{example}");
        let mismatches = checker.snapshot(&example.replace(right, wrong)).concat();
        assert!(mismatches.contains(place), "{wrong} is not noticed: {mismatches}");
    }
    service.finish(&[]);
}

/// OpenAPI 3.1 permits siblings of `$ref`, but client generators ignore either the siblings or the reference.
#[test]
fn no_reference_of_the_description_has_siblings() {
    fn check(value: &Value) {
        match value {
            Value::Object(members) => {
                assert!(!members.contains_key("$ref") || members.len() == 1, "{value}");
                members.values().for_each(check);
            }
            Value::Array(values) => values.iter().for_each(check),
            _ => {}
        }
    }
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    check(&service.get("/openapi.json").json());
    service.finish(&[]);
}

/// In a generated client, a property without a type is useless.
#[test]
fn every_property_of_a_schema_has_a_type() {
    fn is_typed(schema: &Map<String, Value>) -> bool {
        ["type", "$ref", "anyOf", "enum", "const"].iter().any(|keyword| schema.contains_key(*keyword))
    }
    let sim = sim(|_| ());
    let service = Service::start(&sim, &[]);
    let document = service.get("/openapi.json").json();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(is_typed(property.as_object().unwrap()), "{name}.{key}");
        }
    }
    service.finish(&[]);
}

/// Hiding a field keeps its type, so a client that is generated from the document can read the responses for every
/// caller.
#[test]
fn hidden_fields_are_as_described() {
    let sim = sim(|_| ());
    sim.add_meeting(Meeting::documented_example());
    let body = r#"{"code":9999,"message":"Zoom refuses it."}"#.to_owned();
    sim.inject(Fault::new(FaultKind::Status { status: 403, body }).for_meeting("91111111111").forever());
    let service = Service::start(&sim, &[("callers.anonymous_hide", "identity,address,device")]);
    let document = service.get("/openapi.json").json();
    let checker = Checker { document: &document, closed: true };
    let hidden = service.get("/qos/85746065432?type=past");
    let user_id = hidden.json()["participants"][0]["user_id"].as_str().unwrap().to_owned();
    assert!(user_id.starts_with("p-"), "{user_id}");
    assert_eq!(checker.snapshot(&hidden.text()), [""; 0]);

    let problem = service.get("/qos/91111111111").json();
    assert_eq!((problem["code"].as_str(), &problem["zoom"]["message"]), (Some("zoom_failed"), &Value::Null));
    let schema = &document["components"]["schemas"]["ZoomError"];
    assert_eq!(checker.mismatches(schema, &Tree::parse(&problem["zoom"].to_string())), [""; 0]);

    for place in [
        "/components/parameters/participant",
        "/components/parameters/participantId",
        "/components/schemas/Participant",
        "/components/schemas/ZoomParticipant",
        "/components/schemas/ParticipantSummary/properties/user_id",
    ] {
        let text = document.pointer(place).unwrap()["description"].as_str().unwrap();
        assert!(text.contains("pseudonym"), "{place}: {text}");
    }
    service.finish(&["flight failed"]);
}
