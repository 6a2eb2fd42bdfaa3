"""Zoom's own schemas for its QoS answers, from data/zoom-openapi-qos.json."""

import copy
import json
import pathlib

import jsonschema_rs

DOCUMENT = json.loads((pathlib.Path(__file__).resolve().parent / "data/zoom-openapi-qos.json").read_text())
PATHS = {
    ("meetings", "list"): "/metrics/meetings/{meetingId}/participants/qos",
    ("meetings", "one"): "/metrics/meetings/{meetingId}/participants/{participantId}/qos",
    ("webinars", "list"): "/metrics/webinars/{webinarId}/participants/qos",
    ("webinars", "one"): "/metrics/webinars/{webinarId}/participants/{participantId}/qos",
}


def relaxed(schema):
    """The schema, changed where Zoom's answers are known to differ from it."""
    if isinstance(schema, list):
        return [relaxed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: relaxed(value) for key, value in schema.items()}
    properties = schema.get("properties", {})
    # Zoom describes `cpu_pressure_level` as an object of strings, but sometimes sends one of these strings instead.
    if isinstance(properties, dict) and "cpu_pressure_level" in properties:
        described = properties["cpu_pressure_level"]
        words = {"enum": ["normal", "fair", "serious", "critical"]}
        properties["cpu_pressure_level"] = {"anyOf": [words, described]}
    return schema


def schema(kind, do):
    get = DOCUMENT["paths"][PATHS[kind, do]]["get"]
    return relaxed(copy.deepcopy(get["responses"]["200"]["content"]["application/json"]["schema"]))


VALIDATORS = {asked: jsonschema_rs.Draft7Validator(schema(*asked), validate_formats=True) for asked in PATHS}


def errors(step, page):
    """Where a page or participant is not as described. Page sizes above 10 are not compared: only this service has such pages."""
    if page.get("page_size", 0) > 10:
        page = {**page, "page_size": 10}
    do = "one" if step["do"] == "one" else "list"
    for error in VALIDATORS[step["kind"], do].iter_errors(page):
        yield f"{'/'.join(map(str, error.instance_path))}: {error.message[:200]}"
