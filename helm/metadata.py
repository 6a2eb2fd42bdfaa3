#!/usr/bin/env python3
"""Adds to a Chart.yaml what only a release knows: the repository's address, the image, and the changes for Artifact Hub.

    metadata.py CHART_YAML IMAGE [REPOSITORY]

REPOSITORY is like https://git.example.com/team/zoom-qos-proxy; without it, the addresses are left out. There is no
artifacthub.io/signKey: it names a PGP key, and charts are signed by cosign without a key, which Artifact Hub finds by itself.
"""

import json
import pathlib
import re
import sys

CHANGELOG = pathlib.Path(__file__).resolve().parents[1] / "CHANGELOG.md"
KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}


def changes(text, version):
    """[(kind, sentence)] of the version's bullets about its deployment, which is what the chart changes."""
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not section:
        sys.exit(f"{CHANGELOG.name} has no section [{version}]")
    found, kind, part = [], None, None
    for line in section.group(1).splitlines():
        if heading := re.match(r"(#{3,4}) (.+)", line):
            kind, part = (heading[2].lower(), None) if heading[1] == "###" else (kind, heading[2])
        elif part == "Deployment" and line.startswith("- "):
            found.append((kind, line[2:]))
        elif part == "Deployment" and line.startswith("  ") and found:
            found[-1] = (kind, f"{found[-1][1]} {line.strip()}")
    unknown = {kind for kind, _ in found} - KINDS
    if unknown:
        sys.exit(f"{CHANGELOG.name}: Artifact Hub knows no kind {unknown} of changes")
    return found


def main(path, image, repository=None):
    chart = pathlib.Path(path)
    text = chart.read_text()
    version = re.search(r"^version: (.+)$", text, re.MULTILINE).group(1)
    annotations = {
        "changes": [{"kind": kind, "description": sentence} for kind, sentence in changes(CHANGELOG.read_text(), version)],
        "images": [{"name": "zoom-qos-proxy", "image": image}],
    }
    fields = {}
    if repository:
        at = f"{repository}/blob/v{version}"
        fields = {"home": repository, "sources": [repository], "icon": f"{repository}/raw/v{version}/helm/icon.svg"}
        annotations["links"] = [
            {"name": name, "url": f"{at}/{file}"}
            for name, file in (("changelog", "CHANGELOG.md"), ("operations", "docs/OPERATIONS.md"), ("API", "docs/CALLERS.md"))
        ]
    # JSON is YAML.
    lines = [f"  artifacthub.io/{key}: {json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)}\n" for key, value in annotations.items()]
    text = text.replace("annotations:\n", "annotations:\n" + "".join(lines))
    chart.write_text(text + "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items()))


main(*sys.argv[1:])
