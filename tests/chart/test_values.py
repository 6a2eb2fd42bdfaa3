"""Values for Services, autoscaler, disruption budget, alerts and the pod that users know from other charts."""

import pytest

from chart import CHART, NAME, at, ci, defaults, helm4, merged, needs_helm_4, notes, refusal, render

REDIS = {"redis": {"existingSecret": "r"}, "networkPolicy": {"redis": {"namespaces": ["redis"]}}}
SCALED = merged(REDIS, at("autoscaling.enabled", True))


def service(values, version=None):
    return render(values, version).one("Service", NAME)["spec"]


# ---- Services ----


def test_traffic_policies_and_the_load_balancer_are_values():
    spec = service(ci("load-balancer"))
    assert (spec["externalTrafficPolicy"], spec["internalTrafficPolicy"]) == ("Local", "Local")
    assert spec["loadBalancerClass"] == "example.com/internal"
    assert spec["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert spec["ports"][0]["nodePort"] == 30080
    assert service({}).keys() == {"type", "sessionAffinity", "ports", "selector"}, "by default the cluster's own"


@pytest.mark.parametrize("version, known", [("1.30.9", False), ("1.31.0", True)])
def test_traffic_distribution_is_set_only_if_kubernetes_supports_it(version, known):
    assert ("trafficDistribution" in service(ci("load-balancer"), version)) is known


def test_both_services_have_the_address_families_and_listeners_accept_them():
    objects = render(ci("ipv6"))
    for each in objects.all("Service"):
        assert (each["spec"]["ipFamilyPolicy"], each["spec"]["ipFamilies"]) == ("SingleStack", ["IPv6"])
    listeners = [each["value"] for each in objects.container["env"]]
    assert listeners == ["[::]:8080", "[::]:9090"]
    assert service({"service": {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}})["ipFamilies"] == ["IPv4", "IPv6"]


# ---- replicas ----


def test_the_autoscaler_takes_any_metric_and_behavior():
    spec = render(ci("redis")).one("HorizontalPodAutoscaler")["spec"]
    assert [each["type"] for each in spec["metrics"]] == ["Resource", "Pods"]
    assert spec["behavior"] == ci("redis")["autoscaling"]["behavior"]
    unset = render(merged(REDIS, at("autoscaling.enabled", True))).one("HorizontalPodAutoscaler")["spec"]
    assert unset["behavior"] == defaults()["autoscaling"]["behavior"]
    only = merged(ci("redis"), at("autoscaling.targetCPUUtilizationPercentage", None))
    assert [each["type"] for each in render(only).one("HorizontalPodAutoscaler")["spec"]["metrics"]] == ["Pods"]


@pytest.mark.parametrize(
    "budget, spec",
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "30%"}, {"maxUnavailable": "30%"}),
        ({"minAvailable": 2}, {"minAvailable": 2}),
        ({"minAvailable": "50%"}, {"minAvailable": "50%"}),
    ],
)
def test_the_disruption_budget_takes_numbers_and_percentages(budget, spec):
    found = render({"replicaCount": 3, "pdb": budget}).one("PodDisruptionBudget")["spec"]
    assert {key: found[key] for key in found.keys() & {"maxUnavailable", "minAvailable"}} == spec


# ---- monitoring ----


def alerts(values):
    rules = render(values).one("PrometheusRule")["spec"]["groups"]
    return [each["alert"] for group in rules for each in group["rules"]]


def test_each_alert_can_be_left_out_alone():
    monitoring = merged(ci("monitoring"), at("prometheusRule.disabled", []))
    every = alerts(monitoring)
    for name in every:
        assert alerts(merged(monitoring, at("prometheusRule.disabled", [name]))) == [each for each in every if each != name]
    assert not render(merged(monitoring, at("prometheusRule.disabled", every))).one("PrometheusRule")["spec"]["groups"]


# ---- pod ----


def test_the_pods_runtime_and_names_are_values_for_every_pod():
    values = merged(ci("pod"), at("helmTest.accessToken", True))
    objects = render(values)
    job = objects.one("Job")["spec"]["template"]["spec"]
    for pod in (objects.pod, job, *(each["spec"] for each in objects.all("Pod"))):
        for key in ("runtimeClassName", "dnsPolicy", "dnsConfig", "hostAliases"):
            assert pod[key] == values[key]
    assert objects.workload["metadata"]["annotations"].items() >= values["workloadAnnotations"].items()
    assert "reloader" not in str(objects.workload["spec"]["template"]["metadata"])


def test_init_containers_of_the_user_run_before_the_wait():
    assert [each["name"] for each in render(ci("extras")).pod["initContainers"]] == ["beside-first", "wait-for-predecessor"]
    alone = merged(ci("extras"), {"replicaCount": 1})
    assert [each["name"] for each in render(alone).pod["initContainers"]] == ["beside-first"]
    assert render(ci("extras")).container["envFrom"] == [{"configMapRef": {"name": "release-qos-more"}}]


# ---- contradictions ----

REFUSED = {
    "a policy of nodes without them": (at("service.externalTrafficPolicy", "Local"), "service.externalTrafficPolicy: a ClusterIP is not reached through the nodes"),
    "a port of nodes without them": (at("service.nodePort", 30080), "service.nodePort: a ClusterIP is not reached"),
    "sources without a balancer": (at("service.loadBalancerSourceRanges", ["192.0.2.0/24"]), "service.loadBalancerSourceRanges: there is no load balancer"),
    "sources that are no addresses": (at("service.loadBalancerSourceRanges", ["office"]), "service.loadBalancerSourceRanges.0"),
    "a class without a balancer": (merged(at("service.type", "NodePort"), at("service.loadBalancerClass", "x")), "service.loadBalancerClass: there is no load balancer"),
    "two families in one stack": (at("service.ipFamilies", ["IPv4", "IPv6"]), "service.ipFamilies: two families need"),
    "IPv6 for listeners on IPv4": (at("service.ipFamilies", ["IPv6"]), "service.ipFamilies: IPv6 does not reach listeners on 0.0.0.0"),
    "an unknown policy": (at("service.internalTrafficPolicy", "Near"), "service.internalTrafficPolicy"),
    "latest": (at("image.tag", "latest"), "image.tag: latest names another image whenever somebody pushes one"),
    "the latest Valkey": (at("valkey.image.tag", "latest"), "valkey.image.tag: latest names another image"),
    "more at least than at most": (merged(SCALED, at("autoscaling.minReplicas", 5)), "autoscaling.minReplicas: 5 is more than autoscaling.maxReplicas, 4"),
    "an autoscaler without a metric": (merged(SCALED, at("autoscaling.targetCPUUtilizationPercentage", None)), "autoscaling.metrics: is empty"),
    "no eviction ever": (merged(at("replicaCount", 2), at("pdb.minAvailable", 2)), "pdb.minAvailable: 2 of 2 replicas allows no eviction at all"),
    "none by percentage": (merged(at("replicaCount", 2), at("pdb.minAvailable", "100%")), "pdb.minAvailable: 100% of 2 replicas"),
    "none may be unavailable": (at("pdb.maxUnavailable", 0), "pdb.maxUnavailable"),
    "a percentage of more than all": (at("pdb.maxUnavailable", "101%"), "pdb.maxUnavailable"),
    "an alert that there is not": (at("prometheusRule.disabled", ["ServiceDown"]), "prometheusRule.disabled: no alert is called ServiceDown"),
    "a path that is no path": (at("ingress.paths", [{"path": "qos", "pathType": "Prefix"}]), "ingress.paths.0.path"),
    "an unknown type of path": (at("ingress.paths", [{"path": "/", "pathType": "Regex"}]), "ingress.paths.0.pathType"),
    "a timeout without a unit": (at("httpRoute.timeouts", {"request": "20"}), "httpRoute.timeouts.request"),
    "an annotation that the chart sets": (at("workloadAnnotations", {"zoom-qos-proxy/configurations": "x"}), "zoom-qos-proxy/configurations"),
    "an alias without a name": (at("hostAliases", [{"ip": "192.0.2.7"}]), "hostnames is required"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_contradiction_is_refused_with_advice(what):
    values, named = REFUSED[what]
    assert named in refusal(values)


@needs_helm_4
def test_helm_4_refuses_them_too():
    found = helm4(CHART, [values for values, _ in REFUSED.values()])
    assert [what for what, each in zip(REFUSED, found, strict=True) if "error" not in each] == []


NO_REGISTRY = "image.registry is empty, so the nodes look for"


@pytest.mark.parametrize(
    "values, image",
    [
        (at("image", {"registry": "", "repository": "r.example.com/zoom-qos-proxy"}), "r.example.com/zoom-qos-proxy:0.1.0"),
        (at("image", {"registry": "", "repository": "localhost/zoom-qos-proxy"}), "localhost/zoom-qos-proxy:0.1.0"),
        (at("image", {"registry": "", "pullPolicy": "Never"}), "zoom-qos-proxy:0.1.0"),
        (merged(at("image.registry", ""), at("global.imageRegistry", "r.example.com")), "r.example.com/zoom-qos-proxy:0.1.0"),
    ],
)
def test_the_registry_may_be_named_elsewhere_or_not_needed(values, image):
    assert render(values).container["image"] == image
    assert NO_REGISTRY not in notes(values)


@pytest.mark.parametrize("repository", ["zoom-qos-proxy", "team/zoom-qos-proxy"])
def test_an_image_that_nobody_publishes_is_warned_of(repository):
    assert f"{NO_REGISTRY} {repository} at their default registry, where nobody publishes it" in notes(at("image.repository", repository))


def test_a_digest_makes_a_tag_harmless():
    assert render({"image": {"tag": "latest", "digest": "sha256:" + "0" * 64}}).container["image"].endswith("0" * 64)
