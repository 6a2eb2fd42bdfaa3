"""Linters and test suites of other projects, on answers of the real service over real sockets.

    python run.py SERVICE_BINARY SIM_BINARY

httplint on a captured answer of every kind, http_sfv on every Cache-Status, RFC 9457's schema on every problem, OpenAPI's
own schema on the description, and schemathesis on each of its operations. As a negative control, each must find deliberate
mistakes. Exits with 0 without findings, else with 1. Uses only local addresses; takes about a minute.
"""

import sys
import time

sys.dont_write_bytecode = True

import captures
import controls
import fuzz
import verdicts


def main(service_binary, sim_binary):
    began, binaries, findings = time.monotonic(), (service_binary, sim_binary), []
    kept = captures.provoke(binaries)
    if kept.failed:
        print("FINDING", "\nFINDING ".join(kept.failed))
        return 1
    document = kept["200 openapi"].json()

    blind = [name for name, found in controls.controls(kept, document) if not found]
    if not fuzz.control(binaries):
        blind.append("schemathesis, a status that is not described")
    findings += [f"control: nothing was found in: {name}" for name in blind]

    findings += verdicts.description(document)
    notes = set()
    for kind, answer in sorted(kept.items()):
        findings += [f"{kind}: {found}" for found in verdicts.check(kind, answer, document, notes)]
    findings += codes(kept, document)
    fuzzed, asked = fuzz.check(binaries)
    findings += fuzzed

    print(f"captured {len(kept)} answers:", ", ".join(sorted(kept)))
    for level in ("GOOD", "INFO", "WARN", "BAD"):
        classes = sorted({name for found, name in notes if found == level})
        print(f"httplint, level {level}:", ", ".join(classes) or "none")
    for name, kinds, reason in verdicts.ALLOWED:
        print(f"httplint, {name} is allowed for '{kinds}': {reason}")
    print("schemathesis:", asked)
    for finding in findings:
        print("FINDING", finding)
    print(f"conformance (python): {len(findings)} findings in {time.monotonic() - began:.0f} s")
    return 1 if findings else 0


def codes(kept, document):
    """Whether every code of the description occurred, with its status."""
    described = verdicts.described_codes(document)
    met = {answer.code(): answer.status for answer in kept.values() if answer.code()}
    unknown = [f"{code}: not in the description" for code in met.keys() - described.keys()]
    moved = [f"{code}: as {status}" for code, status in met.items() if described.get(code, status) != status]
    missing = described.keys() - met.keys() - captures.NOT_PROVOKED.keys()
    return unknown + moved + [f"{code}: no scenario met it" for code in missing]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
