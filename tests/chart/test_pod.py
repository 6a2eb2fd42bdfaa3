"""Runs the service with the pod's command and environment, and the test pod's commands against it."""

import json
import subprocess

import pytest

from chart import CALLERS, CREDENTIALS, SERVICE, ci, merged, render

NO_ZOOM = {"config": {"zoom": {"api_base_url": "http://127.0.0.1:9/v2", "oauth_url": "http://127.0.0.1:9/oauth/token"}}}


@pytest.mark.parametrize("feature", ["default", "existing-secrets", "replicas"])
def test_it_starts_and_helm_test_finds_it(feature, tmp_path):
    objects = render(merged(ci(feature), NO_ZOOM))
    toml = objects.toml
    # The pod's mounts, in a temporary folder instead of the root.
    mounts = {each["name"]: each["mountPath"] for each in objects.container["volumeMounts"]}
    for name, path in mounts.items():
        here = tmp_path / name
        here.mkdir()
        toml = toml.replace(f'"{path}/', f'"{here}/')
    (tmp_path / "config/config.toml").write_text(toml)
    for name in CREDENTIALS:
        (tmp_path / "credentials" / name).write_text("hush-hush\n")
    if "callers" in mounts:
        (tmp_path / "callers/callers.toml").write_text(CALLERS)
    arguments = [each.replace(mounts["config"], str(tmp_path / "config")) for each in objects.container["args"]]
    # Any free port instead of the pod's own.
    environment = {each["name"]: each["value"].rsplit(":", 1)[0] + ":0" for each in objects.container["env"]}

    service = subprocess.Popen([SERVICE, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        listening = next(line for line in map(json.loads, service.stdout) if "ops_listen" in line)
        ports = {path: listening[key].rsplit(":", 1)[1] for path, key in (("/readyz", "ops_listen"), ("/openapi.json", "listen"))}
        for container in objects.one("Pod")["spec"]["containers"]:
            *verb, url = container["args"]
            path = "/" + url.rsplit("/", 1)[1]
            command = [SERVICE, *verb, f"http://localhost:{ports[path]}{path}"]
            asked = subprocess.run(command, env={}, capture_output=True, text=True, timeout=30)
            assert asked.returncode == 0, asked.stderr
        assert (tmp_path / "state/day.json").exists()
        service.terminate()
        # The kubelet kills the container after this time.
        assert service.wait(objects.pod["terminationGracePeriodSeconds"]) == 0
    finally:
        service.kill()
        service.wait()
        service.stdout.close()
