"""Recomputes every figure of `/qos/{meetingId}/summary` in SQL, from the samples that `/qos/{meetingId}` sends.

    python summaries.py SERVICE_BINARY SIM_BINARY

DuckDB computes; Python only takes the documents apart and compares. Exits with 0 without findings, else with 1. Uses only local
addresses; takes a few seconds.
"""

import collections
import csv
import json
import math
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import duckdb

from processes import Service, Sim

SHOWN = ["user_id", "id", "participant_uuid", "user_name", "email", "join_time", "leave_time"]
COMMON = ["network_type", "connection_type", "location", "data_center", "os", "version", "device"]
GROUPS = ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output", "cpu_usage"]
MEASUREMENTS = [
    "latency_ms", "jitter_ms", "avg_loss_percent", "max_loss_percent", "bitrate_kbps", "frame_rate_fps",
    "zoom_min_cpu_usage_percent", "zoom_avg_cpu_usage_percent", "zoom_max_cpu_usage_percent", "system_max_cpu_usage_percent",
]
LIMITS = ["latency_ms", "jitter_ms", "loss_percent", "cpu_percent"]
QUALITIES = ["good", "fair", "poor", "bad", "unknown"]
DEFAULTS = [150, 40, 2, 90]
# The configured limits, and others under which each quality occurs.
QUERIES = [{}, *(dict(zip(LIMITS, limits)) for limits in ([120, 22, 0.25, 40.5], [9, 0, 0, 0]))]
SELECTION = "&groups=audio,cpu&since=2020-01-01T00:00:00Z"

NUMBERS = """
create or replace table numbers as
select *, case
    when g = 'cpu_usage' then case when m = 'system_max_cpu_usage_percent' then $cpu_percent end
    when m = 'latency_ms' then $latency_ms
    when m = 'jitter_ms' then $jitter_ms
    when m = 'avg_loss_percent' then $loss_percent
end as bound from read_csv($file, header = true, columns = {
    'p': 'INTEGER', 's': 'INTEGER', 'g': 'VARCHAR', 'gk': 'INTEGER', 'm': 'VARCHAR', 'mk': 'INTEGER', 'v': 'DOUBLE'
})"""
FIELDS = """
create or replace table fields as from read_csv($file, header = true, columns = {
    'p': 'INTEGER', 'f': 'VARCHAR', 'fk': 'INTEGER', 'v': 'VARCHAR'
})"""
# `quantile_disc` computes percentiles by the nearest-rank method.
STATISTICS = """
create or replace table statistics as
select p, g, gk, m, mk, min(v) as least, avg(v) as mean, quantile_disc(v, 0.95) as p95, max(v) as most,
    count(*) filter (v > bound) as over, count(bound) > 0 as bounded
from numbers group by all"""
OF_GROUPS = """
create or replace table of_groups as
select p, g, gk, count(distinct s) as samples, count(distinct s) filter (v > bound) as over from numbers group by all"""
QUALITY = """
create or replace table quality as
with media as (
    select p, over / samples as share, samples, max(samples) over (partition by p) as longest
    from of_groups where g similar to '(audio|video|as)_(input|output)'
)
select p, case when max(share) <= 0.05 then 'good' when max(share) <= 0.2 then 'fair' when max(share) <= 0.4 then 'poor' else 'bad' end
    as quality
from media where samples >= 3 or longest < 3 group by p"""
SCORES = """
with three as (
    select p, g, s, max(v) filter (m = 'latency_ms') + 2 * max(v) filter (m = 'jitter_ms') + 10 as eff,
        max(v) filter (m = 'avg_loss_percent') as loss
    from numbers where g in ('audio_input', 'audio_output') group by all
), rated as (
    select p, g, greatest(0, least(100, case when eff < 160 then 94.768 - eff / 40 else 94.768 - (eff - 120) / 10 end - 2.5 * loss)) as r
    from three where eff is not null and loss is not null
), scored as (
    select p, g, greatest(1, least(4.5, 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r))) as score from rated
)
select p, g, min(score), avg(score) from scored group by all"""
REASONS = """
select x.p, x.g, x.m, x.over, c.samples, x.most,
    (select min(n.s) from numbers n where (n.p, n.g, n.m, n.v) = (x.p, x.g, x.m, x.most))
from statistics x join of_groups c on (x.p, x.g) = (c.p, c.g)
where x.over > 0 order by x.p, x.over desc, x.gk, x.mk"""
SHARED = """
with all_rows as (select count(*) as n from range($rows)),
affected as (select p from quality where quality in ('poor', 'bad'))
select f, v, count(*) filter (p in (from affected)) as hit, count(*) as of_all
from fields group by f, fk, v
having hit >= 2 and hit / (select count(*) from affected) >= 2 * of_all / (from all_rows)
order by fk, hit desc, min(p)"""


class Object:
    """An object of JSON with its order and duplicates."""

    def __init__(self, pairs):
        self.pairs = pairs

    def first(self, name):
        """The first value of this name that is a string or a number."""
        fits = (value for key, value in self.pairs if key == name and isinstance(value, str | float))
        return next(fits, None)


def text(name):
    """The string with JSON's escapes. Without them, a database could not store half of a surrogate pair."""
    return json.dumps(name)[1:-1]


def rank(name, known, others):
    """The position of a name: known names come first, then others in the order of their first use."""
    if name in known:
        return known.index(name)
    return len(known) + others.setdefault(name, len(others))


class Samples:
    """The numbers and fields of a meeting, as files for the database, and the times of its samples."""

    def __init__(self, document, folder):
        participants = json.loads(document, object_pairs_hook=Object, parse_int=float, parse_float=float).pairs
        participants = next(value for key, value in participants if key == "participants")
        self.shown, self.times = [], []
        numbers, fields = [], []
        for p, participant in enumerate(participants):
            self.shown.append([participant.first(name) for name in SHOWN])
            self.times.append([])
            for fk, name in enumerate(COMMON):
                if isinstance(value := participant.first(name), str):
                    fields.append((p, name, fk, text(value)))
            lists = (value for key, value in participant.pairs if key == "user_qos" and isinstance(value, list))
            samples = [sample for each in lists for sample in each if isinstance(sample, Object)]
            others, others_of = {}, collections.defaultdict(dict)
            for s, sample in enumerate(samples):
                self.times[p].append(sample.first("date_time"))
                for g, group in sample.pairs:
                    gk = rank(g, GROUPS, others) if isinstance(group, Object) else None
                    seen = set()
                    for m, v in group.pairs if isinstance(group, Object) else ():
                        if isinstance(v, float) and math.isfinite(v) and m not in seen:
                            seen.add(m)
                            mk = rank(m, MEASUREMENTS, others_of[g])
                            numbers.append((p, s, text(g), gk, text(m), mk, repr(v)))
        self.numbers = self.write(folder, "numbers", ["p", "s", "g", "gk", "m", "mk", "v"], numbers)
        self.fields = self.write(folder, "fields", ["p", "f", "fk", "v"], fields)

    @staticmethod
    def write(folder, name, header, rows):
        path = f"{folder}/{name}.csv"
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path


def expected(samples, limits):
    """The summary without its head: its figures as DuckDB computes them."""
    database = duckdb.connect()
    database.execute("set threads = 1")
    database.execute(NUMBERS, {"file": samples.numbers, **dict(zip(LIMITS, limits))})
    database.execute(FIELDS, {"file": samples.fields})
    for query in (STATISTICS, OF_GROUPS, QUALITY):
        database.execute(query)
    rows = lambda query, **values: database.execute(query, values or None).fetchall()
    qualities = dict(rows("from quality"))
    entries = []
    for p, shown in enumerate(samples.shown):
        own = {"samples": len(samples.times[p]), "quality": qualities.get(p, "unknown"), "reasons": [], "groups": {}}
        entries.append(dict(zip(SHOWN, shown)) | own)
    for p, g, samples_of, over in rows("select p, g, samples, over from of_groups order by p, gk"):
        entries[p]["groups"][g] = {"samples": samples_of, "minutes_over": over}
    for p, g, m, least, mean, p95, most, over, bounded in rows(
        "select p, g, m, least, mean, p95, most, over, bounded from statistics order by p, gk, mk"
    ):
        figures = {"min": least, "avg": Rounded(mean), "p95": p95, "max": most}
        entries[p]["groups"][g][m] = figures | ({"over": over} if bounded else {})
    for p, g, least, mean in rows(SCORES):
        entries[p]["groups"][g]["mos_estimate"] = {"min": Rounded(least), "avg": Rounded(mean)}
    for p, g, m, over, of, worst, s in rows(REASONS):
        reason = {"group": g, "measurement": m, "minutes_over": over, "of": of, "worst": worst}
        entries[p]["reasons"].append(reason | {"worst_at": samples.times[p][s]})
    common = rows(SHARED, rows=len(entries))
    return {
        "limits": dict(zip(LIMITS, limits)),
        "quality": {quality: sum(entry["quality"] == quality for entry in entries) for quality in QUALITIES},
        "common": [{"field": f, "value": json.loads(f'"{v}"'), "affected": hit, "of": of} for f, v, hit, of in common],
        "participants": entries,
    }


class Rounded(float):
    """A figure that the summary shows with two decimals."""


def differences(at, wanted, found):
    """Where two documents differ. Keys are compared in their order."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        if list(wanted) != [text(key) for key in found]:
            return [f"{at}: {list(found)} instead of {list(wanted)}"]
        pairs = zip(wanted.items(), found.values())
        return [each for (key, value), other in pairs for each in differences(f"{at}.{key}", value, other)]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found))
        return [each for number, (value, other) in pairs for each in differences(f"{at}[{number}]", value, other)]
    if isinstance(wanted, Rounded) and isinstance(found, int | float):
        has_two_decimals = abs(found) >= 1e15 or round(found, 2) == found
        is_near = abs(wanted - found) <= 0.005 + 1e-9 * max(1, abs(wanted))
        return [] if has_two_decimals and is_near else [f"{at}: {found} instead of {float(wanted)}, rounded"]
    return [] if type(wanted) in (type(found), float) and wanted == found else [f"{at}: {found!r} instead of {wanted!r}"]


def check(service, meeting, folder, met):
    """The differences between a meeting's summaries and the recomputed ones. Counts in `met` the qualities, shared values, reasons and figures that the summaries contain."""
    findings = []
    path, _, kind = meeting.partition("?")
    for selection, queries in (("", QUERIES), (SELECTION, QUERIES[:1])):
        samples = Samples(service.get(f"{path}?{kind}{selection}").body, folder)
        for query in queries:
            limits = "".join(f"&{name}={value}" for name, value in query.items())
            answer = service.get(f"{path}/summary?{kind}{selection}{limits}")
            summary = json.loads(answer.body)
            head = ["meeting_id", "type", "fetched_at", *(["selected_records"] if selection else [])]
            wanted = {key: summary.get(key) for key in head} | expected(samples, list(query.values()) or DEFAULTS)
            if selection:
                wanted["selected_records"] = len(wanted["participants"])
            findings += differences(f"{meeting}{selection}{limits}", wanted, summary)
            met.update(entry["quality"] for entry in summary["participants"])
            met["common"] += len(summary["common"])
            met["reasons"] += sum(len(entry["reasons"]) for entry in summary["participants"])
            met["figures"] += answer.body.count(b'"p95"')
    return findings


def control(service, folder):
    """The deliberate mistakes that are not found."""
    path = "/qos/98765432101"
    samples = Samples(service.get(f"{path}?type=past").body, folder)
    summary = json.loads(service.get(f"{path}/summary?type=past").body)
    wanted = {key: summary[key] for key in ("meeting_id", "type", "fetched_at")} | expected(samples, DEFAULTS)
    of_others = wanted | {key: expected(samples, [149, 40, 2, 90])[key] for key in ("quality", "common", "participants")}
    unseen = [] if differences("", of_others, summary) else ["another limit"]
    audio = summary["participants"][5]["groups"]["audio_output"]
    for figures, key, change in [
        (audio["latency_ms"], "p95", 1), (audio["latency_ms"], "avg", 0.01), (audio["mos_estimate"], "min", -0.01), (audio, "samples", 1),
    ]:
        figures[key] = round(figures[key] + change, 2)
        unseen += [] if differences("", wanted, summary) else [key]
        figures[key] = round(figures[key] - change, 2)
    summary["participants"][0] = dict(reversed(summary["participants"][0].items()))
    return unseen + ([] if differences("", wanted, summary) else ["the order of keys"])


def main(service_binary, sim_binary):
    began, met = time.monotonic(), collections.Counter()
    with Sim(sim_binary) as sim, Service(service_binary, sim) as service, tempfile.TemporaryDirectory() as folder:
        sized = [sim.meeting(number, *size) for number, size in enumerate([(40, 61), (30, 20), (5, 1), (9, 2), (1, 0)])]
        meetings = [
            "85746065432", "98765432101", "95550001111", "/ajXp112QmuoKj48548750==", "atsXxhSEQWit9t+U02HXNQ==", *sized,
        ]
        findings = [f"control: nothing was found in: {unseen}" for unseen in control(service, folder)]
        for meeting in meetings:
            findings += check(service, f"/qos/{meeting}?type=past", folder, met)
    findings += [f"no summary has this: {each}" for each in [*QUALITIES, "common", "reasons"] if not met[each]]
    for finding in findings[:50]:
        print("FINDING", finding)
    print("recomputed:", ", ".join(f"{count} x {each}" for each, count in sorted(met.items())))
    print(f"summaries: {len(findings)} findings in {time.monotonic() - began:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
