"""The two load generators: wrk sends a request as soon as it has an answer, and open_loop.rs sends requests at planned times.

wrk measures the maximum throughput. Its latencies are not used. While a server stalls, wrk sends nothing, so it sees one late
answer for each connection where independent callers would see hundreds.
"""

import contextlib
import json
import os
import re
import subprocess

from stage import ASKING, built, child

CONNECTIONS = 64
REPORT = """
done = function(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT requests=%d us=%d bytes=%d errors=%d", summary.requests, summary.duration, summary.bytes,
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def wrk(port, path, seconds, headers, script):
    """Returns the number of requests, the time that the run took (`us`, in microseconds), and the bytes received. Fails on errors."""
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "30s", "-s", script]
    for name, value in dict(headers).items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=child(ASKING))
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    numbers = {name: int(value) for name, value in (pair.split("=") for pair in found[1].split())}
    if numbers["errors"] or not numbers["requests"]:
        raise RuntimeError(f"{path}: {done.stdout}")
    return numbers


def open_loop(port, path, seconds, headers, rate):
    """Returns the number of requests, the time that the run took, and percentiles of the latencies. All times are in microseconds.
    `late_p99` says how late the generator sent requests. Fails if a response is not a success."""
    fields = [f"{name}: {value}" for name, value in dict(headers).items()]
    command = [built("examples/open_loop"), str(port), path, str(rate), str(seconds), str(CONNECTIONS), *fields]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=punctual)
    numbers = json.loads(done.stdout) if done.returncode == 0 else {"failed": True}
    if numbers["failed"]:
        raise RuntimeError(f"{path}: {done.stdout}{done.stderr}")
    return numbers


def punctual():
    """Gives the generator priority over the simulator and the readers of logs on its processor, if that is allowed."""
    child(ASKING)()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def measured(process, load, *arguments):
    """The load's numbers, with the processor time that the process used."""
    before = process.cpu_seconds()
    numbers = load(*arguments)
    numbers["cpu"] = process.cpu_seconds() - before
    return numbers


def in_turn(contestants, turn):
    """The contestants, rotated, so that none is always the first."""
    shift = turn % len(contestants)
    return contestants[shift:] + contestants[:shift]
