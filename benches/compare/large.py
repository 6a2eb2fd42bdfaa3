"""A large meeting: the time to fetch it, and the processor time of slices from its beginning and its end.

1,000 participants are a hundred of Zoom's pages, each of which needs the token of the page before it.
"""

import http.client
import json
import time

from stage import CPUS, Service, Sim

MEETING, PARTICIPANTS, SAMPLES, SIZE = "90000001000", 1000, 60, 10
LATENCY_MS = 50


def run(stage, quick):
    rounds, participants = (1, 100) if quick else (5, PARTICIPANTS)
    sim = Sim(stage, latency_ms=LATENCY_MS)
    sim.add(MEETING, participants, SAMPLES)
    # No other program is busy, so the service may use the whole machine.
    service = Service(stage, sim.url, cpus=set(CPUS), server__wait="60s")
    operators = http.client.HTTPConnection("127.0.0.1", service.ops_port)
    cold, slices = [], []
    for turn in range(rounds):
        operators.request("DELETE", f"/cache/{MEETING}")
        operators.getresponse().read()
        cpu, began = service.process.cpu_seconds(), time.perf_counter()
        first, last = times(service)
        cpu = service.process.cpu_seconds() - cpu
        least = participants / SIZE * LATENCY_MS / 1000
        cold.append({"round": turn, "least": least, "first": first - began, "last": last - began, "cpu": cpu})
        slices += [{"round": turn, **row} for row in walk(service)]
    return {"cold": cold, "slices": slices, "participants": participants}


def times(service):
    """The times of the first and the last byte of the meeting."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("GET", f"/qos/{MEETING}", headers={**Service.HEADERS, "accept-encoding": "gzip"})
    answer = connection.getresponse()
    answer.read(1)
    first = time.perf_counter()
    answer.read()
    if "fwd=uri-miss" not in answer.getheader("cache-status"):
        raise RuntimeError(answer.getheader("cache-status"))
    return first, time.perf_counter()


def walk(service):
    """The processor time of each slice, in the order of the tokens."""
    rows, token, connection = [], "", http.client.HTTPConnection("127.0.0.1", service.port)
    while token is not None:
        more = f"&next_page_token={token}" if token else ""
        before = service.process.cpu_seconds()
        connection.request("GET", f"/qos/{MEETING}?page_size={SIZE}{more}", headers=Service.HEADERS)
        body = connection.getresponse().read()
        rows.append({"slice": len(rows), "cpu": service.process.cpu_seconds() - before})
        token = json.loads(body)["next_page_token"]
    return rows
