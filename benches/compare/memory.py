"""Memory: how much each cached meeting adds to the resident size, and the resident size without meetings.

One caller that accepts gzip fills each program over HTTP, with the same number of meetings of the same size. nginx keeps the
bodies in files, here in memory. These files count. Memory that several processes share counts once.
"""

import gzip
import http.client
import time

from stage import Nginx, Origin, Service, Sim, Varnish

# Name, participants, samples, number of meetings.
SIZES = [("14 KB", 1, 8, 10_000), ("800 KB", 10, 46, 1_000)]


def run(stage, quick):
    rows, idle = [], []
    for number, (size, participants, samples, meetings) in enumerate(SIZES):
        meetings = 50 if quick else meetings
        sim = Sim(stage)
        service = Service(stage, sim.url, cache__max_bytes="8GiB")
        first = 94_000_000_000 + number * 1_000_000
        sim.add(first, participants, samples)
        # Before the measurement, a first meeting creates the access token, compressors and buffers.
        _, plain = service.get(f"/qos/{first}")
        sim.forget_calls()
        if not number:
            idle.append({"who": "zoom-qos-proxy", "bytes": settled(service.process)})
        name = f"body-{number}"
        stage.write(name, plain)
        stage.write(name + ".gz", gzip.compress(plain, 6))
        origin = Origin(stage, stage.folder)
        nginx, varnish = Nginx(stage, origin.address), Varnish(stage, origin.address)
        if not number:
            idle.append({"who": "nginx", "bytes": settled(nginx.process)})
            idle.append({"who": "Varnish", "bytes": settled(varnish.process)})

        def ours(index):
            meeting = str(first + 1 + index)
            sim.add(meeting, participants, samples)
            return f"/qos/{meeting}"

        others = lambda index: f"/gzip/{name}/{index}/0"
        for who, server, path, headers in [
            ("zoom-qos-proxy", service, ours, Service.HEADERS),
            ("nginx", nginx, others, {}),
            ("Varnish", varnish, others, {}),
        ]:
            stored = getattr(server, "stored", lambda: 0)
            before = settled(server.process) + stored()
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            for index in range(meetings):
                connection.request("GET", path(index), headers={**headers, "accept-encoding": "gzip"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200 or answer.getheader("content-encoding") != "gzip":
                    raise RuntimeError(f"{who}: {answer.status} {answer.headers}")
            added = settled(server.process) + stored() - before
            row = {"size": size, "body": len(plain), "who": who, "meetings": meetings, "added": added}
            if who == "zoom-qos-proxy":
                row["counted"] = service.metric("cache_bytes") / (meetings + 1)
            rows.append(row)
        for process in (service.process, sim.process, nginx.process, varnish.process, origin.process):
            process.stop()
    return {"rows": rows, "idle": idle}


def settled(process):
    """The resident size once it has settled, or after 24 s. Caches free memory about once a second."""
    last = process.resident()
    for _ in range(20):
        time.sleep(1.2)
        now = process.resident()
        if abs(now - last) < 64 * 1024:
            return now
        last = now
    return last
