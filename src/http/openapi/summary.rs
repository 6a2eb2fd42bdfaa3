//! Describes the summary of a meeting in `/openapi.json`.

use serde_json::{Map, Value, json};

use super::{
    parts::{OF_SNAPSHOTS, ReadPath, query_parameter, schema},
    responses::of_summary,
    schemas::meeting_types,
};
use crate::{
    meeting_id::MeetingId,
    snapshot::MeetingKind,
    view::summary::{COMMON_FIELDS, GROUPS, MEASUREMENTS, Quality, SHOWN_FIELDS, SummaryLimit},
};

pub(super) fn paths() -> Map<String, Value> {
    let names = ["meetingId", "type", "kind", "participant", "groups", "since", "until"].into_iter();
    let names = names.chain(LIMITS).chain(OF_SNAPSHOTS);
    let path = ReadPath {
        operation: "MeetingSummary",
        parameters: names.collect(),
        get: [
            "Whose connection was bad, when and why",
            "From the same snapshots as /qos/{meetingId}. The parameters `format`, `rows`, `page_size` and \
             `next_page_token` are rejected; others are ignored.",
        ],
        head: [
            "The headers of a summary",
            "As GET, without the body. It may fetch the meeting from Zoom, too.",
        ],
        needs_key: true,
        responses: of_summary(),
    };
    [("/qos/{meetingId}/summary".to_owned(), path.describe())].into_iter().collect()
}

/// The components that describe the parameters of the limits, in the order of [`SummaryLimit::ALL`].
pub(super) const LIMITS: [&str; SummaryLimit::ALL.len()] =
    ["latencyLimit", "jitterLimit", "lossLimit", "cpuLimit"];

/// Returns the parameters, by the names of their components.
pub(super) fn parameters() -> Value {
    let described = |(limit, component): (SummaryLimit, &str)| {
        let name = limit.as_str();
        let description = format!(
            "Replaces the configured `summary.{name}`: a minute above it counts as over. Digits with or without decimals."
        );
        (component.to_owned(), query_parameter(name, limit_schema(limit), &description))
    };
    Value::Object(SummaryLimit::ALL.into_iter().zip(LIMITS).map(described).collect())
}

fn limit_schema(limit: SummaryLimit) -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": limit.largest() })
}

pub(super) fn schemas() -> Value {
    json!({
        "Summary": summary(),
        "ParticipantSummary": participant(),
        "GroupSummary": group(),
        "Statistics": statistics(),
        "Reason": reason(),
    })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn list(of: &str) -> Value {
    json!({ "type": "array", "items": schema(of) })
}

fn quality() -> Value {
    json!({
        "enum": Quality::ALL.map(Quality::as_str),
        "description":
            "By the part of the minutes over a limit in the worst of audio, video and screen sharing: good up to 5 %, fair \
             up to 20 %, poor up to 40 %, else bad; unknown without samples. A direction that was measured for less than \
             3 minutes decides only if all are that short.",
    })
}

fn summary() -> Value {
    let limits: Map<_, _> =
        SummaryLimit::ALL.map(|limit| (limit.as_str().to_owned(), limit_schema(limit))).into_iter().collect();
    let qualities: Map<_, _> =
        Quality::ALL.map(|each| (each.as_str().to_owned(), count("Participants."))).into_iter().collect();
    json!({
        "type": "object",
        "required": ["meeting_id", "type", "fetched_at", "limits", "quality", "common", "participants"],
        "properties": {
            "meeting_id": { "type": "string", "pattern": MeetingId::pattern() },
            "type": { "enum": meeting_types() },
            "kind": { "const": MeetingKind::Webinar.as_str(), "description": "Only in a webinar." },
            "fetched_at": { "type": "string", "format": "date-time" },
            "selected_records": count("Only with a selection: its participants."),
            "limits": {
                "type": "object", "required": limits.keys().collect::<Vec<_>>(), "properties": limits,
                "description": "The limits above which a minute counts as over.",
            },
            "quality": {
                "type": "object", "required": qualities.keys().collect::<Vec<_>>(), "properties": qualities,
                "description": "How many participants have each quality. A person who rejoins counts twice.",
            },
            "common": {
                "type": "array", "items": common(),
                "description":
                    "Values that at least two poor or bad participants share and that are at least twice as frequent among them \
                     as among all. Fields that are hidden from the caller never occur.",
            },
            "participants": list("ParticipantSummary"),
        },
    })
}

fn common() -> Value {
    json!({
        "type": "object",
        "required": ["field", "value", "affected", "of"],
        "properties": {
            "field": { "enum": COMMON_FIELDS },
            "value": { "type": "string" },
            "affected": count("Poor and bad participants with this value."),
            "of": count("All participants with this value."),
        },
    })
}

fn participant() -> Value {
    let shown = json!({ "type": ["string", "number", "null"], "description": "As Zoom sent it; null if it is absent or hidden from the caller. Instead of hidden names and ids, the pseudonym." });
    let mut properties: Map<_, _> =
        SHOWN_FIELDS.into_iter().map(|name| (name.to_owned(), shown.clone())).collect();
    let own = [
        ("samples", count("Minutes.")),
        ("quality", quality()),
        ("reasons", list("Reason")),
        (
            "groups",
            json!({
                "type": "object",
                "properties": GROUPS.map(|name| (name.to_owned(), schema("GroupSummary"))).into_iter().collect::<Map<_, _>>(),
                "additionalProperties": schema("GroupSummary"),
            }),
        ),
    ];
    properties.extend(own.map(|(name, own)| (name.to_owned(), own)));
    json!({
        "type": "object",
        "required": properties.keys().collect::<Vec<_>>(),
        "properties": properties,
    })
}

fn reason() -> Value {
    json!({
        "type": "object",
        "description": "A measurement with minutes over its limit. Those with most such minutes come first.",
        "required": ["group", "measurement", "minutes_over", "of", "worst", "worst_at"],
        "properties": {
            "group": { "type": "string", "examples": [GROUPS[0]] },
            "measurement": { "type": "string", "examples": [MEASUREMENTS[0]] },
            "minutes_over": count("Minutes over the limit."),
            "of": count("The group's samples."),
            "worst": { "type": "number" },
            "worst_at": {
                "type": ["string", "number", "null"],
                "description": "The `date_time` of the first sample with the worst value.",
            },
        },
    })
}

fn group() -> Value {
    let mut properties: Map<_, _> =
        MEASUREMENTS.into_iter().map(|name| (name.to_owned(), schema("Statistics"))).collect();
    let score = json!({ "type": "number", "minimum": 1, "maximum": 4.5 });
    let estimate = json!({
        "type": "object",
        "description":
            "Only for audio: how people would rate it, from 1 (bad) to 4.5. An estimate from latency, jitter and loss; the \
             latency is that of a round trip.",
        "required": ["min", "avg"],
        "properties": { "min": score, "avg": score },
    });
    let own = [
        ("samples", count("Samples with at least one number in this group.")),
        (
            "minutes_over",
            count(
                "Samples in which latency_ms, jitter_ms or avg_loss_percent is above its limit; for cpu_usage, \
                 system_max_cpu_usage_percent.",
            ),
        ),
        ("mos_estimate", estimate),
    ];
    properties.extend(own.map(|(name, own)| (name.to_owned(), own)));
    json!({
        "type": "object",
        "description": "The group's measurements, each over the samples that have a number.",
        "required": ["samples", "minutes_over"],
        "properties": properties,
        "additionalProperties": schema("Statistics"),
    })
}

fn statistics() -> Value {
    json!({
        "type": "object",
        "required": ["min", "avg", "p95", "max"],
        "properties": {
            "min": { "type": "number" },
            "avg": { "type": "number", "description": "The mean, with two decimals." },
            "p95": { "type": "number", "description": "The 95th percentile by nearest rank." },
            "max": { "type": "number" },
            "over": count("Samples above the limit, if the measurement has one."),
        },
    })
}
