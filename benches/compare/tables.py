"""The tables of each part: medians over the rounds, and ratios of programs that were measured in turn."""

import statistics

import ratio
from ratio import per_round


def tables_of():
    """The function that makes the tables of each part."""
    return {
        "hits": hits, "instructions": instructions, "storm": storm, "cleaning": cleaning, "large": large, "memory": memory,
        "growth": growth, "views": views, "neighbours": neighbours, "start": start,
    }


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
        times = hits_ratio(measured["rows"], size, coding, who)
        lines.append([size, coding, who, f"{median(rows, rate):,.0f}", f"{median(rows, cost):.2f}", str(times)])
    header = ["body", "coding", "who", "requests/s", "CPU s per 100,000", "our requests per CPU second, relative to this"]
    loads = []
    for (size, coding, who), rows in grouped(measured["half_load"], "size", "coding", "who"):
        times = latency_ratio(measured["half_load"], size, coding, who)
        shown = [f"{median(rows, lambda row: row[name] / 1000):.2f}" for name in ("p50", "p99", "late_p99")]
        loads.append([size, coding, who, f"{median(rows, rate):,.0f}", *shown, str(times)])
    half = ["body", "coding", "who", "requests/s", "median, ms", "99 %", "sent late, 99 %", "our 99 %, relative to this"]
    at_half_load = "At half the load that the slowest program can take:\n\n" + table(half, loads)
    return table(header, lines) + "\n" + (at_half_load if loads else "Half load was not measured.\n")


def hits_ratio(rows, size, coding, other):
    rows = [row for row in rows if (row["size"], row["coding"]) == (size, coding)]
    return per_round(rows, "who", "zoom-qos-proxy", other, per_cpu_second, ratio.CPU)


def latency_ratio(rows, size, coding, other):
    rows = [row for row in rows if (row["size"], row["coding"]) == (size, coding)]
    return per_round(rows, "who", "zoom-qos-proxy", other, lambda row: row["p99"], ratio.PERCENTILE)


def rate(row):
    return row["requests"] / row["us"] * 1e6


def cost(row):
    """Processor seconds for 100,000 requests."""
    return row["cpu"] / row["requests"] * 1e5


def per_cpu_second(row):
    return row["requests"] / row["cpu"]


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
        times = per_round(of_size, "way", "cleaned", way, lambda row: row["mb"] / row["cpu"], ratio.CPU)
        lines.append([size, names.get(way, way), f"{speed:,.0f}", str(times)])
    counted = [
        [f"10 × {row['of']}", names[{"through_a_tree": "tree"}.get(row["bench"], row["bench"])],
         f"{row['allocations']:,.0f}", f"{row['bytes']:,.0f}"]
        for row in measured["allocations"]
    ]
    return (
        table(["participants × samples", "way", "MB per CPU second", "cleaning, relative to it"], lines)
        + "\n" + table(["page", "way", "allocations", "bytes"], counted)
    )


def large(measured):
    cold, (first, last) = measured["cold"], ends(measured["slices"])
    whole = [sum(row["cpu"] for row in rows) for _, rows in grouped(measured["slices"], "round")]
    return table(["", ""], [
        ["participants", f"{measured['participants']:,}"],
        ["cold, first byte, s", f"{median(cold, lambda row: row['first']):.2f}"],
        ["cold, last byte, s", f"{median(cold, lambda row: row['last']):.2f}"],
        ["cold, the least possible, s", f"{cold[0]['least']:.2f}"],
        ["cold, CPU, s", f"{median(cold, lambda row: row['cpu']):.2f}"],
        ["first slice of ten, CPU ms", f"{first:.1f}"],
        ["last slice of ten, CPU ms", f"{last:.1f}"],
        ["all slices of ten, CPU s", f"{statistics.median(whole):.2f}"],
    ])


def ends(slices):
    """Processor milliseconds of the first slice and of the last."""
    of = lambda number: median([row for row in slices if row["slice"] == number], lambda row: row["cpu"] * 1000)
    return of(0), of(max(row["slice"] for row in slices))


def memory(measured):
    lines = []
    for row in measured["rows"]:
        each = row["added"] / row["meetings"]
        counted = f"{row['counted']:,.0f}" if "counted" in row else ""
        total = f"{each * 10_000 / 2**20:,.0f}"
        lines.append([row["size"], row["who"], f"{row['body']:,}", f"{row['meetings']:,}", f"{each:,.0f}", counted, total])
    header = ["body", "program", "bytes per body", "meetings", "resident bytes per meeting", "cache_bytes per meeting", "MiB per 10,000 meetings"]
    idle = [[row["who"], f"{row['bytes'] / 2**20:.1f}"] for row in measured["idle"]]
    return table(header, lines) + "\n" + table(["idle", "MiB"], idle)


def growth(measured):
    full = []
    for (entries,), rows in sorted(grouped(measured["hits"], "entries")):
        full.append([f"{entries:,}", f"{median(rows, rate):,.0f}", f"{median(rows, cost):.2f}"])
    flown = []
    for (participants,), rows in grouped(measured["flights"], "participants"):
        took = median(rows, lambda row: row["cpu"]) * 1000
        flown.append([f"{participants:,}", f"{took:.2f}", f"{took / participants * 1000:.0f}"])
    queued = [[row["bench"].replace("_", " "), f"{row['of']:,}", f"{row['ns']:.0f}"] for row in measured["queue"]]
    worked = []
    for (workers,), rows in sorted(grouped(measured["workers"], "workers")):
        worked.append([str(workers), f"{median(rows, rate):,.0f}", f"{median(rows, cost):.2f}"])
    return "\n".join([
        table(["cached meetings", "requests/s", "CPU s per 100,000"], full),
        table(["participants", "CPU ms per flight", "CPU µs per participant"], flown),
        table(["queue for permits", "waiting", "ns"], queued),
        table(["workers", "requests/s", "CPU s per 100,000"], worked),
    ])


def views(measured):
    lines = []
    for (form, coding), rows in grouped(measured["rows"], "form", "coding"):
        of_coding = [row for row in measured["rows"] if row["coding"] == coding]
        times = per_round(of_coding, "form", form, "slice of /qos", per_cpu_second, ratio.CPU)
        lines.append([coding, form, f"{median(rows, rate):,.0f}", f"{median(rows, cost):.2f}", str(times)])
    first = [[row["first_ms"], row["last_ms"]] for row in measured["first"]]
    taken = [f"{statistics.median(column):.1f}, {max(column):.1f}" for column in zip(*first)]
    loads = []
    for (name,), rows in grouped(measured.get("beside", []), "hits"):
        shown = [f"{median(rows, lambda row: row[what] / 1000):.2f}" for what in ("p50", "p99", "late_p99")]
        loads.append([name, f"{median(rows, rate):,.0f}", *shown, str(sum(row["downloads"] for row in rows))])
    kept = []
    for (form,), rows in grouped(measured.get("kept", []), "form"):
        times = per_round(measured["kept"], "form", form, "hit", per_cpu_second, ratio.CPU)
        size = median(rows, lambda row: row["bytes"] / row["requests"])
        kept.append([form, f"{size:,.0f}", f"{median(rows, rate):,.0f}", f"{median(rows, cost):.2f}", str(times)])
    made = []
    for (form,), rows in grouped(measured.get("made", []), "form"):
        size = median(rows, lambda row: row["bytes"] / 1000)
        shown = [f"{median(rows, lambda row: row[what] * 1000):.1f}" for what in ("cpu", "seconds")]
        made.append([form, f"{size:,.0f}", *shown])
    return "\n".join(filter(None, [
        table(["coding", "form", "requests/s", "CPU s per 100,000", "requests per CPU second, relative to the slice"], lines),
        table(["a page that was not made before, ms: median, worst", ""], [["first byte", taken[0]], ["last byte", taken[1]]]),
        kept and table(["8 KB, kept", "bytes", "requests/s", "CPU s per 100,000", "per CPU second, relative to a hit"], kept),
        made and table(["100 × 60, made", "KB", "CPU ms", "last byte, ms"], made),
        loads and table(["hits of 8 KB at half load", "requests/s", "median, ms", "99 %", "sent late, 99 %", "downloads"], loads),
    ]))


def neighbours(measured):
    lines = []
    for (cpus, hits, neighbour), rows in sorted(grouped(measured["rows"], "cpus", "rate", "neighbour")):
        done = median(rows, lambda row: row["done"] / row["us"] * 1e6)
        times = [f"{median(rows, lambda row: row[name] / 1000):.2f}" for name in ("p50", "p90", "p99", "late_p99")]
        lines.append([str(cpus), f"{hits:,}", neighbour, *times, f"{done:.1f}" if done else ""])
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


def table(header, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines) + "\n"
