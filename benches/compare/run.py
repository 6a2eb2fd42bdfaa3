"""Measures the service beside what others would install, and writes docs/PERFORMANCE.md: `make bench`.

    run.py [--quick] [--part PART]…

Each part writes what it measured to target/compare/PART.json. The document is made of all that is there, and of the rows that it
had itself, perhaps from another clone, of the parts that are not. `--quick` only
proves that everything works: it measures next to nothing, and its document goes to target/compare/quick.
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
from stage import CPUS, ROOT, Stage

PARTS = ["hits", "instructions", "storm", "cleaning", "memory", "growth", "start"]


def main():
    arguments = argparse.ArgumentParser(description="The service beside what others would install.")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--part", action="append", choices=PARTS)
    arguments = arguments.parse_args()
    # Whoever ends this ends all that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = os.path.join(ROOT, "target", "compare", *(["quick"] if arguments.quick else []))
    os.makedirs(folder, exist_ok=True)
    for part in arguments.part or PARTS:
        print(f"== {part}", flush=True)
        began = time.monotonic()
        with Stage() as stage:
            measured = importlib.import_module(part).run(stage, arguments.quick)
        measured["circumstances"] = circumstances()
        with open(os.path.join(folder, part + ".json"), "w") as file:
            json.dump(measured, file, indent=1)
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
    written = os.path.join(folder if arguments.quick else os.path.join(ROOT, "docs"), "PERFORMANCE.md")
    parts = {}
    if os.path.exists(written):
        with open(written) as file:
            parts = document.read(file.read())
    for part in PARTS:
        path = os.path.join(folder, part + ".json")
        if os.path.exists(path):
            with open(path) as file:
                parts[part] = json.load(file)
    parts = {part: parts[part] for part in PARTS if part in parts}
    with open(written, "w") as file:
        file.write(document.text(parts))
    print(os.path.relpath(written, ROOT))


def circumstances():
    """When and on what it was measured."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())[1]
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal: +(\d+)", file.read())[1]) / 1024 / 1024
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": says(["git", "-C", ROOT, "describe", "--always", "--dirty"], r"(\S+)"),
        "machine": f"{len(CPUS)} × {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}",
        "load": os.getloadavg()[0],
        "versions": {
            "rustc": says(["rustc", "--version"], r"rustc (\S+)"),
            "wrk": says(["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
            "nginx": says(["nginx", "-v"], r"nginx/(\S+)"),
            "Varnish": says(["varnishd", "-V"], r"varnish-(\S+)"),
            "valgrind": says(["valgrind", "--version"], r"valgrind-(\S+)"),
            "jq": says(["jq", "--version"], r"jq-(\S+)"),
            "Python": platform.python_version(),
        },
    }


def says(command, pattern):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(pattern, done.stdout)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    main()
