"""The configuration that the chart renders, checked by the service that reads it."""

import json
import re
import tomllib

import pytest

from chart import CHART, CI, ROOT, by_feature, check_config, ci, defaults, leaves, render

DEFAULT_TOML = (ROOT / "config/default.toml").read_text()
# Keys that the chart derives from other values.
OF_THE_CHART = {
    "zoom.account_id_file", "zoom.client_id_file", "zoom.client_secret_file", "zoom.proxy_file", "zoom.ca_file", "callers.file", "limits.state_file",
    "redis.url_file", "redis.ca_file", "redis.encryption_key_file", "redis.replicas",
}
# Secrets given inline. The chart supports only files.
NEVER = {"zoom.account_id", "zoom.client_id", "zoom.client_secret", "zoom.proxy", "redis.url", "redis.encryption_key"}
# Keys whose default in the chart differs from the service's; values.yaml says why.
OTHERWISE = {"server.listen", "server.ops_listen", "server.workers"}


def keys_of_the_service():
    """{section.key: default or None} of config/default.toml, which lists every key, some as comments."""
    found, section = {}, ""
    for line in DEFAULT_TOML.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header.group(1)
        elif key := re.fullmatch(r"(# )?([a-z0-9_]+) = (.+)", line):
            comment, name, value = key.groups()
            found[f"{section}.{name}"] = None if comment else tomllib.loads(f"x = {value}")["x"]
    return found


@pytest.mark.parametrize("feature", [by_feature(path) for path in CI])
def test_the_service_accepts_the_rendered_configuration(feature):
    objects = render(ci(feature))
    said = check_config(objects.toml, objects.container)
    assert said.returncode == 0, said.stderr
    # Without a callers file the service warns, and an operator should see the warning.
    openness = "warning: callers.file: is not set: "
    warnings = [line for line in said.stderr.splitlines() if "warning" in line and not line.startswith(openness)]
    assert not warnings or feature == "every-key", said.stderr
    assert (openness in said.stderr) == ("file" not in tomllib.loads(objects.toml).get("callers", {})), said.stderr


def test_every_key_of_the_service_can_be_set():
    reached = {path for path, _ in leaves(defaults()["config"])} | OF_THE_CHART
    missing = keys_of_the_service().keys() - reached - NEVER
    assert not missing, f"add to values.yaml and values.schema.json: {missing}"
    unknown = reached - keys_of_the_service().keys()
    assert not unknown, f"the service has no such key: {unknown}"


def test_durations_may_be_zero_where_the_service_allows_it():
    schema = json.loads((CHART / "values.schema.json").read_text())
    sections = schema["properties"]["config"]["properties"].items()
    types = {
        f"{section}.{key}": value.get("$ref", "").removeprefix("#/definitions/")
        for section, keys in sections
        for key, value in keys["properties"].items()
    }
    may_be_zero = re.search(r"MAY_BE_ZERO: .*? = \[(.*?)\];", (ROOT / "tests/config.rs").read_text(), re.DOTALL)
    assert {key for key, kind in types.items() if kind == "span"} == set(re.findall(r'"(.+?)"', may_be_zero.group(1)))
    durations = {key for key, value in keys_of_the_service().items() if re.fullmatch(r"[0-9]+(ms|s|m|h|d)", str(value))}
    assert {key for key, kind in types.items() if kind in ("span", "positiveSpan")} == durations


def test_defaults_equal_those_of_the_service():
    ours = {path: value for path, value in leaves(defaults()["config"]) if path not in OTHERWISE}
    theirs = keys_of_the_service()
    assert {path: value for path, value in ours.items() if value is not None} == {
        path: theirs[path] for path, value in ours.items() if value is not None
    }
    for path, value in ours.items():
        if value is None:
            assert theirs.get(path) is None, path


def test_a_value_reaches_the_service_as_it_was_given():
    """Sets each key to a value other than its default, by file or environment, and checks the service's effective value."""
    values = ci("every-key")["config"]
    objects = render({"config": values})
    said = check_config(objects.toml, objects.container)
    effective = {}
    for section, keys in tomllib.loads(said.stdout).items():
        effective |= {f"{section}.{key}": value for key, value in keys.items()}
    given = dict(leaves(values))
    for path, value in given.items():
        # check-config shows no hash of a key.
        assert effective[path] == ("[redacted]" if path == "ops.key_sha256" else value), path
    standard = dict(leaves(defaults()["config"]))
    # `traces-values.yaml` sets telemetry.otlp_endpoint, because it requires networkPolicy.collector.
    # `extras-values.yaml` sets ops.key_sha256_file, because it mounts the file.
    assert given.keys() == standard.keys() - {"telemetry.otlp_endpoint", "ops.key_sha256_file"}
    for path in given:
        assert given[path] != standard[path], f"{path} would pass without being rendered"


def test_keys_left_to_the_service_are_not_rendered():
    rendered = tomllib.loads(render(ci("service-defaults")).toml)
    assert rendered == {
        "zoom": {f"{key}_file": f"/run/secrets/zoom/{key}" for key in ("account_id", "client_id", "client_secret")},
        "limits": {"state_file": "/var/lib/zoom-qos-proxy/day.json"},
    }


def test_texts_are_escaped():
    level = 'info,zoom_qos_proxy[{a="\\<é"}]=debug'
    assert tomllib.loads(render({"config": {"telemetry": {"log_level": level}}}).toml)["telemetry"]["log_level"] == level


def test_every_key_is_documented_where_it_is_set():
    """The README's table is generated from the comments; a key without one would be missing."""
    readme = (ROOT / "helm/zoom-qos-proxy/README.md").read_text()
    for path, _ in leaves(defaults()["config"]):
        assert f"`config.{path}`" in readme
