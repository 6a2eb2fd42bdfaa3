"""The chart's own Valkey: its objects, and a real server that runs with the command and files of these objects."""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request

import pytest
import yaml

from chart import CREDENTIALS, NAME, ROOT, SERVICE, at, ci, component, merged, notes, render

sys.path.insert(0, str(ROOT / "tests/redis"))

from server import Refused, Server, ask  # noqa: E402

VALKEY = f"{NAME}-valkey"
ON = at("valkey.enabled", True)
ENCRYPTED = merged(ON, at("redis.keys.encryptionKey", "encryption_key"))
LABELS = {
    "app.kubernetes.io/name": "zoom-qos-proxy",
    "app.kubernetes.io/instance": "release",
    "app.kubernetes.io/component": "valkey",
}
MIB = 1 << 20


def valkey_of(objects):
    """The StatefulSet, its pod and its container."""
    workload = objects.one("StatefulSet", VALKEY)
    pod = workload["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return workload, pod, container


# ---- the objects ----


def test_it_is_off_by_default():
    assert not [each for each in render() if component(each) == "valkey"]


def test_there_is_exactly_one_replica_without_storage():
    workload, pod, _ = valkey_of(render(ON))
    assert workload["kind"] == "StatefulSet", "a Deployment starts another when a node does not answer"
    assert workload["spec"]["replicas"] == 1
    assert "volumeClaimTemplates" not in workload["spec"]
    assert {key for each in pod["volumes"] for key in each} == {"name", "configMap", "secret"}


def test_selectors_of_valkey_match_valkey_alone():
    objects = render(ci("valkey"))
    workload, _, container = valkey_of(objects)
    service = objects.one("Service", VALKEY)
    assert workload["spec"]["serviceName"] == VALKEY
    assert workload["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == LABELS
    assert LABELS.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    assert service["spec"]["type"] == "ClusterIP"
    [port] = service["spec"]["ports"]
    [named] = container["ports"]
    assert (port["port"], port["targetPort"]) == (6379, named["name"]) and named["containerPort"] == 6379
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["tcpSocket"] == {"port": "redis"}


def test_only_the_services_pods_reach_it_and_it_reaches_nobody():
    objects = render(ci("valkey"))
    spec = objects.one("NetworkPolicy", VALKEY)["spec"]
    proxy = {**LABELS, "app.kubernetes.io/component": "proxy"}
    port = [{"port": 6379, "protocol": "TCP"}]
    assert spec["podSelector"]["matchLabels"] == LABELS
    assert spec["ingress"] == [{"from": [{"podSelector": {"matchLabels": proxy}}], "ports": port}]
    assert spec["policyTypes"] == ["Ingress", "Egress"] and spec["egress"] == []
    out = objects.one("NetworkPolicy", NAME)["spec"]["egress"]
    assert {"to": [{"podSelector": {"matchLabels": LABELS}}], "ports": port} in out
    assert not render(ci("valkey-digest")).all("NetworkPolicy")


def test_the_image_is_pinned_and_can_be_another():
    assert valkey_of(render(ON))[2]["image"] == "docker.io/valkey/valkey:8.1.4"
    assert valkey_of(render(ci("valkey")))[2]["image"] == "mirror.example.com/library/valkey:8.1.4-alpine"
    _, pod, container = valkey_of(render(ci("valkey-digest")))
    assert container["image"] == "registry.example.com/valkey/valkey@sha256:" + "0123456789abcdef" * 4
    values = ci("valkey-digest")
    for key in ("imagePullSecrets", "priorityClassName", "nodeSelector", "tolerations"):
        assert pod[key] == values[key]


def test_the_platform_chooses_its_user_where_that_is_null():
    _, pod, _ = valkey_of(render(merged(ci("openshift"), ON)))
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()
    assert "defaultMode" not in next(each["secret"] for each in pod["volumes"] if each["name"] == "auth")
    _, pod, _ = valkey_of(render(ON))
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (65532, 65532)
    assert next(each["secret"] for each in pod["volumes"] if each["name"] == "auth")["defaultMode"] == 0o440


def test_service_and_valkey_have_the_same_secret():
    for values, name, keys in (
        (ON, VALKEY, {"url": "url"}),
        (ENCRYPTED, VALKEY, {"url": "url", "encryption_key": "encryption_key"}),
        (ci("valkey"), "trial-valkey", {"url": "valkey-url"}),
    ):
        objects = render(values)
        [ours] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == "redis"]
        [its] = [each["secret"] for each in valkey_of(objects)[1]["volumes"] if each["name"] == "auth"]
        assert ours["secretName"] == its["secretName"] == name
        assert {each["path"]: each["key"] for each in ours["items"]} == keys
        assert [each["path"] for each in its["items"]] == ["auth.conf"], "not the URL or the encryption key"
    assert not render(ON).all("Secret"), "nothing is generated: it would be another one at each rendering"


def test_limits_are_undivided_and_autoscaling_is_allowed():
    values = merged(ON, {"autoscaling": {"enabled": True, "maxReplicas": 9}})
    rendered = tomllib.loads(render(values).toml)
    assert "heavy_per_second" not in rendered["limits"]
    assert rendered["redis"] == {"url_file": "/run/secrets/redis/url", "replicas": 10, "timeout": "250ms"}
    assert "all replicas together may make 36 a second" in notes(values)


def test_the_notes_say_that_it_is_not_for_production():
    said = notes(ci("valkey"))
    assert "NOT FOR PRODUCTION" in said and f"{VALKEY} (mirror.example.com/library/valkey:8.1.4-alpine)" in said
    assert "NOT FOR PRODUCTION" not in notes(ci("redis"))


def test_a_changed_configuration_replaces_it_and_not_the_service():
    def volumes(values):
        return valkey_of(render(values))[1]["volumes"]

    larger = merged(ON, at("valkey.maxMemory", "256MiB"))
    assert volumes(larger) != volumes(ON)
    assert render(larger).toml == render(ON).toml


# ---- a real server ----


def secret_of_the_notes(values, folder):
    """The Secret that the notes' commands create in a shell."""
    said = notes(values)
    lines = said[said.index("  password="):said.index(" create --filename -") + len(" create --filename -")]
    kubectl = folder / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/bin/sh\necho "$*" >{folder}/asked\ncat >{folder}/secret\n')
    kubectl.chmod(0o755)
    path = f"{kubectl.parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-eu", "-c", lines], env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "asked").read_text() == "--namespace space create --filename -\n", "no secret as an argument"
    secret = json.loads((folder / "secret").read_text())
    assert (secret["apiVersion"], secret["kind"]) == ("v1", "Secret")
    return secret["metadata"]["name"], secret["stringData"]


class Started(Server):
    """A server with the pod's command and files, except for port, address and user. Its folders are read-only."""

    def __init__(self, values, folder):
        objects = render(values)
        _, pod, container = valkey_of(objects)
        name, self.secret = secret_of_the_notes(values, folder)
        paths = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        for volume in pod["volumes"]:
            here = folder / volume["name"]
            here.mkdir()
            if "configMap" in volume:
                for file, text in objects.one("ConfigMap", volume["configMap"]["name"])["data"].items():
                    for mount, path in paths.items():
                        text = text.replace(f" {path}/", f" {folder / mount}/")
                    (here / file).write_text(text)
            else:
                assert volume["secret"]["secretName"] == name
                for item in volume["secret"]["items"]:
                    (here / item["path"]).write_text(self.secret[item["key"]])
        program, arguments = container["command"], container["args"]
        assert program == ["valkey-server"]
        arguments = [each.replace(paths["config"], str(folder / "config")) for each in arguments]
        for each in (folder, *folder.rglob("*")):
            each.chmod(0o555)
        # Without root, or if other users cannot read the server's files, it runs as the test's own user.
        above = pathlib.Path(shutil.which("redis-server")).resolve().parents
        may_switch = os.getuid() == 0 and all(each.stat().st_mode & 0o001 for each in above)
        user = {"user": 65532, "group": 65532, "extra_groups": []} if may_switch else {}
        super().__init__(*arguments, cwd=folder, **user)

    def ask(self, *commands):
        """Sends the password and then these commands. Returns the answers to the commands."""
        password = re.fullmatch("requirepass ([0-9a-f]{48})", self.secret["auth.conf"]).group(1)
        allowed, *answers = ask(self.port, ["AUTH", password], *commands)
        assert allowed == "OK", allowed
        return answers


@pytest.fixture
def folder():
    """A temporary folder. It is not in pytest's folder, which only the user of the test can enter."""
    made = pathlib.Path(tempfile.mkdtemp())
    yield made
    for each in (made, *made.rglob("*")):
        each.chmod(0o755)
    shutil.rmtree(made)


def test_the_server_accepts_the_configuration_and_requires_the_password(folder):
    with Started(ENCRYPTED, folder) as server:
        wanted = {"maxmemory": str(128 * MIB), "maxmemory-policy": "volatile-lru", "save": "", "appendonly": "no", "protected-mode": "yes"}
        for name, value in wanted.items():
            assert server.ask(["CONFIG", "GET", name]) == [[name, value]]
        for answer in ask(server.port, ["PING"], ["GET", "x"], ["AUTH", "wrong"]):
            assert isinstance(answer, Refused), answer
        assert re.fullmatch("[0-9a-f]{64}", server.secret["encryption_key"])
        # A restart loses all data.
        assert server.ask(["SET", "x", "1"], ["GET", "x"]) == ["OK", "1"]
        server.stop()
        assert server.start()
        assert server.ask(["GET", "x"], ["INFO", "persistence"])[0] is None
        assert not [each for each in folder.rglob("*") if each.suffix in (".rdb", ".aof")]


def test_a_full_server_evicts_only_snapshots_and_stays_within_its_memory_limit(folder):
    values = merged(ON, at("valkey.maxMemory", "16MiB"))
    limit = valkey_of(render(values))[2]["resources"]["limits"]["memory"]
    with Started(values, folder) as server:
        server.ask(["HSET", "budget", "used", "7"])
        chance = random.Random(1)
        for smallest, largest in ((200, 2_000), (20_000, 200_000), (100, 500_000)):
            written = 0
            while written < 64 * MIB:
                commands = []
                for _ in range(50):
                    size = chance.randint(smallest, largest)
                    written += size + 300
                    name = f"record {written} of {largest}"
                    commands += [["HSET", name, "d", chance.randbytes(size)], ["PEXPIRE", name, "3600000"]]
                assert not [each for each in server.ask(*commands) if isinstance(each, Refused)]
        statistics, budget = server.ask(["INFO", "stats"], ["HGET", "budget", "used"])
        assert int(re.search(r"evicted_keys:(\d+)", statistics).group(1)) > 1000
        assert budget == "7"
        resident = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{server.child.pid}/status").read_text())
        assert limit == "96Mi"
        assert int(resident.group(1)) * 1024 < 96 * MIB
        # The server evicts only keys that expire. If none is left, it rejects writes with an error.
        server.ask(["FLUSHALL"])
        refused = None
        for number in range(20):
            refused = refused or next(
                (each for each in server.ask(["SET", f"forever {number}", b"x" * MIB]) if isinstance(each, Refused)), None)
        assert str(refused).startswith("OOM")


@pytest.mark.parametrize("values", [ON, ENCRYPTED], ids=["plain", "encrypted"])
def test_the_service_of_the_release_uses_the_server(values, folder):
    with Started(values, folder) as server:
        objects = render(merged(values, at("config.zoom.oauth_url", "http://127.0.0.1:9/token")))
        service_folder = server.folder.name
        toml = objects.toml
        for mount in objects.container["volumeMounts"]:
            here = pathlib.Path(service_folder, mount["name"])
            here.mkdir()
            toml = toml.replace(f'"{mount["mountPath"]}/', f'"{here}/')
        for name in CREDENTIALS:
            pathlib.Path(service_folder, "credentials", name).write_text("hush-hush\n")
        assert server.secret["url"].endswith(f"@{VALKEY}:6379"), "the Service's name and port"
        [volume] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == "redis"]
        for item in volume["items"]:
            text = server.secret[item["key"]].replace(f"{VALKEY}:6379", f"127.0.0.1:{server.port}")
            pathlib.Path(service_folder, "redis", item["path"]).write_text(text)
        file = pathlib.Path(service_folder, "config/config.toml")
        file.write_text(toml)
        anywhere = {f"QOS_PROXY__SERVER__{name}": "127.0.0.1:0" for name in ("LISTEN", "OPS_LISTEN")}
        service = subprocess.Popen([SERVICE, "serve", "--config", file], env=anywhere, stdout=subprocess.PIPE, text=True)
        try:
            ops, lines = None, []
            for line in service.stdout:
                lines.append(line)
                ops = ops or json.loads(line).get("ops_listen")
                if ops and any("Redis is in use" in each for each in lines):
                    break
                assert "Redis is away" not in line, line
            with urllib.request.urlopen(f"http://{ops}/metrics", timeout=30) as answer:
                assert "\nzoom_qos_proxy_redis_up 1\n" in answer.read().decode()
            assert server.ask(["CLIENT", "LIST"])[0].count("\n") > 1
        finally:
            service.kill()
            service.wait()
            service.stdout.close()


def test_compose_yaml_has_a_server_with_the_same_policy():
    command = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["redis"]["command"]
    program, *arguments = command
    assert program == "redis-server"
    with Server(*arguments) as server:
        said = ask(server.port, *(["CONFIG", "GET", name] for name in ("maxmemory-policy", "appendonly", "maxmemory")))
        assert said[:2] == [["maxmemory-policy", "volatile-lru"], ["appendonly", "yes"]]
        assert int(said[2][1]) > 0
        ask(server.port, ["SET", "count", "7"])
        server.stop()
        assert server.start()
        assert ask(server.port, ["GET", "count"]) == ["7"], "the day outlives a restart"
