"""The chart as a dependency of another chart."""

import shutil

import pytest
import yaml

from chart import CHART, META, Rendered, helm, helm4, merged, needs_helm_4

PARENT = {
    "apiVersion": "v2",
    "name": "umbrella",
    "version": "1.0.0",
    "dependencies": [
        {"name": "zoom-qos-proxy", "version": META["version"], "condition": "zoom-qos-proxy.enabled"},
        {"name": "zoom-qos-proxy", "version": META["version"], "alias": "second", "condition": "second.enabled"},
    ],
}


@pytest.fixture(scope="module", params=[3, pytest.param(4, marks=needs_helm_4)], ids=["Helm 3", "Helm 4"])
def parent(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("umbrella")
    (folder / "Chart.yaml").write_text(yaml.safe_dump(PARENT))
    shutil.copytree(CHART, folder / "charts/zoom-qos-proxy")

    def render(values):
        if request.param == 4:
            [found] = helm4(folder, [values])
            assert "error" not in found, found
            return found["objects"]
        done = helm("template", "release", folder, values=values)
        assert done.returncode == 0, done.stderr
        return Rendered(each for each in yaml.safe_load_all(done.stdout) if each)

    return render


def workloads(objects):
    return {each["metadata"]["name"] for each in objects.all("Deployment")}


@pytest.mark.parametrize(
    "values, names",
    [
        ({}, {"release-zoom-qos-proxy", "release-second"}),
        ({"second": {"enabled": False}}, {"release-zoom-qos-proxy"}),
        ({"zoom-qos-proxy": {"enabled": False}, "second": {"enabled": True}}, {"release-second"}),
        ({"zoom-qos-proxy": {"enabled": False}, "second": {"enabled": False}}, set()),
    ],
)
def test_a_condition_decides_whether_it_is_there(parent, values, names):
    both = {"global": {"imageRegistry": "registry.example.com"}, "second": {"fullnameOverride": "release-second"}}
    objects = parent(merged(both, values))
    assert workloads(objects) == names
    assert bool(objects) is bool(names), "switched off, it leaves nothing"


def test_global_values_of_the_parent_reach_every_pod(parent):
    shared = {"imageRegistry": "registry.example.com", "imagePullSecrets": ["everywhere"], "somebodyElses": True}
    objects = parent({"global": shared, "second": {"enabled": False}, "zoom-qos-proxy": {"imagePullSecrets": [{"name": "ours"}]}})
    assert objects.container["image"].startswith("registry.example.com/zoom-qos-proxy:")
    assert objects.pod["imagePullSecrets"] == [{"name": "everywhere"}, {"name": "ours"}]
