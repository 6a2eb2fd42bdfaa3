"""The chart's version, package and README, its autoscaler, and the script helm/e2e.sh."""

import os
import re
import shutil
import subprocess
import tarfile
import tomllib

import kubernetes_validate
import pytest
import yaml

from chart import CHART, META, NAME, NODE, ROOT, VENV, helm, merged, render


def test_the_charts_app_version_is_the_services():
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert META["appVersion"] == cargo["workspace"]["package"]["version"]
    assert META["annotations"]["artifacthub.io/license"] == cargo["workspace"]["package"]["license"]


def test_the_package_has_what_is_needed_and_nothing_of_the_tests(tmp_path):
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("zoom-qos-proxy/") for name in archive.getnames()}
    assert {"values.schema.json", "README.md", "files/rules.yaml", "files/dashboard.json", "files/meeting-dashboard.json", "templates/NOTES.txt"} <= names
    assert not {name for name in names if name.startswith("ci/")}
    assert helm("template", "release", package).returncode == 0


def test_the_readmes_table_is_that_of_the_values(tmp_path):
    readme = tmp_path / "README.md"
    shutil.copy(CHART / "README.md", readme)
    command = [NODE / "node_modules/.bin/readme-generator", "--values", CHART / "values.yaml", "--readme", readme]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert readme.read_text() == (CHART / "README.md").read_text(), "run `make chart-readme`"


def test_the_readme_waits_for_the_installation_before_it_tests():
    readme = (CHART / "README.md").read_text()
    [install] = re.findall(r"helm install (?:.*\\\n)*.*\n +helm --namespace zoom-qos test", readme)
    assert " --wait " in install


def test_a_value_without_a_comment_is_found(tmp_path):
    values, readme = tmp_path / "values.yaml", tmp_path / "README.md"
    values.write_text((CHART / "values.yaml").read_text() + "nobodyKnows: 1\n")
    shutil.copy(CHART / "README.md", readme)
    command = [NODE / "node_modules/.bin/readme-generator", "--values", values, "--readme", readme]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "nobodyKnows" in done.stdout + done.stderr


def test_scripts_are_clean_by_shellcheck():
    scripts = [CHART.parent / "e2e.sh", *(ROOT / "scripts").glob("chart-*")]
    done = subprocess.run([VENV / "shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ---- autoscaling ----


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_with_redis_the_autoscaler_sets_replicas_and_limits_are_undivided(kind):
    values = {
        "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 9, "targetCPUUtilizationPercentage": 55},
        "persistence": {"enabled": kind == "StatefulSet"},
        "redis": {"existingSecret": "r"},
        "networkPolicy": {"redis": {"namespaces": ["redis"]}},
    }
    objects = render(values)
    scaler = objects.one("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": kind, "name": NAME}
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 9)
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55
    for version in ("1.25", "1.37"):
        kubernetes_validate.validate(scaler, version, strict=True)
    assert "replicas" not in objects.workload["spec"], "the autoscaler sets the number, and helm must not reset it"
    assert "heavy_per_second" not in objects.toml
    assert objects.all("PodDisruptionBudget")
    fixed = render(merged(values, {"autoscaling": {"enabled": False}, "replicaCount": 2}))
    assert "heavy_per_second" not in fixed.toml


# ---- helm/e2e.sh, against stand-ins for helm and kubectl that record their arguments ----


@pytest.fixture
def cluster(tmp_path):
    """Runs the script with stand-ins that record their arguments, and fail at the named step."""

    def run(fail_at=None, **environment):
        record = tmp_path / "record"
        record.write_text("")
        for name in ("helm", "kubectl"):
            tool = tmp_path / name
            tool.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {record}\n'
                f'case "{name} $*" in *"${{FAIL_AT:-nothing at all}}"*) exit 7 ;; esac\n'
                # The configuration that the script reads back after each step.
                f'case "$*" in *jsonpath*) cat {tmp_path}/live_fresh ;; esac\n'
                f'case "{name} $*" in *" upgrade "*"${{IGNORED:-}}") echo \'live_fresh = "45s"\' > {tmp_path}/live_fresh ;;\n'
                f'*" rollback "* | *" install "*) echo \'live_fresh = "30s"\' > {tmp_path}/live_fresh ;; esac\n'
            )
            tool.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        variables = {"PATH": path, "HOME": str(tmp_path), **({"FAIL_AT": fail_at} if fail_at else {}), **environment}
        done = subprocess.run([CHART.parent / "e2e.sh"], env=variables, capture_output=True, text=True, timeout=60)
        return done, record.read_text().splitlines()

    (tmp_path / "kubeconfig").write_text("")
    run.kubeconfig = str(tmp_path / "kubeconfig")
    return run


def steps(record):
    return [line.split()[1] for line in record if line.startswith("helm ")]


def test_e2e_without_a_cluster_says_so_and_does_nothing(cluster):
    done, record = cluster()
    assert done.returncode == 0
    assert "skipped: no cluster" in done.stdout and "KUBECONFIG" in done.stdout
    assert not record


def test_e2e_installs_tests_upgrades_rolls_back_and_uninstalls(cluster):
    done, record = cluster(KUBECONFIG=cluster.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(record) == ["install", "test", "upgrade", "test", "rollback", "test", "uninstall"]
    assert any("create namespace" in line for line in record)
    assert any("pod-security.kubernetes.io/enforce=restricted" in line for line in record)
    assert "delete namespace" in record[-1]


@pytest.mark.parametrize("step", ["helm install", "helm test", "helm upgrade", "helm rollback", "helm uninstall"])
def test_e2e_fails_at_the_step_that_fails_and_cleans_up(cluster, step):
    done, record = cluster(fail_at=step, KUBECONFIG=cluster.kubeconfig)
    assert done.returncode != 0
    assert "delete namespace" in record[-1]
    assert f"helm {steps(record)[-1]}" == step


@pytest.mark.parametrize(
    "image, registry, repository, tag, digest",
    [
        ("zoom-qos-proxy", "", "zoom-qos-proxy", "", ""),
        ("zoom-qos-proxy:1.10", "", "zoom-qos-proxy", "1.10", ""),
        ("team/zoom-qos-proxy:1", "", "team/zoom-qos-proxy", "1", ""),
        ("localhost/zoom-qos-proxy:1", "localhost", "zoom-qos-proxy", "1", ""),
        ("registry.example.com/a/b:1.2.3", "registry.example.com", "a/b", "1.2.3", ""),
        ("host:5000/zoom-qos-proxy", "host:5000", "zoom-qos-proxy", "", ""),
        ("host:5000/zoom-qos-proxy:1", "host:5000", "zoom-qos-proxy", "1", ""),
        ("zoom-qos-proxy@sha256:" + "0" * 64, "", "zoom-qos-proxy", "", "sha256:" + "0" * 64),
        ("host:5000/a:1@sha256:" + "0" * 64, "host:5000", "a", "1", "sha256:" + "0" * 64),
    ],
)
def test_e2e_takes_every_form_of_an_images_name(cluster, image, registry, repository, tag, digest):
    done, record = cluster(KUBECONFIG=cluster.kubeconfig, IMAGE=image)
    assert done.returncode == 0, done.stdout + done.stderr
    [install] = [line.split() for line in record if line.startswith("helm install ")]
    given = {"registry": registry, "repository": repository, "tag": tag, "digest": digest}
    # An image without a registry must be present on the nodes.
    given["pullPolicy"] = "IfNotPresent" if registry else "Never"
    for key, value in given.items():
        assert f"image.{key}={value}" in install
    flags = [each for key, value in given.items() for each in ("--set-string", f"image.{key}={value}")]
    rendered = helm("template", "release", CHART, *flags, "--show-only", "templates/deployment.yaml")
    version = "" if tag or digest else f":{META['appVersion']}"
    whole = image.replace(":1@", "@") + version
    assert f"image: {whole}\n" in rendered.stdout, rendered.stderr


def test_e2e_with_a_cluster_that_does_not_answer_fails(cluster):
    done, _ = cluster(fail_at="kubectl version", KUBECONFIG=cluster.kubeconfig)
    assert done.returncode != 0
    assert "does not answer" in done.stderr


def test_e2e_notices_an_upgrade_that_did_not_arrive(cluster):
    """The stand-in's upgrade succeeds without changing anything."""
    done, record = cluster(KUBECONFIG=cluster.kubeconfig, IGNORED="nothing ends like this")
    assert done.returncode != 0
    assert steps(record)[-1] == "upgrade"
