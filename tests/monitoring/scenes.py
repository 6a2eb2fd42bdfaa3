"""Traffic that causes everything that the dashboard shows and the alerts report.

Each scene has its own service, simulator of Zoom and Prometheus job. Its round is repeated until everything has been seen, because
a rate needs more than one round.
"""

import hashlib
import itertools
import pathlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

from processes import Service, Sim, ask, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "redis"))

import server as redis  # noqa: E402

KEYS = {"dashboards": "key-of-dashboards", "backfill": "key-of-backfill", "limited": "key-of-limited"}
ODD = "/qos/95550001111"


class Scene:
    """The common part of all scenes, which override `settings` and `round`."""

    zoom = {}
    settings = {}

    def __init__(self, binaries, folder):
        service_binary, sim_binary = binaries
        self.folder = pathlib.Path(folder) / type(self).__name__
        self.folder.mkdir()
        self.new = itertools.count(1)
        self.sim = Sim(sim_binary, **self.zoom)
        self.prepare()
        self.service = Service(service_binary, self.sim, **self.settings)

    def prepare(self):
        """Called before the service starts."""

    def cold(self, participants=3):
        """The path of a meeting that was not requested before."""
        return "/qos/" + self.sim.meeting(next(self.new), participants)

    def at_once(self, paths, *headers):
        with ThreadPoolExecutor(len(paths)) as pool:
            return list(pool.map(lambda path: self.service.get(path, *headers), paths))

    def stop(self):
        self.service.stop()
        self.sim.stop()


class Busy(Scene):
    """Callers with keys, more cold meetings than permits, and every kind of successful answer."""

    zoom = {"latency_ms": 120}
    settings = {
        "limits__heavy_per_second": "4",
        "limits__headroom_percent": "0",
        "limits__max_queued": "6",
        "server__wait": "2s",
        "cache__live_fresh": "1s",
        "cache__stale_while_revalidate": "3s",
        "cache__past_fresh": "1s",
        "cache__refresh_floor": "0s",
    }

    def prepare(self):
        # The idle caller has most of the weight, so the shares of the others are small, and are spent early in the day.
        unused = hashlib.sha256(b"key-of-nobody").hexdigest()
        callers = f'[[caller]]\nname = "idle"\nweight = 1000\nkey_sha256 = "{unused}"\n'
        for name, key in KEYS.items():
            callers += f'[[caller]]\nname = "{name}"\nkey_sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        callers += "calls_per_minute = 1\n"  # for the last caller
        file = self.folder / "callers.toml"
        file.write_text(callers)
        self.settings = {**self.settings, "callers__file": str(file), "limits__state_file": str(self.folder / "day.json")}

    def round(self):
        keys = {name: ("X-Api-Key", key) for name, key in KEYS.items()}
        get = lambda path, *headers: self.service.get(path, keys["dashboards"], *headers)  # noqa: E731
        answer = get(ODD)
        if answer.status == 200:
            for _ in range(20):
                get(ODD)
            get(ODD, ("If-None-Match", answer.header("ETag")))
        self.at_once([self.cold()] * 3, keys["dashboards"])  # one flight, for which all three requests wait
        self.at_once([self.cold() for _ in range(3)], keys["limited"])
        self.at_once([self.cold(30) for _ in range(10)], keys["backfill"])
        get("/qos/90000000000")  # no such meeting
        self.service.get(ODD)  # no key


class ZoomFails(Scene):
    """Zoom fails: cached snapshots are still served, and other requests fail."""

    settings = {"cache__live_fresh": "1s", "cache__stale_while_revalidate": "0s", "cache__refresh_floor": "0s"}

    def round(self):
        if next(self.new) == 1:
            assert self.service.get(ODD).status == 200
            self.sim.fault("server_error_html")
        else:
            self.at_once([ODD, self.cold(), self.cold()])


class CredentialsRefused(Scene):
    zoom = {"client_secret": "another"}

    def round(self):
        assert self.service.get(self.cold()).code() == "zoom_rejected_credentials"


class SecondPaused(Scene):
    """Zoom sends per-second 429s repeatedly."""

    settings = {"server__wait": "500ms"}

    def prepare(self):
        self.sim.fault("rate_second", retry_after="2", headers=True)

    def round(self):
        self.service.get(self.cold())


class DayPaused(SecondPaused):
    """Zoom sends daily 429s, because other apps have used the day's calls."""

    def prepare(self):
        self.sim.fault("rate_day", headers=True)


class DaySpent(Scene):
    """Polling for which the day's calls do not suffice: first they are on course to run out, then they are spent."""

    settings = {
        "limits__heavy_per_day": "60",
        "limits__headroom_percent": "0",
        "limits__max_stretch": "1",
        "cache__live_fresh": "1s",
        "cache__stale_while_revalidate": "0s",
    }

    def prepare(self):
        self.polled = [self.cold() for _ in range(6)]

    def round(self):
        self.at_once(self.polled)


class FilesBroken(Scene):
    """A callers file and a folder for the day's count that become unusable, and a missing file with an issuer's keys."""

    def prepare(self):
        self.callers = self.folder / "callers.toml"
        issuer = 'name = "i"\nurl = "https://issuer.example"\naudience = "a"\njwks_file = "missing.json"\n'
        self.callers.write_text(
            f'[[caller]]\nname = "a"\nkey_sha256 = "{hashlib.sha256(b"k").hexdigest()}"\n[[issuer]]\n{issuer}'
        )
        self.count = self.folder / "count"
        self.count.mkdir()
        self.settings = {
            "callers__file": str(self.callers),
            "limits__state_file": str(self.count / "day.json"),
            "limits__heavy_per_second": "4",
        }

    def round(self):
        if next(self.new) == 1:
            self.callers.write_text("[[caller]]\nnam = 1\n")
            shutil.rmtree(self.count)
        self.at_once([self.cold() for _ in range(4)], ("X-Api-Key", "k"))


class RedisAway(Scene):
    """Redis stops after the first round. Answers continue, with less throughput."""

    def prepare(self):
        self.redis = redis.Server("--save", "")
        self.settings = {"redis__url": f"redis://127.0.0.1:{self.redis.port}", "redis__replicas": "2"}

    def round(self):
        first = self.redis.child.poll() is None
        self.redis_is(1 if first else 0)
        assert self.service.get(self.cold()).status == 200
        if first:
            self.redis.stop()

    def redis_is(self, up):
        until(lambda: self.service.metrics().get("zoom_qos_proxy_redis_up") == up, f"redis_up is {up}")

    def stop(self):
        super().stop()
        self.redis.stop()


ALL = (Busy, ZoomFails, CredentialsRefused, SecondPaused, DayPaused, DaySpent, FilesBroken, RedisAway)


def metrics(scene):
    """The text of /metrics."""
    return ask(scene.service.ops, "GET", "/metrics").body.decode()
