"""The chart as its users see it: values in; objects, notes or an error out."""

import copy
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/zoom-qos-proxy"
CI = sorted(CHART.glob("ci/*-values.yaml"))
VENV = pathlib.Path(sys.executable).parent
HELM = VENV / "helm"
# The Python with Helm 4. Does not exist if scripts/chart-tests cannot install Helm 4 on this machine.
HELM4 = ROOT / "target/chart/helm4/bin/python"
NODE = ROOT / "target/chart/node"
SERVICE = pathlib.Path(os.environ["SERVICE_BINARY"])

META = yaml.safe_load((CHART / "Chart.yaml").read_text())
RELEASE = "release"
NAMESPACE = "space"
NAME = f"{RELEASE}-zoom-qos-proxy"


def by_feature(path):
    return path.name.removesuffix("-values.yaml")


def ci(feature):
    return yaml.safe_load((CHART / f"ci/{feature}-values.yaml").read_text())


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def helm(*arguments, values=None, version=3):
    """Runs helm on the chart with values, without this machine's own helm configuration."""
    with tempfile.TemporaryDirectory() as home:
        program = [HELM] if version == 3 else [HELM4, ROOT / "tests/chart/helm4/run.py"]
        command = [*program, *arguments]
        if values is not None:
            file = pathlib.Path(home, "values.yaml")
            file.write_text(yaml.safe_dump(values))
            command += ["--values", file]
        environment = {"HOME": home, "PATH": "/usr/bin:/bin"}
        return subprocess.run([*command], env=environment, capture_output=True, text=True, timeout=60)


needs_helm_4 = pytest.mark.skipif(not HELM4.exists(), reason="Helm 4 is not installed: see scripts/chart-tests")


def component(each):
    return each["metadata"]["labels"]["app.kubernetes.io/component"]


class Rendered(list):
    """The objects of a rendering."""

    def all(self, kind):
        return [each for each in self if each["kind"] == kind]

    def one(self, kind, name=None):
        found = [each for each in self.all(kind) if name in (None, each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
        return found[0]

    @property
    def workload(self):
        found = [each for each in self.all("Deployment") + self.all("StatefulSet") if component(each) == "proxy"]
        assert len(found) == 1
        return found[0]

    @property
    def pod(self):
        return self.workload["spec"]["template"]["spec"]

    @property
    def container(self):
        return next(each for each in self.pod["containers"] if each["name"] == "zoom-qos-proxy")

    @property
    def toml(self):
        [name] = [each["configMap"]["name"] for each in self.pod["volumes"] if each["name"] == "config"]
        return self.one("ConfigMap", name)["data"]["config.toml"]


def render_text(values=None, version=None, chart=CHART, release=RELEASE, namespace=NAMESPACE):
    flags = ["--kube-version", version] if version else []
    done = helm("template", release, chart, "--namespace", namespace, *flags, values=values or {})
    assert done.returncode == 0, done.stderr
    return done.stdout


class UniqueKeys(yaml.CSafeLoader):
    """Rejects duplicate keys, as an API server in strict mode does; YAML drops the first one silently."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"duplicate key: {keys}"
        return super().construct_mapping(node, deep)


def render(values=None, version=None, **where):
    text = render_text(values, version, **where)
    return Rendered(each for each in yaml.load_all(text, UniqueKeys) if each)


def helm4(chart, all_values):
    """Renders and lints the chart with Helm 4 for each of the values: {"objects": …, "lint": [finding…]} or {"error": text}."""
    command = [HELM4, ROOT / "tests/chart/helm4/run.py", "render", chart, RELEASE, NAMESPACE]
    done = subprocess.run(command, input=json.dumps(list(all_values)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for each in found:
        # Helm's own manifest also ends each file with a line feed.
        texts = [text + "\n" for path, text in each.get("files", {}).items() if path.endswith(".yaml")]
        each["objects"] = Rendered(item for text in texts for item in yaml.load_all(text, UniqueKeys) if item)
    return found


def refusal(values, release=RELEASE):
    """Helm's error for values that must be rejected."""
    done = helm("template", release, CHART, "--namespace", NAMESPACE, values=values)
    assert done.returncode != 0, f"accepted:\n{done.stdout}"
    return done.stderr


@functools.cache
def _chart_that_renders_its_notes():
    """A copy of the chart that renders its notes into a ConfigMap: `helm template` prints none, and `helm install` needs a cluster."""
    folder = tempfile.TemporaryDirectory()
    copied = pathlib.Path(folder.name, "chart")
    subprocess.run(["cp", "-r", CHART, copied], check=True)
    notes = (copied / "templates/NOTES.txt")
    define = '{{- define "notes" -}}\n' + notes.read_text() + "\n{{- end }}\n"
    notes.unlink()
    (copied / "templates/_notes.tpl").write_text(define)
    (copied / "templates/notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data:\n  notes: {{ include "notes" . | toJson }}\n'
    )
    return folder, copied


def notes(values=None):
    _, copied = _chart_that_renders_its_notes()
    return render(values, chart=copied).one("ConfigMap", "notes")["data"]["notes"]


def crds(objects):
    """The errors that tests/chart/crds.mjs reports for each custom resource."""
    command = ["node", ROOT / "tests/chart/crds.mjs", NODE]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def merged(*layers):
    """Merges values as helm does."""
    result = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, dict) and isinstance(result.get(key), dict):
                result[key] = merged(result[key], value)
            else:
                result[key] = copy.deepcopy(value)
    return result


def at(path, value):
    """{"a": {"b": value}} for the path "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def leaves(tree, path=""):
    """(path, value) of every leaf of a tree: everything except non-empty maps."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, tree


# ---- the service's own check ----

CREDENTIALS = ("account_id", "client_id", "client_secret")
CALLERS = '[[caller]]\nname = "support-tools"\nkey_sha256 = "' + "0" * 64 + '"\n'


# A CA that has signed nothing. Only the format of the file is checked.
CA = (ROOT / "tests/chart/ca.crt").read_text()


def write_mounted_files(folder):
    for name in CREDENTIALS:
        (folder / name).write_text("hush-hush\n")
    (folder / "callers.toml").write_text(CALLERS)
    (folder / "url").write_text("rediss://user:hush-hush@redis.test/0\n")
    (folder / "proxy-url").write_text("http://user:hush-hush@proxy.test:3128\n")
    (folder / "ca.crt").write_text(CA)
    (folder / "key_sha256").write_text("ab" * 32 + "\n")
    (folder / "encryption_key").write_text("0123456789abcdef" * 4 + "\n")


def check_config(toml, container=None, options=(), write_files=write_mounted_files):
    """The output of `check-config` for a rendered file, with the pod's mounts and environment."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_files(folder)
        mounted = toml.replace("/run/secrets/zoom/", f"{folder}/").replace("/run/secrets/redis/", f"{folder}/")
        mounted = mounted.replace("/run/secrets/ops/", f"{folder}/")
        mounted = mounted.replace("/run/secrets/proxy/url", f"{folder}/proxy-url").replace("/run/secrets/proxy/", f"{folder}/")
        mounted = mounted.replace("/etc/zoom-qos-proxy/callers/", f"{folder}/").replace("/var/lib/zoom-qos-proxy/", f"{folder}/")
        file = folder / "config.toml"
        file.write_text(mounted)
        environment = {each["name"]: each["value"] for each in container["env"]} if container else {}
        return subprocess.run([SERVICE, "check-config", *options, "--config", file], env=environment, capture_output=True, text=True)


def permitted(toml):
    """The calls a second and a day that the service permits itself with a rendered configuration."""
    said = check_config(toml)
    assert said.returncode == 0, said.stderr
    return tuple(
        int(re.search(rf"^(?:# )?heavy_per_{span} = .*permitted: (\d+)", said.stdout, re.MULTILINE).group(1))
        for span in ("second", "day")
    )
