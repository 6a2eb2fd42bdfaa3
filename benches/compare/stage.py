"""Starts the programs of a measurement: the service, the simulator of Zoom, nginx, Varnish, an origin. Reads their use of
processors and memory.

All listen on free ports of 127.0.0.1, write below one temporary folder, and are stopped at the end.
"""

import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILT = os.path.join(ROOT, "target", "release")
CALLER_KEY = "zqp_" + "k" * 43
CPUS = sorted(os.sched_getaffinity(0))
# The measured program and the client each have a processor of their own, except on a machine with one processor.
MEASURED, ASKING = {CPUS[0]}, {CPUS[-1]}
PR_SET_PDEATHSIG = 1


class Stage:
    """A context with all started programs and their folder. Its end stops the programs and deletes the folder."""

    def __enter__(self):
        # In memory, so that no disk affects the measurements.
        self.folder = tempfile.mkdtemp(prefix="compare-", dir="/dev/shm")
        os.chmod(self.folder, 0o755)
        self.started = []
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, content):
        mode = "wb" if isinstance(content, bytes) else "w"
        with open(self.path(name), mode) as file:
            file.write(content)
        return self.path(name)

    def start(self, command, *, cpus=MEASURED, environment=None, says=None, log=False):
        process = Process(command, cpus, environment, says, log)
        self.started.append(process)
        return process


def child(cpus):
    """Returns a function for a child to call before its program: sets its processors, and stops it when this process ends."""

    def prepare():
        os.sched_setaffinity(0, cpus)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


class Process:
    """A program, with all its children."""

    def __init__(self, command, cpus, environment, says, log):
        self.drain = None
        output = subprocess.DEVNULL
        if log:
            # The log goes into a pipe that another process reads, as in a container.
            self.drain = subprocess.Popen(
                ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=child(ASKING)
            )
            output = self.drain.stdin
        self.began = time.monotonic()
        self.errors = tempfile.TemporaryFile()
        self.popen = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if says else output,
            stderr=self.errors,
            preexec_fn=child(cpus),
            start_new_session=True,
        )
        self.said = None
        if says:
            for line in self.popen.stdout:
                self.said = re.search(says, line.decode())
                if self.said:
                    break
            else:
                raise RuntimeError(f"{command[0]} did not start: {self.complaint()}")

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-2000:].strip()

    def pids(self):
        """The ids of the process and of all its descendants."""
        below, found = children(), [self.popen.pid]
        for pid in found:
            found.extend(below.get(pid, []))
        return found

    def cpu_seconds(self):
        """Processor time, user and system, of all threads, including those that have ended."""
        # The id of the process's clock, as clock_getcpuclockid(3) makes it. The scheduler counts this time in
        # nanoseconds.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def resident(self):
        """Resident bytes. Memory that several processes share counts once."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += int(re.search(r"^Pss: +(\d+) kB", file.read(), re.M)[1]) * 1024
        return total

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()
        if self.drain:
            self.drain.stdin.close()
            self.drain.wait()
        self.errors.close()


def children():
    below = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(name))
    return below


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until_answered(port, process, path="/", within=20):
    """Waits until the port answers with any status."""
    end = time.monotonic() + within
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()
            return
        except OSError:
            if process.popen.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"nothing answers: {process.complaint()}") from None
            time.sleep(0.005)


# ---- the simulator of Zoom ----


class Sim:
    """The simulator of Zoom, to which meetings can be added."""

    def __init__(self, stage, *, latency_ms=0, per_second=1_000_000, cpus=ASKING):
        limits = ["--per-second", str(per_second), "--per-day", "100000000"]
        command = [built("zoom-sim"), "--listen", "127.0.0.1:0", "--latency-ms", str(latency_ms), *limits]
        self.process = stage.start(command, cpus=cpus, says=r"listens on (http://\S+)")
        self.url = self.process.said[1]
        self.connection = http.client.HTTPConnection(self.url.removeprefix("http://"))

    def control(self, method, path, order=None):
        self.connection.request(method, path, json.dumps(order) if order else None)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body.decode())
        return json.loads(body)

    def add(self, meeting, participants, samples):
        order = {"id": str(meeting), "participants": participants, "samples": samples}
        self.control("POST", "/_sim/meetings", order)

    def calls(self):
        """The recorded calls to the QoS endpoints."""
        calls = self.control("GET", "/_sim/calls")
        return [call for call in calls if call["kind"] == "qos"]

    def forget_calls(self):
        self.control("DELETE", "/_sim/calls")

    def page(self, meeting):
        """The first page of a meeting, as Zoom sends it."""
        grant = urllib.request.Request(
            self.url + "/oauth/token",
            data=b"grant_type=account_credentials&account_id=sim-account",
            headers={"authorization": "Basic c2ltLWNsaWVudDpzaW0tc2VjcmV0"},
        )
        token = json.load(urllib.request.urlopen(grant))["access_token"]
        url = f"{self.url}/v2/metrics/meetings/{meeting}/participants/qos?type=past&page_size=10"
        asked = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
        return urllib.request.urlopen(asked).read()


# ---- the service ----


class Service:
    """The service as it is deployed, with caller keys, metrics and the request log."""

    HEADERS = {"authorization": f"Bearer {CALLER_KEY}"}

    def __init__(self, stage, sim_url, *, cpus=MEASURED, wait=True, under=(), program=None, **settings):
        self.port, self.ops_port = free_port(), free_port()
        callers = stage.path("callers.toml")
        if not os.path.exists(callers):
            stage.write("callers.toml", callers_file())
        environment = {
            "server.listen": f"127.0.0.1:{self.port}",
            "server.ops_listen": f"127.0.0.1:{self.ops_port}",
            "server.workers": "1",
            "server.drain_delay": "0s",
            "zoom.api_base_url": f"{sim_url}/v2",
            "zoom.oauth_url": f"{sim_url}/oauth/token",
            "zoom.account_id": "sim-account",
            "zoom.client_id": "sim-client",
            "zoom.client_secret": "sim-secret",
            "limits.heavy_per_second": "1000000",
            "limits.heavy_per_day": "100000000",
            "limits.max_queued": "1000000",
            "cache.live_fresh": "24h",
            "callers.file": callers,
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        environment = {"QOS_PROXY__" + key.upper().replace(".", "__"): value for key, value in environment.items()}
        command = [*under, program or built("zoom-qos-proxy")]
        self.process = stage.start(command, cpus=cpus, environment=environment, log=True)
        if wait:
            wait_until_answered(self.ops_port, self.process, "/healthz")

    def get(self, path, **headers):
        """The response, which has the status and headers, and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path, headers={**self.HEADERS, **headers})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def metric(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ops_port}/metrics").read().decode()
        return float(re.search(rf"^zoom_qos_proxy_{re.escape(name)} (\S+)$", text, re.M)[1])


def callers_file():
    """Ten callers, as a small company may have. Requests use the key of the first, CALLER_KEY."""
    import hashlib

    keys = [CALLER_KEY, *(f"another-{number}" for number in range(9))]
    entry = '[[caller]]\nname = "caller-{}"\nkey_sha256 = "{}"\n'
    return "".join(entry.format(number, hashlib.sha256(key.encode()).hexdigest()) for number, key in enumerate(keys))


def built(name):
    """A binary of this workspace, in the release profile."""
    return os.path.join(BUILT, name)


# ---- what others would install ----


class Bare:
    """A bare actix-web handler. `/N` has the Nth pair of files, counted from 0."""

    def __init__(self, stage, pairs, *, under=()):
        command = [*under, built("examples/bare"), *(file for pair in pairs for file in pair)]
        self.process = stage.start(command, says=r"listens on http://127.0.0.1:(\d+)")
        self.port = int(self.process.said[1])


class Nginx:
    """nginx's proxy_cache in memory, as its documentation advises: sendfile, kept open files, a buffered log."""

    CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; multi_accept on; }}
http {{
    log_format requests escape=json '{{"time":"$time_iso8601","request_id":"$request_id","method":"$request_method",'
        '"path":"$uri","status":$status,"cache":"$upstream_cache_status","duration":$request_time}}';
    access_log /dev/stdout requests buffer=64k flush=1s;
    sendfile on; tcp_nopush on; tcp_nodelay on;
    keepalive_timeout 75s; keepalive_requests 1000000000;
    open_file_cache max=100000 inactive=10m; open_file_cache_valid 10m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=meetings:64m max_size=16g inactive=24h use_temp_path=off;
    upstream origin {{ server {origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_cache meetings; proxy_cache_valid 200 24h; proxy_cache_key $uri;
        proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;
        add_header X-Request-Id $request_id; add_header X-Cache-Status $upstream_cache_status;
        gzip_types application/json; gzip_proxied any; gzip_vary on;
        location / {{ proxy_pass http://origin; }}
        location /packed-at-once/ {{ gzip on; rewrite ^/packed-at-once(/.*)$ $1 break; proxy_pass http://origin; }}
    }}
}}
"""

    def __init__(self, stage, origin, *, cpus=MEASURED):
        self.port = free_port()
        self.folder = stage.path(f"nginx-{self.port}")
        os.mkdir(self.folder)
        # nginx's worker may run as another user.
        os.chmod(self.folder, 0o777)
        text = self.CONFIGURATION.format(folder=self.folder, origin=origin, port=self.port)
        if os.getuid() == 0:
            text = "user root;" + text
        configuration = stage.write(f"nginx-{self.port}.conf", text)
        command = ["nginx", "-e", "stderr", "-c", configuration]
        self.process = stage.start(command, cpus=cpus, log=True)
        wait_until_answered(self.port, self.process)

    def stored(self):
        """The bytes that the cached files take, in memory."""
        total = 0
        for folder, _, files in os.walk(os.path.join(self.folder, "cache")):
            total += sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in files)
        return total


class Varnish:
    """Varnish with its cache in memory (malloc). Its only log is the one that it always writes to shared memory."""

    VCL = """
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{port}"; .first_byte_timeout = 120s; }}
sub vcl_recv {{ return (hash); }}
sub vcl_backend_response {{ set beresp.ttl = 24h; set beresp.grace = 0s; return (deliver); }}
sub vcl_deliver {{ set resp.http.X-Request-Id = req.xid; }}
"""

    def __init__(self, stage, origin, *, cpus=MEASURED, memory="8g"):
        self.port = free_port()
        script = stage.write(f"varnish-{self.port}.vcl", self.VCL.format(port=origin.rpartition(":")[2]))
        folder = stage.path(f"varnish-{self.port}")
        os.mkdir(folder)
        command = ["varnishd", "-F", "-j", "none", "-n", folder, "-a", f"127.0.0.1:{self.port}", "-f", script]
        command += ["-T", "none", "-s", f"malloc,{memory}", "-p", "thread_pool_min=100", "-p", "listen_depth=4096"]
        # varnishd compiles the script with the C compiler that a shell finds.
        self.process = stage.start(command, cpus=cpus, environment={"HOME": folder})
        wait_until_answered(self.port, self.process, within=60)


class Origin:
    """A slow upstream that serves the files of a folder; see origin.py."""

    def __init__(self, stage, folder, *, cpus=ASKING):
        script = os.path.join(os.path.dirname(__file__), "origin.py")
        self.process = stage.start(["python3", script, folder], cpus=cpus, says=r"listens on (\S+)")
        self.address = self.process.said[1]

    def count(self):
        """The number of requests since the last call of this method."""
        with urllib.request.urlopen(f"http://{self.address}/count") as answer:
            return int(answer.read())
