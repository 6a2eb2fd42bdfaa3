"""Growth: the cost of a hit in a full cache, of a flight of many participants, of a long queue, and of a second worker."""

import http.client
import subprocess

import divan
from load import REPORT, in_turn, measured, wrk
from stage import CPUS, Service, Sim, built, callers_file

FIRST = 90_000_000_000
# Each request asks for a meeting that is chosen at random.
AT_RANDOM = REPORT + """
math.randomseed(7)
request = function() return wrk.format("GET", string.format("/qos/%d", {first} + math.random(0, {meetings} - 1))) end
"""


def run(stage, quick):
    rounds, seconds = (1, 1) if quick else (9, 2)
    return {
        "hits": hits_in_a_full_cache(stage, [100, 1_000] if quick else [100, 10_000, 1_000_000], rounds, seconds),
        "flights": flights(stage, [10, 50] if quick else [10, 100, 300, 1_000], rounds),
        "queue": divan.rows("queue", samples=10 if quick else 100),
        "workers": workers(stage, rounds, seconds),
    }


def hits_in_a_full_cache(stage, fillings, rounds, seconds):
    environment = {"QOS_PROXY__CALLERS__FILE": stage.write("callers.toml", callers_file())}
    servers = []
    for meetings in fillings:
        command = [built("examples/filled"), str(meetings)]
        # The program's log goes to the same pipe as its address. `cat` drains it, or the program would block once it is
        # full.
        process = stage.start(command, environment=environment, says=r"listens on http://127.0.0.1:(\d+)")
        subprocess.Popen(["cat"], stdin=process.popen.stdout, stdout=subprocess.DEVNULL)
        text = AT_RANDOM.replace("{first}", str(FIRST)).replace("{meetings}", str(meetings))
        servers.append((meetings, process, int(process.said[1]), stage.write(f"random-{meetings}.lua", text)))
    rows = []
    for turn in range(rounds + 1):
        for meetings, process, port, script in in_turn(servers, turn):
            numbers = measured(process, wrk, port, "/", seconds, Service.HEADERS, script)
            if turn:
                rows.append({"entries": meetings, "round": turn, **numbers})
    for _, process, *_ in servers:
        process.stop()
    return rows


def flights(stage, sizes, rounds):
    """Processor time of whole flights, one after the other. Before each, the meeting is purged from the cache."""
    sim = Sim(stage)
    service = Service(stage, sim.url, server__wait="60s")
    operators = http.client.HTTPConnection("127.0.0.1", service.ops_port)
    rows = []
    for turn in range(rounds):
        for participants in sizes:
            meeting = FIRST + participants
            if not turn:
                sim.add(meeting, participants, 10)
                service.get(f"/qos/{meeting}", **{"accept-encoding": "gzip"})
            times = max(1, 400 // participants)
            sim.forget_calls()
            before = service.process.cpu_seconds()
            for _ in range(times):
                operators.request("DELETE", f"/cache/{meeting}")
                operators.getresponse().read()
                answer, _ = service.get(f"/qos/{meeting}", **{"accept-encoding": "gzip"})
                if "fwd=uri-miss" not in answer.getheader("cache-status"):
                    raise RuntimeError(answer.getheader("cache-status"))
            cpu = (service.process.cpu_seconds() - before) / times
            if len(sim.calls()) != times * -(-participants // 10):
                raise RuntimeError("not one call for each page")
            rows.append({"participants": participants, "round": turn, "cpu": cpu})
    service.process.stop()
    return rows


def workers(stage, rounds, seconds):
    """Requests per second and processor time, with one worker and with two. The service may use all processors, wrk only one."""
    sim = Sim(stage)
    script = stage.write("report.lua", REPORT)
    meeting = FIRST + 8
    sim.add(meeting, 1, 4)
    rows = []
    services = [(number, Service(stage, sim.url, cpus=set(CPUS), server__workers=str(number))) for number in (1, 2)]
    for turn in range(rounds + 1):
        for number, service in services[:: 1 if turn % 2 else -1]:
            numbers = measured(service.process, wrk, service.port, f"/qos/{meeting}", seconds, Service.HEADERS, script)
            if turn:
                rows.append({"workers": number, "round": turn, **numbers})
    return rows
