"""Instructions: the cost of a hit in user space, counted rather than timed, so that other work on the machine does not matter.

valgrind runs the program, and counts for each function its instructions and their misses in a first-level cache like this
processor's. valgrind offers no SHA instructions, so hashing a caller's key takes more instructions than usual. Hashing is counted
separately.
"""

import collections
import gzip
import os
import re
import socket
import subprocess

from issuer import SUBJECT, Issuer
from paths import issuers
from stage import Bare, Service, Sim, callers_file

MEETING, PARTICIPANTS, SAMPLES = "90000000008", 1, 4
WARM = 300
HASHING = "sha2"


def run(stage, quick):
    requests = 200 if quick else 2_000
    sim = Sim(stage)
    sim.add(MEETING, PARTICIPANTS, SAMPLES)
    plain_service = Service(stage, sim.url)
    _, plain = plain_service.get(f"/qos/{MEETING}")
    _, packed = plain_service.get(f"/qos/{MEETING}", **{"accept-encoding": "gzip"})
    plain_service.process.stop()
    if gzip.decompress(packed) != plain:
        raise RuntimeError("the two codings differ")
    pair = (stage.write("plain", plain), stage.write("packed", packed))
    rows, parts = [], []
    callers, token = with_token(stage)
    contestants = [
        ("zoom-qos-proxy", lambda under: Service(stage, sim.url, under=under), f"/qos/{MEETING}", Service.HEADERS),
        (
            "zoom-qos-proxy, signed token",
            lambda under: Service(stage, sim.url, under=under, callers__file=callers),
            f"/qos/{MEETING}",
            {"authorization": f"Bearer {token}"},
        ),
        (
            "zoom-qos-proxy, no request log",
            lambda under: Service(stage, sim.url, under=under, telemetry__log_level="warn"),
            f"/qos/{MEETING}",
            Service.HEADERS,
        ),
        ("bare actix-web", lambda under: Bare(stage, [pair], under=under), "/0", {}),
    ]
    for who, started, path, headers in contestants:
        for coding in ("identity", "gzip"):
            counted = count(stage, started, path, {**headers, "accept-encoding": coding}, requests)
            hashing, _ = counted.pop(HASHING, (0, 0))
            instructions, misses = (sum(column) for column in zip(*counted.values()))
            numbers = {"instructions": instructions, "hashing": hashing, "misses": misses}
            rows.append({"who": who, "coding": coding, **numbers})
            for where, (instructions, misses) in sorted(counted.items(), key=lambda item: -item[1][0]):
                parts.append({"who": who, "coding": coding, "where": where, "instructions": instructions, "misses": misses})
    return {"rows": rows, "parts": parts, "requests": requests}


def with_token(stage):
    """Returns a callers' file with an issuer, and a token that it signed. Only the first request verifies the signature."""
    issuer = Issuer()
    caller = f'[[caller]]\nname = "by-token"\nsubject = "{SUBJECT}"\n'
    text = callers_file() + caller + issuers(stage.write("keys.json", issuer.keys()))
    return stage.write("callers-with-token.toml", text), issuer.token()


def count(stage, started, path, headers, requests):
    """Returns, by crate, the instructions for one request, and how many of them were not in the first-level cache."""
    file = stage.path("callgrind.out")
    server = started(["valgrind", "--tool=callgrind", "--quiet", "--cache-sim=yes", f"--callgrind-out-file={file}"])
    process = server.process
    ask = Asking(server.port, path, headers)
    ask(WARM)
    control(process, "--zero")
    ask(requests)
    control(process, "--dump")
    ask.caller.close()
    process.stop()
    # The requested dump has the number 1. The dump at the program's end has none.
    counted = by_crate(file + ".1")
    os.remove(file + ".1")
    return {where: [number / requests for number in numbers] for where, numbers in counted.items()}


def control(process, what):
    subprocess.run(["callgrind_control", what, str(process.popen.pid)], check=True, stdout=subprocess.DEVNULL)


class Asking:
    """A persistent connection that repeats one request."""

    def __init__(self, port, path, headers):
        self.caller = socket.create_connection(("127.0.0.1", port))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()

    def __call__(self, times):
        for _ in range(times):
            self.caller.sendall(self.request)
            answer = self.caller.recv(1 << 16)
            while b"\r\n\r\n" not in answer:
                answer += self.caller.recv(1 << 16)
            head, _, body = answer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            length = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
            got = len(body)
            while got < length:
                got += len(self.caller.recv(1 << 16))


def by_crate(path):
    """Sums each function's own cost, without that of its callees, by the crate in its name."""
    names, counted, current, skip = {}, collections.defaultdict(lambda: [0, 0]), None, False
    with open(path) as file:
        for line in file:
            if found := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
                if found[2]:
                    names[found[1]] = found[2].strip()
                if line.startswith("fn="):
                    current = names[found[1]]
            elif line.startswith("calls="):
                # The next line has the callee's cost.
                skip = True
            elif re.match(r"[+\-*\d]", line):
                # Source line, instructions, reads, writes, instruction misses, other misses. Trailing zeros are
                # omitted.
                numbers = [*map(int, line.split()[1:]), 0, 0, 0, 0]
                if not skip:
                    of_crate = counted[crate(current)]
                    of_crate[0] += numbers[0]
                    of_crate[1] += numbers[3]
                skip = False
    return counted


# Functions of the C library that allocate memory, or copy, set, compare or search it.
C_LIBRARY = re.compile(r"malloc|free|calloc|realloc|_int_|mem(cpy|move|cmp|set|chr)|unlink_chunk|tcache|arena")


def crate(function):
    name = function.split("'")[0]
    if C_LIBRARY.search(name) and "::" not in name:
        return "memory: copies" if "mem" in name else "memory: allocator"
    found = re.match(r"[<&]*(?:dyn |mut )*\(?([a-z_0-9]+)::", name)
    return found[1] if found else "libc, system calls"
