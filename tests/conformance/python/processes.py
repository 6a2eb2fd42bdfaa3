"""The service and the simulator of Zoom as their own processes, and a client that keeps headers and body as received.

Uses only local addresses, and ends every process that it starts, by its process id.
"""

import dataclasses
import gzip
import io
import json
import os
import queue
import socket
import subprocess
import threading
import time

# In seconds, longer than any wait here takes.
PATIENCE = 30


@dataclasses.dataclass
class Answer:
    """An answer as received, with its request."""

    method: str
    target: str
    asked: list
    version: bytes
    status: int
    reason: bytes
    headers: list  # of (bytes, bytes), as sent
    body: bytes
    at: float

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower().encode()]
        if len(values) > 1:
            raise AssertionError(f"{name} occurs {len(values)} times in the answer to {self.target}")
        return values[0].decode("latin-1") if values else None

    def decoded(self):
        """The body without its content coding."""
        match self.header("Content-Encoding"):
            case None:
                return self.body
            case "gzip":
                return gzip.decompress(self.body)
            case "zstd":
                # Imported only here, because tests/monitoring also uses this file, and has no zstd.
                import zstandard

                source = io.BytesIO(self.body)
                return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True).read()
            case other:
                raise AssertionError(f"Content-Encoding: {other} in the answer to {self.target}")

    def json(self):
        return json.loads(self.decoded())

    def code(self):
        """The code of a problem; None for anything else."""
        if self.header("Content-Type") == "application/problem+json" and self.body:
            return self.json()["code"]
        return None


class Connection:
    """A persistent connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.stream = self.socket.makefile("rb")

    def send(self, method, target, headers=()):
        lines = [f"{method} {target} HTTP/1.1", "Host: service", "User-Agent: conformance"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def receive(self, method, target, headers=()):
        """The answer, framed as RFC 9112 requires; None if the connection was closed instead."""
        first = self.stream.readline()
        if not first:
            return None
        version, status, reason = first.rstrip(b"\r\n").split(b" ", 2)
        fields = []
        while (line := self.stream.readline()) not in (b"\r\n", b""):
            name, value = line.split(b":", 1)
            fields.append((name, value.strip(b" \t\r\n")))
        answer = Answer(
            method, target, list(headers), version.removeprefix(b"HTTP/"), int(status), reason, fields, b"", time.time()
        )
        if answer.header("Transfer-Encoding"):
            raise AssertionError("a chunked body, which this service never sends")
        if method != "HEAD" and answer.status not in (204, 304):
            length = int(answer.header("Content-Length"))
            answer.body = self.stream.read(length)
            if len(answer.body) != length:
                raise AssertionError(f"{len(answer.body)} of {length} bytes arrived")
        return answer

    def close(self):
        self.stream.close()
        self.socket.close()


def ask(address, method, target, headers=()):
    """Sends one request on its own connection, and returns the answer. Any byte after the answer is an error."""
    connection = Connection(address)
    try:
        headers = [*headers, ("Connection", "close")]
        connection.send(method, target, headers)
        answer = connection.receive(method, target, headers)
        if answer is None:
            raise AssertionError(f"no answer to {method} {target}")
        rest = connection.stream.read()
        if rest:
            raise AssertionError(f"bytes after the answer to {method} {target}: {rest[:80]!r}")
        return answer
    finally:
        connection.close()


def until(condition, what):
    """Polls until there is a value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"timed out: {what}")


class Process:
    """A child process whose lines are read as they arrive."""

    def __init__(self, arguments, environment):
        self.child = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines = []
        self.new = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(line)
            self.new.put(line)
        self.new.put(None)

    def first(self, find):
        """The first result of `find` for a line that is not empty."""
        while True:
            line = self.new.get(timeout=PATIENCE)
            if line is None:
                raise AssertionError(f"it ended early: {''.join(self.lines)}")
            found = find(line)
            if found:
                return found

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Sim(Process):
    """The simulator of Zoom, on a free port."""

    def __init__(self, binary, **settings):
        arguments = [binary, "--listen", "127.0.0.1:0"]
        for name, value in {"latency_ms": 0, "per_second": 10_000, **settings}.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        super().__init__(arguments, {})
        self.url = self.first(lambda line: line.partition("zoom-sim listens on ")[2].strip())
        self.address = self.url.removeprefix("http://")

    def order(self, method, what, **body):
        text = json.dumps(body)
        connection = Connection(self.address)
        try:
            head = f"{method} /_sim/{what} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
            connection.socket.sendall((head + text).encode())
            answer = connection.receive(method, what)
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(f"the simulator refuses {what} {text}: {answer.body!r}")
        return answer.json()

    def meeting(self, number, participants=3, samples=2):
        """Adds a meeting, and returns its id."""
        identifier = f"{91_000_000_000 + number}"
        self.order("POST", "meetings", id=identifier, participants=participants, samples=samples)
        return identifier

    def fault(self, kind, times="forever", **more):
        self.order("POST", "faults", kind=kind, times=times, **more)

    def calls(self):
        return [call for call in self.order("GET", "calls") if call["kind"] == "qos"]


class Service(Process):
    """The service in front of a simulator, on free ports; settings as in `limits__max_queued="1"`."""

    def __init__(self, binary, sim, **settings):
        defaults = {
            "server__listen": "127.0.0.1:0",
            "server__ops_listen": "127.0.0.1:0",
            "server__workers": "1",
            "server__drain_delay": "0s",
            "zoom__api_base_url": f"{sim.url}/v2",
            "zoom__oauth_url": f"{sim.url}/oauth/token",
            "zoom__account_id": "sim-account",
            "zoom__client_id": "sim-client",
            "zoom__client_secret": "sim-secret",
        }
        environment = {f"QOS_PROXY__{key.upper()}": value for key, value in {**defaults, **settings}.items()}
        super().__init__([binary], environment)
        self.callers, self.ops = self.first(self._addresses)

    @staticmethod
    def _addresses(line):
        try:
            line = json.loads(line)
        except ValueError:
            return None
        return (line["listen"], line["ops_listen"]) if "ops_listen" in line else None

    def get(self, target, *headers, method="GET"):
        return ask(self.callers, method, target, headers)

    def metrics(self):
        """Every metric with its labels, and its value."""
        lines = ask(self.ops, "GET", "/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def terminate(self):
        os.kill(self.child.pid, 15)
