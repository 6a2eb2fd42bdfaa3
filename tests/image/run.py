"""Tests the image from outside: podman runs it with a restrictive platform's settings, and it serves a meeting of the simulator.

    python3 run.py IMAGE ITS_BASE_IMAGE SIMULATOR_IMAGE

Needs root and podman; see scripts/image-test. It removes everything that it starts.
"""

import datetime
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

sys.dont_write_bytecode = True

from podman import Container, ask, inspect, mounted, run, volume

PROGRAM = "/usr/local/bin/zoom-qos-proxy"
MEETING = "/qos/85746065432"
SECRETS = {"account_id": "sim-account", "client_id": "sim-client", "client_secret": "sim-secret"}
# Expected warnings: the simulator is on another host without TLS, and the service has no callers file.
ANNOUNCED = ("http sends secrets unencrypted", "callers.file: is not set")
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "toybox"}
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
IMAGE, BASE, SIMULATOR = sys.argv[1:4]


class Image(unittest.TestCase):
    """The contents of the image."""

    @classmethod
    def setUpClass(cls):
        cls.image, cls.base = inspect("image", IMAGE), inspect("image", BASE)
        cls.root = mounted(IMAGE)

    def test_scanners_find_the_crates_in_it(self):
        done = crates(self.root + PROGRAM)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # The simulator's program has no list of crates.
        done = crates(mounted(SIMULATOR) + "/usr/local/bin/zoom-sim")
        self.assertEqual(done.returncode, 1)
        self.assertIn("has no list of crates", done.stderr)

    def test_it_says_how_it_is_run(self):
        config = self.image["Config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], [PROGRAM])
        self.assertFalse(config.get("Cmd"))
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(set(config["ExposedPorts"]), {"8080/tcp", "9090/tcp"})
        self.assertLessEqual(
            {"QOS_PROXY__SERVER__LISTEN=0.0.0.0:8080", "QOS_PROXY__SERVER__OPS_LISTEN=0.0.0.0:9090"},
            set(config["Env"]),
        )
        with open(os.path.join(ROOT, "docs/OPERATIONS.md")) as document:
            self.assertIn(next(name for name in config["Env"] if name.startswith("GLIBC_TUNABLES=")), document.read())
        self.assertEqual(self.image["Healthcheck"]["Test"], ["CMD", PROGRAM, "healthcheck"])

    def test_its_labels_say_what_it_is(self):
        prefix, all_labels = "org.opencontainers.image.", self.image["Config"]["Labels"]
        labels = {key.removeprefix(prefix): value for key, value in all_labels.items() if key.startswith(prefix)}
        with open(os.path.join(ROOT, "Cargo.toml"), "rb") as manifest:
            manifest = tomllib.load(manifest)
        self.assertEqual(labels["title"], manifest["package"]["name"])
        self.assertEqual(labels["description"], manifest["package"]["description"])
        self.assertEqual(labels["version"], manifest["workspace"]["package"]["version"])
        self.assertEqual(labels["licenses"], manifest["workspace"]["package"]["license"])
        self.assertRegex(labels["revision"], r"^([0-9a-f]{40}(-dirty)?|unknown)$")
        if labels["created"] != "unknown":
            datetime.datetime.strptime(labels["created"], "%Y-%m-%dT%H:%M:%SZ")
        self.assertIn("source", labels)
        self.assertEqual(ask("run", "--rm", IMAGE, "--version"), f"zoom-qos-proxy {labels['version']}")

    def test_it_adds_one_program_and_an_empty_folder_to_its_base(self):
        layers, base = self.image["RootFS"]["Layers"], self.base["RootFS"]["Layers"]
        self.assertEqual(layers[: len(base)], base)
        before = set(everything_in(mounted(BASE)))
        added = set(everything_in(self.root)) - before - {"/usr/local", "/usr/local/bin", "/var/lib"}
        self.assertEqual(added, {PROGRAM, "/var/lib/zoom-qos-proxy"})
        program, state = (os.lstat(self.root + path) for path in (PROGRAM, "/var/lib/zoom-qos-proxy"))
        self.assertEqual((program.st_uid, stat.filemode(program.st_mode)), (0, "-rwxr-xr-x"), "it cannot change itself")
        self.assertEqual((state.st_uid, state.st_gid, stat.filemode(state.st_mode)), (65532, 65532, "drwxr-xr-x"))
        self.assertEqual(os.lstat(self.root + "/var/lib").st_uid, 0)

    def test_there_is_no_shell_in_it(self):
        found = [path for path in everything_in(self.root) if os.path.basename(path) in SHELLS and is_program(self.root + path)]
        self.assertEqual(found, [])
        self.assertIn(run("run", "--rm", "--entrypoint=/bin/sh", IMAGE, "-c", "true").returncode, (126, 127))

    def test_a_wrong_configuration_is_reported_with_status_78(self):
        ended = run("run", "--rm", "--read-only", IMAGE, "check-config")
        self.assertEqual(ended.returncode, 78)
        for key in SECRETS:
            self.assertIn(f"zoom.{key}", ended.stderr)


class Service(unittest.TestCase):
    """The service's behaviour in a container without further permissions."""

    @classmethod
    def setUpClass(cls):
        cls.simulator = Container(SIMULATOR, options=["--publish=127.0.0.1::8090"])
        cls.simulator.until(8090, "/_sim/calls", 200)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.secrets = folder.name
        os.chmod(cls.secrets, 0o755)
        for key, value in SECRETS.items():
            with open(os.path.join(cls.secrets, key), "w", encoding="ascii") as file:
                file.write(value + "\n")

    def service(self, options=(), environment=None, readiness=200):
        """A container with credentials in files, once /readyz has this status."""
        zoom = f"http://{self.simulator.ip}:8090"
        settings = {"QOS_PROXY__ZOOM__API_BASE_URL": f"{zoom}/v2", "QOS_PROXY__ZOOM__OAUTH_URL": f"{zoom}/oauth/token"}
        settings |= {f"QOS_PROXY__ZOOM__{key.upper()}_FILE": f"/run/secrets/zoom/{key}" for key in SECRETS}
        mounts = [f"--volume={self.secrets}:/run/secrets/zoom:ro"]
        service = self.start(options=[*mounts, *options], environment=settings | (environment or {}))
        service.until(9090, "/readyz", readiness)
        return service

    def start(self, *command, options=(), environment=None):
        published = ["--publish=127.0.0.1::8080", "--publish=127.0.0.1::9090"]
        return Container(IMAGE, *command, options=[*published, *options], environment=environment)

    def test_it_runs_without_any_right(self):
        service = self.service()
        status = service.status_of_process()
        self.assertEqual(set(status["Uid"].split()) | set(status["Gid"].split()), {"65532"})
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[kind], 16), 0, kind)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2", "filtered")
        with open(f"/proc/{service.pid}/mountinfo", encoding="utf-8") as lines:
            root = [line.split() for line in lines if line.split()[4] == "/"]
        self.assertIn("ro", root[-1][5].split(","))

    def test_it_serves_a_meeting_and_then_from_memory(self):
        service = self.service()
        status, headers, body = service.get(8080, MEETING)
        self.assertEqual((status, headers["Cache-Status"]), (200, "zoom-qos-proxy; fwd=uri-miss; fwd-status=200; stored"))
        meeting = json.loads(body)
        self.assertEqual(meeting["meeting_id"], MEETING.rpartition("/")[2])
        self.assertGreaterEqual(len(meeting["participants"]), 1)
        self.assertEqual(len(meeting["participants"]), meeting["total_records"])
        status, headers, again = service.get(8080, MEETING)
        self.assertEqual((status, again), (200, body))
        self.assertTrue(headers["Cache-Status"].startswith("zoom-qos-proxy; hit; ttl="), headers["Cache-Status"])
        self.assertIn(b"zoom_qos_proxy_build_info{", service.get(9090, "/metrics")[2])

    def test_it_is_healthy(self):
        service = self.service()
        healthy = run("healthcheck", "run", service.name)
        self.assertEqual(healthy.returncode, 0, healthy.stdout + healthy.stderr)

    def test_it_is_healthy_too_when_a_file_configures_it(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, "config.toml")
            with open(path, "w", encoding="ascii") as file:
                file.write("[zoom]\n" + "".join(f'{key} = "{value}"\n' for key, value in SECRETS.items()))
            mounted = f"--volume={path}:/etc/zoom-qos-proxy/config.toml:ro"
            service = self.start("--config", "/etc/zoom-qos-proxy/config.toml", options=[mounted])
            service.until(9090, "/readyz", 200)
            healthy = run("healthcheck", "run", service.name)
            self.assertEqual(healthy.returncode, 0, healthy.stdout + healthy.stderr)

    def test_it_is_unhealthy_while_refused_by_zoom(self):
        wrong = {"QOS_PROXY__ZOOM__CLIENT_SECRET_FILE": "/run/secrets/zoom/client_id"}
        service = self.service(environment=wrong, readiness=503)
        self.assertEqual(service.get(8080, MEETING)[0], 502)
        self.assertEqual(run("healthcheck", "run", service.name).returncode, 1)

    def test_sigterm_ends_it_in_order_and_with_0(self):
        service = self.service(environment={"QOS_PROXY__SERVER__DRAIN_DELAY": "3s"})
        self.assertEqual(service.get(8080, MEETING)[0], 200)
        began = time.monotonic()
        ask("kill", "--signal=TERM", service.name)
        service.until(9090, "/readyz", 503)
        self.assertEqual(run("healthcheck", "run", service.name).returncode, 1)
        self.assertEqual(service.get(8080, MEETING)[0], 200, "it is drained, not gone")
        self.assertEqual(ask("wait", service.name), "0")
        took = time.monotonic() - began
        self.assertTrue(3 <= took < 3 + 25, f"longer than drain and shutdown may take: {took:.1f} s")

        lines = service.log().splitlines()
        unannounced = [
            line for line in lines
            if json.loads(line)["level"] in ("WARN", "ERROR") and not any(each in line for each in ANNOUNCED)
        ]
        self.assertEqual(unannounced, [])
        self.assertTrue(any('"route":"qos"' in line for line in lines), "the request is in the log")
        self.assertNotIn(SECRETS["client_secret"], service.log())

    def test_the_days_count_is_kept_on_a_volume(self):
        state = {
            "options": [f"--volume={volume()}:/var/lib/zoom-qos-proxy"],
            "environment": {
                "QOS_PROXY__LIMITS__STATE_FILE": "/var/lib/zoom-qos-proxy/day.json",
                "QOS_PROXY__SERVER__DRAIN_DELAY": "0s",
            },
        }
        first = self.service(**state)
        self.assertEqual(first.get(8080, MEETING)[0], 200)
        used = calls_used(first)
        self.assertGreaterEqual(used, 1)
        # podman sends the image's stop signal. If it had to kill the container after the grace period, the status would be 137.
        ask("stop", "--time=30", first.name)
        self.assertEqual(inspect("container", first.name)["State"]["ExitCode"], 0)
        self.assertEqual(calls_used(self.service(**state)), used)

    def test_nothing_is_written_beside_a_volume(self):
        state_file = {"QOS_PROXY__LIMITS__STATE_FILE": "/var/lib/zoom-qos-proxy/day.json"}
        secrets = {f"QOS_PROXY__ZOOM__{key.upper()}": value for key, value in SECRETS.items()}
        service = self.start(environment=state_file | secrets)
        self.assertEqual(ask("wait", service.name), "78")
        self.assertIn("limits.state_file", service.log())


def calls_used(service):
    for line in service.get(9090, "/metrics")[2].decode().splitlines():
        if line.startswith("zoom_qos_proxy_day_calls_used "):
            return float(line.split()[1])
    raise AssertionError("no zoom_qos_proxy_day_calls_used in /metrics")


def crates(program):
    command = [os.path.join(ROOT, "scripts/release"), "crates", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def everything_in(root):
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            yield os.path.join(folder, name)[len(root) :]


def is_program(path):
    found = os.lstat(path)
    return stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_mode & 0o111)


if __name__ == "__main__":
    # Handle SIGTERM like Ctrl-C, which unittest does not count as a failed test, so that cleanup runs.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    whole, base = (inspect("image", name)["Size"] / 2**20 for name in (IMAGE, BASE))
    print(f"size: {whole:.1f} MiB, of it {base:.1f} MiB the base image", flush=True)
    unittest.main(argv=sys.argv[:1], verbosity=2)
