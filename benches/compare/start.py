"""Start: from exec to the first answer, on either listener; how large the program is, and how long it takes to build."""

import os
import shutil
import socket
import subprocess
import time

from stage import ROOT, Service, built


def run(stage, quick):
    rounds = 2 if quick else 20
    # The other parts leave a build of the program there that keeps the names of functions.
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "zoom-qos-proxy"]
    subprocess.run(command, cwd=ROOT, check=True)
    rows = []
    for turn in range(rounds):
        # Nobody is there who could be asked for an access token: the first answer does without.
        service = Service(stage, "http://127.0.0.1:9", wait=False)
        healthy = first_answer(service.process, service.ops_port, "/healthz")
        first_answer(service.process, service.port, "/openapi.json")
        rows.append({"round": turn, "seconds": healthy})
        service.process.stop()
    program = {"bytes": os.path.getsize(built("zoom-qos-proxy"))}
    if not quick:
        program["build_seconds"] = build()
    return {"rows": rows, "program": [program]}


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


def build():
    """Seconds to build the release from nothing, dependencies included."""
    target = os.path.join(ROOT, "target", "compare", "build")
    shutil.rmtree(target, ignore_errors=True)
    began = time.monotonic()
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "zoom-qos-proxy", "--target-dir", target]
    try:
        subprocess.run(command, cwd=ROOT, check=True)
        return time.monotonic() - began
    finally:
        shutil.rmtree(target, ignore_errors=True)
