"""The rules of Grafana's dashboard linter (github.com/grafana/dashboard-linter), which no package registry has. tests/monitoring
checks that the expressions are PromQL and return data."""

import json
import re

import pytest

from chart import CHART

DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The units of `panel-units-rule` that the dashboards use.
UNITS = {"bytes", "cps", "percentunit", "reqps", "s", "short"}


def panels():
    for panel in DASHBOARD["panels"]:
        for each in (panel, *panel.get("panels", [])):
            if each["type"] != "row":
                yield each


def expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def selectors():
    """(metric, braces, range) of every metric in every expression."""
    return [
        (metric, matchers, span)
        for each in expressions()
        for metric, matchers, span in re.findall(r"(zoom_qos_proxy_\w+)(\{[^}]*\})?(\[[^]]+\])?", each)
    ]


@pytest.mark.parametrize("file", ["dashboard.json", "meeting-dashboard.json"])
def test_no_dashboard_is_editable_and_each_panel_says_what_it_shows(file):
    dashboard = json.loads((CHART / "files" / file).read_text())
    assert dashboard["editable"] is False
    assert [each["label"] for each in dashboard["templating"]["list"] if each["type"] == "datasource"] == ["Data source"]
    for panel in dashboard["panels"]:
        assert panel["title"] and (panel["type"] == "row" or panel["description"].endswith(".")), panel["title"]


def test_the_dashboard_is_not_editable_and_has_one_source_of_data():
    assert DASHBOARD["editable"] is False
    [source] = [each for each in VARIABLES.values() if each["type"] == "datasource"]
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")


@pytest.mark.parametrize("name", ["namespace", "job", "instance"])
def test_variables_take_several_values_and_follow_the_time_range(name):
    variable = VARIABLES[name]
    assert variable["type"] == "query" and variable["datasource"] == SOURCE
    assert variable["label"] == name.title()
    assert variable["multi"] is True and variable["includeAll"] is True
    assert variable["refresh"] == 2, "on a change of the time range"
    # Outside Kubernetes, series have no namespace.
    assert variable["allValue"] == (".*" if name == "namespace" else ".+")


def test_every_panel_has_a_title_a_description_a_unit_and_data():
    assert len(list(panels())) > 30
    for panel in panels():
        assert panel["title"] and panel.get("description", "").endswith("."), panel["title"]
        assert panel["datasource"] == SOURCE
        assert panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def test_every_selector_uses_the_variables():
    assert len(selectors()) > 50
    for metric, matchers, _ in selectors():
        for name in ("namespace", "job", "instance"):
            assert f'{name}=~"${name}"' in matchers, metric


def test_counters_are_rates_and_rates_follow_the_resolution():
    for metric, _, span in selectors():
        assert span or not metric.endswith("_total"), metric
    for each in expressions():
        for function, span in re.findall(r"(rate|increase)\([^()]*\[([^]]+)\]\)", each):
            assert span == "$__rate_interval" or function == "increase", each
