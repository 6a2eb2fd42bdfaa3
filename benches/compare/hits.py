"""Hits: requests per second, and processor time for 100,000 requests, of the service and of common alternatives.

The measured program has one processor, the load generator another. The programs take turns for several rounds. Ratios are taken
within a round, because other work on a shared machine slows down all programs of a round.
"""

import gzip
import statistics

from load import REPORT, in_turn, measured, open_loop, wrk
from stage import Bare, Nginx, Origin, Service, Sim, Varnish

# The shortest duration that wrk accepts, in seconds.
SECONDS = 1
# Name, meeting number, participants, samples of each participant.
SIZES = [("8 KB", "90000000008", 1, 4), ("800 KB", "90000000800", 10, 46)]


def run(stage, quick):
    rounds, half_rounds = (1, 1) if quick else (9, 9)
    report = stage.write("report.lua", REPORT)
    sim = Sim(stage)
    service = Service(stage, sim.url)
    pairs = []
    for size, meeting, participants, samples in SIZES:
        sim.add(meeting, participants, samples)
        _, plain = service.get(f"/qos/{meeting}")
        _, packed = service.get(f"/qos/{meeting}", **{"accept-encoding": "gzip"})
        if gzip.decompress(packed) != plain:
            raise RuntimeError("the two codings differ")
        name = size.replace(" ", "")
        pairs.append((stage.write(name, plain), stage.write(name + ".gz", packed)))
    silent = Service(stage, sim.url, telemetry__log_level="warn")
    bare, origin = Bare(stage, pairs), Origin(stage, stage.folder)
    nginx, varnish = Nginx(stage, origin.address), Varnish(stage, origin.address)
    rows, loads = [], []
    for number, (size, meeting, *_) in enumerate(SIZES):
        name = size.replace(" ", "")
        silent.get(f"/qos/{meeting}")
        for coding in ("identity", "gzip"):
            accepts = {"accept-encoding": coding}
            ours = {**Service.HEADERS, **accepts}
            place = "plain" if coding == "identity" else "gzip"
            contestants = [
                ("zoom-qos-proxy", service.process, service.port, f"/qos/{meeting}", ours),
                ("zoom-qos-proxy, no request log", silent.process, silent.port, f"/qos/{meeting}", ours),
                ("bare actix-web", bare.process, bare.port, f"/{number}", accepts),
                ("nginx", nginx.process, nginx.port, f"/{place}/{name}/0", accepts),
                ("Varnish", varnish.process, varnish.port, f"/{place}/{name}/0", accepts),
            ]
            if coding == "gzip":
                path = f"/packed-at-once/plain/{name}/0"
                contestants.append(("nginx, compresses each time", nginx.process, nginx.port, path, accepts))
            # A warm-up for each contestant fills caches, unpacks bodies and wakes processors.
            for _, _, port, path, headers in contestants:
                wrk(port, path, 1, headers, report)
            for turn in range(rounds):
                for who, process, port, path, headers in in_turn(contestants, turn):
                    numbers = measured(process, wrk, port, path, SECONDS, headers, report)
                    rows.append({"size": size, "coding": coding, "who": who, "round": turn, **numbers})
            loads += half_load(size, coding, contestants, rows, half_rounds)
    return {"rows": rows, "half_load": loads, "bodies": [len(open(plain, "rb").read()) for plain, _ in pairs]}


def half_load(size, coding, contestants, rows, rounds):
    """Latencies from planned times, at half the rate that the slowest of the three caches can serve.

    There are many short rounds. Other work on the machine spoils a few of them, but not the median."""
    three = [one for one in contestants if one[0] in ("zoom-qos-proxy", "nginx", "Varnish")]
    of = lambda who: [row for row in rows if (row["size"], row["coding"], row["who"]) == (size, coding, who)]
    rate = round(min(statistics.median(row["requests"] / row["us"] * 1e6 for row in of(who)) for who, *_ in three) / 2)
    loads = []
    for turn in range(rounds):
        for who, process, port, path, headers in in_turn(three, turn):
            numbers = measured(process, open_loop, port, path, SECONDS, headers, rate)
            loads.append({"size": size, "coding": coding, "who": who, "round": turn, "rate": rate, **numbers})
    return loads
