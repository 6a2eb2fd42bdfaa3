"""Two simulated Zooms with the same meetings, one asked directly and one behind the service, and the clients' programs."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
from urllib.parse import quote

import requests
from processes import Service, Sim, ask

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Programs must not use a proxy of this machine for 127.0.0.1.
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "NODE_DISABLE_COMPILE_CACHE": "1"}
PATIENCE_SECONDS = 60
# Participants on Zoom's largest page.
LARGEST = 10
# UUIDs by their special characters. Zoom requires an id to be encoded once, or twice if it begins with `/` or contains `//`.
UUIDS = {
    "plus and equals": "atsXxhSEQWit9t+U02HXNQ==",
    "a slash inside": "ats/xhSEQWit9t1U02HXNQ==",
    "a slash first": "/ajXp112QmuoKj48548750==",
    "two slashes": "aj//p112QmuoKj+854875A==",
    "two slashes first": "//jXp112QmuoKj4854875A==",
}
BIG, SMALL, WEBINAR, EXAMPLE = "98100000025", "98100000003", "98200000012", "85746065432"
UNKNOWN, PER_SECOND, PER_DAY, TOO_OLD = "98300000001", "98300000002", "98300000003", "98300000004"
SIZES = {BIG: 25, SMALL: 3, WEBINAR: 12, EXAMPLE: 1, **dict.fromkeys(UUIDS.values(), 4)}


def once(identifier):
    return quote(identifier, safe="")


def twice(identifier):
    return once(once(identifier))


def documented(identifier):
    """Encodes an id as Zoom's documentation says."""
    return twice(identifier) if identifier.startswith("/") or "//" in identifier else once(identifier)


def key_of(caller):
    return f"a-caller-key-of-{caller}"


class Reference:
    """Zoom's own pages, read with requests as documented, and not with a client under test."""

    def __init__(self, sim):
        self.api, self.known = f"{sim.url}/v2", {}
        form = {"grant_type": "account_credentials", "account_id": "sim-account"}
        answer = requests.post(f"{sim.url}/oauth/token", data=form, auth=("sim-client", "sim-secret"), timeout=10)
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def get(self, path, values):
        answer = requests.get(self.api + path, values, headers=self.headers, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def pages(self, kind, identifier, meeting_type="live", size=1):
        asked = (kind, identifier, meeting_type, size)
        if asked not in self.known:
            path = f"/metrics/{kind}/{documented(identifier)}/participants/qos"
            found, token = [], None
            while token != "":
                values = {"type": meeting_type, "page_size": size, "next_page_token": token}
                found.append(self.get(path, values))
                token = found[-1]["next_page_token"]
            self.known[asked] = found
        return self.known[asked]

    def rows(self, kind, identifier, meeting_type="live"):
        return [row for page in self.pages(kind, identifier, meeting_type, LARGEST) for row in page["participants"]]


class Scene:
    """All processes of the suite. Each of `clients` is a caller of the service."""

    def __init__(self, service_binary, sim_binary, python, node_modules, clients):
        self.service_binary, self.sim_binary, self.python, self.node_modules = service_binary, sim_binary, python, node_modules
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(tempfile.TemporaryDirectory())
            # Several clients send the parameters of the token request in the query.
            settings = {"token_parameters": "form-or-query"}
            self.direct, self.behind = [stack.enter_context(Sim(sim_binary, **settings)) for _ in range(2)]
            for sim in (self.direct, self.behind):
                self.add_meetings(sim)
            for kind, identifier in (("rate_second", PER_SECOND), ("rate_day", PER_DAY)):
                self.direct.fault(kind, meeting=identifier, headers=True, retry_after="2099-01-01T00:00:00Z")
            callers = pathlib.Path(self.folder, "callers.toml")
            callers.write_text("".join(self.callers(clients)))
            keyed = {"callers__file": str(callers), "cache__live_fresh": "1h"}
            self.service = stack.enter_context(Service(service_binary, self.behind, **keyed))
            one_call = {"limits__heavy_per_day": "1", "limits__headroom_percent": "0"}
            self.spent = stack.enter_context(Service(service_binary, self.behind, **one_call))
            self.reference = Reference(self.direct)
            self.running = stack.pop_all()

    @staticmethod
    def add_meetings(sim):
        for identifier, participants in SIZES.items():
            if identifier != EXAMPLE:
                webinar = identifier == WEBINAR
                sim.order("POST", "meetings", id=identifier, participants=participants, samples=3, webinar=webinar)
        for identifier in (PER_SECOND, PER_DAY):
            sim.order("POST", "meetings", id=identifier, participants=1, samples=1)
        sim.fault("too_old", meeting=TOO_OLD)

    @staticmethod
    def callers(clients):
        for client in clients:
            for name, limit in ((client, ""), (f"{client}-minute", "calls_per_minute = 1\n")):
                digest = hashlib.sha256(key_of(name).encode()).hexdigest()
                yield f'[[caller]]\nname = "{name}"\nkey_sha256 = "{digest}"\n{limit}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.running.close()

    def forget(self):
        """Empties the service's cache and the list of the calls that it made to Zoom."""
        if ask(self.service.ops, "DELETE", "/cache").status != 204:
            raise AssertionError("the cache cannot be purged")
        self.behind.order("DELETE", "calls")

    def spend(self):
        """Uses up the day of `spent`, which has one call. Needed before each use, because a new UTC day may have begun."""
        for identifier in (EXAMPLE, SMALL):
            self.spent.get(f"/qos/{identifier}")

    @staticmethod
    def addresses(root):
        return {"api": f"{root}/v2", "token_url": f"{root}/oauth/token"}

    def directly(self):
        return {**self.addresses(self.direct.url), "account": "sim-account", "id": "sim-client", "secret": "sim-secret"}

    def through(self, caller, service=None):
        root = f"http://{(service or self.service).callers}"
        return {**self.addresses(root), "account": "sim-account", "id": caller, "secret": key_of(caller)}

    def run(self, client, sessions):
        """The outcomes of each session's steps, with the address of the simulator or the service replaced by `https://zoom`."""
        found = [HERE / "programs" / f"use_{client}.{ending}" for ending in ("py", "mjs")]
        program = next(path for path in found if path.exists())
        command = [self.python if program.suffix == ".py" else "node", str(program)]
        environment = {**ENVIRONMENT, "CLIENTS_NODE": self.node_modules, "HOME": self.folder}
        ended = subprocess.run(
            command, input=json.dumps(sessions), env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )
        if ended.returncode != 0:
            raise AssertionError(f"{client} ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr[-3000:]}")
        text = ended.stdout
        for session in sessions:
            text = text.replace(session["api"].removesuffix("/v2"), "https://zoom")
        return json.loads(text)


def together(*calls):
    """Runs these calls at the same time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]

