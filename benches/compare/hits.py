"""Hits: requests a second, and processor time for 100,000 of them; the service beside what others would install.

Who is measured has one processor, wrk the other. All are asked in turn, for several rounds, and ratios are taken within
a round: a machine that is shared slows all of a round down.
"""

import gzip
import re
import statistics
import subprocess

from stage import ASKING, Bare, Nginx, Origin, Service, Sim, Varnish, child

CONNECTIONS = 64
# wrk's least.
SECONDS = 1
# Name, participants, samples of each, path at a server that serves by file name.
SIZES = [("8 KB", "90000000008", 1, 4), ("800 KB", "90000000800", 10, 46)]


def wrk(port, path, seconds, headers, script):
    """Requests, how long they took, bytes, and the latency's 50th and 99th percentile, all times in microseconds."""
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "30s", "-s", script]
    for name, value in dict(headers).items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=child(ASKING))
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    numbers = dict(pair.split("=") for pair in found[1].split())
    numbers = {name: float(value) for name, value in numbers.items()}
    if numbers["errors"] or not numbers["requests"]:
        raise RuntimeError(f"{path}: {done.stdout}")
    return numbers


REPORT = """
done = function(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT requests=%d us=%d bytes=%d p50=%d p99=%d errors=%d", summary.requests, summary.duration,
        summary.bytes, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
# Each connection pauses between two requests, for 0 to twice as long as the mean.
PAUSES = REPORT + """
math.randomseed(os.time())
delay = function() return math.random(0, 2 * {mean}) end
"""


def measured(process, *arguments):
    """wrk's numbers, with the processor time that the process took for them."""
    before = process.cpu_seconds()
    numbers = wrk(*arguments)
    numbers["cpu"] = process.cpu_seconds() - before
    return numbers


def run(stage, quick):
    rounds, half_rounds = (1, 1) if quick else (9, 15)
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
            # Once for each before it counts: caches are filled, bodies unpacked, processors awake.
            for _, _, port, path, headers in contestants:
                wrk(port, path, 1, headers, report)
            for turn in range(rounds):
                for who, process, port, path, headers in in_turn(contestants, turn):
                    numbers = measured(process, port, path, SECONDS, headers, report)
                    rows.append({"size": size, "coding": coding, "who": who, "round": turn, **numbers})
            loads += half_load(stage, size, coding, contestants, rows, half_rounds)
    return {"rows": rows, "half_load": loads, "bodies": [len(open(plain, "rb").read()) for plain, _ in pairs]}


def in_turn(contestants, turn):
    """Nobody is always the first."""
    shift = turn % len(contestants)
    return contestants[shift:] + contestants[:shift]


def half_load(stage, size, coding, contestants, rows, rounds):
    """Latencies while each is asked for half of what the slowest of the three caches can do.

    Many short rounds: what else happens on the machine spoils a few of them, for whoever has his turn, and no median."""
    three = [one for one in contestants if one[0] in ("zoom-qos-proxy", "nginx", "Varnish")]
    of = lambda who: [row for row in rows if (row["size"], row["coding"], row["who"]) == (size, coding, who)]
    rate = min(statistics.median(row["requests"] / row["us"] * 1e6 for row in of(who)) for who, *_ in three) / 2
    mean = max(1, round(CONNECTIONS / rate * 1000))
    script = stage.write("pauses.lua", PAUSES.replace("{mean}", str(mean)))
    loads = []
    for turn in range(rounds):
        for who, process, port, path, headers in in_turn(three, turn):
            numbers = measured(process, port, path, SECONDS, headers, script)
            loads.append({"size": size, "coding": coding, "who": who, "round": turn, **numbers})
    return loads
