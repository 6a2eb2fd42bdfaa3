"""Start: from exec to the first answer, on either listener; how large the program is, and how long it takes to build."""

import os
import shutil
import socket
import subprocess
import time

from stage import ROOT, Service


def run(stage, quick):
    rounds = 2 if quick else 20
    if quick:
        # Any program will do, and a build from nothing takes minutes.
        target = os.path.join(ROOT, "target")
        build(target, "dev")
        program = os.path.join(target, "debug", "zoom-qos-proxy")
        return {"rows": starts(stage, program, rounds), "program": [{"bytes": os.path.getsize(program)}]}
    # One build from nothing gives its time and the program.
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
    """Seconds from exec to the first answer, of each round."""
    rows = []
    for turn in range(rounds):
        # Nothing listens there, so the service gets no access token. The first answers need none.
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
    """Seconds to build the service, with those of its dependencies that are not in this folder yet."""
    began = time.monotonic()
    command = ["cargo", "build", "--profile", profile, "--locked", "--quiet", "--bin", "zoom-qos-proxy", "--target-dir", target]
    subprocess.run(command, cwd=ROOT, check=True)
    return time.monotonic() - began
