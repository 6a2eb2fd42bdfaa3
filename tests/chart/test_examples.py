"""The examples for GitOps tools, deploy/flux and deploy/argocd: their types, and the values in them."""

import pytest
import yaml

from chart import META, NAME, ROOT, crds, render

FLUX = list(yaml.safe_load_all((ROOT / "deploy/flux/zoom-qos-proxy.yaml").read_text()))
ARGO_CD = yaml.safe_load((ROOT / "deploy/argocd/zoom-qos-proxy.yaml").read_text())
VALUES = {
    "flux": FLUX[1]["spec"]["values"],
    "argocd": ARGO_CD["spec"]["source"]["helm"]["valuesObject"],
}


def test_the_examples_are_strictly_valid():
    objects = [*FLUX, ARGO_CD]
    assert [each["kind"] for each in objects] == ["OCIRepository", "HelmRelease", "Application"]
    assert crds(objects) == [[] for _ in objects]


def test_the_validator_finds_a_wrong_field_in_each():
    for each in (*FLUX, ARGO_CD):
        [complaints] = crds([{**each, "spec": {**each["spec"], "intervall": "10m"}}])
        assert any("intervall" in complaint for complaint in complaints)


@pytest.mark.parametrize("tool", VALUES)
def test_the_chart_accepts_their_values(tool):
    objects = render(VALUES[tool])
    assert objects.container["image"].startswith("registry.example.com/")
    assert objects.workload["metadata"]["name"] == NAME


def test_both_install_this_version_of_the_chart():
    assert ARGO_CD["spec"]["source"]["targetRevision"] == META["version"]
    assert FLUX[0]["spec"]["ref"]["semver"] == META["version"].rsplit(".", 1)[0] + ".x"


def test_argo_cd_prunes_earlier_configurations_last_and_leaves_replicas_alone():
    assert ARGO_CD["spec"]["syncPolicy"]["automated"]["prune"] is True
    for each in render(VALUES["argocd"]).all("ConfigMap"):
        assert each["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "PruneLast=true"
    assert ARGO_CD["spec"]["ignoreDifferences"][0]["jsonPointers"] == ["/spec/replicas"]


