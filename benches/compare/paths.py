"""Other paths and callers, compared with the plain hit: the cost of a cached response, and of making a response.

Cached responses: a meeting of 8 KB, all forms in turn, at full load. Made responses: a one-hour meeting of 100 participants, one
request after the other, each for a view that has not been made before.
"""

import hashlib
import http.client
import itertools
import time

from issuer import AUDIENCE, SUBJECT, URL, Issuer
from load import in_turn, measured, wrk
from stage import Service, callers_file

SMALL, LARGE = "90000000008", "90000000060"
HIDING_KEY = "zqp_" + "h" * 43
ZOOM = "/v2/metrics/meetings/{id}/participants/qos"
PLAIN = "/qos/{id}"
# All requests accept gzip, so that the rows do not differ in their encoding.
CODING = {"accept-encoding": "gzip"}
KEPT = [
    ("hit", PLAIN, "key"),
    ("hit, signed token", PLAIN, "token"),
    ("hit, fields hidden", PLAIN, "hiding"),
    ("selection", PLAIN + "?groups=audio", "key"),
    ("rows, NDJSON", PLAIN + "?format=ndjson", "key"),
    ("rows, CSV", PLAIN + "?format=csv", "key"),
    ("summary", PLAIN + "/summary", "key"),
    ("Zoom's shape", ZOOM + "?page_size=300", "key"),
    ("page for people", "/meetings/{id}", "key"),
]
# A time before any meeting selects all of it.
SINCE = "since=2000-01-01T00:00:00.{number:06}Z"
MADE = [
    ("hit", PLAIN, "key"),
    ("fields hidden", PLAIN + "?" + SINCE, "hiding"),
    ("selection", PLAIN + "?groups=audio&" + SINCE, "key"),
    ("rows, NDJSON", PLAIN + "?format=ndjson&" + SINCE, "key"),
    ("rows, CSV", PLAIN + "?format=csv&" + SINCE, "key"),
    ("summary", PLAIN + "/summary?" + SINCE, "key"),
    ("Zoom's shape", ZOOM + "?page_size={size}", "key"),
    ("page for people", "/meetings/{id}?latency_ms={limit}", "key"),
]


def run(stage, sim, report, quick):
    rounds, made_rounds, requests = (1, 1, 1) if quick else (9, 9, 2)
    issuer = Issuer()
    text = issuers(stage.write("keys.json", issuer.keys())) + callers_file() + callers()
    service = Service(stage, sim.url, callers__file=stage.write("all-callers.toml", text))
    credentials = {"key": Service.HEADERS["authorization"][7:], "token": issuer.token(), "hiding": HIDING_KEY}
    headers = {name: {"authorization": f"Bearer {key}", **CODING} for name, key in credentials.items()}
    kept = []
    for turn in range(rounds):
        for form, path, caller in in_turn(KEPT, turn):
            # Makes the view if it is no longer cached.
            one_by_one(service, [path.format(id=SMALL)], headers[caller])
            numbers = measured(service.process, wrk, service.port, path.format(id=SMALL), 1, headers[caller], report)
            kept.append({"form": form, "round": turn, **numbers})
    made, fresh = [], itertools.count(1)
    service.get(f"/qos/{LARGE}", **CODING)
    for turn in range(made_rounds):
        for form, path, caller in in_turn(MADE, turn):
            numbers = itertools.islice(fresh, requests)
            paths = [path.format(id=LARGE, number=n, size=101 + n % 200, limit=150 + n / 1000) for n in numbers]
            made.append({"form": form, "round": turn, **one_by_one(service, paths, headers[caller])})
    service.process.stop()
    return kept, made


def one_by_one(service, paths, headers):
    """Means of one request: bytes, processor time, and seconds to the last byte."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    cpu, began, size = service.process.cpu_seconds(), time.perf_counter(), 0
    for path in paths:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        size += len(answer.read())
        if answer.status != 200 or answer.getheader("content-encoding") != "gzip":
            raise RuntimeError(f"{path}: {answer.status} {answer.headers}")
    took, cpu = time.perf_counter() - began, service.process.cpu_seconds() - cpu
    connection.close()
    return {"bytes": size / len(paths), "cpu": cpu / len(paths), "seconds": took / len(paths)}


def issuers(keys):
    return f'[[issuer]]\nname = "cluster"\nurl = "{URL}"\naudience = "{AUDIENCE}"\njwks_file = "{keys}"\n'


def callers():
    """A caller with signed tokens, and one that does not see identities, addresses and devices."""
    digest = hashlib.sha256(HIDING_KEY.encode()).hexdigest()
    return (
        f'[[caller]]\nname = "signed"\nsubject = "{SUBJECT}"\n'
        f'[[caller]]\nname = "hiding"\nkey_sha256 = "{digest}"\nhide = ["identity", "address", "device"]\n'
    )
