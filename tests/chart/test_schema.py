"""Values that must be rejected: each rule once, by its message."""

import json

import pytest

from chart import CHART, CI, at, by_feature, ci, defaults, helm4, leaves, merged, needs_helm_4, refusal, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TRIAL = {"accountId": "a", "clientId": "b", "clientSecret": "c"}
PEER = {"podSelector": {}}

# (values, what the message must name)
REFUSED = {
    # secrets
    "both credentials": ({"credentials": {"existingSecret": "x", "trial": TRIAL}}, "credentials.trial.accountId"),
    "a part of the trial's": ({"credentials": {"trial": {"clientId": "b"}}}, "credentials.trial.accountId: String length"),
    "a secret key with a slash": (at("credentials.keys.accountId", "a/b"), "credentials.keys.accountId"),
    "a secret's name in capitals": (at("credentials.existingSecret", "Zoom"), "credentials.existingSecret"),
    "callers as text": (at("callers.existingSecret", 7), "callers.existingSecret: Invalid type"),
    # monitoring
    "runbooks at no address": (at("prometheusRule.runbooksAt", "docs"), "prometheusRule.runbooksAt"),
    # image
    "latest": (at("image.tag", "latest"), "image.tag"),
    "a tag as a number": (at("image.tag", 1.2), "image.tag: Invalid type"),
    "a digest of another form": (at("image.digest", "sha256:1234"), "image.digest"),
    "an unknown pull policy": (at("image.pullPolicy", "Sometimes"), "image.pullPolicy"),
    "no repository": (at("image.repository", ""), "image.repository"),
    "a pull secret without a name": (at("global.imagePullSecrets", [{"key": "x"}]), "name is required"),
    # a dependency of another chart
    "switched off by itself": (at("enabled", False), "enabled: only the `condition` of a parent chart's dependency reads this value"),
    # the service's configuration
    "a time without its unit": (at("config.server.wait", "15"), "config.server.wait: Does not match"),
    "a time as a number": (at("config.server.wait", 15), "config.server.wait: Invalid type"),
    "no wait at all": (at("config.server.wait", "0s"), "config.server.wait: Does not match"),
    "two units": (at("config.cache.past_fresh", "1h30m"), "config.cache.past_fresh: Does not match"),
    "an unknown unit": (at("config.cache.settle", "3w"), "config.cache.settle: Does not match"),
    "a size without its unit": (at("config.cache.max_bytes", "1000000"), "config.cache.max_bytes: Does not match"),
    "a size as a number": (at("config.zoom.max_body", 1048576), "config.zoom.max_body: Invalid type"),
    "a size of nothing": (at("config.cache.max_bytes", "0MiB"), "config.cache.max_bytes: Does not match"),
    "an unknown plan": (at("config.limits.plan", "enterprise"), "config.limits.plan"),
    "no calls a second": (at("config.limits.heavy_per_second", 0), "config.limits.heavy_per_second"),
    "no calls a day": (at("config.limits.heavy_per_day", 0), "config.limits.heavy_per_day"),
    "half a call": (at("config.limits.heavy_per_second", 0.5), "config.limits.heavy_per_second: Invalid type"),
    "all as headroom": (at("config.limits.headroom_percent", 100), "config.limits.headroom_percent"),
    "nothing may wait": (at("config.limits.max_queued", 0), "config.limits.max_queued"),
    "no stretch": (at("config.limits.max_stretch", 0), "config.limits.max_stretch"),
    "more stretch than a day": (at("config.limits.max_stretch", 1001), "config.limits.max_stretch"),
    "a negative limit": (at("config.summary.jitter_ms", -1), "config.summary.jitter_ms"),
    "a limit as text": (at("config.summary.loss_percent", "2"), "config.summary.loss_percent: Invalid type"),
    "more than all is lost": (at("config.summary.loss_percent", 100.5), "config.summary.loss_percent"),
    "a latency beyond any": (at("config.summary.latency_ms", 1000000), "config.summary.latency_ms"),
    "more CPU than there is": (at("config.summary.cpu_percent", 101), "config.summary.cpu_percent"),
    "more connections than files": (at("config.server.max_connections", 1000001), "config.server.max_connections"),
    "more than all reserved": (at("config.limits.reserve_percent", 101), "config.limits.reserve_percent"),
    "an unknown field to hide": (at("config.callers.anonymous_hide", ["phone"]), "config.callers.anonymous_hide.0"),
    "a hash that is too short": (at("config.ops.key_sha256", "ab"), "config.ops.key_sha256: Does not match"),
    "a hash in a relative file": (at("config.ops.key_sha256_file", "key"), "config.ops.key_sha256_file: Does not match"),
    "too many workers": (at("config.server.workers", 1025), "config.server.workers"),
    "an ftp URL": (at("config.zoom.api_base_url", "ftp://api.zoom.us"), "config.zoom.api_base_url"),
    "a URL with a password": (at("config.zoom.oauth_url", "https://u:p@zoom.us/oauth"), "config.zoom.oauth_url"),
    "a URL with a query": (at("config.telemetry.otlp_endpoint", "http://c:4318/?x=1"), "config.telemetry.otlp_endpoint"),
    "a listener on one address": (at("config.server.listen", "127.0.0.1:8080"), "config.server.listen: Does not match"),
    "a listener without a port": (at("config.server.ops_listen", "0.0.0.0"), "config.server.ops_listen: Does not match"),
    "a port beyond the last": (at("config.server.listen", "0.0.0.0:65536"), "config.server.listen: Does not match"),
    "a log level that there is not": (at("config.telemetry.log_level", "verbose"), "config.telemetry.log_level"),
    "an unknown log format": (at("config.telemetry.log_format", "xml"), "config.telemetry.log_format"),
    "a log level with a space": (at("config.telemetry.log_level", "info, debug"), "config.telemetry.log_level"),
    "a key of the service that the chart sets": (at("config.limits.state_file", "/x"), "state_file is not allowed"),
    "a secret in the configuration": (at("config.zoom.client_secret", "hush"), "client_secret is not allowed"),
    "Redis's URL in the configuration": (at("config.redis.url", "redis://x"), "url is not allowed"),
    "no time for Redis": (at("config.redis.timeout", "0s"), "config.redis.timeout: Does not match"),
    "the key of what is in Redis in the configuration": (at("config.redis.encryption_key", "ab"), "encryption_key is not allowed"),
    "a key of Redis's Secret with a slash": (at("redis.keys.encryptionKey", "a/b"), "redis.keys.encryptionKey"),
    "the URL as the encryption key": (at("redis.keys.encryptionKey", "url"), "redis.keys: two keys have the same name"),
    "two Redis": (merged(at("valkey.enabled", True), at("redis.existingSecret", "r"), at("networkPolicy.redis.namespaces", ["r"])), "valkey.enabled: redis.existingSecret names another Redis, but replicas must share one"),
    "TLS to the chart's own": (merged(at("valkey.enabled", True), at("redis.keys.ca", "ca.crt")), "redis.keys.ca: the Valkey of valkey.enabled has no TLS"),
    "its password as the URL": (merged(at("valkey.enabled", True), at("valkey.keys.auth", "url")), "redis.keys: two keys (valkey.keys.auth included) have the same name"),
    "a Valkey with room for nothing": (merged(at("valkey.enabled", True), at("valkey.maxMemory", "15MiB")), "valkey.maxMemory: 15MiB leaves no room"),
    "a Valkey without a bound": (at("valkey.maxMemory", None), "valkey: maxMemory is required"),
    "the latest Valkey": (at("valkey.image.tag", "latest"), "valkey.image.tag"),
    "a Redis that nobody lets out to": (at("redis.existingSecret", "r"), "networkPolicy.redis: is empty"),
    "a name with a dot": (at("fullnameOverride", "qos.proxy"), "fullnameOverride: Does not match"),
    "a name that begins with a digit": (at("nameOverride", "1qos"), "nameOverride: Does not match"),
    # replicas and rollout
    "replicas as text": (at("replicaCount", "2"), "replicaCount: Invalid type"),
    "no replica": (at("replicaCount", 0), "replicaCount"),
    "a surge in percent": (at("rollout.maxSurge", "25%"), "rollout.maxSurge: Invalid type"),
    "a negative surge": (at("rollout.maxSurge", -1), "rollout.maxSurge"),
    "a volume for many nodes": (at("persistence.accessMode", "ReadWriteMany"), "persistence.accessMode"),
    "a volume without a size": (at("persistence.size", ""), "persistence.size"),
    # pod
    "root": (at("runAs.user", 0), "runAs.user"),
    "a probe without a period": (at("probes.liveness.periodSeconds", 0), "probes.liveness.periodSeconds"),
    "an unknown spread": (at("topologySpread.zones", "Never"), "topologySpread.zones"),
    "a label that objects are found by": (at("commonLabels", {"app.kubernetes.io/name": "x"}), "app.kubernetes.io/name"),
    "the same on pods": (at("podLabels", {"app.kubernetes.io/component": "x"}), "app.kubernetes.io/component"),
    "an annotation of the chart": (at("podAnnotations", {"kubectl.kubernetes.io/default-container": "x"}), "kubectl.kubernetes.io/default-container"),
    "a label as a number": (at("podLabels", {"a": 1}), "podLabels.a: Invalid type"),
    # Services, Ingress and HTTPRoute
    "an unknown type of service": (at("service.type", "ExternalName"), "service.type"),
    "port 0": (at("service.port", 0), "service.port"),
    "an Ingress without a host": (at("ingress.enabled", True), "ingress.hosts: Array must have at least 1 items"),
    "an Ingress with a URL for a host": (at("ingress.hosts", ["https://a"]), "ingress.hosts.0"),
    "an HTTPRoute without a Gateway": (at("httpRoute.enabled", True), "httpRoute.parentRefs: Array must have at least 1 items"),
    "a Gateway without a name": (at("httpRoute.parentRefs", [{"namespace": "x"}]), "name is required"),
    # network policy
    "an empty peer": (at("networkPolicy.callers.peers", [{}]), "networkPolicy.callers.peers.0"),
    "an unknown peer": (at("networkPolicy.operators.peers", [{"serviceSelector": {}}]), "serviceSelector is not allowed"),
    "a namespace in capitals": (at("networkPolicy.callers.namespaces", ["Team"]), "networkPolicy.callers.namespaces.0"),
    "an address without a mask": (at("networkPolicy.zoom.ipBlocks", [{"cidr": "1.2.3.4"}]), "networkPolicy.zoom.ipBlocks.0.cidr"),
    "no way to Zoom": (at("networkPolicy.zoom.ipBlocks", []), "networkPolicy.zoom.ipBlocks: Array must have at least 1 items"),
    "no DNS": (at("networkPolicy.dns.peers", []), "networkPolicy.dns.peers: Array must have at least 1 items"),
    "no port of DNS": (at("networkPolicy.dns.ports", []), "networkPolicy.dns.ports: Array must have at least 1 items"),
    "a port of DNS by name": (at("networkPolicy.dns.ports", ["dns"]), "networkPolicy.dns.ports.0: Invalid type"),
    # monitoring
    "an interval in words": (at("serviceMonitor.interval", "30 seconds"), "serviceMonitor.interval"),
    # optional extras
    "a variable of the service": (at("extraEnv", [{"name": "QOS_PROXY__LIMITS__HEAVY_PER_SECOND", "value": "99"}]), "extraEnv.0.name"),
    "a variable that is no text": (at("extraEnv", [{"name": "A", "value": 1}]), "extraEnv.0.value: Invalid type"),
    "a variable without a name": (at("extraEnv", [{"value": "x"}]), "name is required"),
    # sums and contradictions
    "a grace period that is too short": (at("terminationGracePeriodSeconds", 30), "terminationGracePeriodSeconds: must be longer than config.server.drain_delay and shutdown_timeout together, 30 s"),
    "a drain that is too long for it": (merged(at("terminationGracePeriodSeconds", 40), at("config.server.drain_delay", "15500ms")), "together, 41 s"),
    "one port for both": (at("config.server.ops_listen", "[::]:8080"), "config.server.ops_listen: has the same port"),
    "less memory than the cache takes": (at("resources.limits.memory", "380Mi"), "resources.limits.memory: 380Mi is less than the 381 MiB"),
    "a larger cache than the memory": (merged(at("resources.limits.memory", "1G"), at("config.cache.max_bytes", "1GiB")), "less than the 1380 MiB"),
    "the same in other words": (at("resources.limits.memory", "0.25Gi"), "0.25Gi is less than the 381 MiB"),
    "and in others": (at("resources.limits.memory", "2e8"), "2e+08 is less than the 381 MiB"),
    "and as a number": (at("resources.limits.memory", 200000000), "2e+08 is less than the 381 MiB"),
    "memory that is no quantity": (at("resources.limits.memory", "1 GB"), "resources.limits.memory: 1 GB is not a quantity"),
    "memory that is null": (at("resources.limits.memory", None), "resources.limits.memory: <nil> is not a quantity"),
    "more memory asked for than is allowed": (merged(at("resources.limits.memory", "1Gi"), at("resources.requests.memory", "1.5Gi")), "resources.requests.memory: 1.5Gi is more than the limit, 1Gi"),
    "less CPU allowed than is asked for": (at("resources.limits.cpu", "50m"), "resources.requests.cpu: 100m is more than the limit, 50m"),
    "a label twice on pods": (merged(at("commonLabels", {"team": "a"}), at("podLabels", {"team": "b"})), "podLabels: team is also in commonLabels"),
    "a label twice on the dashboard": (at("commonLabels", {"grafana_dashboard": "1"}), "dashboard.labels: grafana_dashboard is also in commonLabels"),
    "two credentials of one key": (at("credentials.keys.accountId", "client_id"), "credentials.keys: two keys have the same name"),
    "a scrape longer than the interval": (at("serviceMonitor.interval", "9s"), "serviceMonitor.scrapeTimeout: 10s is longer than serviceMonitor.interval, 9s"),
    "a grace period without time for traces": (merged(ci("traces"), at("terminationGracePeriodSeconds", 32)), "together, 32 s with 2 s for the last traces"),
    "an Ingress that nobody lets in": (merged(at("ingress.enabled", True), at("ingress.hosts", ["a.b"])), "networkPolicy.callers: admits only the release's own namespace"),
    "a Gateway that nobody lets in": (merged(at("httpRoute.enabled", True), at("httpRoute.parentRefs", [{"name": "g"}])), "networkPolicy.callers: admits only the release's own namespace"),
    "a load balancer that nobody lets in": (at("service.type", "LoadBalancer"), "networkPolicy.callers: admits only the release's own namespace"),
    "a Prometheus that nobody lets in": (at("serviceMonitor.enabled", True), "networkPolicy.operators: admits nobody"),
    "traces that nobody lets out": (at("config.telemetry.otlp_endpoint", "http://c:4318"), "networkPolicy.collector: is empty"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused(what):
    values, named = REFUSED[what]
    said = refusal(values)
    assert named in said, said


def test_each_key_of_the_service_with_a_rule_of_its_own_is_refused_once():
    """A key whose type is in `definitions` has no rule of its own."""
    sections = SCHEMA["properties"]["config"]["properties"].items()
    schemas = {f"config.{section}.{key}": schema for section, each in sections for key, schema in each["properties"].items()}
    with_rule = {key for key, schema in schemas.items() if not schema.keys() <= {"$ref", "type", "description"}}
    assert with_rule - {key for values, _ in REFUSED.values() for key, _ in leaves(values)} == set()


@needs_helm_4
def test_helm_4_refuses_them_too():
    found = helm4(CHART, [values for values, _ in REFUSED.values()])
    assert [what for what, each in zip(REFUSED, found, strict=True) if "error" not in each] == []


def test_all_contradictions_are_reported_together():
    said = refusal(merged(at("terminationGracePeriodSeconds", 1), at("serviceMonitor.enabled", True), at("autoscaling.enabled", True)))
    for each in ("terminationGracePeriodSeconds", "networkPolicy.operators", "autoscaling.enabled"):
        assert f"\n{each}: " in said


def test_without_the_policy_nobody_needs_to_be_named():
    off = at("networkPolicy.enabled", False)
    for feature in ("ingress", "monitoring", "traces", "load-balancer"):
        assert render(merged(ci(feature), {"networkPolicy": defaults()["networkPolicy"]}, off))


# ---- closed ----


def resolved(schema):
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def maps(schema, value, path=""):
    """(path, schema) of every map with fixed keys."""
    schema = resolved(schema)
    if "properties" in schema:
        yield path, schema
        for key, inner in schema["properties"].items():
            yield from maps(inner, None, f"{path}.{key}".lstrip("."))


def lists_of_maps(schema, path=""):
    schema = resolved(schema)
    for key, inner in schema.get("properties", {}).items():
        inner, here = resolved(inner), f"{path}.{key}".lstrip(".")
        if inner.get("type") == "array" and "properties" in resolved(inner["items"]):
            yield here, resolved(inner["items"])
        yield from lists_of_maps(inner, here)


LEVELS = [path for path, _ in maps(SCHEMA, None) if path != "global"]


@pytest.mark.parametrize("path", LEVELS)
def test_an_unknown_key_is_refused_at_every_level(path):
    values = at(f"{path}.zebra".lstrip("."), 1)
    said = refusal(values)
    assert "Additional property zebra is not allowed" in said or "zebra" in said and "Invalid type" in said, said


def test_lists_of_our_own_maps_are_closed_too():
    closed = {path: item for path, item in lists_of_maps(SCHEMA)}
    assert "networkPolicy.callers.peers" in closed and "ingress.tls" in closed
    for path, item in closed.items():
        assert item.get("additionalProperties") is False or path == "extraEnv", path


def test_global_values_of_other_charts_are_accepted():
    assert render({"global": {"somebodyElses": {"value": 1}}})


def test_schema_and_values_have_the_same_keys():
    def keys(schema, path=""):
        schema = resolved(schema)
        if "properties" in schema:
            for key, inner in schema["properties"].items():
                yield from keys(inner, f"{path}.{key}".lstrip("."))
        else:
            yield path

    values = {path for path, _ in leaves(defaults())}
    in_schema = set(keys(SCHEMA))
    loose = {path for path in in_schema if any(each.startswith(f"{path}.") for each in values)}
    assert in_schema - values - {"resources.limits"} - loose == set()
    assert {path for path in values - in_schema if not any(path.startswith(f"{each}.") for each in loose)} == set()


# ---- no value without effect ----

# Values that have an effect only together with other values, and those other values.
NEED_COMPANY = {"image.registry": {"global.imageRegistry": ""}, "image.tag": {"image.digest": "", "global.imageRegistry": ""}}


def without(values, path):
    *above, last = path.split(".")
    result = merged(values)
    inner = result
    for key in above:
        inner = inner[key]
    del inner[last]
    return result


def is_set(values, path):
    for key in path.split("."):
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def paths():
    whole = {"resources", "dashboard.labels"}
    for path, _ in leaves(defaults()):
        # `enabled` decides whether a parent chart includes this one: see test_umbrella.py.
        if path != "enabled" and not any(path.startswith(f"{each}.") for each in whole):
            yield path


def outcome(values):
    """The rendered objects, or the error if the values are rejected."""
    try:
        return render(values)
    except AssertionError as refused:
        return str(refused)


@pytest.mark.parametrize("path", list(paths()))
def test_every_value_is_set_in_ci_and_changes_what_is_rendered(path):
    company = {}
    for key, value in NEED_COMPANY.get(path, {}).items():
        company = merged(company, at(key, value))
    setting = [values for values in map(ci, map(by_feature, CI)) if is_set(values, path)]
    assert setting, "no file of ci/ sets it"
    assert any(
        outcome(merged(values, company)) != outcome(without(merged(values, company), path)) for values in setting
    ), "it is set and changes nothing"
