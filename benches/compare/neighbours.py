"""Hits beside a busy neighbour: how late the hits of one caller become while the service works for another one.

The neighbour either purges and fetches a large meeting in a loop, or asks for views of it that were not made before. Alone
and beside the neighbour take turns. Latencies count from the planned time of a request; see open_loop.rs.
"""

import contextlib
import http.client
import itertools
import json
import os
import subprocess
import threading

from stage import ASKING, CPUS, MEASURED, Service, Sim, built, child

HIT, NEIGHBOUR = "90000000008", "90000000060"
PARTICIPANTS, SAMPLES = 100, 60
CONNECTIONS = 64
# Half of what one CPU can do in hits.py, and a rate that leaves time.
RATES = [10_000, 40_000]
NEIGHBOURS = ["alone", "fetches", "views"]


def run(stage, quick):
    rounds, seconds = (1, 1) if quick else (5, 4)
    sim = Sim(stage)
    sim.add(HIT, 1, 4)
    sim.add(NEIGHBOUR, PARTICIPANTS, SAMPLES)
    rows = []
    for cpus, workers in ((MEASURED, 1), (set(CPUS), 2)):
        service = Service(stage, sim.url, cpus=cpus, server__workers=str(workers))
        for turn, rate, neighbour in itertools.product(range(rounds), RATES, NEIGHBOURS):
            rows.append({"cpus": len(cpus), "round": turn, "rate": rate, **beside(service, neighbour, rate, seconds)})
        service.process.stop()
    return {"rows": rows}


def beside(service, neighbour, rate, seconds):
    """What the generator says, and how often the neighbour got what it wanted."""
    # Both are in the cache.
    for meeting in (HIT, NEIGHBOUR):
        service.get(f"/qos/{meeting}", **{"accept-encoding": "gzip"})
    stop, done = threading.Event(), []
    work = {"alone": None, "fetches": fetch, "views": make_views}[neighbour]
    thread = threading.Thread(target=loop, args=(work, service, stop, done))
    thread.start()
    numbers = open_loop(service.port, f"/qos/{HIT}", rate, seconds)
    stop.set()
    thread.join()
    return {"neighbour": neighbour, "done": len(done), **numbers}


def open_loop(port, path, rate, seconds):
    fields = [f"{name}: {value}" for name, value in Service.HEADERS.items()] + ["accept-encoding: gzip"]
    command = [built("examples/open_loop"), str(port), path, str(rate), str(seconds), str(CONNECTIONS), *fields]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=punctual)
    numbers = json.loads(answer.stdout)
    if numbers["failed"]:
        raise RuntimeError(answer.stdout)
    return numbers


def punctual():
    """The generator shares a CPU with the simulator and goes first, where it may."""
    child(ASKING)()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def loop(work, service, stop, done):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    operators = http.client.HTTPConnection("127.0.0.1", service.ops_port, timeout=120)
    while work and not stop.is_set():
        work(connection, operators)
        done.append(True)


def ask(connection, path, method="GET", **headers):
    connection.request(method, path, headers={**Service.HEADERS, **headers})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 204):
        raise RuntimeError(body[:400].decode())


def fetch(connection, operators):
    ask(operators, f"/cache/{NEIGHBOUR}", "DELETE")
    ask(connection, f"/qos/{NEIGHBOUR}", **{"accept-encoding": "gzip"})


# Other numbers make other views, which nobody has asked for yet.
fresh = itertools.count(1)


def make_views(connection, _):
    number = next(fresh)
    since = f"since=2000-01-01T00:00:00.{number:06}Z"
    for path in (
        f"/qos/{NEIGHBOUR}?format=csv&{since}",
        f"/qos/{NEIGHBOUR}/summary?{since}",
        f"/v2/metrics/meetings/{NEIGHBOUR}/participants/qos?page_size={1 + number % 10}",
    ):
        ask(connection, path, **{"accept-encoding": "gzip"})
