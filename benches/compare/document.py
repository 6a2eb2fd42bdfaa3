"""Writes the measurements as documents: one page for people, the tables of medians, and every row as data.

    docs/PERFORMANCE.md                  goals and what limits them
    docs/performance/measurements.md     medians, how they were measured, and why they are what they are
    docs/performance/PART.json           every row of a part, and the circumstances

The prose is in notes.md, under the names of the parts; everything else is computed from the rows (goals.py, tables.py).
"""

import json
import os
import re

from goals import goals, in_short
from tables import table, tables_of

PAGE = """`make bench WRITE=1` measures these figures and writes this page; `PART=hits` measures one part. The page
[performance/measurements.md](performance/measurements.md) has every median and how it was measured. The JSON files beside it
have every row.

The machine is shared, so ratios are more reliable than absolute figures: both sides of a ratio are measured in turn, in one
run. A ratio of CPU or time is printed only if, with a probability of 95 %, it is within 10 % of the true median, and one of
percentiles if it is within 30 %. Otherwise the table has both ends of the interval, and a goal between them is "unclear".
"""

TABLES = """# Measurements

`make bench WRITE=1` writes this page. Figures are medians over the rounds, and a ratio is the median of the ratios of all
rounds, or the interval "varies" if the rounds do not agree ([Performance](../PERFORMANCE.md)). CPU seconds are the scheduler's
account of the process and its children, with all their threads.
"""


def write(parts, folder):
    """Writes all documents below `folder`; returns their paths."""
    notes = read_notes()
    data = os.path.join(folder, "performance")
    os.makedirs(data, exist_ok=True)
    texts = {
        os.path.join(folder, "PERFORMANCE.md"): joined(
            ["# Performance\n", in_short(parts), PAGE, "## Goals\n", goals(parts), "## What limits it\n", notes["limits"]]
        ),
        os.path.join(data, "measurements.md"): joined([TABLES, circumstances(parts), *sections(parts, notes)]),
    }
    for part, measured in parts.items():
        texts[os.path.join(data, part + ".json")] = as_json(measured)
    for path, text in texts.items():
        with open(path, "w") as file:
            file.write(text)
    return list(texts)


def read(folder):
    """The measurements of each part that earlier runs wrote below `folder`."""
    data = os.path.join(folder, "performance")
    parts = {}
    for name in sorted(os.listdir(data)):
        if name.endswith(".json"):
            with open(os.path.join(data, name)) as file:
                parts[name.removesuffix(".json")] = json.load(file)
    return parts


def sections(parts, notes):
    for part, tables in tables_of().items():
        if part in parts:
            yield from (f"## {part.capitalize()}\n", notes.get(part, ""), tables(parts[part]))


def joined(texts):
    return "\n".join(filter(None, texts)).rstrip() + "\n"


def as_json(measured):
    """JSON with one line for each row, so that a diff of the data is readable."""
    line = lambda value: json.dumps(value, ensure_ascii=False)
    members = []
    for name, value in measured.items():
        rows = ",\n  ".join(map(line, value)) if isinstance(value, list) else None
        members.append(f"{line(name)}: " + (line(value) if rows is None else f"[\n  {rows}\n ]"))
    return "{\n " + ",\n ".join(members) + "\n}\n"


def measured(parts):
    """The tables of these parts, for a terminal."""
    tables = tables_of()
    return "\n".join(f"{part.capitalize()}\n\n{tables[part](of)}" for part, of in parts.items())


def read_notes():
    with open(os.path.join(os.path.dirname(__file__), "notes.md")) as file:
        pieces = re.split(r"^## (\w+)\n", file.read(), flags=re.M)[1:]
    return {name: body.strip() + "\n" for name, body in zip(pieces[::2], pieces[1::2])}


def circumstances(parts):
    rows = []
    for part, measured in parts.items():
        about = measured["circumstances"]
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        network = about.get("congestion_control", "not recorded")
        rows.append([f"`PART={part}`", about["date"], about["commit"], about["machine"], network, versions])
    return table(["part", "date", "commit", "machine", "congestion control", "versions"], rows)
