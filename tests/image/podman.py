"""Containers for the tests: started with a restrictive platform's settings, reached over published ports. What is created here is
removed when Python exits. Nothing else is removed, because all names contain this process's id."""

import atexit
import http.client
import json
import os
import subprocess
import time

# With these options, a container has no privileges, and a writable path only if another option adds one.
HARDENED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
# A wait that takes longer than this has failed.
PATIENCE_SECONDS = 20


def run(*arguments):
    """podman's exit status and output."""
    return subprocess.run(["podman", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def ask(*arguments):
    """podman's output; an error if the command failed."""
    ended = run(*arguments)
    if ended.returncode:
        raise AssertionError(f"podman {' '.join(map(str, arguments))}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def inspect(kind, name):
    return json.loads(ask(kind, "inspect", name))[0]


def removed_at_the_end(*arguments):
    """Registers a podman command to run at exit. Registered commands run in reverse order."""
    atexit.register(run, *arguments)


def mounted(image):
    """The folder with an image's contents."""
    removed_at_the_end("image", "unmount", image)
    return ask("image", "mount", image)


def volume():
    """Creates a volume, and returns its name."""
    name = f"zoom-qos-proxy-test-{os.getpid()}"
    removed_at_the_end("volume", "rm", "--force", name)
    return ask("volume", "create", name)


class Container:
    """A started container, which may exit by itself."""

    count = 0

    def __init__(self, image, *command, options=(), environment=None):
        Container.count += 1
        self.name = f"zoom-qos-proxy-test-{os.getpid()}-{Container.count}"
        variables = [f"--env={key}={value}" for key, value in (environment or {}).items()]
        removed_at_the_end("rm", "--force", "--time=0", "--ignore", self.name)
        ask("run", "--detach", "--name", self.name, *HARDENED, *variables, *options, image, *command)
        self.state = inspect("container", self.name)

    @property
    def pid(self):
        return self.state["State"]["Pid"]

    @property
    def ip(self):
        return self.state["NetworkSettings"]["IPAddress"]

    def port(self, inside):
        """A published port's address on the host, for http.client."""
        published = self.state["NetworkSettings"]["Ports"][f"{inside}/tcp"][0]
        return published["HostIp"], int(published["HostPort"])

    def get(self, inside, path):
        connection = http.client.HTTPConnection(*self.port(inside), timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def until(self, inside, path, status):
        """Waits for an answer with this status."""
        give_up, seen = time.monotonic() + PATIENCE_SECONDS, None
        while time.monotonic() < give_up:
            try:
                seen = self.get(inside, path)[0]
            except OSError as error:
                seen = error
            if seen == status:
                return
            time.sleep(0.05)
        raise AssertionError(f"{path} of {self.name} is {seen!r} instead of {status}; its log:\n{self.log()}")

    def log(self):
        ended = run("logs", self.name)
        return ended.stdout + ended.stderr

    def status_of_process(self):
        """The fields of /proc/PID/status of the container's process, by name."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:
            return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
