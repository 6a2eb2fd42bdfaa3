"""schemathesis with `/openapi.json`: requests that the description allows, and others."""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from processes import Service, Sim

SEED = 9457
EXAMPLES = 50
# Ids that the simulator knows. Most requests use these, so that meetings are checked, not only errors.
MEETINGS = [
    "85746065432", "91234567890", "98765432101", "atsXxhSEQWit9t+U02HXNQ==", "/ajXp112QmuoKj48548750==", "91000000001",
]
DIRECTIVES = ["only-if-cached", "no-cache", "max-age=0", "min-fresh=1"]
# The 5xx statuses that fuzzing may provoke. A 504 is the answer to `only-if-cached` without a cached snapshot.
EXPECTED = [504]
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance",
]


def configuration(examples):
    """The configuration of schemathesis, as TOML: JSON's strings and lists are valid in it."""
    return f"""
seed = {SEED}
continue-on-failure = true
workers = 1
request-timeout = 20.0

[cache]
enabled = false

[generation]
max-examples = {examples}
database = "none"

[dictionaries]
meetings = {{ values = {json.dumps(MEETINGS)} }}
directives = {{ values = {json.dumps(DIRECTIVES)} }}
tags = {{ values = ["*"] }}

[parameters]
"path.meetingId" = {{ dictionary = "meetings", probability = 0.7 }}
"header.Cache-Control" = {{ dictionary = "directives", probability = 0.3 }}
"header.If-None-Match" = {{ dictionary = "tags", probability = 0.2 }}

[checks.not_a_server_error]
enabled = true
expected-statuses = {json.dumps(["2xx", "3xx", "4xx", *EXPECTED])}

[phases.stateful]
enabled = false
"""


def run(binaries, adjust=lambda document: None, examples=EXAMPLES):
    """The output of schemathesis, its exit code, and how often `/qos` was answered with each status."""
    service_binary, sim_binary = binaries
    settings = {
        # No request may be rejected for load, however many meetings are invented.
        "limits__heavy_per_second": "10000", "limits__heavy_per_day": "10000000", "cache__live_fresh": "1s",
    }
    with Sim(sim_binary, per_day=10_000_000) as sim, Service(service_binary, sim, **settings) as service:
        sim.meeting(1)
        document = service.get("/openapi.json").json()
        adjust(document)
        with tempfile.TemporaryDirectory() as folder:
            # Pass the description as a file: schemathesis does not test the URL from which it loads one.
            pathlib.Path(folder, "openapi.json").write_text(json.dumps(document))
            pathlib.Path(folder, "schemathesis.toml").write_text(configuration(examples))
            done = subprocess.run(
                [
                    sys.executable, "-m", "schemathesis.cli", "run", "--checks", ",".join(CHECKS),
                    "--url", f"http://{service.callers}", "openapi.json",
                ],
                # Do not pass on this machine's environment: a proxy in it would get the requests for 127.0.0.1.
                cwd=folder, env={"PATH": os.environ["PATH"], "HOME": folder, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
            )
        statuses = collections.Counter()
        for name, value in service.metrics().items():
            if name.startswith("zoom_qos_proxy_requests_total{"):
                statuses[int(re.search('status="([0-9]+)"', name)[1])] += int(value)
        loud = [line for line in service.lines if '"level":"ERROR"' in line or "panicked" in line]
        return done, statuses, loud


def check(binaries):
    """Findings, and a line about the requests."""
    done, statuses, loud = run(binaries)
    findings = []
    if done.returncode != 0:
        findings.append(f"schemathesis:\n{done.stdout}")
    if not re.search(r"Selected: ([0-9]+)/\1\n +Tested: \1\n", done.stdout):
        findings.append(f"schemathesis: not all operations were tested:\n{done.stdout}")
    # With fewer answers, the run would have checked nearly nothing.
    for status, least in {200: 30, 304: 1, 400: 20, 405: 1}.items():
        if statuses[status] < least:
            findings.append(f"schemathesis: {statuses[status]} answers {status}, at least {least} were expected")
    findings += [f"schemathesis: {status} was met" for status in statuses if status >= 500 and status not in EXPECTED]
    findings += [f"the service's log: {line}" for line in loud]
    return findings, ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


def control(binaries):
    """Whether an undocumented status is found."""

    def forget_400(document):
        for operation in document["paths"]["/qos/{meetingId}"].values():
            if isinstance(operation, dict):
                del operation["responses"]["400"]

    done, _, _ = run(binaries, forget_400, examples=5)
    return done.returncode != 0 and "Undocumented status code" in done.stdout
