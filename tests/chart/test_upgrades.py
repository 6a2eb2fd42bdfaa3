"""Helm's own upgrades, against an API server in memory: an upgrade that fails must not reach the pods that still run."""

import copy
import tomllib

import pytest

from api import Api
from chart import CHART, NAME, NAMESPACE, RELEASE, at, check_config, ci, helm, merged, needs_helm_4

# The schema accepts this mistake. Only the service knows that connect_timeout must not be longer than request_timeout.
MISTAKE = at("config.zoom.connect_timeout", "20s")
BROKEN = merged(MISTAKE, at("configCheck.enabled", False))
WITH_REDIS = {"redis": {"existingSecret": "r"}, "networkPolicy": {"redis": {"namespaces": ["redis"]}}}


class Cluster:
    def __init__(self, folder, version):
        self.version = version
        self.failed_checks = []
        self.api = Api(self.run_check)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self.api.kubeconfig())

    def close(self):
        self.api.shutdown()
        self.api.server_close()

    def run_check(self, job):
        """Runs a Job as the kubelet would, with the service's program, while no Secret exists."""
        template = job["spec"]["template"]
        [container] = template["spec"]["containers"]
        _, *options, _, _ = container["args"]
        toml = template["metadata"]["annotations"]["zoom-qos-proxy/config.toml"]
        done = check_config(toml, container, options, write_files=lambda folder: None)
        if done.returncode:
            self.failed_checks.append(done.stderr)
        return done.returncode == 0

    def helm(self, verb, *arguments, values=None):
        flags = ["--kubeconfig", self.kubeconfig, "--namespace", NAMESPACE]
        if self.version == 3 and verb in ("install", "upgrade"):
            flags.append("--disable-openapi-validation")
        return helm(verb, RELEASE, *arguments, *flags, values=values, version=self.version)

    def change(self, verb, values):
        return self.helm(verb, CHART, values=values)

    def apply(self, verb, values):
        done = self.change(verb, values)
        assert done.returncode == 0, done.stderr

    def workload(self, kind="Deployment", name=NAME):
        return self.api.get(kind, name)

    def roll_out(self, kind="Deployment", name=NAME):
        """Sets the status as the controller does when all new pods are ready."""
        each = self.workload(kind, name)
        ready = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), each["spec"].get("replicas", 1))
        each["status"] = {"observedGeneration": each["metadata"]["generation"], **ready}

    def pod(self, **which):
        return copy.deepcopy(self.workload(**which)["spec"]["template"]["spec"])

    def config(self, pod):
        """The configuration that a pod reads whenever its container starts."""
        [name] = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
        [text] = self.api.get("ConfigMap", name)["data"].values()
        return text


@pytest.fixture(params=[3, pytest.param(4, marks=needs_helm_4)], ids=["Helm 3", "Helm 4"])
def cluster(request, tmp_path):
    cluster = Cluster(tmp_path, request.param)
    yield cluster
    cluster.close()


def starts(cluster, pod):
    return check_config(cluster.config(pod), pod["containers"][0]).returncode


def test_old_pods_restart_while_upgrades_fail_and_uninstall_leaves_nothing(cluster):
    cluster.apply("install", at("rollout.revisionHistoryLimit", 2))
    cluster.roll_out()
    old = cluster.pod()
    good = cluster.config(old)
    assert starts(cluster, old) == 0

    # There are more failed upgrades than revisionHistoryLimit. The old pods still run.
    for minutes in range(1, 5):
        cluster.apply("upgrade", merged(BROKEN, at("rollout.revisionHistoryLimit", 2), at("config.cache.live_fresh", f"{minutes}m")))
        assert starts(cluster, cluster.pod()) == 78
        assert starts(cluster, old) == 0 and cluster.config(old) == good
    assert len(cluster.api.names("ConfigMap")) == 5

    done = cluster.helm("rollback", "1")
    assert done.returncode == 0, done.stderr
    assert cluster.pod() == old
    cluster.roll_out()
    done = cluster.helm("uninstall")
    assert done.returncode == 0, done.stderr
    assert not cluster.api.objects


def test_after_a_complete_rollout_the_newest_revisions_are_kept(cluster):
    limit = at("rollout.revisionHistoryLimit", 2)
    pods = []
    for minutes in range(1, 5):
        cluster.apply("install" if minutes == 1 else "upgrade", merged(limit, at("config.cache.live_fresh", f"{minutes}m")))
        cluster.roll_out()
        pods.append(cluster.pod())
    kept = [each["volumes"][0]["configMap"]["name"] for each in reversed(pods[1:])]
    assert cluster.api.names("ConfigMap") == set(kept)
    assert cluster.workload()["metadata"]["annotations"]["zoom-qos-proxy/configurations"] == " ".join(kept)
    # `kubectl rollout undo` would return to the second revision, whose configuration still exists.
    assert 'live_fresh = "2m"' in cluster.config(pods[1])
    # Helm can also return to the first revision, whose configuration is in Helm's record.
    assert cluster.helm("rollback", "1").returncode == 0
    assert 'live_fresh = "1m"' in cluster.config(cluster.pod())


def test_replicas_and_redis_change_in_one_upgrade(cluster):
    cluster.apply("install", at("replicaCount", 2))
    old = cluster.pod()
    cluster.apply("upgrade", merged(WITH_REDIS, at("replicaCount", 3)))
    before, after = tomllib.loads(cluster.config(old)), tomllib.loads(cluster.config(cluster.pod()))
    assert before["limits"]["heavy_per_second"] == 13 and "url_file" not in before["redis"], "no pod of this template has the file"
    assert "heavy_per_second" not in after["limits"] and after["redis"]["replicas"] == 4


def test_trial_credentials_of_the_running_pods_are_kept(cluster):
    def secret(pod):
        [name] = [each["secret"]["secretName"] for each in pod["volumes"] if each["name"] == "credentials"]
        return cluster.api.get("Secret", name)["data"]

    trial = ci("trial-credentials")
    cluster.apply("install", trial)
    old = cluster.pod()
    before = secret(old)
    cluster.apply("upgrade", merged(trial, at("credentials.trial.clientSecret", "another")))
    assert secret(old) == before != secret(cluster.pod())
    cluster.apply("upgrade", at("credentials.existingSecret", "mine"))
    assert secret(old) == before
    for _ in range(2):
        cluster.roll_out()
        cluster.apply("upgrade", merged(at("credentials.existingSecret", "mine"), at("rollout.revisionHistoryLimit", 1)))
    assert len(cluster.api.names("Secret")) == 1


def test_a_statefulset_and_valkey_keep_earlier_configurations_as_well(cluster):
    valkey = f"{NAME}-valkey"
    which = ({"kind": "StatefulSet"}, {"kind": "StatefulSet", "name": valkey})
    values = merged(at("persistence.enabled", True), at("valkey.enabled", True))
    cluster.apply("install", values)
    old = [cluster.pod(**each) for each in which]
    before = [cluster.config(each) for each in old]
    cluster.apply("upgrade", merged(values, at("valkey.maxMemory", "64MiB"), at("config.cache.live_fresh", "31s")))
    assert [cluster.config(each) for each in old] == before
    assert not set(before) & {cluster.config(cluster.pod(**each)) for each in which}


# ---- the check before an upgrade ----


@pytest.mark.parametrize(
    "mistake, said",
    [
        (MISTAKE, "zoom.connect_timeout"),
        (at("config.telemetry.log_level", "info,[=debug"), "telemetry.log_level"),
        (at("config.cache.live_fresh", "9000d"), "cache.live_fresh"),
    ],
)
def test_a_mistake_that_the_schema_misses_stops_an_upgrade_before_any_change(cluster, mistake, said):
    cluster.apply("install", ci("existing-secrets"))
    assert "Job" not in {each["kind"] for each in cluster.api.objects.values()}, "removed when it has succeeded"
    before = cluster.pod()
    done = cluster.change("upgrade", merged(ci("existing-secrets"), mistake))
    assert done.returncode != 0 and "pre-upgrade hooks failed" in done.stderr
    assert cluster.failed_checks[0].splitlines()[-1].startswith(said), cluster.failed_checks
    assert cluster.pod() == before and len(cluster.api.names("ConfigMap")) == 1
    assert cluster.api.names("Job") == {f"{NAME}-check"}, "kept, so that its log can be read"
    cluster.apply("upgrade", ci("existing-secrets"))
    assert not cluster.api.names("Job")


def test_a_mistake_stops_an_install_before_it_creates_objects(cluster):
    done = cluster.change("install", MISTAKE)
    assert done.returncode != 0 and "pre-install" in done.stderr
    assert not cluster.api.names("ConfigMap") | cluster.api.names("Deployment")


# ---- what the chart knows of the cluster ----


def test_autoscaling_takes_over_the_current_replicas(cluster):
    cluster.apply("install", merged(WITH_REDIS, at("replicaCount", 3)))
    scaled = merged(WITH_REDIS, at("autoscaling.enabled", True))
    cluster.apply("upgrade", scaled)
    assert cluster.workload()["spec"]["replicas"] == 3, "without the field, Kubernetes would set it to one"
    cluster.api.scale("Deployment", NAME, 4)
    cluster.apply("upgrade", merged(scaled, at("config.cache.live_fresh", "31s")))
    assert cluster.workload()["spec"]["replicas"] == 4


def test_notes_do_not_explain_secrets_that_exist(cluster):
    def notes(verb):
        done = cluster.change(verb, merged(ci("redis-encrypted"), ci("proxy"), at("credentials", {})))
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = notes("install")
    for name in (f"{NAME}-zoom", "shared-redis", "way-out"):
        assert f"create Secret {name}" in said
        cluster.api.stored(("Secret", name), "Secret", "v1", {"metadata": {"name": name}, "data": {}})
    said = notes("upgrade")
    assert "create Secret" not in said and "create secret" not in said
    assert f"Zoom's credentials: Secret {NAME}-zoom." in said


# ---- from Helm 3 to Helm 4 ----


@needs_helm_4
def test_helm_4_takes_over_from_helm_3_and_gives_back(tmp_path):
    cluster = Cluster(tmp_path, 3)
    cluster.apply("install", {})
    old = cluster.pod()
    cluster.version = 4
    # First the same configuration, whose immutable ConfigMap must not change, then another.
    cluster.apply("upgrade", at("service.port", 81))
    assert cluster.pod() == old
    cluster.apply("upgrade", at("config.cache.live_fresh", "31s"))
    assert len(cluster.api.names("ConfigMap")) == 2
    cluster.version = 3
    cluster.apply("upgrade", at("service.port", 81))
    assert cluster.pod() == old
    assert cluster.helm("rollback", "3").returncode == 0
    assert 'live_fresh = "31s"' in cluster.config(cluster.pod())
    cluster.close()
