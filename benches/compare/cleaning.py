"""Cleaning: megabytes of Zoom's pages per processor second, compared with other ways to read them, and its allocations."""

import os
import resource
import subprocess

import divan
from load import in_turn
from stage import MEASURED, Sim, built, child

# Name, participants, samples, repetitions. Zoom sends pages of ten participants.
SIZES = [("10 × 1", 10, 1, 400), ("10 × 60", 10, 60, 20), ("100 × 60", 100, 60, 2)]
PYTHON = "import json, sys\nfor page in open(sys.argv[1]):\n    json.dumps(json.loads(page))"


def run(stage, quick):
    rounds, share = (1, 20) if quick else (6, 3)
    sim = Sim(stage)
    rows = []
    for number, (size, participants, samples, times) in enumerate(SIZES):
        meeting = str(93_000_000_000 + number)
        sim.add(meeting, participants, samples)
        # A meeting of 100 participants is read as ten copies of its first page.
        pages = [sim.page(meeting).replace(b"\n", b" ")] * (participants // 10)
        file = stage.write(f"pages-{number}", b"".join(page + b"\n" for page in pages))
        megabytes = os.path.getsize(file) / 1e6
        times = max(1, times * 30 // share)
        ways = [(way, [built("examples/cleaning"), way, file], times) for way in ("cleaned", "validated", "typed", "tree")]
        few = max(1, times // 40)
        many = stage.write("many", open(file, "rb").read() * few)
        ways += [("Python json", ["python3", "-c", PYTHON, many], few), ("jq", ["jq", "-c", ".", many], few)]
        for turn in range(rounds):
            for way, command, repeated in in_turn(ways, turn):
                if way in ("cleaned", "validated", "typed", "tree"):
                    command = [*command, str(repeated)]
                rows.append({"size": size, "way": way, "round": turn, "mb": megabytes * repeated, "cpu": cpu_of(command)})
    return {"rows": rows, "allocations": allocations(quick)}


def cpu_of(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, preexec_fn=child(MEASURED))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def allocations(quick):
    """The allocations for a page: medians of divan's samples."""
    return divan.rows("allocations", samples=10 if quick else 100)
