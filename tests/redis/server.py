"""A real `redis-server` or `valkey-server` for one test, and a client that speaks just enough of its protocol.

The counterpart for tests in Python of tests/support/src/redis_server.rs. The server is separate from any other on this machine.
"""

import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

# Seconds after which a wait fails.
PATIENCE = 30
# An installed server is preferred to the one that `scripts/prepare redis-server` unpacked.
PROGRAMS = ("valkey-server", "redis-server", str(pathlib.Path(__file__).resolve().parents[2] / "target/debian/bin/redis-server"))


class Refused(Exception):
    """An error reply to a command. It is returned, not raised."""


def ask(port, *commands):
    """Sends commands, each a list of words, on a new connection, and returns the replies."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection, connection.makefile("rb") as stream:
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
            connection.sendall(b"".join(parts))
        return [_answer(stream) for _ in commands]


def _answer(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection")
    kind, rest = line[:1], line[1:-2]
    match kind:
        case b"+":
            return rest.decode()
        case b"-":
            return Refused(rest.decode())
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode()
        case b"*":
            return [_answer(stream) for _ in range(int(rest))]
    raise AssertionError(f"not a RESP2 reply: {line!r}")


class Server:
    """A server that runs until it is stopped. Takes its command line arguments, and keyword arguments for Popen."""

    def __init__(self, *arguments, **how):
        self.arguments, self.how = [str(each) for each in arguments], how
        self.folder = tempfile.TemporaryDirectory()
        self.child = None
        # Another program may take the port between the check and the start.
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            if self.start():
                return
        raise AssertionError(f"no server could be started: {self.said()}")

    def start(self):
        """Starts the server on its port, with only the data that it has on disk. Returns whether it started."""
        program = next(path for each in PROGRAMS if (path := shutil.which(each)))
        # Later arguments take precedence, even over a configuration file.
        here = ["--port", str(self.port), "--bind", "127.0.0.1"]
        with open(f"{self.folder.name}/log", "w") as log:
            self.child = subprocess.Popen(
                [program, *self.arguments, *here], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, **{"cwd": self.folder.name, **self.how},
            )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.child.poll() is None:
            # The log is read because a connection to the port could reach another program.
            if "Ready to accept connections" in self.said():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def said(self):
        with open(f"{self.folder.name}/log") as log:
            return log.read()

    def stop(self):
        """Stops the server as Kubernetes does: SIGTERM, and SIGKILL if it does not exit in time."""
        self.child.terminate()
        try:
            self.child.wait(PATIENCE)
        finally:
            self.child.kill()
            self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()
