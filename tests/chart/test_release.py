"""What a release publishes, in which order, and that nothing is published by mistake."""

import os
import re
import subprocess
import tarfile

import pytest
import yaml

from chart import CHART, ROOT, VENV, helm

RELEASE = ROOT / "scripts/release"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
JOBS = WORKFLOWS["release.yml"]["jobs"]
TAGGED = "github.ref_type == 'tag'"
PUBLISHES = re.compile(r"docker/login-action|cosign sign|helm push|gh release create|imagetools create")


def release(*arguments, **variables):
    environment = {**os.environ, "PATH": f"{VENV}:{os.environ['PATH']}", **variables}
    return subprocess.run([RELEASE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def needed_by(name):
    """The names of all jobs that this one needs, directly or not."""
    needs = JOBS[name].get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return set(needs).union(*(needed_by(each) for each in needs))


def publishers():
    writes = ("packages", "contents", "id-token")
    return [name for name, job in JOBS.items() if any(job.get("permissions", {}).get(each) == "write" for each in writes)]


def test_only_the_release_may_write():
    assert publishers() == ["build", "image", "chart", "release"]
    for file, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {"contents": "read"}, file
        if file != "release.yml":
            assert not any("permissions" in job for job in workflow["jobs"].values()), file


@pytest.mark.parametrize("name", publishers())
def test_nothing_is_published_without_all_tests(name):
    used = {JOBS[each].get("uses") for each in needed_by(name)}
    assert {f"./.github/workflows/{file}.yml" for file in ("ci", "image", "cluster")} <= used
    assert "always()" not in str([JOBS[each].get("if") for each in {name, *needed_by(name)}])


def test_the_tests_of_a_release_are_those_of_a_change():
    for file, command in [("ci.yml", "make test"), ("image.yml", "make image-test"), ("cluster.yml", "make cluster-test")]:
        workflow = WORKFLOWS[file]
        assert "workflow_call" in workflow[True], "YAML reads `on` as true"
        steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
        assert any(command in step for step in steps), file


def test_the_paths_that_start_a_workflow_exist():
    paths = {path for workflow in WORKFLOWS.values() for path in (workflow[True].get("pull_request") or {}).get("paths", [])}
    assert paths and [path for path in paths if not list(ROOT.glob(path))] == []


def test_the_chart_comes_after_its_image_and_the_release_after_the_chart():
    assert "image" in needed_by("chart") and {"chart", "program"} <= needed_by("release")
    package = next(step for step in JOBS["chart"]["steps"] if "scripts/release chart" in step.get("run", ""))
    assert "needs.image.outputs.digest" in package["env"]["DIGEST"]


def test_a_run_without_a_tag_publishes_nothing():
    found = 0
    for name, job in JOBS.items():
        for step in job.get("steps", []):
            if PUBLISHES.search(step.get("uses", "") + step.get("run", "")):
                found += 1
                assert TAGGED in (job.get("if"), step.get("if")), (name, step)
            outputs = step.get("with", {}).get("outputs", "")
            assert "push=" not in outputs or "push=${{ github.ref_type == 'tag' }}" in outputs
    assert found == 7


def test_every_action_is_pinned_by_its_digest():
    used = {
        step["uses"]
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        for step in job.get("steps", [])
        if "uses" in step
    }
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used), used


@pytest.mark.parametrize("tag, taken", [("v{}", True), ("v{}-rc.1", False), ("v9.9.9", False)])
def test_a_tag_is_published_only_as_the_version_of_program_and_chart(tag, taken):
    tag = tag.format(VERSION)
    done = release("version", GITHUB_REF_TYPE="tag", GITHUB_REF_NAME=tag)
    # Before its release, the section of the version has no date, which is an error for a tag.
    dated = f"## [{VERSION}] - unreleased" not in (ROOT / "CHANGELOG.md").read_text()
    assert (done.returncode == 0) is (taken and dated), done.stderr
    assert taken or f"the tag {tag} is not v{VERSION}" in done.stderr
    assert release("version", GITHUB_REF_TYPE="branch").stdout == f"{VERSION}\n"


def test_the_notes_of_a_release_are_its_section_of_the_changelog():
    notes = release("notes").stdout
    assert notes.strip() and "\n## [" not in notes
    assert all(line in (ROOT / "CHANGELOG.md").read_text() for line in notes.splitlines())


def test_a_packaged_chart_names_exactly_one_image(tmp_path):
    image = f"registry.example.com:5000/team/zoom-qos-proxy@sha256:{'0123456789abcdef' * 4}"
    done = release("chart", image, tmp_path)
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("*.tgz")
    rendered = helm("template", "release", package, "--values", CHART / "ci/trial-credentials-values.yaml").stdout
    assert set(re.findall(r"image: \"?([^\"\n]*)", rendered)) == {image}
    with tarfile.open(package) as archive:
        packed = archive.extractfile("zoom-qos-proxy/values.yaml").read().decode()
    changed = set(packed.splitlines()) ^ set((CHART / "values.yaml").read_text().splitlines())
    assert len(changed) == 6, changed


@pytest.mark.parametrize("image", ["zoom-qos-proxy@sha256:" + "0" * 64, "ghcr.io/team/zoom-qos-proxy:1", "ghcr.io/a/b@sha256:0"])
def test_a_chart_is_not_packaged_without_registry_and_digest(image, tmp_path):
    done = release("chart", image, tmp_path)
    assert done.returncode != 0 and image in done.stderr and not list(tmp_path.iterdir())


def test_checksums_are_those_of_the_files(tmp_path):
    (tmp_path / "a").write_text("a\n")
    assert release("checksums", tmp_path).returncode == 0
    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == 1
