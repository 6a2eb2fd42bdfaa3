"""Views: answers that are made from a snapshot on demand.

The first measurement alternates between a page in Zoom's shape and the same slice of `/qos`, each with ten participants of an hour.
Most of these pages are cached. The second asks for each page of the meeting before it has been made, and measures the time to the
first byte and to the last. The third measures a small meeting's hits while the large meeting is downloaded. Other paths and callers
are in paths.py.
"""

import http.client
import json
import time

import beside
import paths
from load import REPORT, in_turn, measured, wrk
from stage import Service, Sim

MEETING = "90000000060"
PARTICIPANTS, SAMPLES, SIZE = 100, 60, 10
ZOOM = f"/v2/metrics/meetings/{MEETING}/participants/qos?page_size={SIZE}"
FORMS = [("slice of /qos", f"/qos/{MEETING}?page_size={SIZE}"), ("page in Zoom's shape", ZOOM)]


def run(stage, quick):
    rounds, seconds = (1, 1) if quick else (9, 1)
    report = stage.write("report.lua", REPORT)
    sim = Sim(stage)
    service = Service(stage, sim.url, cache__live_fresh="1h")
    sim.add(MEETING, PARTICIPANTS, SAMPLES)
    sim.add(beside.SMALL, 1, 4)
    service.get(f"/qos/{MEETING}")
    rows = []
    for coding in ("identity", "gzip"):
        headers = {**Service.HEADERS, "accept-encoding": coding}
        for _, path in FORMS:
            wrk(service.port, path, 1, headers, report)
        for turn in range(rounds):
            for form, path in in_turn(FORMS, turn):
                numbers = measured(service.process, wrk, service.port, path, seconds, headers, report)
                rows.append({"form": form, "coding": coding, "round": turn, **numbers})
    first = first_bytes(service, 1 if quick else 5)
    hits = beside.run(stage, service, report, 1 if quick else 15)
    service.process.stop()
    kept, made = paths.run(stage, sim, report, quick)
    return {"rows": rows, "first": first, "beside": hits, "kept": kept, "made": made}


def first_bytes(service, rounds):
    """Milliseconds to the first and the last byte of each page of the meeting. No page has been made before."""
    rows = []
    for turn in range(rounds):
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        # The page size differs in each round, so no page is already cached from another round.
        path, page = f"{ZOOM.split('?')[0]}?page_size={SIZE + turn}", 0
        while path:
            began = time.perf_counter()
            connection.request("GET", path, headers=Service.HEADERS)
            answer = connection.getresponse()
            answer.read(1)
            first = time.perf_counter()
            body = answer.read()
            last = time.perf_counter()
            token = json.loads(b"{" + body)["next_page_token"]
            rows.append({"round": turn, "page": page, "first_ms": (first - began) * 1e3, "last_ms": (last - began) * 1e3})
            path = token and f"{ZOOM.split('?')[0]}?next_page_token={token}"
            page += 1
    return rows
