"""Runs the blocks of docs/CALLERS.md for the clients of this suite, with the addresses of the service."""

import collections
import csv
import os
import pathlib
import re
import subprocess
import tempfile

import tables
from scene import BIG, ENVIRONMENT, EXAMPLE, HERE, PATIENCE_SECONDS, ROOT, key_of

DOCUMENT = ROOT / "docs/CALLERS.md"
CALLER = "support-tools"
# The documented example has one participant and one minute, so the examples with tables use another meeting.
TABLE = BIG
LIMITS = {"latency_ms": 150, "jitter_ms": 40, "avg_loss_percent": 2}
R_HOME = ROOT / "target/debian/R/usr/lib/R"


def one_participant(text):
    """Matches the output of a block: the number of participants of the documented example, or a token and its page."""
    return re.search(r'^1$|"access_token":[^\0]*"total_records":1,', text)


def check(scene):
    headings = {
        "Python": [("python", one_participant)] * 3,
        "JavaScript": [("js", one_participant)],
        "curl": [("sh", one_participant)],
        "A file with curl": [("sh", lambda _: True)],
        "Who and when, with pandas": [("python", lambda text: who_and_when(text) == expected(scene))],
        "Who and when, with R": [("r", lambda text: who_and_when(text) == expected(scene))],
    }
    blocks = under_headings(DOCUMENT.read_text())
    for heading, wanted in headings.items():
        if [language for language, _ in blocks[heading]] != [language for language, _ in wanted]:
            yield f"{DOCUMENT.name}, {heading}: other blocks: {[language for language, _ in blocks[heading]]}"
        for (language, text), (_, is_right) in zip(blocks[heading], wanted):
            if language == "r" and not os.environ.get("CLIENTS_R"):
                continue
            yield from ran(scene, heading, language, text, is_right)
    if not expected(scene) or who_and_when("") == expected(scene):
        yield f"control: no minute of {TABLE} is over a limit"


def under_headings(text):
    """Pairs of language and text of the blocks below each heading."""
    found = collections.defaultdict(list)
    for heading, language, block in re.findall(r"(?ms)^##+ ([^\n]*)$|^```(\w+)\n(.*?)^```$", text):
        if heading:
            last = heading
        else:
            found[last].append((language, block))
    return found


def ran(scene, heading, language, text, is_right):
    text = text.replace("https://qos.example", f"http://{scene.service.callers}")
    if "/v2/" not in text and "format=csv" in text:
        text = text.replace(EXAMPLE, TABLE)
    # Node looks for packages beside the file.
    with tempfile.TemporaryDirectory(dir=scene.node_modules) as folder:
        done = run(scene, language, text, folder)
        if done.returncode != 0 or not is_right(done.stdout):
            yield f"{DOCUMENT.name}, {heading}: {done.returncode}: {done.stdout[:1500]}{done.stderr[-1000:]}\n{text}"
        file = pathlib.Path(folder, "qos.csv")
        if done.returncode == 0 and file.name in text and file.read_bytes() != tables.fetch(scene, TABLE, {"type": "past", "format": "csv"}).content:
            yield f"{DOCUMENT.name}, {heading}: {file.name} is not the table"


def run(scene, language, text, folder):
    path = pathlib.Path(folder, "block.mjs" if language == "js" else "block")
    path.write_text(text)
    program = {"python": [scene.python], "js": ["node"], "sh": ["sh"], "r": ["R", "--vanilla", "--no-echo", "-f"]}[language]
    environment = {**ENVIRONMENT, "HOME": folder, "QOS_KEY": key_of(CALLER)}
    if language == "r" and R_HOME.exists():
        # An unpacked R does not know its folder, and lacks the settings that Debian puts into /etc.
        environment |= {"R_HOME": str(R_HOME), "EDITOR": "vi", "PAGER": "cat"}
    return subprocess.run(
        [*program, str(path)], env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


def expected(scene):
    """For each participant with minutes over a limit: the number of these minutes, the first and the last."""
    text = tables.fetch(scene, TABLE, {"type": "past", "format": "csv", "rows": "group"}).text
    times = collections.defaultdict(set)
    for row in csv.DictReader(text.splitlines()):
        if any(float(row[name] or 0) > limit for name, limit in LIMITS.items()):
            times[row["user_name"]].add(row["date_time"])
    return {name: (str(len(at)), min(at), max(at)) for name, at in times.items()}


def who_and_when(text):
    """Parses a block's output into the form that `expected` returns."""
    rows = re.findall(r"(?m)(Participant \d+) +\"?(\d+)\"? +\"?(\d{4}-\S+Z)\"? +\"?(\d{4}-\S+Z)\"?$", text)
    return {name: (count, first, last) for name, count, first, last in rows}
