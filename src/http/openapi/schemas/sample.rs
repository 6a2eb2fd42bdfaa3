//! A sample in `/openapi.json`, with the groups and measurements that Zoom documents.

use serde_json::{Map, Value, json};

use super::known_field::{open_object, properties};
use crate::{
    clean::Field,
    http::openapi::parts::{schema, with_description},
    view::known_fields::{CPU_USAGE, KnownField, ValueType},
};

/// The groups of measurements, each with Zoom's description, if there is one.
pub(super) const GROUPS: [(&str, &str); 18] = [
    ("audio_input", "Audio sent by the participant."),
    ("audio_output", "Audio received by the participant."),
    ("video_input", "Video sent by the participant."),
    ("video_output", "Video received by the participant, by its name; Zoom's text says \"being sent\"."),
    ("as_input", "Screen sharing by the participant."),
    ("as_output", "Screen sharing received by the participant."),
    ("audio_device_from_crc", "Audio sent by a participant who joined via a Cloud Room Connector (CRC)."),
    ("audio_device_to_crc", "Audio received by a participant who joined via a CRC."),
    ("video_device_from_crc", "Video sent by a participant who joined via a CRC."),
    ("video_device_to_crc", "As video_output, of a participant who joined via a CRC."),
    ("as_device_from_crc", "Screen sharing by a participant who joined via a CRC."),
    ("as_device_to_crc", "Screen sharing received by a participant who joined via a CRC."),
    ("audio_device_from_rwg", ""),
    ("audio_device_to_rwg", ""),
    ("video_device_from_rwg", ""),
    ("video_device_to_rwg", ""),
    ("as_device_from_rwg", ""),
    ("as_device_to_rwg", ""),
];

pub(super) const CPU_PRESSURE_LEVEL: [KnownField; 3] = {
    use ValueType::Text;
    let field = KnownField::new;
    [
        field("system_min_cpu_pressure_level", Text, r#""normal""#, "normal, fair, serious or critical."),
        field("system_avg_cpu_pressure_level", Text, r#""normal""#, "normal, fair, serious or critical."),
        field("system_max_cpu_pressure_level", Text, r#""normal""#, "normal, fair, serious or critical."),
    ]
};

pub(super) const WIFI_RSSI: [KnownField; 4] = {
    use ValueType::{Integer, Text};
    let field = KnownField::new;
    [
        field("max_rssi", Integer, "-75", ""),
        field("avg_rssi", Integer, "-69", ""),
        field("min_rssi", Integer, "-35", ""),
        field("rssi_unit", Text, r#""dBm""#, "The unit of the three numbers."),
    ]
};

/// Returns the schemas of a sample and of everything in it, with their names.
pub(super) fn schemas() -> [(&'static str, Value); 6] {
    [
        ("Sample", sample()),
        ("Measurements", measurements()),
        ("Resolution", resolution()),
        (
            "CpuUsage",
            open_object(
                "Percentages. Any other key of Zoom's that ends in `_cpu_usage` gets the suffix `_percent`, too.",
                properties(&CPU_USAGE),
            ),
        ),
        ("CpuPressureLevel", open_object("The form that Zoom documents.", properties(&CPU_PRESSURE_LEVEL))),
        ("WifiRssi", open_object("The strength of the Wi-Fi signal.", properties(&WIFI_RSSI))),
    ]
}

fn sample() -> Value {
    let mut properties = properties(&[KnownField::new(
        "date_time",
        ValueType::Time,
        r#""2021-06-24T20:00:00Z""#,
        "The minute.",
    )]);
    for (name, meaning) in GROUPS {
        properties.insert(name.to_owned(), with_description(or_null("Measurements"), meaning));
    }
    properties.insert("cpu_usage".to_owned(), or_null("CpuUsage"));
    properties.insert("wifi_rssi".to_owned(), or_null("WifiRssi"));
    properties.insert(
        "cpu_pressure_level".to_owned(),
        json!({
            "description": "Zoom documents an object, but sends a text: normal, fair, serious or critical.",
            "anyOf": [{ "type": ["string", "null"] }, schema("CpuPressureLevel")],
        }),
    );
    open_object(
        "One minute: its time and groups of measurements. Groups can be absent, and groups that Zoom adds are passed \
         on with their measurements cleaned in the same way.",
        properties,
    )
}

/// Returns a schema that also allows `null`. A description may stand beside its `anyOf`, but not beside a `$ref`.
fn or_null(name: &str) -> Value {
    json!({ "anyOf": [schema(name), { "type": "null" }] })
}

/// Returns the schema of a group's measurements, under the names that cleaning gives them.
fn measurements() -> Value {
    let mut properties = Map::new();
    for (field, name) in measured() {
        properties.insert(name, measurement(field));
    }
    open_object(
        "Numbers, with the unit in the key; null if Zoom sent nothing. A text that is not a number with a unit keeps \
         Zoom's key, without the unit. Fields that Zoom adds are passed on.",
        properties,
    )
}

/// Returns the measurements of a group, with their keys.
pub(super) fn measured() -> impl Iterator<Item = (Field, String)> {
    // CPU usage is left out: cleaning recognizes it by the end of a key, and Zoom sends these keys in a group of their
    // own.
    let fields = Field::ALL.into_iter().filter(|field| *field != Field::CpuUsage);
    fields.map(|field| (field, format!("{}{}", field.as_str(), field.suffix())))
}

fn measurement(field: Field) -> Value {
    let number = |example: Value| json!({ "type": ["number", "null"], "format": "double", "description": meaning(field), "examples": [example] });
    match field {
        Field::Bitrate => number(json!(27.15)),
        Field::Latency => number(json!(126)),
        Field::Jitter => number(json!(6)),
        Field::AvgLoss => number(json!(0.3)),
        Field::MaxLoss => number(json!(1.9)),
        Field::FrameRate | Field::CpuUsage => number(json!(12)),
        // The key of a resolution has no unit, so a value that does not parse stays under the same key.
        Field::Resolution => json!({
            "description": meaning(field),
            "anyOf": [
                schema("Resolution"),
                { "type": ["string", "number", "boolean", "null"] },
                { "type": "array", "items": {} },
            ],
        }),
    }
}

/// Returns what a measurement means, and its unit.
pub(super) fn meaning(field: Field) -> &'static str {
    match field {
        Field::Bitrate => "Kilobits per second.",
        Field::Latency => {
            "Milliseconds of a round trip: the receiver returns the sender's timestamp. Includes the application's \
             processing. Zoom measures over five seconds."
        }
        Field::Jitter => "The variation in the delay of received packets, in milliseconds.",
        Field::AvgLoss => "The average percentage of packets that did not arrive.",
        Field::MaxLoss => "The maximum percentage of packets that did not arrive.",
        Field::FrameRate => "Frames per second; only for video and screen sharing.",
        Field::CpuUsage => "CPU usage in percent.",
        Field::Resolution => {
            "In pixels; only for video and screen sharing. A value that does not parse stays as Zoom sent it."
        }
    }
}

fn resolution() -> Value {
    json!({
        "type": "object",
        "properties": { "width": { "type": "integer" }, "height": { "type": "integer" } },
        "examples": [{ "width": 1280, "height": 720 }],
    })
}
