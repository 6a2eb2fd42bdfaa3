"""Hits beside a busy neighbour: how late the hits of one caller become while the service works for another caller.

The neighbour either purges and fetches a large meeting in a loop, or asks for views of it that were not made before. Runs with
and without the neighbour take turns. Latencies count from the planned time of a request; see load.py.
"""

import concurrent.futures
import http.client
import itertools
import os
import threading

from load import in_turn, measured, open_loop
from stage import ASKING, CPUS, MEASURED, Service, Sim

HIT, NEIGHBOUR = "90000000008", "90000000060"
PARTICIPANTS, SAMPLES = 100, 60
# Hits per second: a low rate, and about half of what one CPU can serve in hits.py.
RATES = [10_000, 40_000]


def run(stage, quick):
    rounds, seconds = (1, 1) if quick else (9, 2)
    sim = Sim(stage)
    sim.add(HIT, 1, 4)
    sim.add(NEIGHBOUR, PARTICIPANTS, SAMPLES)
    rows = []
    for cpus, workers in ((MEASURED, 1), (set(CPUS), 2)):
        service = Service(stage, sim.url, cpus=cpus, server__workers=str(workers))
        for turn, rate in itertools.product(range(rounds), RATES):
            for name, work in in_turn(NEIGHBOURS, turn):
                about = {"cpus": len(cpus), "round": turn, "rate": rate, "neighbour": name}
                rows.append({**about, **beside(service, work, rate, seconds)})
        service.process.stop()
    return {"rows": rows}


def beside(service, work, rate, seconds):
    """The generator's numbers, and how many rounds the neighbour completed."""
    # Puts both meetings into the cache.
    for meeting in (HIT, NEIGHBOUR):
        service.get(f"/qos/{meeting}", **{"accept-encoding": "gzip"})
    headers = {**Service.HEADERS, "accept-encoding": "gzip"}
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        neighbour = pool.submit(loop, work, service, stop)
        try:
            numbers = measured(service.process, open_loop, service.port, f"/qos/{HIT}", seconds, headers, rate)
        finally:
            stop.set()
    return {"done": neighbour.result(), **numbers}


def loop(work, service, stop):
    """Works until stopped, on the generator's processor at the lowest priority. Returns the number of completed rounds."""
    os.sched_setaffinity(0, ASKING)
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    operators = http.client.HTTPConnection("127.0.0.1", service.ops_port, timeout=120)
    done = 0
    while work and not stop.is_set():
        work(connection, operators)
        # A round that ends after the hits was not beside them.
        done += not stop.is_set()
    return done


def ask(connection, path, method="GET", **headers):
    connection.request(method, path, headers={**Service.HEADERS, **headers})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 204):
        raise RuntimeError(body[:400].decode())


def fetch(connection, operators):
    ask(operators, f"/cache/{NEIGHBOUR}", "DELETE")
    ask(connection, f"/qos/{NEIGHBOUR}", **{"accept-encoding": "gzip"})


# A new number makes a view that was not requested before.
fresh = itertools.count(1)


def make_views(connection, _):
    number = next(fresh)
    since = f"since=2000-01-01T00:00:00.{number:06}Z"
    for path in (
        f"/qos/{NEIGHBOUR}?format=csv&{since}",
        f"/qos/{NEIGHBOUR}/summary?{since}",
        f"/meetings/{NEIGHBOUR}?latency_ms={150 + number / 1000}",
        f"/v2/metrics/meetings/{NEIGHBOUR}/participants/qos?page_size={101 + number % 200}",
    ):
        ask(connection, path, **{"accept-encoding": "gzip"})


NEIGHBOURS = [("alone", None), ("fetches", fetch), ("views", make_views)]
