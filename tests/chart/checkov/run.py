"""Runs checkov offline on every rendered file of ci/. The entries of allowed.yaml are accepted.

    run.py CHECKOV
"""

import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

os.environ["SERVICE_BINARY"] = "unused"
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from chart import CI, by_feature, ci, render, render_text  # noqa: E402


def findings(checkov, manifests):
    """checkov's findings in {feature: YAML}, as {(check, feature/kind/name)}."""
    with tempfile.TemporaryDirectory() as folder:
        for feature, text in manifests.items():
            pathlib.Path(folder, f"{feature}.yaml").write_text(text)
        command = [checkov, "--framework", "kubernetes", "--directory", folder, "--skip-download", "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    passed = report["summary"]["passed"]
    assert passed > 50 * len(manifests), f"only {passed} checks passed: did it check anything?"
    found = set()
    for each in report["results"]["failed_checks"]:
        kind, _, name = each["resource"].split(".", 2)
        feature = pathlib.Path(each["file_path"]).stem
        found.add((each["check_id"], f"{feature}/{kind}/{name}", each["check_name"]))
    return found


def main(checkov):
    allowed = yaml.safe_load((HERE / "allowed.yaml").read_text())
    manifests = {by_feature(path): render_text(ci(by_feature(path))) for path in CI}

    # A negative control: checkov must find deliberate mistakes.
    wrong = render()
    wrong.pod["hostNetwork"] = True
    wrong.container["securityContext"] |= {"privileged": True, "readOnlyRootFilesystem": False}
    control = {check for check, _, _ in findings(checkov, {"wrong": yaml.safe_dump_all(list(wrong))})}
    missed = {"CKV_K8S_16", "CKV_K8S_19", "CKV_K8S_22"} - control
    if missed:
        sys.exit(f"checkov did not find {missed} in a manifest that has them")

    used, bad = set(), []
    for check, where, name in sorted(findings(checkov, manifests)):
        reasons = [i for i, each in enumerate(allowed) if each["check"] == check and fnmatch.fnmatch(where, each["in"])]
        used |= set(reasons)
        if not reasons:
            bad.append(f"{where}: {check} {name}")
    bad += [f"allowed.yaml: {each['check']} in {each['in']} matches nothing: remove it" for i, each in enumerate(allowed) if i not in used]
    if bad:
        sys.exit("\n".join(bad))
    print(f"checkov: {len(manifests)} renderings, no findings except the {len(allowed)} accepted kinds of {HERE.name}/allowed.yaml")


main(sys.argv[1])
