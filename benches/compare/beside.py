"""Hits of a small meeting, alone and while a large meeting is repeatedly downloaded as CSV. The two cases take turns.

Each download has a different parameter, so that none is answered from a cached view. curl shares the load generator's processor,
at the lowest priority.
"""

import contextlib
import subprocess

from load import in_turn, measured, open_loop, wrk
from stage import ASKING, Service, child

SECONDS = 2
SMALL, LARGE = "90000000008", "90000000060"
# Times before any meeting, so that all downloads have the same rows.
SINCE = "&since=2001-01-[01-28]T[00-23]:[00-59]:[00-59]Z"


def run(stage, service, report, rounds):
    headers = {**Service.HEADERS, "accept-encoding": "identity"}
    path = f"/qos/{SMALL}"
    service.get(path)
    full = wrk(service.port, path, 1, headers, report)
    # Half of what the service can do alone.
    rate = round(full["requests"] / full["us"] * 1e6 / 2)
    rows = []
    for turn in range(rounds):
        for name, around in in_turn([("alone", alone), ("beside a download", downloading)], turn):
            with around(stage, service) as count:
                numbers = measured(service.process, open_loop, service.port, path, SECONDS, headers, rate)
            rows.append({"hits": name, "round": turn, "rate": rate, **numbers, "downloads": count()})
    return rows


@contextlib.contextmanager
def alone(*_):
    yield lambda: 0


@contextlib.contextmanager
def downloading(stage, service):
    """Starts the downloads, and waits for the end of the first. Yields a function that returns their number, once they are stopped."""
    url = f"http://127.0.0.1:{service.port}/qos/{LARGE}?format=csv{SINCE}"
    credentials = ["--header", f"authorization: {Service.HEADERS['authorization']}"]
    curl = ["curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{size_download}\n", *credentials, url]
    with subprocess.Popen(["nice", "-n", "19", "stdbuf", "-oL", *curl], stdout=subprocess.PIPE, preexec_fn=child(ASKING)) as curl:
        sizes = [int(curl.stdout.readline())]
        try:
            yield lambda: len(sizes)
        finally:
            curl.terminate()
            # Downloads that ended since the first one. The last line may be incomplete.
            sizes += [int(line) for line in curl.stdout.read().splitlines()[:-1]]
    if min(sizes) != max(sizes):
        raise RuntimeError(f"downloads of different sizes: {set(sizes)}")

