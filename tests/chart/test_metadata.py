"""What a release adds to Chart.yaml, and the options of `make image`."""

import os
import shutil
import subprocess

import pytest
import yaml

from chart import CHART, META, ROOT, helm

IMAGE = "registry.example.com/team/zoom-qos-proxy@sha256:" + "0" * 64
REPOSITORY = "https://git.example.com/team/zoom-qos-proxy"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def released(folder, *arguments):
    chart = folder / "zoom-qos-proxy"
    shutil.copytree(CHART, chart)
    done = subprocess.run([ROOT / "helm/metadata.py", chart / "Chart.yaml", IMAGE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return chart, yaml.safe_load((chart / "Chart.yaml").read_text())


def test_a_release_names_the_repository_the_image_and_the_changes(tmp_path):
    chart, meta = released(tmp_path, REPOSITORY)
    assert (meta["home"], meta["sources"]) == (REPOSITORY, [REPOSITORY])
    assert meta["icon"] == f"{REPOSITORY}/raw/v{META['version']}/helm/icon.svg" and (ROOT / "helm/icon.svg").exists()
    annotations = {key.removeprefix("artifacthub.io/"): value for key, value in meta["annotations"].items()}
    assert yaml.safe_load(annotations["images"]) == [{"name": "zoom-qos-proxy", "image": IMAGE}]
    for link in yaml.safe_load(annotations["links"]):
        assert (ROOT / link["url"].removeprefix(f"{REPOSITORY}/blob/v{META['version']}/")).exists()
    changes = yaml.safe_load(annotations["changes"])
    assert len(changes) > 5 and {each["kind"] for each in changes} == {"added"}
    # Each change is a whole bullet of the CHANGELOG.
    for each in changes:
        assert " ".join(each["description"].split()) in " ".join(CHANGELOG.split())
    assert set(META) <= set(meta) and META["annotations"].items() <= meta["annotations"].items(), "nothing is lost"
    linted = helm("lint", "--strict", chart)
    assert linted.returncode == 0 and "icon is recommended" not in linted.stdout, linted.stdout


def test_without_a_repository_no_address_is_invented(tmp_path):
    _, meta = released(tmp_path)
    assert not {"home", "sources", "icon"} & meta.keys()
    assert "artifacthub.io/links" not in meta["annotations"]


def test_the_chart_has_a_maintainer_and_no_key_that_does_not_exist():
    assert META["maintainers"] and "artifacthub.io/signKey" not in META["annotations"]


# ---- make image ----


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_options_for_the_builder_pass_through(tmp_path, engine):
    record, tool = tmp_path / "record", tmp_path / engine
    tool.write_text(f'#!/bin/sh\n[ "$1" != build ] || for each; do echo "$each"; done >{record}\n')
    tool.chmod(0o755)
    options = "--volume /etc/ssl/ca.crt:/etc/ssl/certs/ca-certificates.crt:ro --build-arg A=b"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "image", f"ENGINE={engine}", f"IMAGE_ARGS={options}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f" {options} . " in " ".join(record.read_text().split()) + " "
