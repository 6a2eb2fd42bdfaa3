"""The dashboards and the alerts of the chart, run against a real Prometheus that scrapes real services under traffic.

    python monitor.py SERVICE_BINARY SIM_BINARY PROMETHEUS PROMTOOL

Every expression must give a number, every alert must fire, and every unit test of alerts.test.yaml must pass, and fail
if its alert is broken. Metrics, alerts and their runbooks are compared with the documents. Exits with 0
without findings, else with 1. Uses only the standard library and local addresses; takes less than a minute.
"""

import concurrent.futures
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests/conformance/python"))

import meeting  # noqa: E402
import scenes  # noqa: E402
from processes import until  # noqa: E402
from prometheus import Prometheus, unit_tests  # noqa: E402

FILES = ROOT / "helm/zoom-qos-proxy/files"
RULES = FILES / "rules.yaml"
PREFIX = "zoom_qos_proxy_"
# This matcher is in every selector of the rules. The chart inserts its release's namespace there.
ANY_NAMESPACE = 'namespace=~".*"'
# The maximum time to wait for all alerts and panels, in seconds. The traffic needs about 20 s to cause them.
LONGEST = 75
# The values of Grafana's variables, which select everything. `.*` also matches series without a namespace.
VARIABLES = {"$__rate_interval": "5s", "$__range": "5m", "$namespace": ".*", "$job": ".+", "$instance": ".+"}
# The panels have content once the traffic has made all of these expressions true.
SEEN = [f'zoom_qos_proxy_requests_total{{outcome="{outcome}"}} > 0' for outcome in (
    "hit", "stale", "miss", "collapsed", "not_modified", "refused", "failed")]
SEEN += [f'zoom_qos_proxy_refusals_total{{by="{by}"}} > 0' for by in (
    "budget_second", "budget_day", "queue", "caller", "zoom_second", "zoom_day", "credentials")]
SEEN += [f'zoom_qos_proxy_stale_answers_total{{detail="{detail}"}} > 0' for detail in ("revalidating", "zoom_failed")]
# Redis was up, and then stopped.
SEEN += ["max_over_time(zoom_qos_proxy_redis_up[5m]) == 1", "zoom_qos_proxy_redis_up == 0"]
SEEN += [f'zoom_qos_proxy_{name}{{caller="backfill"}} > 0' for name in ("caller_permits_queued", "caller_oldest_wait_seconds")]
# The first bucket of a histogram must have less than half of the values, and no value may be above the bound of the last.
FIT = [
    f'sum({metric}_bucket{{{labels}le="{first}"}}) < 0.5 * sum({metric}_count{{{labels.rstrip(",")}}}) and '
    f'sum({metric}_bucket{{{labels}le="{last}"}}) == sum({metric}_count{{{labels.rstrip(",")}}})'
    for metric, labels, first, last in (
        ("zoom_qos_proxy_request_duration_seconds", 'job="Busy",outcome="hit",', "0.000001", "20"),
        ("zoom_qos_proxy_request_duration_seconds", 'job="Busy",outcome="miss",', "0.1", "20"),
        ("zoom_qos_proxy_zoom_call_duration_seconds", 'job="Busy",', "0.025", "12.8"),
        ("zoom_qos_proxy_permit_wait_seconds", 'job="Busy",', "0.001", "16.384"),
    )
]


def main(service, sim, prometheus, promtool):
    began, findings = time.monotonic(), []
    findings += subprocess_findings([promtool, "check", "rules", str(RULES)])
    findings += [f"{meeting.FILE.name}: {finding}" for finding in meeting.check((service, sim))]
    after_midnight()
    with tempfile.TemporaryDirectory() as folder:
        stage = []
        try:
            start = lambda scene: scene((service, sim), folder)  # noqa: E731
            with concurrent.futures.ThreadPoolExecutor() as pool:
                stage = list(pool.map(start, scenes.ALL))
            targets = {type(scene).__name__: [scene.service.ops] for scene in stage}
            targets["Busy"].append("127.0.0.1:9")  # the discard port, where nothing listens
            server = Prometheus(prometheus, folder, RULES, targets)
            try:
                alerts = [rule for group in server.api("rules")["groups"] for rule in group["rules"]]
                findings += live(server, stage, alerts)
                findings += documents(server, alerts)
            finally:
                server.stop()
        finally:
            for scene in stage:
                scene.stop()
        findings += spoilt(promtool, alerts, folder)
        findings += scoped(promtool, alerts, folder)
    for finding in findings:
        print("FINDING", finding)
    print(f"monitoring: {len(findings)} findings in {time.monotonic() - began:.0f} s: {len(alerts)} alerts, "
          f"{len(panels())} expressions of the dashboard")
    return 1 if findings else 0


def after_midnight():
    """Waits for the next UTC day if this one ends soon: forecasts mean nothing then, and at midnight the counts restart."""
    now = datetime.datetime.now(datetime.timezone.utc)
    left = 86_400 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    if left < LONGEST + 60:
        print(f"waiting {left:.0f} s for the end of the UTC day")
        time.sleep(left + 1)


def subprocess_findings(command):
    ended = subprocess.run(command, capture_output=True, text=True)
    return [] if ended.returncode == 0 else [f"{' '.join(command)}: {ended.stdout}{ended.stderr}"]


def panels(as_written=False):
    """Every expression of the dashboard with its place, as Grafana would query it."""
    def inside(these):
        for panel in these:
            for target in panel.get("targets", []):
                expression = target["expr"]
                for name, value in () if as_written else VARIABLES.items():
                    expression = expression.replace(name, value)
                if "$" in expression and not as_written:
                    raise AssertionError(f"a variable that monitor.py does not know: {expression}")
                yield f"{panel['title']}, {target['refId']}", expression
            yield from inside(panel.get("panels", []))

    return list(inside(json.loads((FILES / "dashboard.json").read_text())["panels"]))


def live(server, stage, alerts):
    """Runs the traffic. Returns the panels that show nothing, the alerts that are not raised, and other failures."""
    # The last expression is a negative control: its missing data must be noticed.
    ghost = ("control", PREFIX + "no_such_metric")
    wanted = dict([*panels(), *((f"traffic: {e}", e) for e in SEEN), *((f"buckets: {e}", e) for e in FIT), ghost])
    waiting, raised, done, broken = dict(wanted), {}, threading.Event(), []

    def play(scene):
        try:
            while not done.wait(0.2):
                scene.round()
        except Exception as error:  # noqa: BLE001 reported for this thread's scene
            broken.append(f"{type(scene).__name__}: {type(error).__name__}: {error}")

    def look():
        for name, expression in list(waiting.items()):
            if server.numbers(expression):
                del waiting[name]
        for alert in server.api("alerts")["alerts"]:
            raised.setdefault(alert["labels"]["alertname"], alert)

    # Before the first scrape there are no metrics.
    until(lambda: len(server.numbers(PREFIX + "build_info")) == len(stage), "every service is scraped")
    until(lambda: all(alert["labels"]["alertname"] != "ZoomQosProxyNotScraped" for alert in server.api("alerts")["alerts"]),
          "ZoomQosProxyNotScraped ends with the first scrape")
    while_up = {alert["name"] for alert in alerts} - {"ZoomQosProxyNotScraped"}
    threads = [threading.Thread(target=play, args=(scene,), daemon=True) for scene in stage]
    for thread in threads:
        thread.start()
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and not broken and (set(waiting) - {"control"} or while_up - raised.keys()):
        look()
        time.sleep(0.5)
    done.set()
    for thread in threads:
        thread.join()
    if "ZoomQosProxyNotScraped" in raised:
        broken.append("ZoomQosProxyNotScraped is raised while there are metrics")
    for scene in stage:
        scene.service.stop()
    until(lambda: look() or "ZoomQosProxyNotScraped" in raised, "ZoomQosProxyNotScraped is raised")

    findings = broken + [f"no number: {name}: {wanted[name]}" for name in waiting if name != "control"]
    if "control" not in waiting:
        findings.append("control: a metric that does not exist returns a number")
    for rule in alerts:
        alert = raised.get(rule["name"])
        if alert is None:
            findings.append(f"{rule['name']} was not raised, its condition: {rule['query']}")
            continue
        texts = " ".join(alert["annotations"].values())
        if "{{" in texts or "<error" in texts or "<no value>" in texts:
            findings.append(f"{rule['name']}: its texts: {texts}")
    for rule in [rule for group in server.api("rules")["groups"] for rule in group["rules"]]:
        if rule["health"] != "ok":
            findings.append(f"{rule['name']}: {rule['health']}: {rule.get('lastError')}")
    return findings


def documents(server, alerts):
    """Where metrics, documents, dashboard and alerts differ."""
    findings = []
    names = server.api("label/__name__/values")
    served = {re.sub("_(bucket|sum|count)$", "", name) for name in names if name.startswith(PREFIX)}
    rows = re.findall(r"(?m)^\| (`[^|]*) \| (?:counter|gauge|histogram) \|", (ROOT / "docs/METRICS.md").read_text())
    described = {PREFIX + name for row in rows for name in re.findall("`([a-z_]+)`", row)}
    expressions = [expression for _, expression in panels()] + [alert["query"] for alert in alerts]
    used = {re.sub("_(bucket|sum|count)$", "", name)
            for expression in expressions for name in re.findall(PREFIX + "[a-z_]+", expression)}
    findings += [f"docs/METRICS.md does not describe {name}" for name in sorted(served - described)]
    findings += [f"docs/METRICS.md describes {name}, which is not served" for name in sorted(described - served)]
    findings += [f"{name} is used and is not served" for name in sorted(used - served)]
    findings += [f"{name} is neither on the dashboard nor in an alert" for name in sorted(served - used)]

    variables = {each["name"] for each in json.loads((FILES / "dashboard.json").read_text())["templating"]["list"]}
    for where, expression in panels(as_written=True):
        if re.search(PREFIX, expression) and not len(re.findall(PREFIX, expression)) == len(re.findall(
                PREFIX + r'[a-z_]+\{namespace=~"\$namespace", job=~"\$job", instance=~"\$instance"', expression)):
            findings.append(f"{where}: not only of the namespaces, jobs and replicas that are chosen: {expression}")
    findings += [f"the dashboard has no variable {name}" for name in ("namespace", "job", "instance") if name not in variables]

    headings = re.findall(r"(?m)^### (ZoomQosProxy\w+)$", (ROOT / "docs/OPERATIONS.md").read_text())
    for alert in alerts:
        name, linked = alert["name"], alert["annotations"].get("runbook_url")
        if headings.count(name) != 1:
            findings.append(f"docs/OPERATIONS.md has {headings.count(name)} headings `### {name}`: each alert has one runbook")
        if linked != f"docs/OPERATIONS.md#{name.lower()}":
            findings.append(f"{name}: its runbook_url is {linked}")
    known = {alert["name"] for alert in alerts}
    findings += [f"docs/OPERATIONS.md has a runbook for {name}, which is no alert" for name in headings if name not in known]
    return findings


def rules_file(alerts):
    return {"groups": [{"name": "g", "rules": [{
        "alert": alert["name"], "expr": alert["query"], "for": f"{alert['duration']:.0f}s",
        "labels": alert["labels"], "annotations": alert["annotations"],
    } for alert in alerts]}]}


def spoilt(promtool, alerts, folder):
    """Checks that the unit tests pass, and that they fail if an alert never fires or fires too early."""
    tests = (HERE / "alerts.test.yaml").read_text()

    def rules(name=None, **changed):
        return rules_file({**alert, **changed} if alert["name"] == name else alert for alert in alerts)

    failed = unit_tests(promtool, rules(), tests, folder)
    if failed:
        return [f"alerts.test.yaml: {failed}"]
    findings = []
    for alert in alerts:
        name = alert["name"]
        if not unit_tests(promtool, rules(name, query="vector(0) > 1"), tests, folder):
            findings.append(f"{name}: no unit test fails when it never fires")
        if not unit_tests(promtool, rules(name, duration=0), tests, folder):
            findings.append(f"{name}: no unit test fails when it fires at once")
        if not re.search(rf"alertname: {name}, exp_alerts: \[\]", tests):
            findings.append(f"{name}: no unit test for it not firing")
    return findings


def scoped(promtool, alerts, folder):
    """Checks that the rules can be limited to one namespace, as the chart does, and then ignore another release."""
    findings = []
    for alert in alerts:
        selectors = re.findall(rf"\b({PREFIX}[a-z_]+|up|ALERTS)\b(\{{[^}}]*\}})?", re.sub('"[^"]*"', lambda text: (
            text.group() if text.group() == '".*"' else '""'), alert["query"]))
        findings += [f"{alert['name']}: {name} is asked for without {ANY_NAMESPACE}, so of every release"
                     for name, braces in selectors if ANY_NAMESPACE not in braces]
        if not selectors:
            findings.append(f"{alert['name']}: no metric is found in it: {alert['query']}")
    tests = (HERE / "scoped.test.yaml").read_text()
    ours = [{**alert, "query": alert["query"].replace(ANY_NAMESPACE, 'namespace="one"')} for alert in alerts]
    failed = unit_tests(promtool, rules_file(ours), tests, folder)
    if failed:
        findings.append(f"scoped.test.yaml: {failed}")
    if not unit_tests(promtool, rules_file(alerts), tests, folder):
        findings.append("scoped.test.yaml holds for rules of every namespace, too")
    return findings


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
