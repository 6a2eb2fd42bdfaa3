"""Helm 4 renders the same objects as Helm 3. test_umbrella.py, test_upgrades.py, test_schema.py and test_values.py also run Helm 4."""

import pytest

from chart import CHART, CI, by_feature, ci, helm4, merged, needs_helm_4, render

pytestmark = needs_helm_4


def in_order(objects):
    return sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))


@pytest.fixture(scope="module")
def kube_version(tmp_path_factory):
    """The version of Kubernetes that Helm 4 assumes."""
    chart = tmp_path_factory.mktemp("version")
    (chart / "templates").mkdir()
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: version, version: 1.0.0}")
    (chart / "templates/version.yaml").write_text("version: {{ .Capabilities.KubeVersion.Version }}")
    [found] = helm4(chart, [{}])
    return found["objects"][0]["version"]


def test_it_renders_every_feature_as_helm_3_does(kube_version):
    features = list(map(by_feature, CI))
    for feature, found in zip(features, helm4(CHART, [ci(each) for each in features]), strict=True):
        assert not found["lint"], (feature, found["lint"])
        assert in_order(found["objects"]) == in_order(render(ci(feature), kube_version)), feature


def test_it_shows_the_charts_own_error_messages():
    [found] = helm4(CHART, [{"image": {"tag": "latest"}}])
    assert "image.tag: latest names another image whenever somebody pushes one" in found["error"]
