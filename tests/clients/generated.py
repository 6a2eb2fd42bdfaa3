"""Clients generated from /openapi.json: they compile without a cast, and read the same latencies as a JSON parser.

Also compares the description with Zoom's document and with the meetings of the demo.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema_rs
import requests
import schemas
from scene import ENVIRONMENT, EXAMPLE, HERE, PATIENCE_SECONDS, UUIDS, WEBINAR, key_of, once

CALLER = "generated"
ODD = "95550001111"
# Meetings of the demo, and one meeting of each other kind.
MEETINGS = ["98765432101", "/ajXp112QmuoKj48548750==", "atsXxhSEQWit9t+U02HXNQ==", ODD, UUIDS["two slashes first"], WEBINAR, EXAMPLE]
TSC = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--target", "esnext", "--module", "nodenext", "--allowImportingTsExtensions"]
# Fields that only Zoom's answer about a single participant has. The service fetches lists.
NOT_IN_LISTS = {"meeting_number", "webinar_number"}


def check(scene):
    root = f"http://{scene.service.callers}"
    description = requests.get(f"{root}/openapi.json", timeout=PATIENCE_SECONDS).json()
    yield from names(description)
    bodies = {meeting: plain(root, meeting) for meeting in MEETINGS}
    for meeting, body in bodies.items():
        yield from (f"{meeting} is not as described: {error}" for error in invalid(description, body))
    expected = {meeting: total(body) for meeting, body in bodies.items()}
    if not all(count > 0 for count, _ in expected.values()):
        yield f"nothing to sum: {expected}"
    arguments = [root, key_of(CALLER), *MEETINGS]
    for language, client in {"TypeScript": TypeScript, "Python": Python}.items():
        done = client(scene, description).run(arguments)
        if done.returncode != 0 or json.loads(done.stdout) != expected:
            yield f"{language}: {done.returncode}: {done.stdout[-1000:]}{done.stderr[-2000:]} instead of {expected}"
    yield from controls(scene, description, bodies[EXAMPLE], arguments)


def plain(root, meeting):
    answer = requests.get(
        f"{root}/qos/{once(meeting)}", {"type": "past"}, headers={"X-Api-Key": key_of(CALLER)}, timeout=PATIENCE_SECONDS
    )
    answer.raise_for_status()
    # The validator accepts neither numbers beyond a float nor lone surrogates.
    text = re.sub(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", "?", answer.text)
    return json.loads(text, parse_float=lambda number: max(min(float(number), 1e308), -1e308))


def zoom_sample():
    """The properties of a sample in Zoom's document."""
    return schemas.schema("meetings", "one")["properties"]["user_qos"]["items"]["properties"]


def total(body):
    groups = [name for name, group in zoom_sample().items() if "latency" in json.dumps(group)]
    samples = [sample for row in body["participants"] for sample in row.get("user_qos") or []]
    found = [sample[group].get("latency_ms") for sample in samples for group in groups if group in sample]
    found = [latency for latency in found if latency is not None]
    return [len(found), sum(found)]


def names(description):
    """Fields that one of the two documents lacks."""
    ours = {name: set(schema.get("properties", {})) for name, schema in description["components"]["schemas"].items()}
    fields = set(schemas.schema("meetings", "one")["properties"]) | set(schemas.schema("webinars", "one")["properties"])
    # Zoom's answers contain `rc_reason`, but Zoom does not document it.
    pairs = {"Participant": (ours["Participant"] - {"rc_reason"}, fields - NOT_IN_LISTS), "Sample": (ours["Sample"], set(zoom_sample()))}
    for name, group in {"CpuPressureLevel": "cpu_pressure_level", "WifiRssi": "wifi_rssi"}.items():
        described = zoom_sample()[group]
        pairs[name] = (ours[name], set(described.get("properties") or described["anyOf"][-1]["properties"]))
    cpu_usage = zoom_sample()["cpu_usage"]["properties"]
    pairs["CpuUsage"] = (ours["CpuUsage"], {f"{name}_percent" for name in cpu_usage})
    for name, (found, expected) in pairs.items():
        if found != expected:
            yield f"{name}: only in /openapi.json: {sorted(found - expected)}, only in Zoom's document: {sorted(expected - found)}"


def invalid(description, body):
    """Where a snapshot is not as described. The odd meeting may have a name that is a number, which Zoom does not document."""
    schema = {"components": description["components"], "$ref": "#/components/schemas/Snapshot"}
    for error in jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(body):
        path = list(error.instance_path)
        if path[2:] != ["user_name"] or body["participants"][path[1]]["user_name"] != 42:
            yield f"{path}: {error.message[:200]}"


class TypeScript:
    def __init__(self, scene, description):
        self.modules, self.description = pathlib.Path(scene.node_modules), description

    def run(self, arguments):
        # Node looks for the program's packages beside it.
        with tempfile.TemporaryDirectory(dir=self.modules) as folder:
            folder = pathlib.Path(folder)
            (folder / "openapi.json").write_text(json.dumps(self.description))
            program = folder / "sum_latencies.ts"
            program.write_text((HERE / "programs/sum_latencies.ts").read_text())
            for command in (
                ["openapi-typescript/bin/cli.js", "openapi.json", "--output", "openapi.d.ts"],
                ["typescript/bin/tsc", *TSC, program.name],
            ):
                made = execute(["node", str(self.modules / "node_modules" / command[0]), *command[1:]], folder)
                if made.returncode != 0:
                    return made
            return execute(["node", program.name, *arguments], folder)


class Python:
    def __init__(self, _, description):
        self.description = description

    def run(self, arguments):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "openapi.json").write_text(json.dumps(self.description))
            # By default, the generator also formats the generated code.
            (folder / "generator.json").write_text(json.dumps({"post_hooks": []}))
            made = execute(
                [
                    sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none",
                    "--output-path", "qos_client", "--config", "generator.json", "--fail-on-warning",
                ],
                folder,
            )
            if made.returncode != 0:
                return made
            return execute([sys.executable, str(HERE / "programs/sum_latencies.py"), *arguments], folder, PYTHONPATH=str(folder))


def execute(command, folder, **environment):
    environment = {**ENVIRONMENT, "HOME": str(folder), **environment}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def controls(scene, description, body, arguments):
    """A finding for each deliberate mistake that is not noticed."""
    untyped = copy.deepcopy(description)
    del untyped["components"]["schemas"]["Measurements"]["properties"]["latency_ms"]
    for client, complaint in {TypeScript: "TS2322", Python: "latency_ms"}.items():
        done = client(scene, untyped).run(arguments)
        if done.returncode == 0 or complaint not in done.stdout + done.stderr:
            yield f"control: {client.__name__} does not notice that latency_ms has no type: {done}"
    for group, value in {"latency_ms": "126 ms", "bitrate_kbps": [1], "resolution": {"width": "1280"}}.items():
        wrong = copy.deepcopy(body)
        wrong["participants"][0]["user_qos"][0]["video_input"][group] = value
        if not list(invalid(description, wrong)):
            yield f"control: {group} may be {value}"
