"""Measures the service and common alternatives: `make bench`.

    run.py [--quick] [--write] [--part PART]…

First installs and builds everything that the parts need. Then runs the parts, in their own network namespace if that is allowed
(network.py). Each part writes its measurements to target/compare/PART.json. `--write` (`make bench WRITE=1`) makes the documents
of these files, and of docs/performance/PART.json for parts that were not measured here. Without `--write`, prints the tables of the
measured parts. `--quick` only proves that everything works: it measures too briefly for meaningful figures.
"""

import argparse
import importlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import document
import network
from stage import CPUS, ROOT, Stage

# The release profile with function names, which assign instructions to crates.
BUILD = ["cargo", "build", "--profile", "bench", "--locked", "--workspace"]
# What each part needs: external programs, examples of this crate, and benches. `None` instead of the examples means
# that `prepare` builds nothing, because the part builds the service itself.
NEEDS = {
    "hits": (["wrk", "nginx", "varnishd"], ["bare", "open_loop"], []),
    "instructions": (["valgrind"], ["bare"], []),
    "storm": (["nginx", "varnishd"], [], []),
    "cleaning": (["jq"], ["cleaning"], ["allocations"]),
    "large": ([], [], []),
    "memory": (["nginx", "varnishd"], [], []),
    "growth": (["wrk"], ["filled"], ["queue"]),
    "views": (["wrk", "curl"], ["open_loop"], []),
    "neighbours": ([], ["open_loop"], []),
    "start": ([], None, []),
}
PARTS = list(NEEDS)
# The command that prints each program's version, and the pattern that finds it.
VERSIONS = {
    "rustc": (["rustc", "--version"], r"rustc (\S+)"),
    "wrk": (["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
    "nginx": (["nginx", "-v"], r"nginx/(\S+)"),
    "varnishd": (["varnishd", "-V"], r"varnish-(\S+)"),
    "valgrind": (["valgrind", "--version"], r"valgrind-(\S+)"),
    "curl": (["curl", "--version"], r"curl (\S+)"),
    "jq": (["jq", "--version"], r"jq-(\S+)"),
    "python3": (["python3", "--version"], r"Python (\S+)"),
}


def prepare(part):
    """Installs and builds what the part needs, and nothing else."""
    programs, examples, benches = NEEDS[part]
    commands = []
    if programs:
        commands.append(["scripts/prepare", *programs])
    if examples is None:
        commands.append(["cargo", "fetch", "--locked"])
    else:
        # Examples are built separately, because their dependencies enable features that the service does not have.
        commands.append([*BUILD, "--bins"])
        if examples:
            commands.append([*BUILD, *(word for example in examples for word in ("--example", example))])
    commands += [["cargo", "bench", "--locked", "--no-run", "--bench", bench] for bench in benches]
    for command in commands:
        subprocess.run(command, cwd=ROOT, check=True)


def main():
    arguments = argparse.ArgumentParser(description="The service beside what others would install.")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--write", action="store_true", help="write docs/PERFORMANCE.md and docs/performance")
    arguments.add_argument("--part", action="append", choices=PARTS)
    arguments = arguments.parse_args()
    # A signal to this process also ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = os.path.join(ROOT, "target", "compare", *(["quick"] if arguments.quick else []))
    os.makedirs(folder, exist_ok=True)
    for part in arguments.part or PARTS:
        prepare(part)
    congestion_control = network.enter()
    print(f"congestion control: {congestion_control}", flush=True)
    for part in arguments.part or PARTS:
        print(f"== {part}", flush=True)
        began = time.monotonic()
        with Stage() as stage:
            measured = importlib.import_module(part).run(stage, arguments.quick)
        measured["circumstances"] = {**circumstances(part), "congestion_control": congestion_control}
        with open(os.path.join(folder, part + ".json"), "w") as file:
            json.dump(measured, file, indent=1)
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
    report(arguments, folder)


def report(arguments, folder):
    """Prints the measured parts. With --write, writes the documents instead, with earlier measurements of all other parts."""
    docs = os.path.join(ROOT, "docs")
    parts = document.read(docs) if arguments.write else {}
    for part in PARTS if arguments.write else arguments.part or PARTS:
        path = os.path.join(folder, part + ".json")
        if os.path.exists(path):
            with open(path) as file:
                parts[part] = json.load(file)
    parts = {part: parts[part] for part in PARTS if part in parts}
    if arguments.write:
        for path in document.write(parts, docs):
            print(os.path.relpath(path, ROOT))
    else:
        print(document.measured(parts))


def circumstances(part):
    """The date, commit, machine and versions of a measurement."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())[1]
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal: +(\d+)", file.read())[1]) / 1024 / 1024
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": says(["git", "-C", ROOT, "describe", "--always", "--dirty"], r"(\S+)"),
        "machine": f"{len(CPUS)} × {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}",
        "load": os.getloadavg()[0],
        "versions": {name: says(*VERSIONS[name]) for name in ("rustc", *NEEDS[part][0], "python3")},
    }


def says(command, pattern):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(pattern, done.stdout)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    main()
