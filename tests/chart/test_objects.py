"""The chart's guarantees, checked on the rendered objects."""

import base64
import re

import kubernetes_validate
import pytest
import yaml

from chart import CHART, CI, NAME, NAMESPACE, by_feature, ci, component, defaults, merged, refusal, render

FEATURES = [by_feature(path) for path in CI]
SELECTOR = {
    "app.kubernetes.io/name": "zoom-qos-proxy",
    "app.kubernetes.io/instance": "release",
    "app.kubernetes.io/component": "proxy",
}


def selects(selector, labels):
    return selector.items() <= labels.items()


def pods_of(objects):
    """(labels, spec) of every pod of the chart."""
    template = objects.workload["spec"]["template"]
    tests = objects.all("Pod")
    checks = [each["spec"]["template"] for each in objects.all("Job")]
    valkey = [each["spec"]["template"] for each in objects.all("StatefulSet") if component(each) == "valkey"]
    return [(each["metadata"]["labels"], each["spec"]) for each in (template, *tests, *checks, *valkey)]


# ---- safe with all values ----


@pytest.mark.parametrize("feature", FEATURES)
def test_every_pod_keeps_to_the_restricted_standard_and_has_no_token(feature):
    for _, pod in pods_of(render(ci(feature))):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for volume in pod.get("volumes", []):
            assert volume.keys() - {"name"} <= {"configMap", "secret", "emptyDir", "downwardAPI"}, volume
        for container in pod["containers"] + pod.get("initContainers", []):
            if container["name"].startswith("beside"):
                continue  # the user's
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["runAsNonRoot"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"memory"} <= container["resources"]["limits"].keys()
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert not container["image"].endswith(":latest")


@pytest.mark.parametrize("feature", FEATURES)
def test_every_object_is_in_the_release_and_carries_its_labels(feature):
    values = ci(feature)
    for each in render(values):
        if each["metadata"]["name"].endswith(("-more", "-text")):
            continue
        assert each["metadata"]["namespace"] == NAMESPACE
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "release"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert values.get("commonLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("feature", FEATURES)
def test_selectors_of_the_service_match_its_pods_and_never_the_test_pod(feature):
    objects = render(ci(feature))
    (proxy, _), *others = pods_of(objects)
    selectors = [objects.workload["spec"]["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"] for each in objects.all("Service") if component(each) == "proxy"]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in objects.all("PodDisruptionBudget")]
    selectors += [each["labelSelector"]["matchLabels"] for each in objects.pod.get("topologySpreadConstraints", [])]
    for selector in selectors:
        assert set(selector) == set(SELECTOR), "immutable, so nothing that changes with a version"
        assert selects(selector, proxy)
        assert not any(selects(selector, labels) for labels, _ in others)
    assert others[0][0]["app.kubernetes.io/component"] == "test"


@pytest.mark.parametrize("feature", FEATURES)
def test_no_secret_is_an_environment_variable_or_in_the_config_map(feature):
    objects = render(ci(feature))
    for container in objects.pod["containers"]:
        assert not any("valueFrom" in each for each in container.get("env", []))
        assert "envFrom" not in container or feature == "extras"
    assert "not-a-secret" not in yaml.safe_dump(objects.all("ConfigMap"))
    for key in ("account_id", "client_id", "client_secret"):
        assert f'{key}_file = "/run/secrets/zoom/{key}"' in objects.toml
        assert not re.search(rf"^{key} =", objects.toml, re.MULTILINE)


@pytest.mark.parametrize("feature", FEATURES)
def test_secrets_are_mounted_as_folders_that_follow_a_change(feature):
    objects = render(ci(feature))
    volumes = {each["name"]: each for each in objects.pod["volumes"]}
    for mount in objects.container["volumeMounts"]:
        assert "subPath" not in mount
    for mount in objects.container["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        if "secret" in volume:
            assert mount["readOnly"] is True
            # 0440: readable by the group, which fsGroup sets. Without fsGroup the files belong to root.
            has_group = "fsGroup" in objects.pod["securityContext"]
            assert volume["secret"].get("defaultMode") == (0o440 if has_group else None)
            assert "optional" not in volume["secret"]


# ---- the pod ----


def test_defaults_are_one_replica_by_rolling_update_without_a_gap():
    objects = render()
    spec = objects.one("Deployment", NAME)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert spec["minReadySeconds"] > 0
    assert objects.container["args"] == ["serve", "--config", "/etc/zoom-qos-proxy/config/config.toml"]
    assert objects.container["image"] == "zoom-qos-proxy:0.1.0"
    kinds = sorted(each["kind"] for each in objects)
    assert kinds == sorted([
        "ConfigMap", "Deployment", "Job", "NetworkPolicy", "NetworkPolicy", "Pod", "Service", "Service", "ServiceAccount",
    ])


def test_the_pod_is_spread_over_nodes_and_zones():
    keys = {
        each["topologyKey"]: each["whenUnsatisfiable"] for each in render().pod["topologySpreadConstraints"]
    }
    assert keys == {"kubernetes.io/hostname": "ScheduleAnyway", "topology.kubernetes.io/zone": "ScheduleAnyway"}
    only = render(ci("replicas")).pod["topologySpreadConstraints"]
    assert [(each["topologyKey"], each["whenUnsatisfiable"]) for each in only] == [
        ("kubernetes.io/hostname", "DoNotSchedule")
    ]
    assert "topologySpreadConstraints" not in render(ci("pod")).pod


def test_liveness_never_asks_about_zoom_and_readiness_does():
    container = render().container
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}


def test_environment_container_ports_and_services_have_the_same_listeners():
    objects = render(ci("every-key"))
    assert {each["name"]: each["value"] for each in objects.container["env"]} == {
        "QOS_PROXY__SERVER__LISTEN": "[::]:18080",
        "QOS_PROXY__SERVER__OPS_LISTEN": "[::]:19090",
    }
    assert {each["name"]: each["containerPort"] for each in objects.container["ports"]} == {
        "http": 18080, "ops": 19090,
    }
    [port] = objects.one("Service", NAME)["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "http")
    [port] = objects.one("Service", f"{NAME}-ops")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (19090, "ops")
    urls = [each["args"][-1] for each in objects.one("Pod")["spec"]["containers"]]
    assert sorted(urls) == [f"http://{NAME}-ops:19090/readyz", f"http://{NAME}:80/openapi.json"]


@pytest.mark.parametrize(
    "drain, shutdown, grace",
    [("5s", "25s", 40), ("0s", "1s", 11), ("1500ms", "1500ms", 13), ("1501ms", "1500ms", 14), ("1m", "1h", 3670)],
)
def test_the_grace_period_is_longer_than_drain_and_shutdown(drain, shutdown, grace):
    values = {"config": {"server": {"drain_delay": drain, "shutdown_timeout": shutdown}}}
    assert render(values).pod["terminationGracePeriodSeconds"] == grace


def test_the_grace_period_has_time_for_the_last_traces():
    assert render(ci("traces")).pod["terminationGracePeriodSeconds"] == 42


def test_a_grace_period_that_is_just_long_enough_is_accepted():
    assert render({"terminationGracePeriodSeconds": 31}).pod["terminationGracePeriodSeconds"] == 31


@pytest.mark.parametrize(
    "bound, request_mib, limit_mib",
    # The request is 1.3 times the bound, rounded up, plus 48 MiB. The limit is the request plus 578 MiB: 2.25 times 128 MiB,
    # twice 64 MiB, 32 MiB, and 130 MiB.
    [("256MiB", 381, 959), ("1MiB", 50, 628), ("1GiB", 1380, 1958), ("100KiB", 49, 627)],
)
def test_memory_follows_from_the_bound_of_the_cache(bound, request_mib, limit_mib):
    resources = render({"config": {"cache": {"max_bytes": bound}}}).container["resources"]
    assert resources == {
        "requests": {"cpu": "100m", "memory": f"{request_mib}Mi"},
        "limits": {"memory": f"{limit_mib}Mi"},
    }


@pytest.mark.parametrize(
    "max_fetch_bytes, max_body, more_mib",
    # A page takes at most max_fetch_bytes, even if max_body is larger.
    [("64MiB", "16MiB", 338), ("16MiB", "64MiB", 230), ("128MiB", "1MiB", 452)],
)
def test_the_memory_limit_has_room_for_meetings_being_fetched(max_fetch_bytes, max_body, more_mib):
    config = {"limits": {"max_fetch_bytes": max_fetch_bytes}, "zoom": {"max_body": max_body}}
    resources = render({"config": config}).container["resources"]
    assert resources["limits"]["memory"] == f"{381 + more_mib}Mi"


@pytest.mark.parametrize("connections, more_mib", [(1, 51), (1000, 90), (2048, 130), (10_000, 441), (None, 130)])
def test_the_memory_limit_has_40_kib_for_each_connection(connections, more_mib):
    resources = render({"config": {"server": {"max_connections": connections}}}).container["resources"]
    assert resources["limits"]["memory"] == f"{829 + more_mib}Mi"


def test_configured_memory_is_used_and_no_request_exceeds_its_limit():
    only_limit = render({"resources": {"limits": {"memory": "400Mi"}}}).container["resources"]
    assert only_limit == {"requests": {"cpu": "100m", "memory": "400Mi"}, "limits": {"memory": "400Mi"}}
    only_request = render({"resources": {"requests": {"memory": "2Gi"}}}).container["resources"]
    assert only_request == {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    small_request = render({"resources": {"requests": {"memory": "64Mi"}}}).container["resources"]
    assert small_request["limits"] == {"memory": "959Mi"}
    both = render(ci("pod")).container["resources"]
    assert both == ci("pod")["resources"]


@pytest.mark.parametrize("limit", ["0.5Gi", "5e8", "5E+8", 500000000, "400M", "524288k", "400000000000m"])
def test_memory_accepts_every_notation_of_kubernetes(limit):
    resources = render({"resources": {"limits": {"memory": limit}}}).container["resources"]
    # YAML parses notations with an exponent as numbers.
    same = 500000000 if limit in ("5e8", "5E+8") else limit
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == same


def test_no_cpu_limit_by_default():
    assert "cpu" not in render().container["resources"]["limits"]


def test_the_platform_chooses_user_and_groups_where_they_are_null():
    objects = render(ci("openshift"))
    for _, pod in pods_of(objects):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()
        assert pod["securityContext"]["runAsNonRoot"] is True
    objects = render()
    assert objects.pod["securityContext"]["runAsUser"] == 65532
    assert objects.pod["securityContext"]["fsGroup"] == 65532


def test_the_digest_overrides_the_tag_and_the_global_registry_the_images():
    objects = render(ci("image"))
    image = "registry.example.com/platform/zoom-qos-proxy@sha256:" + "0123456789abcdef" * 4
    assert objects.container["image"] == image
    assert [each["image"] for each in objects.one("Pod")["spec"]["containers"]] == [image] * 2
    for _, pod in pods_of(objects):
        assert pod["imagePullSecrets"] == [{"name": "everywhere"}, {"name": "registry"}]
    tagged = render({"image": {"registry": "r.example.com:5000", "tag": "1.2.3"}})
    assert tagged.container["image"] == "r.example.com:5000/zoom-qos-proxy:1.2.3"


def test_the_service_account_has_no_token_and_can_be_another():
    objects = render()
    assert objects.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert objects.pod["serviceAccountName"] == objects.one("ServiceAccount")["metadata"]["name"] == NAME
    assert not render(ci("pod")).all("ServiceAccount")
    assert render(ci("pod")).pod["serviceAccountName"] == "qos-runner"
    assert render({"serviceAccount": {"create": False}}).pod["serviceAccountName"] == "default"


def test_names_stay_within_what_kubernetes_allows():
    values = {"fullnameOverride": "x" * 70}
    for each in render(values):
        assert len(each["metadata"]["name"]) <= 63
    assert len(render(values).workload["metadata"]["name"]) == 52
    with_valkey = render({**values, "valkey": {"enabled": True}})
    for each in with_valkey.all("StatefulSet"):
        # A label of the StatefulSet's pods consists of its name and eleven more characters.
        assert len(each["metadata"]["name"]) == 52 and each["metadata"]["name"].endswith("-valkey")
    names = {each["metadata"]["name"] for each in render(ci("pod"))}
    assert all(name.startswith("qos") for name in names)


def test_names_that_look_like_numbers_stay_texts():
    """YAML parses 42 as a number and `on` as true; Kubernetes accepts only strings here."""
    values = {
        "fullnameOverride": "on",
        "credentials": {"existingSecret": "1"},
        "callers": {"existingSecret": "2"},
        "serviceAccount": {"create": False, "name": "3"},
        "priorityClassName": "4",
        "persistence": {"enabled": True, "storageClass": "5"},
        "ingress": {"enabled": True, "className": "6", "hosts": ["7"]},
        "networkPolicy": {"callers": {"namespaces": ["8"]}, "operators": {"namespaces": ["9"]}},
        "serviceMonitor": {"enabled": True},
    }
    objects = render(values, release="42", namespace="17")
    for each in objects:
        if each["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(each, "1.37", strict=True)
        assert each["metadata"]["name"].startswith("on")
        assert each["metadata"]["namespace"] == "17"
    assert objects.one("ServiceMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["17"]}
    trial = {
        "credentials": {
            "keys": {"accountId": "1", "clientId": "2", "clientSecret": "3"},
            "trial": {"accountId": "4", "clientId": "5", "clientSecret": "6"},
        }
    }
    assert all(isinstance(each, str) for pair in render(trial).one("Secret")["data"].items() for each in pair)


def test_a_release_name_that_begins_with_a_digit_needs_fullname_override():
    said = refusal({}, release="42")
    assert 'fullnameOverride: a Service\'s name must begin with a letter' in said
    assert '"42-zoom-qos-proxy"' in said
    assert render({"fullnameOverride": "qos"}, release="42")


# ---- configuration and secrets ----


def template(values):
    return render(values).workload["spec"]["template"]


def named(values, kind):
    """{name: object} of the objects of a kind that are named by their content."""
    return {each["metadata"]["name"]: each for each in render(values).all(kind) if each.get("immutable")}


def test_a_changed_configuration_replaces_the_pods_and_nothing_else_does():
    same = template({})
    assert template({"config": {"cache": {"live_fresh": "31s"}}}) != same
    assert template({"replicaCount": 2})["spec"]["volumes"] != same["spec"]["volumes"], "the share is in the configuration"
    assert template({"service": {"port": 81}, "networkPolicy": {"enabled": False}}) == same


def test_a_changed_trial_secret_replaces_the_pods():
    values = ci("trial-credentials")
    before = template(values)
    values["credentials"]["trial"]["clientSecret"] = "another"
    assert template(values) != before


def test_no_two_contents_have_the_same_name_and_none_can_change():
    """If this holds, a pod can read only files that were made for its template."""
    trial = ci("trial-credentials")
    for kind, ones, others in (
        ("ConfigMap", {}, {"config": {"cache": {"live_fresh": "31s"}}}),
        ("ConfigMap", {"valkey": {"enabled": True}}, {"valkey": {"enabled": True, "maxMemory": "64MiB"}, "replicaCount": 2}),
        ("Secret", trial, merged(trial, {"credentials": {"trial": {"clientSecret": "another"}}})),
        ("Secret", trial, merged(trial, {"credentials": {"keys": {"clientSecret": "another"}}})),
    ):
        assert named(ones, kind) and not named(ones, kind).keys() & named(others, kind).keys()
        assert named(ones, kind).keys() == named(merged(ones, {"service": {"port": 81}}), kind).keys()
        for name, each in named(ones, kind).items():
            assert re.fullmatch(r".+-[0-9a-f]{10}", name)
            # Argo CD does not know earlier revisions when it renders the chart, so it prunes their objects. PruneLast makes
            # this the last step.
            assert each["metadata"]["annotations"] == {"argocd.argoproj.io/sync-options": "PruneLast=true"}


def test_a_new_chart_with_the_same_service_does_not_replace_the_pods():
    assert "helm.sh/chart" not in render().workload["spec"]["template"]["metadata"]["labels"]


def credentials_volume(objects):
    [volume] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == "credentials"]
    return volume["secretName"], {each["path"]: each["key"] for each in volume["items"]}


def test_credentials_come_from_a_secret_with_any_keys():
    objects = render(ci("existing-secrets"))
    assert credentials_volume(objects) == (
        "zoom-oauth-app",
        {"account_id": "account", "client_id": "client", "client_secret": "secret"},
    )
    assert not objects.all("Secret")


def test_without_credentials_the_pod_waits_for_a_secret_of_fixed_name():
    objects = render()
    assert credentials_volume(objects)[0] == f"{NAME}-zoom"
    assert not objects.all("Secret")


def test_trial_credentials_make_the_secret_that_is_mounted():
    objects = render(ci("trial-credentials"))
    secret = objects.one("Secret")
    name, items = credentials_volume(objects)
    assert secret["metadata"]["name"] == name
    plain = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert {path: plain[key] for path, key in items.items()} == {
        "account_id": "an-account", "client_id": "a-client", "client_secret": "not-a-secret",
    }


def test_the_callers_file_comes_from_a_secret_or_everybody_may_ask():
    objects = render(ci("existing-secrets"))
    assert 'file = "/etc/zoom-qos-proxy/callers/callers.toml"' in objects.toml
    [volume] = [each["secret"] for each in objects.pod["volumes"] if each["name"] == "callers"]
    assert volume["secretName"] == "qos-callers"
    assert volume["items"] == [{"key": "who.toml", "path": "callers.toml"}]
    [mount] = [each for each in objects.container["volumeMounts"] if each["name"] == "callers"]
    assert mount["mountPath"] == "/etc/zoom-qos-proxy/callers"
    assert "issuers" not in [each["name"] for each in objects.pod["volumes"]]
    open_to_all = render()
    assert "[callers]" not in open_to_all.toml
    assert "callers" not in [each["name"] for each in open_to_all.pod["volumes"] + open_to_all.container["volumeMounts"]]


def test_the_keys_of_issuers_come_from_a_secret():
    objects = render(ci("issuer"))
    volumes = {each["name"]: each for each in objects.pod["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in objects.container["volumeMounts"]}
    assert volumes["issuers"]["secret"]["secretName"] == "qos-issuers"
    assert mounts["issuers"] == "/etc/zoom-qos-proxy/issuers"


# ---- replicas and their volumes ----


def test_the_days_count_is_on_a_folder_that_outlives_the_container():
    objects = render()
    [volume] = [each for each in objects.pod["volumes"] if each["name"] == "state"]
    assert "emptyDir" in volume
    [mount] = [each for each in objects.container["volumeMounts"] if each["name"] == "state"]
    assert mount["mountPath"] == "/var/lib/zoom-qos-proxy"
    assert not mount.get("readOnly")
    assert 'state_file = "/var/lib/zoom-qos-proxy/day.json"' in objects.toml


def test_persistence_gives_each_replica_a_volume_that_no_two_pods_share():
    objects = render(ci("persistence"))
    assert not objects.all("Deployment")
    spec = objects.one("StatefulSet", NAME)["spec"]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    assert not [each for each in objects.pod["volumes"] if each["name"] == "state"]
    governing = objects.one("Service", spec["serviceName"])
    assert governing["spec"]["clusterIP"] == "None"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert "storageClassName" not in render({"persistence": {"enabled": True}}).workload["spec"][
        "volumeClaimTemplates"
    ][0]["spec"]


def test_one_after_the_other_means_the_old_pod_is_gone_first():
    assert render(ci("one-after-the-other")).workload["spec"]["strategy"] == {"type": "Recreate"}
    assert render(ci("no-surge")).workload["spec"]["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_a_divided_replica_is_not_ready_before_its_predecessor_is_certainly_gone():
    """A Deployment does not count terminating pods, so their grace period must pass before a new pod gets callers. An init
    container runs once per pod, so the service's own container restarts without the wait."""
    for values in ({"replicaCount": 2}, ci("replicas"), ci("no-surge"), {"replicaCount": 2, "terminationGracePeriodSeconds": 90}):
        objects = render(values)
        grace = objects.pod["terminationGracePeriodSeconds"]
        [wait] = objects.pod["initContainers"]
        command, seconds = wait["args"]
        assert command == "sleep" and int(seconds.removesuffix("s")) >= grace
        assert wait["image"] == objects.container["image"]
        assert not any("initialDelaySeconds" in objects.container[f"{each}Probe"] for each in ("startup", "liveness", "readiness"))
        assert objects.workload["spec"]["progressDeadlineSeconds"] > grace + 500
    for values in ({}, ci("persistence"), ci("one-after-the-other")):
        assert "initContainers" not in render(values).pod


def test_with_more_replicas_a_caller_stays_with_one():
    def affinity(values):
        return render(values).one("Service", NAME)["spec"]["sessionAffinity"]

    assert affinity({}) == "None"
    assert affinity({"replicaCount": 2}) == "ClientIP"
    assert affinity({"replicaCount": 2, "service": {"sessionAffinity": "None"}}) == "None"
    assert affinity({"service": {"sessionAffinity": "ClientIP"}}) == "ClientIP"
    shared = merged(ci("redis"), {"replicaCount": 2})
    assert affinity(shared) == "None", "any replica can continue the paging"


def test_one_pod_at_a_time_may_be_disrupted_if_there_are_several():
    assert not render().all("PodDisruptionBudget"), "for one replica, a budget would block every eviction or none"
    budget = render({"replicaCount": 2}, "1.27.0").one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "unhealthyPodEvictionPolicy" not in render({"replicaCount": 2}, "1.26.9").one("PodDisruptionBudget")["spec"]
    assert not render(ci("extras")).all("PodDisruptionBudget")


# ---- Services, Ingress and HTTPRoute ----


def test_ingress_and_route_lead_to_the_callers_listener_alone():
    ingress = render(ci("ingress")).one("Ingress")["spec"]
    backends = {
        (rule["host"], path["path"], path["backend"]["service"]["name"], path["backend"]["service"]["port"]["name"])
        for rule in ingress["rules"] for path in rule["http"]["paths"]
    }
    hosts, paths = ("qos.example.com", "*.qos.example.com"), ("/qos", "/openapi.json")
    assert backends == {(host, path, NAME, "http") for host in hosts for path in paths}
    everything = render(merged(ci("ingress"), {"ingress": {"paths": defaults()["ingress"]["paths"]}})).one("Ingress")["spec"]
    assert [path["path"] for rule in everything["rules"] for path in rule["http"]["paths"]] == ["/", "/"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == ci("ingress")["ingress"]["tls"]
    route = render(ci("http-route")).one("HTTPRoute")["spec"]
    [rule] = route["rules"]
    assert rule["backendRefs"] == [{"name": NAME, "port": 80}]
    assert route["parentRefs"] == ci("http-route")["httpRoute"]["parentRefs"]
    for kind in ("Ingress", "HTTPRoute"):
        assert not render().all(kind), "off"


def test_the_ops_service_is_headless_and_has_a_label_of_its_own():
    objects = render()
    ops = objects.one("Service", f"{NAME}-ops")
    assert ops["spec"]["clusterIP"] == "None"
    assert ops["metadata"]["labels"]["zoom-qos-proxy/listener"] == "ops"
    assert "zoom-qos-proxy/listener" not in objects.one("Service", NAME)["metadata"]["labels"]
    balanced = render(ci("load-balancer"))
    assert balanced.one("Service", NAME)["spec"]["type"] == "LoadBalancer"
    assert balanced.one("Service", f"{NAME}-ops")["spec"]["type"] == "ClusterIP", "never outside"


# ---- network policy ----


def policy(values=None, name=NAME):
    return render(values).one("NetworkPolicy", name)["spec"]


def rules_to(spec, direction, port):
    """The peers of all rules that open a port."""
    side = "from" if direction == "ingress" else "to"
    return [
        peer
        for rule in spec[direction] if port in [each["port"] for each in rule["ports"]]
        for peer in rule[side]
    ]


def namespace(name):
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


TEST_POD = {"podSelector": {"matchLabels": {**SELECTOR, "app.kubernetes.io/component": "test"}}}


@pytest.mark.parametrize("feature", [each for each in FEATURES if each not in ("no-network-policy", "valkey-digest", "pod", "extras")])
def test_policies_deny_both_directions_except_for_rules_with_peers_and_ports(feature):
    objects = render(ci(feature))
    for each in objects.all("NetworkPolicy"):
        spec = each["spec"]
        assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
        for rule in spec.get("ingress", []) + spec["egress"]:
            peers = rule.get("from") or rule.get("to")
            assert peers, "a rule without peers is for everybody"
            assert {} not in peers
            assert rule["ports"], "a rule without ports is for all of them"
    labels = objects.workload["spec"]["template"]["metadata"]["labels"]
    assert selects(policy(ci(feature))["podSelector"]["matchLabels"], labels)


def test_callers_come_from_the_releases_namespace_unless_others_are_named():
    assert rules_to(policy(), "ingress", 8080) == [{"podSelector": {}}, TEST_POD]
    named = rules_to(policy(ci("network-policy")), "ingress", 8080)
    values = ci("network-policy")["networkPolicy"]
    assert named == [
        namespace("support-tools"), namespace("reporting"), *values["callers"]["peers"], TEST_POD,
        *values["extraIngress"][0]["from"],
    ]


def test_the_ops_listener_is_open_to_operators_alone():
    assert rules_to(policy(), "ingress", 9090) == [TEST_POD]
    assert rules_to(policy(ci("monitoring")), "ingress", 9090) == [TEST_POD, namespace("monitoring")]
    operators = ci("network-policy")["networkPolicy"]["operators"]["peers"]
    assert rules_to(policy(ci("network-policy")), "ingress", 9090) == [TEST_POD, *operators]


def test_egress_is_dns_and_zoom_only():
    spec = policy()
    assert len(spec["egress"]) == 2
    dns = rules_to(spec, "egress", 53)
    assert dns[0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    zoom = rules_to(spec, "egress", 443)
    assert [each["ipBlock"]["cidr"] for each in zoom] == ["0.0.0.0/0", "::/0"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(zoom[0]["ipBlock"]["except"])
    assert "fc00::/7" in zoom[1]["ipBlock"]["except"]


def test_zooms_addresses_dns_and_more_rules_are_values():
    spec = policy(ci("network-policy"))
    assert rules_to(spec, "egress", 443) == [{"ipBlock": {"cidr": "203.0.113.0/24"}}]
    assert rules_to(spec, "egress", 53) == [{"ipBlock": {"cidr": "203.0.113.53/32"}}]
    assert rules_to(spec, "egress", 3128) == [{"ipBlock": {"cidr": "198.51.100.9/32"}}]


def test_dns_is_where_the_platform_has_it_for_the_test_pod_too():
    values = ci("openshift")
    for name in (NAME, f"{NAME}-test"):
        spec = policy(values, name)
        assert rules_to(spec, "egress", 5353) == values["networkPolicy"]["dns"]["peers"]
        assert not rules_to(spec, "egress", 53)
        assert spec["egress"][0]["ports"] == [{"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"}]
        assert rules_to(policy(name=name), "egress", 53)
        assert rules_to(policy(ci("network-policy"), name), "egress", 3128) == [{"ipBlock": {"cidr": "198.51.100.9/32"}}]


def test_egress_has_the_ports_of_zooms_urls():
    spec = policy(ci("every-key"))
    ports = {each["port"] for rule in spec["egress"] for each in rule["ports"]}
    assert ports == {53, 8000, 8443}
    same = policy({"config": {"zoom": {"api_base_url": "http://sim/v2", "oauth_url": "http://sim/oauth"}}})
    assert [each["port"] for each in same["egress"][1]["ports"]] == [80]


def test_traces_leave_for_the_collector_alone():
    spec = policy(ci("traces"))
    collector = {"podSelector": {"matchLabels": {"app": "collector"}}}
    assert rules_to(spec, "egress", 4318) == [namespace("observability"), collector]


def test_the_test_pod_reaches_the_service_where_everything_is_denied():
    spec = policy(name=f"{NAME}-test")
    labels = render().one("Pod")["metadata"]["labels"]
    assert selects(spec["podSelector"]["matchLabels"], labels)
    assert rules_to(spec, "egress", 8080) == rules_to(spec, "egress", 9090) == [
        {"podSelector": {"matchLabels": SELECTOR}}
    ]
    assert "ingress" not in spec


def test_the_test_pod_may_reach_zoom_only_to_test_the_credentials():
    assert not rules_to(policy(name=f"{NAME}-test"), "egress", 443)
    on = {"helmTest": {"accessToken": True}}
    assert rules_to(policy(on, f"{NAME}-test"), "egress", 443) == rules_to(policy(on), "egress", 443)
    through_a_proxy = policy(ci("checks"), f"{NAME}-test")
    assert rules_to(through_a_proxy, "egress", 3128) == [{"ipBlock": {"cidr": "10.1.2.4/32"}}]
    assert not rules_to(through_a_proxy, "egress", 443)


# ---- helm test, and the check before an upgrade ----


def test_the_credentials_test_runs_like_the_service_and_is_off_by_default():
    assert not [each for each in render().all("Pod") if each["metadata"]["name"].endswith("-token")]
    objects = render(ci("checks"))
    pod = objects.one("Pod", f"{NAME}-test-token")["spec"]
    [container] = pod["containers"]
    assert container["args"][:2] == ["check-config", "--access-token"]
    assert container["volumeMounts"] == objects.container["volumeMounts"]
    assert container["env"] == objects.container["env"]
    assert [each for each in pod["volumes"] if each["name"] != "state"] == [
        each for each in objects.pod["volumes"] if each["name"] != "state"
    ]


@pytest.mark.parametrize("feature", [each for each in FEATURES if each not in ("checks", "extras")])
def test_before_an_upgrade_the_new_configuration_is_checked_without_waiting_for_anything(feature):
    objects = render(ci(feature))
    job = objects.one("Job")
    hooks = job["metadata"]["annotations"]
    assert hooks["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert hooks["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded", "a failed one is kept for its log"
    template, pod = job["spec"]["template"], job["spec"]["template"]["spec"]
    assert job["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
    [container] = pod["containers"]
    assert container["args"][0] == "check-config" and container["args"][-2:] == objects.container["args"][-2:]
    assert container["volumeMounts"] == objects.container["volumeMounts"]
    assert template["metadata"]["annotations"]["zoom-qos-proxy/config.toml"].strip() == objects.toml.strip()
    assert "serviceAccountName" not in pod, "before an install there is none"
    for volume in pod["volumes"]:
        assert "configMap" not in volume and volume.get("secret", {"optional": True})["optional"], volume


def test_the_check_can_be_switched_off():
    assert not render(ci("checks")).all("Job")


def test_the_check_has_no_variables_of_objects_that_may_not_exist_yet():
    values = {"extraEnv": [{"name": "SSL_CERT_FILE", "value": "/x"}, {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
    [container] = render(values).one("Job")["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == ["QOS_PROXY__SERVER__LISTEN", "QOS_PROXY__SERVER__OPS_LISTEN", "SSL_CERT_FILE"]


def test_the_test_pod_runs_our_image_and_asks_both_services():
    objects = render()
    pod = objects.one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert pod["spec"]["restartPolicy"] == "Never"
    services = {
        f"http://{each['metadata']['name']}:{each['spec']['ports'][0]['port']}" for each in objects.all("Service")
    }
    asked = set()
    for container in pod["spec"]["containers"]:
        assert container["image"] == objects.container["image"]
        assert "command" not in container, "the image has no shell"
        verb, flag, url = container["args"]
        assert (verb, flag) == ("healthcheck", "--url")
        asked.add(url.rsplit("/", 1)[0])
    assert asked == services


# ---- monitoring ----


def test_prometheus_finds_the_ops_service_and_only_that():
    objects = render(ci("monitoring"))
    monitor = objects.one("ServiceMonitor")["spec"]
    found = [
        each["metadata"]["name"] for each in objects.all("Service")
        if selects(monitor["selector"]["matchLabels"], each["metadata"]["labels"])
    ]
    assert found == [f"{NAME}-ops"]
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] == objects.one("Service", f"{NAME}-ops")["spec"]["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"
    assert monitor["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    ops = objects.one("Service", f"{NAME}-ops")["metadata"]["labels"]
    assert ops[monitor["jobLabel"]] == "zoom-qos-proxy", "the alerts' job, whatever the release is called"


def test_dashboards_and_alerts_are_the_charts_files_for_the_releases_namespace():
    objects = render(ci("monitoring"))
    rules = yaml.safe_load((CHART / "files/rules.yaml").read_text())
    assert rules["groups"]
    for group in rules["groups"]:
        group["rules"] = [each for each in group["rules"] if each["alert"] != "ZoomQosProxyServesStale"]
    at = "https://git.example.com/zoom-qos-proxy/blob/main/"
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["annotations"]["runbook_url"] = at + rule["annotations"]["runbook_url"]
        # tests/monitoring checks that every selector has this matcher, and how the alerts behave with one namespace.
        assert 'namespace=~".*"' in rule["expr"]
        rule["expr"] = rule["expr"].replace('namespace=~".*"', f'namespace="{NAMESPACE}"')
    assert objects.one("PrometheusRule")["spec"]["groups"] == rules["groups"]
    dashboard = objects.one("ConfigMap", f"{NAME}-dashboard")
    files = {"zoom-qos-proxy.json": "dashboard.json", "zoom-qos-meeting.json": "meeting-dashboard.json"}
    found = {name: yaml.safe_load(text) for name, text in dashboard["data"].items()}
    assert found == {name: yaml.safe_load((CHART / "files" / file).read_text()) for name, file in files.items()}
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert objects.one(kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert not render().all(kind), "off"


# ---- optional extras ----


def test_extra_variables_containers_mounts_and_objects_are_rendered():
    objects = render(ci("extras"))
    assert {"name": "RUST_BACKTRACE", "value": "1"} in objects.container["env"]
    assert [each["name"] for each in objects.pod["containers"]] == ["zoom-qos-proxy", "beside"]
    assert {"name": "scratch", "mountPath": "/scratch"} in objects.container["volumeMounts"]
    names = [each["metadata"]["name"] for each in objects.all("ConfigMap")]
    assert {"release-qos-more", "release-text"} <= set(names)


def test_defaults_require_nothing_optional_of_the_cluster():
    """No storage class, no CRD, no ingress controller, no registry secret."""
    known = {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1"}
    assert {each["apiVersion"] for each in render()} == known
    assert defaults()["persistence"]["enabled"] is False
