"""What was measured, as documents: one page for people, the tables of medians, and every row as data.

    docs/PERFORMANCE.md                  goals and what limits them
    docs/performance/measurements.md     medians, how they were measured, and why they are what they are
    docs/performance/PART.json           every row of a part, and the circumstances

The prose is in notes.md, under the names of the parts; everything else is computed from the rows.
"""

import json
import os
import re
import statistics

PAGE = """# Performance

This page says how fast `zoom-qos-proxy` is compared with other programs, and what limits it. `make bench WRITE=1` measures the
figures and writes this page; `PART=hits` measures one part. [performance/measurements.md](performance/measurements.md) has
every median and how it was measured. The JSON files beside it have every row.

The machine is shared, so ratios are more reliable than absolute figures: both sides of a ratio are measured in turn, in one
run.
"""

TABLES = """# Measurements

`make bench WRITE=1` writes this page. Figures are medians over the rounds, and a ratio is the median of the ratios of all
rounds. CPU seconds are those of the process with all its threads and children, from `/proc`.
"""


def write(parts, folder):
    """Writes all documents below `folder`; returns their paths."""
    notes = read_notes()
    data = os.path.join(folder, "performance")
    os.makedirs(data, exist_ok=True)
    texts = {
        os.path.join(folder, "PERFORMANCE.md"): joined([PAGE, "## Goals\n", goals(parts), "## What limits it\n", notes["limits"]]),
        os.path.join(data, "measurements.md"): joined([TABLES, circumstances(parts), *sections(parts, notes)]),
    }
    for part, measured in parts.items():
        texts[os.path.join(data, part + ".json")] = as_json(measured)
    for path, text in texts.items():
        with open(path, "w") as file:
            file.write(text)
    return list(texts)


def read(folder):
    """What an earlier run wrote of each part."""
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
    """One line a row, so that a change of the data is readable."""
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


def tables_of():
    """What makes the tables of each part."""
    return {
        "hits": hits, "instructions": instructions, "storm": storm, "cleaning": cleaning, "memory": memory,
        "growth": growth, "views": views, "neighbours": neighbours, "start": start,
    }


def read_notes():
    with open(os.path.join(os.path.dirname(__file__), "notes.md")) as file:
        pieces = re.split(r"^## (\w+)\n", file.read(), flags=re.M)[1:]
    return {name: body.strip() + "\n" for name, body in zip(pieces[::2], pieces[1::2])}


def circumstances(parts):
    rows = []
    for part, measured in parts.items():
        about = measured["circumstances"]
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        command = f"`make bench PART={part}`"
        rows.append([part, command, about["date"], about["commit"], about["machine"], versions])
    return table(["part", "made by", "date", "commit", "machine", "versions"], rows)


# ---- goals ----


def goals(parts):
    rows = []

    def goal(what, wanted, value, is_met, shown="{:.2f}"):
        rows.append([what, wanted, shown.format(value), "yes" if is_met else "**no**"])

    if "hits" in parts:
        of = lambda size, coding, other, us="zoom-qos-proxy": ratio(parts["hits"]["rows"], size, coding, us, other)
        share = of("8 KB", "identity", "bare actix-web")
        goal("8 KB: requests per CPU second, relative to the bare handler", "≥ 0.92", share, share >= 0.92)
        for other, least in (("nginx", 1.5), ("Varnish", 3)):
            times = of("8 KB", "identity", other)
            goal(f"8 KB: requests per CPU second, relative to {other}", f"≥ {least}", times, times >= least)
        times = of("800 KB", "identity", "nginx")
        goal("800 KB: requests per CPU second, relative to nginx", "≥ 0.9", times, times >= 0.9)
        times = of("800 KB", "gzip", "nginx, compresses each time")
        goal("800 KB as gzip: requests per CPU second, relative to nginx that compresses each time", "≥ 10", times, times >= 10)
        for (size, coding), _ in grouped(parts["hits"]["half_load"], "size", "coding"):
            for other in ("nginx", "Varnish"):
                times = latency_ratio(parts["hits"]["half_load"], size, coding, other)
                what = f"{size}, {coding}: 99th percentile at half load, relative to {other}"
                goal(what, "≤ 1.2", times, times <= 1.2)
    if "storm" in parts:
        for storm in ("one meeting", "fifty meetings"):
            rows_ = [row for row in parts["storm"]["rows"] if row["storm"] == storm]
            times = per_round(rows_, "who", "zoom-qos-proxy", "callers themselves", lambda row: row["seconds"])
            goal(f"cold storm on {storm}: time, relative to callers that call Zoom themselves", "≤ 1.05", times, times <= 1.05)
    if "views" in parts:
        rows_ = [row for row in parts["views"]["rows"] if row["coding"] == "identity"]
        times = per_round(rows_, "form", "page in Zoom's shape", "slice of /qos", lambda row: row["requests"] / row["cpu"])
        what = "ten participants of an hour in Zoom's shape: requests per CPU second, relative to the slice of /qos"
        goal(what, "≥ 0.25", times, times >= 0.25)
        first = statistics.median(row["first_ms"] for row in parts["views"]["first"])
        goal("the same, not made before: first byte, ms", "≤ 5", first, first <= 5, "{:.1f}")
        if "beside" in parts["views"]:
            times = beside.ratio(parts["views"]["beside"], "p99")
            what = "hits of 8 KB while 100 participants of an hour are downloaded as CSV: 99th percentile, relative to hits alone"
            goal(what, "≤ 1.3", times, times <= 1.3)
    if "cleaning" in parts:
        for other, name, least in (("tree", "parsing into a `Value` and writing it", 3), ("typed", "a typed parse alone", 1)):
            rows_ = [row for row in parts["cleaning"]["rows"] if row["size"] == "10 × 60"]
            times = per_round(rows_, "way", "cleaned", other, lambda row: row["mb"] / row["cpu"])
            goal(f"cleaning, 10 × 60: MB per CPU second, relative to {name}", f"≥ {least}", times, times >= least)
    if "memory" in parts:
        row = next(row for row in parts["memory"]["rows"] if row["who"] == "zoom-qos-proxy" and row["size"] == "14 KB")
        each = row["added"] / row["meetings"]
        goal(f"resident size of a cached meeting of {row['body']:,} bytes", "< 3,000", each, each < 3_000, "{:,.0f}")
        idle = next(row for row in parts["memory"]["idle"] if row["who"] == "zoom-qos-proxy")["bytes"] / 2**20
        goal("resident size when idle, MiB", "< 20", idle, idle < 20, "{:.1f}")
    if "growth" in parts:
        entries = [row["entries"] for row in parts["growth"]["hits"]]
        times = per_round(parts["growth"]["hits"], "entries", max(entries), min(entries), cost)
        goal(f"CPU time of a hit among {max(entries):,} meetings, relative to {min(entries):,}", "≤ 1.10", times, times <= 1.1)
    if "start" in parts:
        took = statistics.median(row["seconds"] for row in parts["start"]["rows"]) * 1000
        goal("from exec to the first response, ms", "< 50", took, took < 50, "{:.0f}")
    return table(["what", "goal", "measured", "reached"], rows)


def per_round(rows, name, ours, other, value):
    """The median over the rounds of one's value divided by the other's."""
    by_round = {}
    for row in rows:
        by_round.setdefault(row["round"], {})[row[name]] = value(row)
    return statistics.median(values[ours] / values[other] for values in by_round.values())


def ratio(rows, size, coding, ours, other):
    rows = [row for row in rows if (row["size"], row["coding"]) == (size, coding)]
    return per_round(rows, "who", ours, other, lambda row: row["requests"] / row["cpu"])


def latency_ratio(rows, size, coding, other):
    rows = [row for row in rows if (row["size"], row["coding"]) == (size, coding)]
    return per_round(rows, "who", "zoom-qos-proxy", other, lambda row: row["p99"])


# ---- parts ----


def grouped(rows, *names):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups.items()


def median(rows, value):
    return statistics.median(map(value, rows))


def hits(measured):
    lines = []
    for (size, coding, who), rows in grouped(measured["rows"], "size", "coding", "who"):
        rate, cpu = median(rows, lambda row: row["requests"] / row["us"] * 1e6), median(rows, cost)
        times = ratio(measured["rows"], size, coding, "zoom-qos-proxy", who)
        lines.append([size, coding, who, f"{rate:,.0f}", f"{cpu:.2f}", f"{times:.2f}"])
    header = ["body", "coding", "who", "requests/s", "CPU s per 100,000", "our requests per CPU second, relative to this"]
    loads = []
    for (size, coding, who), rows in grouped(measured["half_load"], "size", "coding", "who"):
        rate = median(rows, lambda row: row["requests"] / row["us"] * 1e6)
        p50, p99 = median(rows, lambda row: row["p50"]), median(rows, lambda row: row["p99"])
        times = latency_ratio(measured["half_load"], size, coding, who)
        loads.append([size, coding, who, f"{rate:,.0f}", f"{p50 / 1000:.2f}", f"{p99 / 1000:.2f}", f"{times:.2f}"])
    half = ["body", "coding", "who", "requests/s", "median, ms", "99th percentile, ms", "our 99th, relative to this"]
    return table(header, lines) + "\nAt half the load that the slowest program can take:\n\n" + table(half, loads)


def instructions(measured):
    whole = [
        [row["coding"], row["who"], f"{row['instructions']:,.0f}", f"{row['hashing']:,.0f}", f"{row['misses']:,.0f}"]
        for row in sorted(measured["rows"], key=lambda row: row["coding"], reverse=True)
    ]
    names = ["zoom-qos-proxy", "bare actix-web"]
    found = {}
    for row in measured["parts"]:
        if row["coding"] == "identity" and row["who"] in names:
            found.setdefault(row["where"], {})[row["who"]] = row
    lines = []
    for where, both in found.items():
        both = [both.get(who, {"instructions": 0, "misses": 0}) for who in names]
        if max(one["instructions"] for one in both) >= 100:
            lines.append([where, *(f"{one[what]:,.0f}" for what in ("instructions", "misses") for one in both)])
    header = ["identity: crate", "instructions", "bare handler", "misses", "bare handler"]
    return table(["coding", "who", "instructions", "SHA-256, in software", "misses"], whole) + "\n" + table(header, lines)


def cost(row):
    return row["cpu"] / row["requests"] * 1e5


def storm(measured):
    lines = []
    for (storm_, callers, who), rows in grouped(measured["rows"], "storm", "callers", "who"):
        calls, took = median(rows, lambda row: row["calls"]), median(rows, lambda row: row["seconds"])
        least = rows[0]
        times = took / least["least_seconds"]
        lines.append([storm_, f"{callers:,}", who, f"{calls:g}", str(least["least_calls"]), f"{took:.2f}", f"{times:.2f}"])
    return table(["storm on", "callers", "who", "calls", "least", "last response, s", "relative to the least possible"], lines)


def cleaning(measured):
    names = {"cleaned": "cleaned and written", "validated": "validated only (`IgnoredAny`)", "typed": "typed parse alone",
             "tree": "parse into a `Value`, and write it"}
    lines = []
    for (size, way), rows in grouped(measured["rows"], "size", "way"):
        of_size = [row for row in measured["rows"] if row["size"] == size]
        speed = median(rows, lambda row: row["mb"] / row["cpu"])
        times = per_round(of_size, "way", "cleaned", way, lambda row: row["mb"] / row["cpu"])
        lines.append([size, names.get(way, way), f"{speed:,.0f}", f"{times:.2f}"])
    counted = [
        [f"10 × {row['of']}", names[{"through_a_tree": "tree"}.get(row["bench"], row["bench"])],
         f"{row['allocations']:,.0f}", f"{row['bytes']:,.0f}"]
        for row in measured["allocations"]
    ]
    return (
        table(["participants × samples", "way", "MB per CPU second", "cleaning, relative to it"], lines)
        + "\n" + table(["page", "way", "allocations", "bytes"], counted)
    )


def memory(measured):
    lines = []
    for row in measured["rows"]:
        each = row["added"] / row["meetings"]
        counted = f"{row['counted']:,.0f}" if "counted" in row else ""
        total = f"{each * 10_000 / 2**20:,.0f}"
        lines.append([row["size"], row["who"], f"{row['body']:,}", f"{row['meetings']:,}", f"{each:,.0f}", counted, total])
    header = ["body", "who", "bytes of it", "meetings", "resident bytes of each", "counted by it", "MiB per 10,000"]
    idle = [[row["who"], f"{row['bytes'] / 2**20:.1f}"] for row in measured["idle"]]
    return table(header, lines) + "\n" + table(["idle", "MiB"], idle)


def growth(measured):
    full = []
    for (entries,), rows in sorted(grouped(measured["hits"], "entries")):
        rate = median(rows, lambda row: row["requests"] / row["us"] * 1e6)
        full.append([f"{entries:,}", f"{rate:,.0f}", f"{median(rows, cost):.2f}"])
    flown = []
    for (participants,), rows in grouped(measured["flights"], "participants"):
        took = median(rows, lambda row: row["cpu"]) * 1000
        flown.append([f"{participants:,}", f"{took:.2f}", f"{took / participants * 1000:.0f}"])
    queued = [[row["bench"].replace("_", " "), f"{row['of']:,}", f"{row['ns']:.0f}"] for row in measured["queue"]]
    worked = []
    for (workers,), rows in sorted(grouped(measured["workers"], "workers")):
        rate = median(rows, lambda row: row["requests"] / row["us"] * 1e6)
        worked.append([str(workers), f"{rate:,.0f}", f"{median(rows, cost):.2f}"])
    return "\n".join([
        table(["cached meetings", "requests/s", "CPU s per 100,000"], full),
        table(["participants", "CPU ms per flight", "CPU µs per participant"], flown),
        table(["queue for permits", "waiting", "ns"], queued),
        table(["workers", "requests/s", "CPU s per 100,000"], worked),
    ])


def views(measured):
    lines = []
    for (form, coding), rows in grouped(measured["rows"], "form", "coding"):
        rate = median(rows, lambda row: row["requests"] / row["us"] * 1e6)
        of_coding = [row for row in measured["rows"] if row["coding"] == coding]
        times = per_round(of_coding, "form", form, "slice of /qos", lambda row: row["requests"] / row["cpu"])
        lines.append([coding, form, f"{rate:,.0f}", f"{median(rows, cost):.2f}", f"{times:.2f}"])
    first = [[row["first_ms"], row["last_ms"]] for row in measured["first"]]
    taken = [f"{statistics.median(column):.1f}, {max(column):.1f}" for column in zip(*first)]
    loads = [
        [name, *(f"{median(rows, lambda row: row[what] / 1000):.2f}" for what in ("p50", "p99")), str(sum(row["downloads"] for row in rows))]
        for (name,), rows in grouped(measured.get("beside", []), "hits")
    ]
    return "\n".join([
        table(["coding", "form", "requests/s", "CPU s per 100,000", "requests per CPU second, relative to the slice"], lines),
        table(["a page that was not made before, ms: median, worst", ""], [["first byte", taken[0]], ["last byte", taken[1]]]),
        table(["hits of 8 KB at half load", "median, ms", "99th percentile, ms", "downloads"], loads) if loads else "",
    ])


def neighbours(measured):
    lines = []
    for (cpus, rate, neighbour), rows in sorted(grouped(measured["rows"], "cpus", "rate", "neighbour")):
        of = lambda name: median(rows, lambda row: row[name])
        done = median(rows, lambda row: row["done"] / row["us"] * 1e6)
        times = [f"{of(name) / 1000:.2f}" for name in ("p50", "p90", "p99", "late_p99")]
        lines.append([str(cpus), f"{rate:,}", neighbour, *times, f"{done:.1f}" if done else ""])
    header = ["CPUs", "hits/s", "neighbour", "median, ms", "90 %", "99 %", "sent late, 99 %", "neighbour's rounds/s"]
    return table(header, lines)


def start(measured):
    took = sorted(row["seconds"] * 1000 for row in measured["rows"])
    program = measured.get("program", [{}])[0]
    size, build = program.get("bytes"), program.get("build_seconds")
    lines = [
        ["from exec to the first response, ms: median, worst", f"{statistics.median(took):.0f}, {took[-1]:.0f}"],
        ["release binary, MiB", f"{size / 2**20:.1f}" if size else "not measured"],
        ["release build from nothing, dependencies included, s", f"{build:.0f}" if build else "not measured"],
    ]
    return table(["", ""], lines)


# ---- tables ----


def table(header, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines) + "\n"
