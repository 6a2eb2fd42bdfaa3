"""Runs published clients of Zoom's API against the simulator of Zoom, directly and through the service, and clients generated from
the service's own description.

    run.py SERVICE_BINARY SIM_BINARY NODE_MODULES [CLIENT...]

Only addresses and credentials differ, set as each client documents. NODE_MODULES is the folder with the packages of
package.json; Python's are those of this interpreter. Exits with 0 without findings, else with 1. Uses only local addresses.
"""

import copy
import pathlib
import sys
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance/python"))

import document  # noqa: E402
import generated  # noqa: E402
import refusals  # noqa: E402
import schemas  # noqa: E402
import tables  # noqa: E402
import walks  # noqa: E402
from scene import BIG, Scene, documented  # noqa: E402

CLIENTS = ["zoomus", "pyzoom", "zoom-python-client", "rivet", "newman", "curl"]


def main(service, sim, node_modules, *chosen):
    began, findings = time.monotonic(), []
    with Scene(service, sim, sys.executable, node_modules, [*CLIENTS, document.CALLER, generated.CALLER, tables.CALLER]) as scene:
        for client in chosen or CLIENTS:
            findings += [*walks.check(scene, client), *refusals.check(scene, client)]
        findings += [*document.check(scene), *tables.check(scene), *generated.check(scene), *refusals.patience(scene)]
        findings += controls(scene)
    for finding in findings:
        print("FINDING", finding)
    print(f"clients: {len(findings)} findings in {time.monotonic() - began:.0f} s: {', '.join(chosen or CLIENTS)}")
    return 1 if findings else 0


def controls(scene):
    """A finding for each deliberate mistake that the suite does not notice."""
    step = walks.listed("control", BIG, documented, 10, "past")
    right = scene.reference.pages("meetings", BIG, "past", 10)
    spoil = {
        "a text as a number": lambda row: row["user_qos"][0]["audio_input"].update(latency=126),
        "a resolution as an object": lambda row: row["user_qos"][1]["video_input"].update(resolution={"width": 1, "height": 1}),
        "null for nothing": lambda row: row.update(browser_name=None),
        "a word that is not listed": lambda row: row.update(health="good"),
    }
    for name, change in spoil.items():
        pages = copy.deepcopy(right)
        change(pages[1]["participants"][3])
        if not walks.differences(step, {"pages": pages, "refused": None}, scene.reference):
            yield f"control: no difference was found: {name}"
        if not list(schemas.errors(step.step, pages[1])):
            yield f"control: nothing against Zoom's schema was found: {name}"
    for name, pages in {"a page less": right[:-1], "pages in another order": right[::-1]}.items():
        if not walks.differences(step, {"pages": pages, "refused": None}, scene.reference):
            yield f"control: no difference was found: {name}"


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
