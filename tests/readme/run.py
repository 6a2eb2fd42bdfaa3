"""Runs the shell lines of the README except `make test`, in the order of the page, against the simulator of Zoom.

    run.py [--verbose]

It needs the programs of `cargo build --workspace --bins --example demo`, and the helm of the chart's tests. The lines run in one
bash, in a copy of the checkout, as a reader would type them one after the other. Only `adapted` and stand_ins.py change what the
lines do. A line must end with status 0; a comment that begins with a status is compared with the answer; the JSON block after a
line is compared with what the line prints ("…" stands for anything).
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The limit for one line. `make demo` and a start of the service take seconds.
PATIENCE_SECONDS = 120
# Programs that serve until stopped. A reader runs them in another terminal, or with `&`.
SERVES = re.compile(r"^(make demo|\S*/zoom-qos-proxy( &)?$|docker run --detach)")
# `make test` is not run, because this test is a part of it.
THIS_IS_IT = "make test"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def blocks(text):
    """(language, first line's number, lines) of each fenced block; a `\\` at the end of a line joins it with the next."""
    found, inside = [], None
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r" *```(\w*)", line)
        if fence and inside is None:
            inside = (fence[1], number + 1, [])
        elif fence:
            found.append(inside)
            inside = None
        elif inside:
            lines = inside[2]
            if lines and lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1].rstrip() + " " + line.strip()
            else:
                lines.append(line.strip())
    return found


def is_like(expected, found):
    """Whether the answer contains at least what the page shows."""
    if expected == "…":
        return True
    if isinstance(expected, dict):
        keys = [key for key in expected if key != "…"]
        return isinstance(found, dict) and all(key in found and is_like(expected[key], found[key]) for key in keys)
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(is_like, expected, found))
    return expected == found


class Reader:
    """A reader at a terminal: one shell, and at most one program that serves."""

    def __init__(self, folder):
        self.folder, self.home = folder, folder / "home"
        self.port, self.ops_port = free_port(), free_port()
        self.serving = self.terminal = None
        self.served = b""
        self.sim = subprocess.Popen(
            [ROOT / "target/debug/zoom-sim", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        sim = re.search(r"http://\S+", self.sim.stdout.readline())[0].rstrip("/")
        copy(self.home)
        secrets = self.home / "etc/secrets"
        secrets.mkdir(parents=True)
        for name in ("account_id", "client_id", "client_secret"):
            text = f"sim-{name.split('_')[0]}" if name != "client_secret" else "sim-secret"
            for place in (secrets, self.home):
                (place / name).write_text(text + "\n")
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        for name in ("docker", "kubectl", "helm", "cargo"):
            starter = bin_folder / name
            starter.write_text(f'#!/bin/sh\nexec python3 "{HERE}/stand_ins.py" {name} "$@"\n')
            starter.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "QOS_PROXY__ZOOM__API_BASE_URL": f"{sim}/v2",
            "QOS_PROXY__ZOOM__OAUTH_URL": f"{sim}/oauth/token",
            "QOS_PROXY__SERVER__LISTEN": f"127.0.0.1:{self.port}",
            "QOS_PROXY__SERVER__OPS_LISTEN": f"127.0.0.1:{self.ops_port}",
            "QOS_PROXY__SERVER__DRAIN_DELAY": "0s",
            "README_CHECKOUT": str(ROOT),
            "README_STATE": str(folder),
            "MAKEFLAGS": "",
            "MAKELEVEL": "",
        }
        self.shell = subprocess.Popen(
            ["bash", "--norc"], cwd=self.home, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def adapted(self, line):
        """The line with this machine's ports and files, and the simulator's credentials."""
        line = line.replace("ACCOUNT_ID=…", "ACCOUNT_ID=sim-account").replace("CLIENT_ID=…", "CLIENT_ID=sim-client")
        line = line.replace("/path/to/client_secret", str(self.home / "client_secret"))
        line = line.replace("/etc/zoom-qos-proxy/secrets", str(self.home / "etc/secrets"))
        line = line.replace("localhost:8080", f"127.0.0.1:{self.port}").replace("8080:8080", f"{self.port}:8080")
        line = line.replace("127.0.0.1:9090:9090", f"127.0.0.1:{self.ops_port}:9090")
        return re.sub(r"^make demo", f"make demo PORT={self.port} OPS_PORT={self.ops_port}", line)

    def run(self, line):
        """The line's output; an error unless it exited with 0."""
        if SERVES.match(line.split("#")[0].strip()):
            return self.serve(line)
        self.shell.stdin.write(f"{self.adapted(line)}\necho \"readme-status:$?\"\n")
        self.shell.stdin.flush()
        said = []
        for answer in self.shell.stdout:
            before, mark, status = answer.partition("readme-status:")
            said.append(before)
            if mark:
                if status.strip() != "0":
                    raise AssertionError(f"it exited with {status.strip()}:\n{''.join(said)}")
                return "".join(said)
        raise AssertionError(f"the shell exited:\n{''.join(said)}")

    def serve(self, line):
        """Starts a program that serves, in the shell's environment, and waits until it answers."""
        self.stop()
        exported = self.run("export -p >../environment; declare -p key >>../environment 2>/dev/null; true")
        command = f". ../environment; exec {self.adapted(line).split('#')[0].rstrip(' &')}"
        # In its own terminal, so that Ctrl-C works as for a reader.
        self.terminal, inside = pty.openpty()
        self.serving = subprocess.Popen(
            ["bash", "-c", command], cwd=self.home, env=self.environment, stdin=inside, stdout=inside, stderr=inside,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(inside)
        threading.Thread(target=self.listen, args=[self.terminal], daemon=True).start()
        began = time.monotonic()
        while not self.answers():
            if self.serving.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
                raise AssertionError("it does not serve:\n" + self.served.decode()[-2000:])
            time.sleep(0.05)
        if line.startswith("make demo"):
            self.opens_a_page()
        return exported

    def opens_a_page(self):
        """Asserts that the first address that the demo prints is a page for people."""
        began = time.monotonic()
        while not (found := re.search(rb"(http://\S+)\s", self.served)) and time.monotonic() - began < PATIENCE_SECONDS:
            time.sleep(0.05)
        with urllib.request.urlopen(found[1].decode(), timeout=PATIENCE_SECONDS) as answer:
            text = answer.read().decode()
            if answer.headers.get_content_type() != "text/html" or "Participant 1" not in text:
                raise AssertionError(f"the demo's first address is no page of a meeting: {found[1]}: {text[:500]}")

    def listen(self, terminal):
        """Reads the output until the last program has closed the terminal."""
        try:
            while said := os.read(terminal, 65536):
                self.served += said
        except OSError:
            pass

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def stop(self):
        """Sends Ctrl-C to the program that serves."""
        if self.serving is None:
            return
        os.write(self.terminal, b"\x03")
        status = self.serving.wait(PATIENCE_SECONDS)
        os.close(self.terminal)
        self.serving = None
        if status != 0:
            raise AssertionError(f"the program that served exited with {status} on Ctrl-C")

    def leave(self):
        for process in (self.serving, self.shell):
            if process and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.sim.terminate()
        self.sim.wait()


def copy(into):
    """Copies the files that git tracks, and links the debug build."""
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in files.split("\0")[:-1]:
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    (into / "target/debug/examples").mkdir(parents=True)
    for program in ("zoom-qos-proxy", "examples/demo"):
        (into / "target/debug" / program).symlink_to(ROOT / "target/debug" / program)


def problem_with(line, said, expected):
    """The problem with a line's output; `None` if it is as expected."""
    status = re.search(r"# ([1-5]\d\d)\b", line)
    if status and not re.search(rf"^HTTP/1\.1 {status[1]}\b", said, re.M):
        return f"the page says {status[1]}"
    # curl exits with 0 for an error response, too, so an unexpected problem must be detected in the output.
    if not status and "urn:zoom-qos-proxy:problem:" in said:
        return "a problem was answered"
    if expected is not None and not is_like(expected, json.loads(said[said.index("{"):])):
        return "the page shows another answer"
    return None


def main():
    # SIGTERM raises an exception, so that the processes started here are also stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    page = blocks((ROOT / "README.md").read_text())
    lines = [(number + at, line, language, place) for place, (language, number, body) in enumerate(page)
             if language == "sh" for at, line in enumerate(body)]
    wrong = 0
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        reader = Reader(pathlib.Path(folder))
        try:
            for number, line, _, place in lines:
                if line.split("#")[0].strip() in ("", THIS_IS_IT):
                    continue
                is_last = number == max(other for other, _, _, where in lines if where == place)
                follows = page[place + 1] if is_last and place + 1 < len(page) else ("", 0, [])
                expected = json.loads("".join(follows[2])) if follows[0] == "json" else None
                try:
                    said = reader.run(line)
                    problem = problem_with(line, said, expected)
                except AssertionError as error:
                    said, problem = "", str(error)
                print(f"{'ok ' if problem is None else 'NOT'}  README.md:{number}: {line}", flush=True)
                if problem or "--verbose" in sys.argv:
                    print(f"{problem or ''}\n{said}")
                wrong += problem is not None
            reader.stop()
        finally:
            reader.leave()
    print(f"{len(lines)} lines, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
