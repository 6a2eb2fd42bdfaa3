"""Runs a divan bench, and parses the table that it prints: medians of times and of allocations."""

import re
import subprocess

from stage import ROOT

UNITS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}
MEDIAN = 2


def rows(bench, samples):
    """Returns a row for each function and argument: both, the time in ns, and the number and bytes of allocations, if counted."""
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", bench, "--", "--sample-count", str(samples)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = parsed(done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"cargo bench --bench {bench}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return found


def parsed(table):
    found, name, counts = [], None, []
    for line in table.splitlines():
        # Removes the branches of the tree. The first cell begins with the label.
        cells = [cell.strip() for cell in re.sub(r"^[│├╰─ ]+", "", line).split("│")]
        if re.fullmatch(r"[a-z_]+", cells[0]):
            name = cells[0]
        elif argument := re.match(r"(\d+) +[\d.]+ \S+$", cells[0]):
            found.append({"bench": name, "of": int(argument[1]), "ns": number(cells[MEDIAN]), "allocations": 0, "bytes": 0})
            counts = []
        elif cells[0].endswith(":"):
            # Two lines follow: the number of allocations, and their bytes.
            counts = ["allocations", "bytes"] if cells[0] in ("alloc:", "grow:") else []
        elif counts and found and len(cells) > MEDIAN:
            found[-1][counts.pop(0)] += number(cells[MEDIAN])
    return found


def number(text):
    value, _, unit = text.partition(" ")
    return float(value) * UNITS.get(unit, 1)
