"""What Helm 4 makes of the chart: the same objects. test_upgrades.py, test_schema.py and test_values.py also run it."""

import pytest
import yaml

from chart import CHART, CI, by_feature, ci, helm4, needs_helm_4, render

pytestmark = needs_helm_4


def objects(files):
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    # Like Helm's own manifest, which ends each file with a line feed.
    return [each for text in texts for each in yaml.safe_load_all(text + "\n") if each]


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
    return objects(found["files"])[0]["version"]


def test_it_renders_every_feature_as_helm_3_does(kube_version):
    features = list(map(by_feature, CI))
    for feature, found in zip(features, helm4(CHART, list(map(ci, features))), strict=True):
        assert not found["lint"], (feature, found["lint"])
        assert in_order(objects(found["files"])) == in_order(render(ci(feature), kube_version)), feature


def test_it_shows_the_charts_own_sentences():
    [found] = helm4(CHART, [{"image": {"tag": "latest"}}])
    assert "image.tag: latest names another image whenever somebody pushes one" in found["error"]
