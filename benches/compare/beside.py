"""Hits of a small meeting while a large one is downloaded as CSV again and again, by turns with hits alone.

Each download differs in a parameter, so that none is answered from a kept view. It shares wrk's processor, at the lowest priority.
"""

import contextlib
import statistics
import subprocess

from hits import CONNECTIONS, PAUSES, in_turn, measured, wrk
from stage import ASKING, Service, child

SMALL, LARGE = "90000000008", "90000000060"
# A time before any meeting, so that the rows are all the same.
SINCE = "&since=2001-01-[01-28]T[00-23]:[00-59]:[00-59]Z"


def run(stage, service, report, rounds):
    headers = {**Service.HEADERS, "accept-encoding": "identity"}
    path = f"/qos/{SMALL}"
    service.get(path)
    full = wrk(service.port, path, 1, headers, report)
    # Half of what the service can do alone; more if the machine was busy with something else just then.
    mean = min(100, max(1, round(CONNECTIONS * full["us"] / full["requests"] * 2 / 1000)))
    script = stage.write("beside.lua", PAUSES.replace("{mean}", str(mean)))
    rows = []
    for turn in range(rounds):
        for name, around in in_turn([("alone", alone), ("beside a download", downloading)], turn):
            with around(stage, service) as count:
                numbers = measured(service.process, service.port, path, 2, headers, script)
            rows.append({"hits": name, "round": turn, **numbers, "downloads": count()})
    return rows


@contextlib.contextmanager
def alone(*_):
    yield lambda: 0


@contextlib.contextmanager
def downloading(stage, service):
    """Starts the downloads, and waits for the end of the first; yields what counts them."""
    url = f"http://127.0.0.1:{service.port}/qos/{LARGE}?format=csv{SINCE}"
    credentials = ["--header", f"authorization: {Service.HEADERS['authorization']}"]
    curl = ["curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{size_download}\n", *credentials, url]
    with subprocess.Popen(["nice", "-n", "19", "stdbuf", "-oL", *curl], stdout=subprocess.PIPE, preexec_fn=child(ASKING)) as curl:
        sizes = [int(curl.stdout.readline())]
        try:
            yield lambda: len(sizes)
        finally:
            curl.terminate()
            # Those that ended since; the last line may be torn.
            sizes += [int(line) for line in curl.stdout.read().splitlines()[:-1]]
    if min(sizes) != max(sizes):
        raise RuntimeError(f"downloads of different sizes: {set(sizes)}")


def ratio(rows, what):
    """The median, over the rounds, of a percentile beside a download, relative to the same alone in that round."""
    of = {(row["hits"], row["round"]): row[what] for row in rows}
    return statistics.median(of["beside a download", turn] / of["alone", turn] for _, turn in of)
