"""Every object of every file of ci/, checked by the schemas of every supported version of Kubernetes."""

import functools

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from chart import CI, ROOT, by_feature, ci, crds, helm, render

# Caches schemas. Reading a file of several megabytes for each object would take most of the time.
utils.schema_contents = functools.cache(utils.schema_contents)

VERSIONS = sorted({utils.major_minor(each) for each in utils.all_versions()}, key=lambda v: int(v.split(".")[1]))
FEATURES = [by_feature(path) for path in CI]
CUSTOM = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}


def test_there_are_versions_from_1_25_on():
    assert VERSIONS[0] == "1.25" and len(VERSIONS) >= 13


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_strictly_valid(version):
    seen, checked = 0, []
    for feature in FEATURES:
        for each in render(ci(feature), f"{version}.0"):
            if each["kind"] not in CUSTOM:
                seen += 1
                if each in checked:
                    continue
                checked.append(each)
                try:
                    kubernetes_validate.validate(each, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise AssertionError(f"{feature}: {each['kind']}: {error.message} at {list(error.path)}") from None
    assert seen > 8 * len(FEATURES)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_the_schemas_find_a_wrong_field(version):
    workload = render(version=f"{version}.0").workload
    workload["spec"]["strategy"]["rollingUpdate"]["maxSurgee"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="maxSurgee"):
        kubernetes_validate.validate(workload, version, strict=True)


def test_an_older_kubernetes_is_refused():
    done = helm("template", "release", ROOT / "helm/zoom-qos-proxy", "--kube-version", "1.24.9")
    assert done.returncode != 0
    assert "requires kubeVersion: >=1.25.0-0" in done.stderr


@pytest.mark.parametrize("feature", FEATURES)
def test_helm_lint_finds_nothing(feature):
    done = helm("lint", "--strict", ROOT / "helm/zoom-qos-proxy", values=ci(feature))
    assert done.returncode == 0, done.stdout + done.stderr


# ---- objects without a schema in Kubernetes ----


def custom():
    return [each for feature in FEATURES for each in render(ci(feature)) if each["kind"] in CUSTOM]


def test_custom_resources_are_strictly_valid():
    objects = custom()
    assert {each["kind"] for each in objects} == CUSTOM
    assert crds(objects) == [[] for _ in objects]


def test_the_validator_finds_wrong_fields_and_wrong_values():
    by_kind = {each["kind"]: each for each in custom()}
    by_kind["ServiceMonitor"]["spec"]["endpoints"][0]["intervall"] = "30s"
    by_kind["PrometheusRule"]["spec"]["groups"][0]["interval"] = "2 minutes"
    by_kind["HTTPRoute"]["spec"]["rules"][0]["matches"][0]["path"]["type"] = "Prefix"
    found = crds([by_kind[kind] for kind in ("ServiceMonitor", "PrometheusRule", "HTTPRoute")])
    for complaints, word in zip(found, ("intervall", "interval", "type"), strict=True):
        assert any(word in each for each in complaints), found
