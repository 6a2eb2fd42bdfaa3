"""The dashboard of a meeting: each query, as the Infinity data source sends it, gets rows with a value in each column.

Infinity itself does not run. Its parser for JSON takes paths with dots, and its parser for CSV takes names of columns.
"""

import copy
import csv
import datetime
import io
import json
import pathlib
import re
from urllib.parse import quote, urlencode

from processes import Service, Sim

FILE = pathlib.Path(__file__).resolve().parents[2] / "helm/zoom-qos-proxy/files/meeting-dashboard.json"
INFINITY = "yesoreyeram-infinity-datasource"
DASHBOARD = {"type": "datasource", "uid": "-- Dashboard --"}
PARTICIPANTS = SAMPLES = 20
# The second meeting is the demo's. Its id is a UUID, which must be percent-encoded in a path.
MEETINGS = ["91000002020", "/ajXp112QmuoKj48548750=="]
# With this limit, the affected participants of the first meeting have a field value in common.
LIMIT = {"summary__latency_ms": "160"}
ACCEPT = {"json": "application/json;q=0.9,text/plain", "csv": "text/csv; charset=utf-8"}
VALUES = {"string": str, "number": float, "timestamp": datetime.datetime.fromisoformat}


def check(binaries):
    """The findings about the dashboard."""
    service_binary, sim_binary = binaries
    dashboard = json.loads(FILE.read_text())
    panels = {panel["id"]: panel for panel in dashboard["panels"] if panel["type"] != "row"}
    with Sim(sim_binary) as sim, Service(service_binary, sim, **LIMIT) as service:
        sim.order("POST", "meetings", id=MEETINGS[0], participants=PARTICIPANTS, samples=SAMPLES)
        for variables in choices(dashboard):
            for panel in panels.values():
                yield from (f"{panel['title']}, {variables}: {found}" for found in of_panel(service, panels, panel, variables))
        yield from controls(service, panels, variables)


def choices(dashboard):
    """The values of the variables to try: the second meeting, and the first one with each group."""
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    if set(variables) != {"datasource", "meeting", "type", "group"} or variables["datasource"]["query"] != INFINITY:
        raise AssertionError(f"other variables: {list(variables)}")
    groups = [option["value"] for option in variables["group"]["options"]]
    chosen = {"type": variables["type"]["options"][0]["value"], "group": groups[0]}
    # The simulator measures `as_output` for no participant.
    return [{**chosen, "meeting": MEETINGS[1]}, *({**chosen, "meeting": MEETINGS[0], "group": group} for group in groups if group != "as_output")]


def of_panel(service, panels, panel, variables):
    names = used(panel)
    for target in panel["targets"]:
        source = target
        if target["datasource"] == DASHBOARD:
            source = panels[target["panelId"]]["targets"][0]
        elif target["datasource"] != {"type": INFINITY, "uid": "${datasource}"}:
            yield f"it asks {target['datasource']}"
        yield from (f"{name} is not a column" for name in names - {column["text"] for column in source["columns"]})
        if source is target:
            yield from of_query(service, target, variables)


def used(panel):
    """The columns that the transformations name."""
    names = set()
    for step in panel.get("transformations", []):
        options = step["options"]
        names |= {*options.get("indexByName", []), *options.get("fields", []), *options.get("include", {}).get("names", [])}
    return names


def of_query(service, target, variables):
    rows = answer(service, target, variables)
    if isinstance(rows, str):
        yield rows
    elif not rows and (target["root_selector"] != "common" or variables["meeting"] == MEETINGS[0]):
        yield "no row"
    for column in target["columns"] if rows and not isinstance(rows, str) else []:
        found = [value for row in rows if (value := at(row, column["selector"], target["type"])) not in (None, "")]
        if not found:
            yield f"{column['selector']} has no value in {len(rows)} rows"
        for value in found:
            try:
                VALUES[column["type"]](value)
            except ValueError:
                yield f"{column['selector']} is no {column['type']}: {value}"


def answer(service, target, variables):
    """The rows, or an error message if the service does not answer with 200."""
    path = filled(target["url"], variables)
    query = urlencode({each["key"]: filled(each["value"], variables) for each in target["url_options"]["params"]})
    got = service.get(f"{path}?{query}", ("Accept", ACCEPT[target["type"]]), ("Accept-Encoding", "gzip"))
    if got.status != 200:
        return f"{path}?{query} answers {got.status}: {got.decoded()}"
    if target["type"] == "csv":
        return list(csv.DictReader(io.StringIO(got.decoded().decode())))
    rows = at(got.json(), target["root_selector"], "json")
    return rows if isinstance(rows, list) else [rows]


def filled(text, variables):
    text = text.replace("${meeting:percentencode}", quote(variables["meeting"], safe=""))
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value)
    if "$" in text:
        raise AssertionError(f"a variable that there is not: {text}")
    return text


def at(value, selector, kind):
    if kind == "csv":
        return value[selector] if selector in value else None
    for key in selector.split("."):
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = (value or {}).get(key)
    return value


def controls(service, panels, variables):
    """A finding for each deliberate mistake that is not noticed."""
    titles = {panel["title"]: panel for panel in panels.values()}
    variables = {**variables, "meeting": MEETINGS[0], "group": "audio_input"}
    mistakes = {
        "Latency": lambda target: target["columns"][3].update(selector="latency"),
        "Jitter": None,
        "Participants, worst first": lambda target: target["columns"][3].update(selector="reasons.0.medium"),
        "Participants by quality": lambda target: target["url_options"]["params"].append({"key": "format", "value": "csv"}),
    }
    for title, change in mistakes.items():
        panel = copy.deepcopy(titles[title])
        if change:
            change(panel["targets"][0])
        else:
            panel["transformations"][0]["options"]["include"]["names"].append("jitter")
        if not list(of_panel(service, panels, panel, variables)):
            yield f"control: no mistake is found in {title}"
    if re.search(r"https?://", FILE.read_text()):
        yield "an address of a host: the data source has it"
