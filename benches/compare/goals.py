"""The page for people: the answers that a reader wants first, and the goals with the measured values."""

import statistics

import ratio
from ratio import Ratio, per_round, yes_or_no
from tables import cost, ends, grouped, hits_ratio, latency_ratio, median, per_cpu_second, table

US = "zoom-qos-proxy"
# Hits per second beside a neighbour: about half of the maximum on one CPU.
BUSY = 40_000


# ---- in short ----


def in_short(parts):
    """Up to four answers: those whose parts have been measured."""
    answers = {
        one_core: ["hits"], memory_in_short: ["memory"], cold_in_short: ["storm", "growth"], neighbours_in_short: ["neighbours"],
    }
    known = {answer: [parts[part] for part in needed] for answer, needed in answers.items() if parts.keys() >= set(needed)}
    return "".join(f"- {answer(*measured)}\n" for answer, measured in known.items())


def one_core(hits):
    def of(rows, size, coding):
        return [row for row in rows if (row["size"], row["coding"], row["who"]) == (size, coding, US)]

    plain, packed = (median(of(hits["rows"], "8 KB", coding), per_cpu_second) for coding in ("identity", "gzip"))
    large = median(of(hits["rows"], "800 KB", "gzip"), per_cpu_second)
    return (
        f"**One core** serves this many cached meetings per second: {rounded(packed)} of 8 KB as gzip, {rounded(plain)} of 8 KB\n"
        f"  uncompressed, {rounded(large)} of 800 KB as gzip."
    )


def memory_in_short(memory):
    ours = [row for row in memory["rows"] if row["who"] == US]
    idle = next(row for row in memory["idle"] if row["who"] == US)["bytes"] / 2**20
    each = ", and ".join(
        f"{row['meetings']:,} cached meetings of {row['size']} take {row['added'] / 2**20:,.0f} MiB more" for row in ours
    )
    return f"**Memory**: {idle:.0f} MiB without meetings; {each}."


def cold_in_short(storm, growth):
    rows = [row for row in storm["rows"] if row["storm"] == "one meeting" and row["who"] == US]
    took, callers, pages = median(rows, lambda row: row["seconds"]), rows[0]["callers"], rows[0]["least_calls"]
    cpu = median([row for row in growth["flights"] if row["participants"] == 100], lambda row: row["cpu"] * 1000)
    return (
        f"**A cold meeting** of 100 participants takes {took:.2f} s for {callers:,} callers at once, if Zoom takes "
        f"{rows[0]['least_seconds'] / pages} s for each of its\n  {pages} pages. It takes {cpu:.0f} ms of CPU with ten samples each."
    )


def neighbours_in_short(neighbours):
    def p99(neighbour):
        rows = [row for row in neighbours["rows"] if (row["cpus"], row["rate"], row["neighbour"]) == (1, BUSY, neighbour)]
        return median(rows, lambda row: row["p99"] / 1000)

    return (
        f"**Beside a busy neighbour** on the same core, 99 % of {BUSY:,} hits/s take less than {p99('fetches'):.1f} ms if it\n"
        "  repeatedly fetches a one-hour meeting of 100 participants, and less than "
        f"{p99('views'):.1f} ms if it requests new tables,\n  summaries and pages of this meeting. "
        f"Without a neighbour, 99 % take less than {p99('alone'):.1f} ms."
    )


def rounded(value):
    return f"{round(value, -3):,.0f}"


# ---- goals ----


def goals(parts):
    by_part = {
        "hits": of_hits, "storm": of_storm, "large": of_large, "views": of_views, "neighbours": of_neighbours,
        "cleaning": of_cleaning, "memory": of_memory, "growth": of_growth, "start": of_start,
    }
    rows = [row for part, of in by_part.items() if part in parts for row in of(parts[part])]
    return table(["what", "goal", "measured", "reached"], rows)


def at_least(what, least, times):
    return [what, f"≥ {least}", str(times), times.verdict(lambda value: value >= least)]


def at_most(what, most, times):
    return [what, f"≤ {most}", str(times), times.verdict(lambda value: value <= most)]


def below(what, limit, value, shown="{:.1f}"):
    return [what, f"≤ {limit:,}", shown.format(value), yes_or_no(value <= limit)]


def of_hits(hits):
    per_cpu = "requests per CPU second, relative to"
    of = lambda size, coding, other: hits_ratio(hits["rows"], size, coding, other)
    yield at_least(f"8 KB: {per_cpu} the bare handler", 0.92, of("8 KB", "identity", "bare actix-web"))
    for other, least in (("nginx", 1.5), ("Varnish", 3)):
        yield at_least(f"8 KB: {per_cpu} {other}", least, of("8 KB", "identity", other))
    yield at_least(f"800 KB: {per_cpu} nginx, which uses sendfile", 0.6, of("800 KB", "identity", "nginx"))
    yield at_least(f"800 KB as gzip: {per_cpu} nginx with stored gzip", 1, of("800 KB", "gzip", "nginx"))
    each_time = of("800 KB", "gzip", "nginx, compresses each time")
    yield at_least(f"800 KB as gzip: {per_cpu} nginx that compresses each time", 10, each_time)
    for (size, coding), _ in grouped(hits["half_load"], "size", "coding"):
        for other in ("nginx", "Varnish"):
            times = latency_ratio(hits["half_load"], size, coding, other)
            yield at_most(f"{size}, {coding}: 99th percentile at half load, relative to {other}", 1.2, times)


def of_storm(storm):
    for name in ("one meeting", "fifty meetings"):
        rows = [row for row in storm["rows"] if row["storm"] == name]
        times = per_round(rows, "who", US, "callers themselves", lambda row: row["seconds"], ratio.TIME)
        yield at_most(f"cold storm on {name}: time, relative to callers that call Zoom themselves", 1.05, times)


def of_large(large):
    number = f"{large['participants']:,}"
    first = median(large["cold"], lambda row: row["first"])
    yield below(f"cold meeting of {number} participants, 50 ms per page: first byte, s", 5.3, first, "{:.2f}")
    yield below(f"last slice of ten, of a one-hour meeting of {number} participants: CPU ms", 2, ends(large["slices"])[1])
    walks = [sum(row["cpu"] for row in rows) for _, rows in grouped(large["slices"], "round")]
    yield below("all slices of it: CPU s", 0.2, statistics.median(walks), "{:.2f}")


def of_views(views):
    rows = [row for row in views["rows"] if row["coding"] == "identity"]
    times = per_round(rows, "form", "page in Zoom's shape", "slice of /qos", per_cpu_second, ratio.CPU)
    what = "ten participants of an hour in Zoom's shape: requests per CPU second, relative to the slice of /qos"
    yield at_least(what, 0.25, times)
    yield below("the same, not made before: first byte, ms", 5, statistics.median(row["first_ms"] for row in views["first"]))
    if "beside" in views:
        times = per_round(views["beside"], "hits", "beside a download", "alone", lambda row: row["p99"], ratio.PERCENTILE)
        what = "hits of 8 KB while 100 participants of an hour are downloaded as CSV: 99th percentile, relative to hits alone"
        yield at_most(what, 1.3, times)


def of_neighbours(neighbours):
    for cpus, more in ((1, 2), (2, 1)):
        rows = [row for row in neighbours["rows"] if (row["cpus"], row["rate"]) == (cpus, BUSY)]
        where = f"{BUSY:,} hits/s on {'one CPU' if cpus == 1 else 'two CPUs'}"
        for name in ("fetches", "views"):
            # 99th percentiles in milliseconds, by round.
            p99 = {who: [row["p99"] / 1000 for row in rows if row["neighbour"] == who] for who in ("alone", name)}
            bound = Ratio([busy / (2 * alone + more) for alone, busy in zip(*p99.values())], ratio.PERCENTILE)
            shown = f"{statistics.median(p99[name]):.1f} (alone {statistics.median(p99['alone']):.1f})"
            goal = f"≤ 2 × alone + {more}"
            verdict = bound.verdict(lambda value: value <= 1)
            yield [f"{where}, beside “{name}”: 99th percentile, ms", goal, shown, verdict]
            if cpus == 1:
                times = per_round(rows, "neighbour", name, "alone", lambda row: row["p50"], ratio.PERCENTILE)
                yield at_most(f"{where}, beside “{name}”: median, relative to alone", 1.3, times)


def of_cleaning(cleaning):
    rows = [row for row in cleaning["rows"] if row["size"] == "10 × 60"]
    for other, name, least in (("tree", "parsing into a `Value` and writing it", 3), ("typed", "a typed parse alone", 1)):
        times = per_round(rows, "way", "cleaned", other, lambda row: row["mb"] / row["cpu"], ratio.CPU)
        yield at_least(f"cleaning, 10 × 60: MB per CPU second, relative to {name}", least, times)


def of_memory(memory):
    row = next(row for row in memory["rows"] if row["who"] == US and row["size"] == "14 KB")
    each = row["added"] / row["meetings"]
    yield below(f"resident size of a cached meeting of {row['body']:,} bytes", 3_000, each, "{:,.0f}")
    idle = next(row for row in memory["idle"] if row["who"] == US)["bytes"] / 2**20
    yield below("resident size when idle, MiB", 20, idle)


def of_growth(growth):
    entries = [row["entries"] for row in growth["hits"]]
    times = per_round(growth["hits"], "entries", max(entries), min(entries), cost, ratio.CPU)
    yield at_most(f"CPU time of a hit among {max(entries):,} meetings, relative to {min(entries):,}", 1.15, times)


def of_start(start):
    took = statistics.median(row["seconds"] for row in start["rows"]) * 1000
    yield below("from exec to the first response, ms", 50, took, "{:.0f}")
