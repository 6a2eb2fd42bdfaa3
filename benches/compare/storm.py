"""Cold storms: many callers ask for uncached meetings at the same time, and the upstream is slow.

Measures the number of calls to the upstream, and the time until the last caller has its answer. Compares the service with nginx,
with Varnish, and with callers that ask the upstream themselves. Connections are opened before the storm, and the service already
has an access token.
"""

import gzip
import json
import selectors
import socket
import time

from load import in_turn
from stage import CPUS, Nginx, Origin, Service, Sim, Varnish

LATENCY_MS = 300
PARTICIPANTS = 100
PAGES = PARTICIPANTS // 10
AT_36 = "zoom-qos-proxy at 36 calls/s"
HEADER_END = b"\r\n\r\n"


def storm(port, paths, headers):
    """Requests all paths at the same time, each on its own connection. Returns the seconds to the first answer and to the last."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    selector, waiting = selectors.DefaultSelector(), []
    for path in paths:
        caller = socket.create_connection(("127.0.0.1", port))
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
        waiting.append((caller, request, bytearray()))
    for one in waiting:
        selector.register(one[0], selectors.EVENT_READ, one)
    began, first = time.monotonic(), None
    for caller, request, _ in waiting:
        caller.sendall(request)
    left = len(waiting)
    while left:
        ready = selector.select(timeout=120)
        if not ready:
            raise RuntimeError(f"{left} callers wait for ever")
        for key, _ in ready:
            caller, _, answer = key.data
            part = caller.recv(1 << 20)
            if not part:
                raise RuntimeError("a connection was closed")
            answer += part
            if is_whole(answer):
                first = first or time.monotonic() - began
                left -= 1
                selector.unregister(caller)
    took = time.monotonic() - began
    for caller, _, answer in waiting:
        caller.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(bytes(answer[:400]).decode())
    return first, took


def is_whole(answer):
    head, found, body = answer.partition(HEADER_END)
    if not found:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
        if name.lower() == b"transfer-encoding":
            return body.endswith(b"0\r\n\r\n")
    raise RuntimeError(head.decode())


def run(stage, quick):
    callers, rounds = (100, 1) if quick else (1000, 6)
    fresh = iter(range(91_000_000_000, 92_000_000_000))
    sim = Sim(stage, latency_ms=LATENCY_MS, per_second=1_000_000)
    # A storm is short, and nothing else is measured at the same time, so every program may use the whole machine.
    whole_machine = {"cpus": set(CPUS)}
    service = Service(stage, sim.url, server__wait="60s", **whole_machine)
    # Limited to the calls of Zoom's business plan, less a headroom of 10 %.
    limited = Service(
        stage,
        sim.url,
        server__wait="60s",
        limits__heavy_per_second="40",
        limits__headroom_percent="10",
        **whole_machine,
    )
    warm = str(next(fresh))
    sim.add(warm, 1, 1)
    _, body = service.get(f"/qos/{warm}")
    limited.get(f"/qos/{warm}")
    large = str(next(fresh))
    sim.add(large, PARTICIPANTS, 1)
    _, body = service.get(f"/qos/{large}")
    for name, bytes_ in (("large", body), ("small", gzip.compress(json.dumps({"participants": 10 * [0]}).encode()))):
        stage.write(name, bytes_)
        stage.write(name + ".gz", gzip.compress(bytes_) if name == "large" else bytes_)
    origin = Origin(stage, stage.folder)
    nginx = Nginx(stage, origin.address, **whole_machine)
    varnish = Varnish(stage, origin.address, **whole_machine)
    direct = int(origin.address.rpartition(":")[2])
    accepts = {"accept-encoding": "gzip"}

    def through(port, name, number, meetings, milliseconds):
        """A storm on a cache, or on the origin itself, for paths that were not requested before."""
        marks = [next(fresh) for _ in range(meetings)]
        origin.count()
        first, took = storm(port, [f"/gzip/{name}/{marks[n % meetings]}/{milliseconds}" for n in range(number)], accepts)
        return {"calls": origin.count(), "first": first, "seconds": took}

    def through_us(which, number, meetings, participants):
        marks = [str(next(fresh)) for _ in range(meetings)]
        for mark in marks:
            sim.add(mark, participants, 1)
        sim.forget_calls()
        headers = {**Service.HEADERS, **accepts}
        first, took = storm(which.port, [f"/qos/{marks[n % meetings]}" for n in range(number)], headers)
        return {"calls": len(sim.calls()), "first": first, "seconds": took}

    whole = PAGES * LATENCY_MS
    calls = {"zoom-qos-proxy": PAGES}
    one = [
        ("zoom-qos-proxy", lambda: through_us(service, callers, 1, PARTICIPANTS)),
        ("nginx, proxy_cache_lock", lambda: through(nginx.port, "large", callers, 1, whole)),
        ("Varnish", lambda: through(varnish.port, "large", callers, 1, whole)),
        ("callers themselves", lambda: through(direct, "large", callers, 1, whole)),
    ]
    fifty = [
        ("zoom-qos-proxy", lambda: through_us(service, 200, 50, 10)),
        ("nginx, proxy_cache_lock", lambda: through(nginx.port, "small", 200, 50, LATENCY_MS)),
        ("Varnish", lambda: through(varnish.port, "small", 200, 50, LATENCY_MS)),
        ("callers themselves", lambda: through(direct, "small", 200, 50, LATENCY_MS)),
        (AT_36, lambda: through_us(limited, 200, 50, 10)),
    ]
    rows = []
    for turn in range(rounds):
        for who, ask in in_turn(one, turn):
            storm_of = {"storm": "one meeting", "callers": callers, "who": who, "round": turn}
            least = {"least_calls": calls.get(who, 1), "least_seconds": whole / 1000}
            rows.append({**storm_of, **least, **ask()})
        for who, ask in in_turn(fifty, turn):
            storm_of = {"storm": "fifty meetings", "callers": 200, "who": who, "round": turn}
            # 36 a second are permitted, so the 50th call leaves 49/36 s after the first at the earliest.
            wait = 49 / 36 if who == AT_36 else 0
            rows.append({**storm_of, "least_calls": 50, "least_seconds": wait + LATENCY_MS / 1000, **ask()})
    return {"rows": rows, "body": len(body), "latency_ms": LATENCY_MS}
