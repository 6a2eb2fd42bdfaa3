"""Start: the time from exec to the first answer, the size of the program, and the time to build it."""

import os
import shutil
import socket
import subprocess
import time

from stage import ROOT, Service


def run(stage, quick):
    rounds = 2 if quick else 20
    if quick:
        # Any build will do, and a release build from scratch takes minutes.
        target = os.path.join(ROOT, "target")
        build(target, "dev")
        program = os.path.join(target, "debug", "zoom-qos-proxy")
        return {"rows": starts(stage, program, rounds), "program": [{"bytes": os.path.getsize(program)}]}
    # One build from scratch gives the build time and the program.
    target = os.path.join(ROOT, "target", "compare", "build")
    shutil.rmtree(target, ignore_errors=True)
    try:
        seconds = build(target, "release")
        program = os.path.join(target, "release", "zoom-qos-proxy")
        measured = {"bytes": os.path.getsize(program), "build_seconds": seconds}
        return {"rows": starts(stage, program, rounds), "program": [measured]}
    finally:
        shutil.rmtree(target, ignore_errors=True)


def starts(stage, program, rounds):
    """Seconds from exec to the first answer of the operators' listener, in each round."""
    rows = []
    for turn in range(rounds):
        # Nothing listens on port 9, so the service gets no access token. The measured answers need none.
        service = Service(stage, "http://127.0.0.1:9", wait=False, program=program)
        healthy = first_answer(service.process, service.ops_port, "/healthz")
        first_answer(service.process, service.port, "/openapi.json")
        rows.append({"round": turn, "seconds": healthy})
        service.process.stop()
    return rows


def first_answer(process, port, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(request)
                answer = caller.recv(100)
        except ConnectionRefusedError:
            if process.popen.poll() is not None:
                raise RuntimeError(process.complaint()) from None
            time.sleep(0.0002)
            continue
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        return time.monotonic() - process.began


def build(target, profile):
    """Builds the service, and those of its dependencies that `target` does not have yet. Returns the seconds that this took."""
    began = time.monotonic()
    command = ["cargo", "build", "--profile", profile, "--locked", "--quiet", "--bin", "zoom-qos-proxy", "--target-dir", target]
    subprocess.run(command, cwd=ROOT, check=True)
    return time.monotonic() - began
